//! Who is at the other end of a connection, which may be of another version.

use crate::message::REVISION;
use crate::{Code, Problem, Request};

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its version of LivePC: `0.1.0`.
    pub version: String,
    /// How much of the protocol it knows; see [`REVISION`].
    pub revision: u32,
}

impl Request {
    /// The revision of the protocol that this request came with.
    #[must_use]
    pub fn since(&self) -> u32 {
        match self {
            Self::Job { .. } => 1,
            _ => 0,
        }
    }
}

impl Peer {
    /// True if it is of an older LivePC than this one.
    #[must_use]
    pub fn is_older(&self) -> bool {
        let ours = (REVISION, numbers(env!("CARGO_PKG_VERSION")));
        (self.revision, numbers(&self.version)) < ours
    }

    /// Refuses what it would not understand. Sent all the same, it would end the connection of one that is very old.
    pub(crate) fn check_knows(&self, request: &Request) -> Result<(), Problem> {
        if request.since() <= self.revision {
            return Ok(());
        }
        Err(Problem::new(
            Code::UpdateLivepc,
            format!(
                "An older LivePC, {}, still runs machines or downloads, and does not know “{}” yet.",
                self.version,
                request.verb()
            ),
            "Stop its machines and close its window: the next command starts the newer one.",
        ))
    }
}

/// The numbers of a version, for comparing.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(['.', '-', '+'])
        .map_while(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(version: &str, revision: u32) -> Peer {
        Peer {
            version: version.to_owned(),
            revision,
        }
    }

    #[test]
    fn versions_are_told_apart_by_what_they_know_and_then_by_number() {
        let ours = env!("CARGO_PKG_VERSION");
        assert!(!peer(ours, REVISION).is_older());
        assert!(peer(ours, REVISION - 1).is_older());
        assert!(peer("0.0.9", REVISION).is_older());
        assert!(!peer("999.10.0", REVISION).is_older());
        assert!(!peer("0.0.1", REVISION + 1).is_older(), "it knows more");
        assert!(numbers("0.10.0") > numbers("0.9.1"));
    }

    #[test]
    fn what_the_other_side_does_not_know_is_not_asked() {
        let old = peer("0.1.0", 0);
        assert!(old.check_knows(&Request::list()).is_ok());
        let problem = old.check_knows(&Request::Job { job: 1 }).unwrap_err();
        assert_eq!(problem.code, Code::UpdateLivepc);
        assert!(
            problem.message.contains("0.1.0") && problem.message.contains("“job”"),
            "{problem}"
        );
    }
}
