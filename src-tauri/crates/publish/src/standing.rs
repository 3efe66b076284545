//! Whether what is in a destination may be gone on from: subscribers refuse a list of releases that is older than one they
//! have seen, or that says something else under the same number.

use livepc_format::head::ReleaseState;
use livepc_format::{Digest, Head, Release};

use crate::error::{PublishError, Result};
use crate::ledger::{Place, Record};
use crate::opened::Opened;

/// What a new head must not fall behind, and what it lists.
///
/// By default nothing is known of what was published.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// The epoch and revision that were published last there, or anywhere, if the list is started over.
    floor: (u32, u64),
    /// The highest sequence that was ever used, and its manifest.
    newest: Option<(u64, Digest)>,
    /// What was published before, if the list is started over.
    started_over: Option<Record>,
}

impl Standing {
    /// Compares what is in the destination with what was published before, if that is `known`.
    ///
    /// # Errors
    /// [`PublishError::BeginsAnew`], [`PublishError::HeadOlder`], [`PublishError::HeadContradicts`], unless the publisher
    /// wants to `start_over`.
    pub(crate) fn of(
        known: Option<Record>,
        opened: Option<&Opened<'_>>,
        place: &str,
        name: &str,
        start_over: bool,
    ) -> Result<Self> {
        let Some(record) = known else {
            return Ok(Self::default());
        };
        let newest = record.newest();
        let there = record.places.get(place).copied();
        if !start_over {
            check(&record, opened, there, place, name)?;
        }
        let all = record.places.values().map(Place::number);
        Ok(Self {
            floor: if start_over { all.max() } else { None }.unwrap_or_default(),
            newest,
            started_over: start_over.then_some(record),
        })
    }

    /// The highest sequence used before, by what `old` lists and what was published, and its manifest.
    pub(crate) fn newest(&self, old: Option<&Head>) -> Option<(u64, Digest)> {
        let listed = old.and_then(|head| head.releases.first());
        let listed = listed.map(|release| (release.sequence, release.manifest));
        // Of two manifests under one number subscribers have seen the one that was published.
        match (listed, self.newest) {
            (Some(listed), Some(newest)) if listed.0 <= newest.0 => Some(newest),
            (None, newest) => newest,
            (listed, _) => listed,
        }
    }

    /// The revision that the next head must be above.
    pub(crate) fn revision(&self, old: Option<&Head>) -> u64 {
        old.map_or(0, |head| head.revision).max(self.floor.1)
    }

    /// The releases in the destination that stay in the list: all, unless it is started over. Then those go that contradict
    /// what subscribers have seen, and those whose files are lost.
    pub(crate) fn staying<'o>(&self, opened: Option<&'o Opened<'_>>) -> Result<Vec<&'o Release>> {
        let mut staying = Vec::new();
        let head = opened.and_then(|opened| opened.head.as_ref());
        for release in head.into_iter().flat_map(|head| &head.releases) {
            let stays = match (&self.started_over, opened) {
                (Some(record), Some(opened)) => {
                    !contradicts(record, release)
                        && (release.state == ReleaseState::Withdrawn || opened.is_whole(release)?)
                }
                _ => true,
            };
            if stays {
                staying.push(release);
            }
        }
        Ok(staying)
    }
}

fn contradicts(record: &Record, release: &Release) -> bool {
    record
        .releases
        .get(&release.sequence)
        .is_some_and(|manifest| *manifest != release.manifest)
}

fn check(
    record: &Record,
    opened: Option<&Opened<'_>>,
    there: Option<Place>,
    place: &str,
    name: &str,
) -> Result<()> {
    let next = record.newest().map_or(1, |(sequence, _)| sequence + 1);
    let Some((head, digest)) = opened.and_then(|opened| opened.head.as_ref().zip(opened.head_digest)) else {
        let Some((elsewhere, last)) = record.last() else {
            return Ok(());
        };
        return Err(PublishError::BeginsAnew {
            place: place.to_owned(),
            name: name.to_owned(),
            last: last.at,
            there: elsewhere.to_owned(),
            next,
        });
    };
    if let Some(release) = head.releases.iter().find(|release| contradicts(record, release)) {
        return Err(PublishError::HeadContradicts {
            place: place.to_owned(),
            what: format!("release {}", release.sequence),
            next,
        });
    }
    let Some(there) = there else { return Ok(()) };
    let number = (head.epoch, head.revision);
    if number < there.number() {
        return Err(PublishError::HeadOlder {
            place: place.to_owned(),
            revision: head.revision,
            published: there.revision,
            at: there.at,
            next,
        });
    }
    if number == there.number() && digest != there.head {
        return Err(PublishError::HeadContradicts {
            place: place.to_owned(),
            what: format!("revision {}", head.revision),
            next,
        });
    }
    Ok(())
}
