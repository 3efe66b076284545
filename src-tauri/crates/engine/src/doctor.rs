//! What `livepc doctor` shows: what is here, what works, and what to do about what does not. What it says works it has tried.
//!
//! Each check has a limit of its own, so that one that gets no answer — an agent that hangs, a network folder whose server is
//! gone — is a finding, and the others are made all the same.

mod agent;
mod clock;
mod faults;
mod machines;
mod places;
mod proxy;
mod state;

use std::time::Duration;

use livepc_protocol::{Home, Launcher, Problem};
use serde::Serialize;

/// How long a check of files may take.
const FILES: Duration = Duration::from_secs(10);

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
    /// Which check it is of, for programs.
    pub id: &'static str,
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
    fn good(check: Check, found: impl Into<String>) -> Self {
        Self::new(check, Health::Good, found, "")
    }

    fn limited(check: Check, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(check, Health::Limited, found, hint)
    }

    fn bad(check: Check, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(check, Health::Bad, found, hint)
    }

    fn of_problem(check: Check, problem: Problem) -> Self {
        Self::bad(check, problem.message, problem.hint)
    }

    /// Says what to do, where others would say that this check shows more.
    fn answer_here(&mut self, home: &Home) {
        if self.hint.contains("“livepc doctor” shows") {
            let logs = home.logs();
            self.hint = format!(
                "Look at what is named here: whether it is a file or a folder as it should be, whose it is and with which \
                 permissions, and at its disk. What should not be there can be moved away. The logs are in {}.",
                livepc_format::shown::path(&logs)
            );
        }
    }

    fn new(check: Check, health: Health, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            id: check.0,
            subject: check.1,
            health,
            found: found.into(),
            hint: hint.into(),
        }
    }
}

/// A check: its name for programs, and for people.
#[derive(Clone, Copy)]
struct Check(&'static str, &'static str);

/// Looks at everything that LivePC needs, and starts its agent, if none runs, with `launcher`.
pub async fn examine(home: &Home, launcher: Result<Launcher, Problem>) -> Vec<Finding> {
    // Before the agent, which may mend what is damaged when it starts.
    let state = files(state::CHECK, home, state::look).await;
    let (mut findings, (agent, client), proxy) = tokio::join!(
        files(places::HOME, home, places::look),
        agent::look(home, launcher),
        proxy::look(),
    );
    findings.insert(0, version());
    findings.extend(state);
    findings.extend(agent);
    let (left, machines, window, clock, faults) = tokio::join!(
        files(machines::LEFT, home, machines::left),
        machines::look(home, client.as_ref()),
        machines::window(home),
        files(clock::CHECK, home, clock::look),
        files(faults::CHECK, home, faults::look),
    );
    findings.extend(left);
    findings.extend(machines);
    findings.extend(window);
    #[cfg(target_os = "linux")]
    findings.extend(within(machines::FUSE, FILES, async { vec![machines::fuse()] }).await);
    findings.extend(proxy);
    findings.extend(clock);
    findings.extend(faults);
    for finding in &mut findings {
        finding.answer_here(home);
    }
    findings
}

/// Looks at what can be looked at without a home; `problem` is why there is none.
#[must_use]
pub fn without_home(problem: &Problem) -> Vec<Finding> {
    vec![version(), Finding::of_problem(places::HOME, problem.clone())]
}

fn version() -> Finding {
    Finding::good(Check("version", "version"), env!("CARGO_PKG_VERSION"))
}

/// Makes a check that reads and writes files, which can block for ever.
async fn files(
    check: Check,
    home: &Home,
    look: impl FnOnce(&Home) -> Vec<Finding> + Send + 'static,
) -> Vec<Finding> {
    let home = home.clone();
    let looking = tokio::task::spawn_blocking(move || look(&home));
    within(check, FILES, async {
        looking.await.unwrap_or_else(|error| {
            vec![Finding::bad(
                check,
                format!("The check itself failed: {error}."),
                "This is a mistake of LivePC: please report it.",
            )]
        })
    })
    .await
}

/// Makes a check that has this long.
async fn within(check: Check, limit: Duration, look: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(limit, look).await.unwrap_or_else(|_| {
        vec![Finding::bad(
            check,
            format!("There was no answer within {} s.", limit.as_secs()),
            "Look at the disk or the network folder that it is on, and at how busy this computer is.",
        )]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_check_without_an_answer_is_a_finding() {
        let check = Check("x", "x");
        let found = within(check, FILES, std::future::pending()).await;
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id, found[0].health), ("x", Health::Bad));
    }

    #[test]
    fn who_asks_here_is_not_told_to_ask_here() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let error = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let problem = Problem::io("/home/x/agent.lock cannot be read", &error);
        let mut finding = Finding::of_problem(Check("x", "x"), problem);
        finding.answer_here(&home);
        assert!(!finding.hint.contains("livepc doctor"), "{}", finding.hint);
        assert!(finding.hint.contains("permissions"), "{}", finding.hint);
    }

    #[tokio::test]
    async fn a_check_that_panics_is_a_finding() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let found = files(Check("x", "x"), &home, |_| panic!("as if")).await;
        assert_eq!(found[0].health, Health::Bad);
    }
}
