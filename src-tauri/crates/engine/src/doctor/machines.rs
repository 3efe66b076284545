//! What runs machines: the hypervisors, the window, what VMware needs, and what was left running.

use std::time::Duration;

use livepc_protocol::{Answer, Client, Home, HypervisorKind, HypervisorStatus, ProcessLock, Request};

use super::{Check, Finding, Health, within};
use crate::config;
use crate::database::Database;
use crate::hypervisors::{HypervisorSettings, of_hypervisor};

const QEMU: Check = Check("qemu", "qemu");
const WINDOW: Check = Check("window", "window");
const VMWARE: Check = Check("vmware", "vmware");
pub(super) const LEFT: Check = Check("left-over", "left-over machines");
#[cfg(target_os = "linux")]
pub(super) const FUSE: Check = Check("fuse", "fuse");

/// How long hypervisors have to be tried: accelerators take up to five seconds each.
const TRY: Duration = Duration::from_secs(40);

/// What hypervisors are here: as the agent sees them, if it answers, since its environment may be another.
pub(super) async fn look(home: &Home, agent: Option<&Client>) -> Vec<Finding> {
    within(QEMU, TRY, async {
        let asked = match agent {
            Some(agent) => agent.call(Request::Hypervisors).await.ok(),
            None => None,
        };
        let all = match asked {
            Some(Answer::Hypervisors { hypervisors }) => hypervisors,
            _ => settings(home).survey().await,
        };
        let one_works = all.iter().any(|status| status.problem.is_none());
        all.into_iter()
            .map(|status| of_status(status, one_works))
            .collect()
    })
    .await
}

fn settings(home: &Home) -> HypervisorSettings {
    let database = Database::open_to_read(&home.database());
    let value = |name: &str| match &database {
        Ok(database) => config::get(database, name),
        // There is none yet, or it is of another version: the defaults then.
        Err(_) => Ok(config::default(name)),
    };
    HypervisorSettings::read(value).unwrap_or_default()
}

/// One hypervisor is enough: `one_works` says that there is one, so that another is no fault.
fn of_status(status: HypervisorStatus, one_works: bool) -> Finding {
    let check = match status.kind {
        HypervisorKind::Qemu => QEMU,
        HypervisorKind::Vmware => VMWARE,
    };
    if let Some(problem) = status.problem {
        let health = if one_works { Health::Limited } else { Health::Bad };
        return Finding::new(check, health, problem.message, problem.hint);
    }
    let accelerator = match status.accelerator.as_str() {
        "" => String::new(),
        accelerator => format!(", accelerator {accelerator}"),
    };
    let found = format!(
        "{} {}, {}{accelerator}",
        status.name, status.version, status.program
    );
    let health = if status.limits.is_empty() {
        Health::Good
    } else {
        Health::Limited
    };
    Finding::new(check, health, found, status.limits.join(" "))
}

/// Whether QEMU shows a machine's window in this session: one is opened for a moment, with the sandbox that machines have.
/// Without a session there is nothing to try, and machines start without a window.
pub(super) async fn window(home: &Home) -> Option<Finding> {
    let session = ["DISPLAY", "WAYLAND_DISPLAY"];
    if cfg!(target_os = "linux") && session.iter().all(|name| std::env::var_os(name).is_none()) {
        return None;
    }
    let Ok(qemu) = settings(home).qemu().await else {
        // That there is none is said already.
        return None;
    };
    let tried = tokio::time::timeout(TRY, qemu.try_window()).await;
    Some(match tried {
        Ok(Ok(None)) => Finding::good(WINDOW, "opens"),
        Ok(Ok(Some(limit))) => Finding::limited(WINDOW, limit, ""),
        Ok(Err(error)) => Finding::of_problem(WINDOW, of_hypervisor(&error)),
        Err(_) => Finding::bad(
            WINDOW,
            format!("QEMU opened no window within {} s.", TRY.as_secs()),
            "Start machines with “livepc start --display none”, and look at the desktop session.",
        ),
    })
}

/// Whether disks can be shown as files, which VMware needs.
#[cfg(target_os = "linux")]
pub(super) fn fuse() -> Finding {
    use livepc_disk::mount::{AllowOther, allow_other, check};
    use livepc_protocol::{Code, Problem};

    match (check(), allow_other()) {
        (Ok(()), AllowOther::Root) => Finding::good(FUSE, "/dev/fuse, as root"),
        (Ok(()), AllowOther::Allowed) => Finding::good(FUSE, "/dev/fuse, fusermount3, others may read"),
        (Ok(()), AllowOther::Denied) => Finding::limited(
            FUSE,
            "Only you can read disks that you mount; a hypervisor's service of another user cannot.",
            "As root, add the line user_allow_other to /etc/fuse.conf.",
        ),
        (Err(error), _) => {
            let problem = Problem::of_text(Code::Failed, &error.to_string());
            Finding::limited(FUSE, problem.message, problem.hint)
        }
    }
}

/// Machines of which a hypervisor still runs, although what had started it has ended.
pub(super) fn left(home: &Home) -> Vec<Finding> {
    let machines = std::fs::read_dir(home.root().join("machines"));
    let mut findings = Vec::new();
    for machine in machines.into_iter().flatten().flatten() {
        let Ok(id) = machine.file_name().into_string() else {
            continue;
        };
        let looked = crate::runner::run_dir(home, &id).map(|folder| livepc_hypervisor::left_running(&folder));
        let Ok(Some(process)) = looked else { continue };
        // Asked last: a runner that has begun meanwhile has its own.
        if !matches!(ProcessLock::is_held(&home.runner_lock(&id)), Ok(false)) {
            continue;
        }
        findings.push(Finding::bad(
            LEFT,
            format!("The hypervisor of “{id}” (process {process}) still runs, but nothing serves its disks any more."),
            format!("“livepc stop {id} --force” ends it, and so does the next start; or end the process {process}."),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::good(LEFT, "none"));
    }
    findings
}
