//! Subscriptions as the state database keeps them: what is pinned, what was accepted, and which release is in use.

mod accept;
mod find;
mod row;
mod state;

use std::collections::BTreeSet;

use jiff::Timestamp;
use livepc_format::head::ReleaseState;
use livepc_format::{Head, Keys, LivePcId, Release};
use livepc_protocol::{Problem, UpdatePolicy};
use livepc_transfer::Origin;
use url::Url;

use crate::problems::not_found;
use crate::published::Known;

pub(crate) use accept::{accept, add, check_feed_is_its_own};
pub(crate) use find::{all, find, find_by_beginning, ids};
pub(crate) use row::check;
pub(crate) use state::{
    describe, ended, forgive, history, keep_changes, nothing_wanted, pin, refused, remove, set_policy,
    unchanged, used, wanted,
};

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) livepc: LivePcId,
    pub(crate) feed_url: Url,
    /// Where it lay before.
    pub(crate) moved_from: Option<Url>,
    /// Where the feed says that it lies.
    pub(crate) announced: Option<Url>,
    pub(crate) head_url: Url,
    pub(crate) title: String,
    pub(crate) summary: String,
    pub(crate) publisher: String,
    pub(crate) guest_os: String,
    pub(crate) keys: Keys,
    pub(crate) head: Head,
    /// Releases that its publisher no longer lists, by falling sequence. Who has one may keep it.
    pub(crate) former: Vec<Release>,
    pub(crate) known: Known,
    pub(crate) in_use: Option<u64>,
    pub(crate) checked: Option<Timestamp>,
    pub(crate) last_used: Option<Timestamp>,
    /// Why the feed could not be read or accepted lately.
    pub(crate) problem: Option<Problem>,
    /// How the machine ended last: a problem, if it should not have.
    pub(crate) outcome: Option<Problem>,
    /// What happens when there is a new release.
    pub(crate) policy: UpdatePolicy,
    /// The release that cold starts use, if somebody has chosen one.
    pub(crate) pinned: Option<u64>,
    /// Whether changes of the system disk outlive the machine.
    pub(crate) keep_changes: bool,
    /// The release whose starts failed last, and how many in a row.
    pub(crate) failed_release: Option<u64>,
    pub(crate) failures: u64,
}

/// What was done with a subscription's releases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// Those that have run: the guest executed, and the machine ended as it should.
    pub(crate) ran: BTreeSet<u64>,
    /// Those that somebody had fetched by their number.
    pub(crate) wanted: BTreeSet<u64>,
}

/// The channel that is followed.
pub(crate) const CHANNEL: &str = "stable";

impl Subscription {
    /// The newest release that may be used.
    pub(crate) fn newest(&self) -> Option<&Release> {
        self.head.newest(CHANNEL)
    }

    /// All releases that are known: those that are listed, then those that no longer are.
    pub(crate) fn releases(&self) -> impl Iterator<Item = &Release> {
        self.head.releases.iter().chain(&self.former)
    }

    /// The release with this sequence, listed or not, or the newest one.
    pub(crate) fn release(&self, sequence: Option<u64>) -> Result<&Release, Problem> {
        let found = match sequence {
            Some(sequence) => self.releases().find(|release| release.sequence == sequence),
            None => self.newest(),
        };
        found.ok_or_else(|| match sequence {
            Some(sequence) => not_found(
                format!("“{}” has no release {sequence}.", self.id),
                format!("“livepc show {}” lists its releases.", self.id),
            ),
            None => not_found(
                format!("“{}” has no release that may be used.", self.id),
                "Its publisher has withdrawn all of them, or published none yet.",
            ),
        })
    }

    /// True if its publisher has taken back this release for a fault.
    pub(crate) fn is_yanked(&self, sequence: u64) -> bool {
        let release = self.head.release(sequence);
        release.is_some_and(|release| release.state == ReleaseState::Yanked)
    }

    /// True if its publisher does not offer this release any more, whether it is still listed or not.
    pub(crate) fn is_withdrawn(&self, sequence: u64) -> bool {
        let listed = self.head.release(sequence);
        listed.is_none_or(|release| release.state == ReleaseState::Withdrawn)
    }

    /// Where its files lie.
    pub(crate) fn origin(&self) -> Origin {
        Origin::of_head(&self.head_url, &self.head.mirrors)
    }

    /// The name of a release in the chunk store.
    pub(crate) fn key(&self, sequence: u64) -> String {
        format!("{}-{sequence}", self.livepc)
    }
}
