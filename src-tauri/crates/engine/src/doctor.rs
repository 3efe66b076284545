//! What `livepc doctor` shows: what is here, what works, and what to do about what does not.

use livepc_protocol::{Answer, Client, Home, HypervisorKind, HypervisorStatus, ProcessLock, Request};
use serde::Serialize;

use crate::config;
use crate::database::Database;
use crate::hypervisors::HypervisorSettings;
use crate::store_move::settled_place;

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

/// Things that were mended which are shown, the last first.
const MENDED: usize = 5;

/// Looks at everything that LivePC needs. Starts no agent: one that runs is asked, if there is one.
pub async fn examine(home: &Home) -> Vec<Finding> {
    let mut findings = vec![
        Finding::good("version", env!("CARGO_PKG_VERSION")),
        Finding::good("home", home.root().display().to_string()),
        Finding::good("logs", home.logs().display().to_string()),
        state(home),
        store(home),
        space(home),
    ];
    findings.extend(faults(home));
    let held = ProcessLock::is_held(&home.agent_lock());
    let running = matches!(held, Ok(true));
    findings.push(match held {
        Ok(true) => Finding::good("agent", "running"),
        Ok(false) => Finding::good("agent", "not running; it starts when it is needed"),
        Err(problem) => Finding {
            subject: "agent",
            health: Health::Bad,
            found: problem.message,
            hint: problem.hint,
        },
    });
    let hypervisors = hypervisors(home, running).await;
    let one_works = hypervisors.iter().any(|status| status.problem.is_none());
    findings.extend(hypervisors.into_iter().map(|status| of_status(status, one_works)));
    #[cfg(target_os = "linux")]
    findings.push(fuse());
    findings
}

/// Whether the state can be read, and what of it could not be understood.
fn state(home: &Home) -> Finding {
    let path = home.database();
    let subject = "state";
    if path.try_exists().is_ok_and(|exists| !exists) {
        return Finding::good(subject, "none yet");
    }
    match Database::open_to_read(&path).and_then(|database| database.set_aside()) {
        Ok(set_aside) if set_aside.is_empty() => Finding::good(subject, path.display().to_string()),
        Ok(set_aside) => {
            let texts = set_aside
                .iter()
                .map(|row| format!("{}: {}", row.at, row.text(false)));
            Finding {
                subject,
                health: Health::Limited,
                found: texts.take(MENDED).collect::<Vec<_>>().join(" "),
                hint: "Look at the disk if that happens again.".into(),
            }
        }
        Err(problem) => Finding {
            subject,
            health: Health::Bad,
            found: format!("{}: {}", path.display(), problem.message),
            hint: problem.hint,
        },
    }
}

/// Where the store is, and whether it is there.
fn store(home: &Home) -> Finding {
    match settled_place(home) {
        Ok(store) => Finding::good("store", store.display().to_string()),
        Err(problem) => Finding {
            subject: "store",
            health: Health::Bad,
            found: problem.message,
            hint: problem.hint,
        },
    }
}

/// What LivePC has done wrong itself, if it has.
fn faults(home: &Home) -> Option<Finding> {
    let faults = crate::faults::lately(home, jiff::Timestamp::now());
    let last = faults.last()?;
    Some(Finding {
        subject: "faults",
        health: Health::Limited,
        found: format!(
            "{} of LivePC's own mistakes in the last 30 days; the last one in {} at {}: {}",
            faults.len(),
            last.process,
            last.place,
            last.said
        ),
        hint: format!("Please report it, with the log in {}.", home.logs().display()),
    })
}

fn space(home: &Home) -> Finding {
    let store = home.store();
    let folder = if store.is_dir() { &store } else { home.root() };
    match fs4::available_space(folder) {
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
            hint: "Look at the disk that the store is on.".into(),
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

/// What hypervisors are here: as the agent sees them, if one runs, since it knows the settings.
async fn hypervisors(home: &Home, running: bool) -> Vec<HypervisorStatus> {
    if running && let Some(answer) = ask(home).await {
        return answer;
    }
    let database = Database::open_to_read(&home.database());
    let value = |name: &str| match &database {
        Ok(database) => config::get(database, name),
        // There is none yet, or it is of another version: the defaults then.
        Err(_) => Ok(config::default(name)),
    };
    HypervisorSettings::read(value).unwrap_or_default().survey().await
}

async fn ask(home: &Home) -> Option<Vec<HypervisorStatus>> {
    let socket = home.agent_socket().ok()?;
    let client = Client::connect(&socket, "doctor", false).await.ok()?;
    match client.call(Request::Hypervisors).await.ok()? {
        Answer::Hypervisors { hypervisors } => Some(hypervisors),
        _ => None,
    }
}

/// One hypervisor is enough: `one_works` says that there is one, so that another is no fault.
fn of_status(status: HypervisorStatus, one_works: bool) -> Finding {
    let subject = match status.kind {
        HypervisorKind::Qemu => "qemu",
        HypervisorKind::Vmware => "vmware",
    };
    if let Some(problem) = status.problem {
        return Finding {
            subject,
            health: if one_works { Health::Limited } else { Health::Bad },
            found: problem.message,
            hint: problem.hint,
        };
    }
    let accelerator = match status.accelerator.as_str() {
        "" => String::new(),
        accelerator => format!(", accelerator {accelerator}"),
    };
    Finding {
        subject,
        health: if status.limits.is_empty() {
            Health::Good
        } else {
            Health::Limited
        },
        found: format!(
            "{} {}, {}{accelerator}",
            status.name, status.version, status.program
        ),
        hint: status.limits.join(" "),
    }
}
