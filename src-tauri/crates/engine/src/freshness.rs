//! Whether what is known of a LivePC's releases is as fresh as it should be.
//!
//! Nobody can tell a publisher on holiday from a server that holds back what is new, and both are no reason to stop. But
//! who uses a LivePC should know since when nothing was heard.

use jiff::{SignedDuration, Timestamp};
use livepc_protocol::{Code, Problem, Stale, StaleReason};

use crate::subscription::Subscription;

/// How long a feed may be out of reach before that is worth a word: a weekend without a network, and a day.
const OUT_OF_REACH: SignedDuration = SignedDuration::from_hours(3 * 24);

/// Why a subscription's releases may be out of date at `now`, if they may.
pub(crate) fn stale(subscription: &Subscription, now: Timestamp) -> Option<Stale> {
    let head = &subscription.head;
    let problem = subscription.problem.as_ref();
    judge(head.issued, head.expires, subscription.checked, problem, now)
}

/// Decides by when the list of releases was signed, until when its publisher promised to renew it, when the feed was last
/// accepted, and what has kept it from being accepted since.
fn judge(
    issued: Timestamp,
    expires: Option<Timestamp>,
    accepted: Option<Timestamp>,
    problem: Option<&Problem>,
    now: Timestamp,
) -> Option<Stale> {
    let since_accepted = |why| Stale {
        why,
        since: accepted.unwrap_or(issued),
    };
    match problem {
        // That the server contradicts itself says more than the age of what it said before.
        Some(problem) if problem.code == Code::Trust => Some(since_accepted(StaleReason::Refused)),
        _ if expires.is_some_and(|expires| expires < now) => Some(Stale {
            why: StaleReason::Expired,
            since: issued,
        }),
        Some(_) if accepted.is_none_or(|accepted| now.duration_since(accepted) > OUT_OF_REACH) => {
            Some(since_accepted(StaleReason::Unreachable))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn problem(code: Code) -> Problem {
        Problem::new(code, "It.", "")
    }

    /// Issued on the 1st, promised until the 15th, last read on the 10th.
    fn on(now: &str, problem: Option<&Problem>) -> Option<(StaleReason, Timestamp)> {
        let (issued, expires, read) = (
            at("2026-11-01T00:00:00Z"),
            at("2026-11-15T00:00:00Z"),
            at("2026-11-10T00:00:00Z"),
        );
        judge(issued, Some(expires), Some(read), problem, at(now)).map(|stale| (stale.why, stale.since))
    }

    const ISSUED: &str = "2026-11-01T00:00:00Z";
    const READ: &str = "2026-11-10T00:00:00Z";

    #[test]
    fn a_list_is_old_when_its_publisher_has_not_renewed_it_as_promised() {
        assert_eq!(on("2026-11-15T00:00:00Z", None), None, "it is the last moment");
        let expired = Some((StaleReason::Expired, at(ISSUED)));
        assert_eq!(on("2026-11-15T00:00:01Z", None), expired);
        assert_eq!(
            on("2026-11-15T00:00:01Z", Some(&problem(Code::Network))),
            expired,
            "whether the server answers or not"
        );
        assert_eq!(
            judge(at(ISSUED), None, Some(at(READ)), None, at("2036-11-15T00:00:00Z")),
            None,
            "who promises nothing breaks no promise"
        );
    }

    #[test]
    fn a_server_that_does_not_answer_for_days_is_said_to_be_away() {
        let network = problem(Code::Network);
        assert_eq!(
            on("2026-11-13T00:00:00Z", Some(&network)),
            None,
            "three days are few"
        );
        assert_eq!(
            on("2026-11-13T00:00:01Z", Some(&network)),
            Some((StaleReason::Unreachable, at(READ)))
        );
        assert_eq!(
            on("2026-11-14T23:00:00Z", None),
            None,
            "nobody has asked since, so nobody can say that it is away"
        );
    }

    #[test]
    fn what_was_refused_is_said_at_once() {
        assert_eq!(
            on("2026-11-10T00:00:01Z", Some(&problem(Code::Trust))),
            Some((StaleReason::Refused, at(READ)))
        );
        assert_eq!(
            on("2026-12-10T00:00:00Z", Some(&problem(Code::Trust))),
            Some((StaleReason::Refused, at(READ))),
            "also when it is old too"
        );
    }
}
