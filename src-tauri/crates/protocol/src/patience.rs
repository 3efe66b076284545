//! How long a request may take: every call ends, if with nothing else then with what is late.

use std::time::Duration;

use crate::{Code, Problem, Request};

/// What only looks at what is known, or notes something.
const QUICK: Duration = Duration::from_secs(30);
/// What works on the disk, or waits for its turn on a machine.
const WORK: Duration = Duration::from_secs(15 * 60);
/// What asks servers, which have patience limits of their own.
const SERVERS: Duration = Duration::from_secs(15 * 60);
/// What writes the memory of a machine, or copies disks before a start.
const LONG: Duration = Duration::from_secs(3 * 60 * 60);
/// What a machine may take beyond the time that its guest has: a start that is under way ends before.
const BESIDE_THE_GUEST: Duration = Duration::from_secs(5 * 60);
/// What a client waits longer than the other side should take: what is late is told by who knows more.
const GRACE: Duration = Duration::from_secs(15);

/// What keeps a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    ByThisComputer,
    ByServers,
}

impl Request {
    /// How long who answers may take.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.patience().0
    }

    /// How long who asks waits: a little longer.
    #[must_use]
    pub fn limit_of_asker(&self) -> Duration {
        self.limit() + GRACE
    }

    /// The refusal of a request that was not answered within its limit.
    #[must_use]
    pub fn late(&self) -> Problem {
        let (limit, kept) = self.patience();
        let limit = spelled(limit);
        let verb = self.verb();
        match kept {
            Kept::ByServers => Problem::new(
                Code::Network,
                format!("“{verb}” was given up after {limit}: a server does not come to an end."),
                "Try again later.",
            ),
            Kept::ByThisComputer => Problem::new(
                Code::Busy,
                format!("“{verb}” has not come to an end within {limit}."),
                "The computer or its disk may be too busy: try again. “livepc logs” may say more.",
            ),
        }
    }

    /// The refusal of a request by a process that does not answer at all any more.
    #[must_use]
    pub fn unanswered(&self, who: &str) -> Problem {
        Problem::new(
            Code::Busy,
            format!(
                "{who} is there, but has not answered “{}” within {}.",
                self.verb(),
                spelled(self.limit_of_asker())
            ),
            "It may be stopped or stuck: ending its process helps, and the next command starts a new one.",
        )
    }

    /// What is asked, as the protocol calls it.
    #[must_use]
    pub fn verb(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value["verb"].as_str().unwrap_or("a request").to_owned()
    }

    fn patience(&self) -> (Duration, Kept) {
        use Kept::{ByServers, ByThisComputer};
        match self {
            Self::SourceRemove { .. }
            | Self::SourceList { .. }
            | Self::Search { .. }
            | Self::List { .. }
            | Self::Show { .. }
            | Self::Job { .. }
            | Self::JobControl { .. }
            | Self::PauseAll { .. }
            | Self::Retry { .. }
            | Self::Logins { .. }
            | Self::ConfigGet { .. }
            | Self::ConfigSet { .. }
            | Self::Snapshot
            | Self::Watch
            | Self::RunnerReport { .. }
            | Self::RunnerStatus
            | Self::RunnerRetry
            | Self::AgentStop => (QUICK, ByThisComputer),
            Self::Unsubscribe { .. }
            | Self::Revert { .. }
            | Self::Reset { .. }
            | Self::Keep { .. }
            | Self::SetPolicy { .. }
            | Self::Pin { .. }
            | Self::Rollback { .. }
            | Self::GrowDisk { .. }
            | Self::BlockMap { .. }
            | Self::Verify { .. }
            | Self::Prune { .. }
            | Self::Logout { .. }
            | Self::Hypervisors => (WORK, ByThisComputer),
            Self::SourceAdd { .. }
            | Self::SourceRefresh
            | Self::Preview { .. }
            | Self::Subscribe { .. }
            | Self::Download { .. }
            | Self::Update { .. }
            | Self::Export { .. }
            | Self::Login { .. }
            | Self::OpenRelease { .. }
            | Self::Fetch { .. }
            | Self::Object { .. } => (SERVERS, ByServers),
            Self::Start { .. } | Self::Suspend { .. } | Self::RunnerSuspend => (LONG, ByThisComputer),
            Self::Stop { timeout, .. } | Self::RunnerStop { timeout, .. } => {
                // Seconds that somebody typed may be any number.
                let guest = Duration::from_secs(*timeout).min(24 * LONG);
                (guest + BESIDE_THE_GUEST, ByThisComputer)
            }
        }
    }
}

/// A time as people say it.
fn spelled(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        ..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        _ => format!("{} hours", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test whose clock jumps to the end of whatever is awaited does not notice that it is far away.
    #[test]
    fn every_limit_is_one_that_people_live_to_see() {
        let seconds = |request: &Request| (request.limit().as_secs(), request.limit_of_asker().as_secs());
        assert_eq!(seconds(&Request::Snapshot), (30, 45));
        assert_eq!(seconds(&Request::Hypervisors), (900, 915));
        assert_eq!(seconds(&Request::SourceRefresh), (900, 915));
        assert_eq!(seconds(&Request::RunnerSuspend), (10_800, 10_815));
        let stop = |timeout| Request::RunnerStop {
            force: false,
            timeout,
        };
        assert_eq!(seconds(&stop(60)), (360, 375));
        assert_eq!(seconds(&stop(u64::MAX)), (259_500, 259_515), "three days");
    }

    #[test]
    fn what_is_late_is_named_and_by_whom() {
        let late = Request::Search {
            text: String::new(),
            after: None,
        }
        .late();
        assert_eq!(late.message, "“search” has not come to an end within 30 seconds.");
        let late = Request::SourceRefresh.late();
        assert_eq!(late.code, Code::Network);
        assert!(late.message.contains("15 minutes"), "{late}");
        let stop = Request::Stop {
            id: "lab".into(),
            force: false,
            timeout: u64::MAX,
        };
        assert!(
            stop.limit_of_asker() > stop.limit(),
            "no overflow, and who asks is told by who knows"
        );
        assert!(stop.unanswered("LivePC's agent").message.contains("“stop”"));
    }
}
