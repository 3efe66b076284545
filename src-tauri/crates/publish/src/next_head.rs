//! The head that follows another.

use jiff::Timestamp;
use livepc_format::{Head, Keys, Release};

use crate::project::Project;

/// The head of `project` that lists `releases`, signed `now` with the last of `keys`, and that comes after `revision`.
pub(crate) fn next_head(
    revision: u64,
    keys: &Keys,
    project: &Project,
    releases: Vec<Release>,
    now: Timestamp,
) -> Head {
    Head {
        version: 1,
        requires: Vec::new(),
        livepc: keys.livepc(),
        epoch: keys.epoch(),
        revision: revision + 1,
        issued: now,
        expires: project.expires(now),
        mirrors: project.mirrors.clone(),
        releases,
    }
}

/// True if subscribers learn from `new` nothing that `old` does not say.
pub(crate) fn says_the_same(old: &Head, new: &Head) -> bool {
    (&old.releases, &old.mirrors, old.expires, old.epoch)
        == (&new.releases, &new.mirrors, new.expires, new.epoch)
}
