//! What `livepc doctor` shows: what is here, what works, and what to do about what does not.

use livepc_format::machine::Architecture;
use livepc_hypervisor::{Hypervisor, Qemu, Search};
use livepc_protocol::{Answer, Client, Home, ProcessLock, Request};
use serde::Serialize;

use crate::config;

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It works.
    Good,
    /// It works, with a limit that is worth knowing.
    Limited,
    /// It does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How it stands.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do; empty if nothing.
    pub hint: String,
}

impl Finding {
    fn good(subject: &'static str, found: impl Into<String>) -> Self {
        Self {
            subject,
            health: Health::Good,
            found: found.into(),
            hint: String::new(),
        }
    }
}

/// Looks at everything that LivePC needs. Starts no agent: one that runs is asked, if there is one.
pub async fn examine(home: &Home) -> Vec<Finding> {
    let mut findings = vec![
        Finding::good("version", env!("CARGO_PKG_VERSION")),
        Finding::good("home", home.root().display().to_string()),
        Finding::good("logs", home.logs().display().to_string()),
        space(home),
    ];
    let running = ProcessLock::is_held(&home.agent_lock());
    findings.push(Finding::good(
        "agent",
        if running {
            "running"
        } else {
            "not running; it starts when it is needed"
        },
    ));
    findings.push(qemu(chosen_qemu(home, running).await).await);
    #[cfg(target_os = "linux")]
    findings.push(fuse());
    findings
}

fn space(home: &Home) -> Finding {
    match fs4::available_space(home.root()) {
        Ok(free) if free < 1_000_000_000 => Finding {
            subject: "free space",
            health: Health::Limited,
            found: format!("{free} bytes"),
            hint: "Free some space: a LivePC needs a few gigabytes.".into(),
        },
        Ok(free) => Finding::good("free space", format!("{free} bytes")),
        Err(error) => Finding {
            subject: "free space",
            health: Health::Bad,
            found: error.to_string(),
            hint: "Look at the disk that the home is on.".into(),
        },
    }
}

/// Whether disks can be shown as files, which VMware needs.
#[cfg(target_os = "linux")]
fn fuse() -> Finding {
    use livepc_disk::mount::{AllowOther, allow_other, check};
    use livepc_protocol::{Code, Problem};

    let limited = |found: String, hint: &str| Finding {
        subject: "fuse",
        health: Health::Limited,
        found,
        hint: hint.into(),
    };
    match (check(), allow_other()) {
        (Ok(()), AllowOther::Root) => Finding::good("fuse", "/dev/fuse, as root"),
        (Ok(()), AllowOther::Allowed) => Finding::good("fuse", "/dev/fuse, fusermount3, others may read"),
        (Ok(()), AllowOther::Denied) => limited(
            "Only you can read disks that you mount; a hypervisor's service of another user cannot.".into(),
            "As root, add the line user_allow_other to /etc/fuse.conf.",
        ),
        (Err(error), _) => {
            let problem = Problem::of_text(Code::Failed, &error.to_string());
            limited(problem.message, &problem.hint)
        }
    }
}

/// The QEMU that the settings name.
async fn chosen_qemu(home: &Home, running: bool) -> Option<std::path::PathBuf> {
    if !running {
        return None;
    }
    let client = Client::connect(&home.agent_socket().ok()?, "doctor", false)
        .await
        .ok()?;
    match client
        .call(Request::ConfigGet {
            name: config::QEMU.into(),
        })
        .await
        .ok()?
    {
        Answer::Setting { value, .. } if !value.is_empty() => Some(value.into()),
        _ => None,
    }
}

async fn qemu(chosen: Option<std::path::PathBuf>) -> Finding {
    let bad = |error: &dyn std::fmt::Display| Finding {
        subject: "qemu",
        health: Health::Bad,
        found: format!("{error}."),
        hint: "Install QEMU: on Debian and Ubuntu “apt install qemu-system-x86 qemu-utils”.".into(),
    };
    let qemu = match Qemu::find(&Search::of_system(chosen), Architecture::X86_64).await {
        Ok(qemu) => qemu,
        Err(error) => return bad(&error),
    };
    match qemu.inspect().await {
        Ok(found) => {
            let accelerator = found
                .accelerator
                .map_or("unknown", livepc_hypervisor::Accelerator::name);
            let mut finding = Finding::good(
                "qemu",
                format!(
                    "{} {}, accelerator {accelerator}",
                    found.program.display(),
                    found.version
                ),
            );
            if accelerator == "tcg" {
                finding.health = Health::Limited;
                let why: Vec<String> = found
                    .rejected
                    .iter()
                    .map(|r| format!("{}: {}.", r.accelerator.name(), r.why))
                    .collect();
                finding.hint = format!(
                    "Machines run about ten times slower than with the processor's help. {}",
                    why.join(" ")
                );
            }
            finding
        }
        Err(error) => bad(&error),
    }
}
