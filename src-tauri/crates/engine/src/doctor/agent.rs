//! The agent: it is reached, or started.

use std::time::Duration;

use livepc_format::shown;
use livepc_protocol::{Answer, Client, Home, Launcher, Problem, ProcessLock, Request};

use super::{Check, Finding};

const CHECK: Check = Check("agent", "agent");

/// How long an agent that runs has to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long one has to start: a slow disk takes its time to copy the program.
const START: Duration = Duration::from_secs(15);

/// How the agent is, and a connection to it if it answers.
pub(super) async fn look(home: &Home, launcher: Result<Launcher, Problem>) -> (Vec<Finding>, Option<Client>) {
    let runs = match ProcessLock::is_held(&home.agent_lock()) {
        Ok(runs) => runs,
        Err(problem) => return (vec![Finding::of_problem(CHECK, problem)], None),
    };
    let (limit, found) = if runs {
        (ANSWER, "running, and answers")
    } else {
        (START, "started, and answers")
    };
    let reached = async {
        let client = Client::connect_or_start(home, &launcher?, "doctor").await?;
        // Who accepts a connection may still be stuck.
        match client
            .call(Request::ConfigGet {
                name: crate::config::HYPERVISOR.into(),
            })
            .await?
        {
            Answer::Setting { .. } => Ok(client),
            _ => Err(crate::server::misplaced()),
        }
    };
    match tokio::time::timeout(limit, reached).await {
        Ok(Ok(client)) => (vec![Finding::good(CHECK, found)], Some(client)),
        Ok(Err(problem)) => (vec![Finding::of_problem(CHECK, problem)], None),
        Err(_) => (vec![silent(home, runs, limit)], None),
    }
}

fn silent(home: &Home, runs: bool, limit: Duration) -> Finding {
    let logs = home.logs();
    let logs = shown::path(&logs);
    if !runs {
        return Finding::bad(
            CHECK,
            format!(
                "The agent was started, and did not answer within {} s.",
                limit.as_secs()
            ),
            format!("Its log is in {logs}."),
        );
    }
    let seconds = limit.as_secs();
    match process::of_agent(home) {
        Some((pid, true)) => Finding::bad(
            CHECK,
            format!("The agent (process {pid}) is stopped, as by Ctrl-Z or a debugger: it does not answer."),
            format!(
                "Let it go on with “kill -CONT {pid}”, or end it with “kill -KILL {pid}”: the next command starts a new one."
            ),
        ),
        Some((pid, false)) => Finding::bad(
            CHECK,
            format!("The agent (process {pid}) runs, but did not answer within {seconds} s."),
            format!("End it with “kill {pid}”: the next command starts a new one. Its log is in {logs}."),
        ),
        None => Finding::bad(
            CHECK,
            format!("The agent runs, but did not answer within {seconds} s."),
            format!(
                "End the process “livepc agent”: the next command starts a new one. Its log is in {logs}."
            ),
        ),
    }
}

/// Which process the agent is.
#[cfg(target_os = "linux")]
mod process {
    use std::os::unix::ffi::OsStrExt;

    use livepc_protocol::Home;

    /// The agent of this home, and whether it is stopped. Every agent is started with `--home HOME agent`.
    pub(super) fn of_agent(home: &Home) -> Option<(u32, bool)> {
        let home = home.root().as_os_str().as_bytes();
        std::fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
            let pid: u32 = process.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(process.path().join("cmdline")).ok()?;
            let mut words = line.split(|&byte| byte == 0).skip(1);
            let is_it = words.next() == Some(b"--home")
                && words.next() == Some(home)
                && words.next() == Some(b"agent");
            let stat = is_it.then(|| std::fs::read_to_string(process.path().join("stat")).ok())??;
            // The name in parentheses may have anything in it.
            let state = stat.rsplit(") ").next()?.chars().next()?;
            Some((pid, matches!(state, 'T' | 't')))
        })
    }
}

#[cfg(not(target_os = "linux"))]
mod process {
    /// The system's own tools show which it is.
    pub(super) fn of_agent(_home: &livepc_protocol::Home) -> Option<(u32, bool)> {
        None
    }
}
