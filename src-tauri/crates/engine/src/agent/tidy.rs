//! Which releases stay in the store, and removing what no subscription needs.
//!
//! A release stays until a later one has proved itself: it *has run* when its guest executed and its machine ended
//! without a failure. Of those that have run the newest two stay, so that there is always one to go back to that is known
//! to work; so does everything newer, what a machine uses or is bound to, what is being fetched, and what somebody had
//! fetched by its number.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use livepc_format::Release;
use livepc_protocol::{Job, Problem, Pruned, PrunedRelease};
use livepc_store::{PruneReport, ReleaseKey};

use super::core::Core;
use crate::locked::lock;
use crate::subscription::{self, Subscription};

/// Releases of one LivePC that have run and stay: the one that is used, and one to go back to.
const THAT_RAN: usize = 2;

/// How long who was given a release may take until it says that it reads it.
const UNTIL_LEASED: Duration = Duration::from_secs(60);

/// What decides about the releases of one LivePC.
#[derive(Debug, Default)]
struct Needs {
    /// Those that are here and have run, and that can be gone back to.
    ran: BTreeSet<u64>,
    /// Those that somebody or something needs, whatever has run.
    needed: BTreeSet<u64>,
}

/// Why a release stays.
#[derive(Clone, Copy, Debug)]
enum Why {
    /// Somebody or something needs it, or it is one to go back to.
    Needed,
    /// Somebody or something needs it, whatever has run.
    InUse,
}

impl Needs {
    /// Whether a release stays.
    fn keep(&self, sequence: u64) -> bool {
        let oldest = self.ran.iter().rev().nth(THAT_RAN - 1);
        // As long as too few have run, nothing was replaced.
        self.needed.contains(&sequence) || oldest.is_none_or(|oldest| sequence >= *oldest)
    }
}

impl Core {
    /// Removes from the store what no subscription needs. What cannot be removed now is removed when the agent starts next.
    pub(super) async fn tidy_store(self: &Arc<Self>) {
        if let Err(problem) = self.remove_what_nobody_needs(true).await {
            tracing::warn!("the store keeps what nobody needs: {problem}");
        }
    }

    /// Removes the releases that later ones have replaced, if there are any.
    pub(super) async fn forget_what_is_replaced(self: &Arc<Self>) {
        if let Err(problem) = self.remove_what_nobody_needs(false).await {
            tracing::warn!("the store keeps what was replaced: {problem}");
        }
    }

    /// Removes what no subscription needs, or only says what that is.
    pub(super) async fn prune(self: &Arc<Self>, dry_run: bool) -> Result<Pruned, Problem> {
        let subscriptions = subscription::all(&self.database)?;
        let report = if dry_run {
            let replaced = self.not_staying(&subscriptions).await?;
            self.with_store(move |store| store.would_prune(&replaced)).await?
        } else {
            self.database.nothing_is_lost()?;
            self.remove_what_nobody_needs(true).await?
        };
        Ok(told(&subscriptions, report))
    }

    /// The releases that are kept, and that nobody needs any more. After subscriptions were lost with a damaged state, those of
    /// LivePCs that nobody is subscribed to are not among them: only a person can say that.
    pub(super) async fn replaced(&self, subscriptions: &[Subscription]) -> Result<Vec<ReleaseKey>, Problem> {
        let mut replaced = self.not_staying(subscriptions).await?;
        if self.database.has_lost()? {
            replaced.retain(|key| {
                subscriptions
                    .iter()
                    .any(|other| sequence_of(key, other).is_some())
            });
        }
        Ok(replaced)
    }

    async fn not_staying(&self, subscriptions: &[Subscription]) -> Result<Vec<ReleaseKey>, Problem> {
        let mut kept = self.with_store(livepc_store::Store::kept).await?;
        let stay = self.staying(subscriptions, &kept, Why::Needed)?;
        kept.retain(|key| !stay.contains(key.as_str()));
        Ok(kept)
    }

    /// The releases that only stay to be gone back to: those of the LivePC first that was not used for the longest time,
    /// and of these the oldest.
    pub(super) async fn spare(&self, subscriptions: &[Subscription]) -> Result<Vec<ReleaseKey>, Problem> {
        let kept = self.with_store(livepc_store::Store::kept).await?;
        let stay = self.staying(subscriptions, &kept, Why::Needed)?;
        let in_use = self.staying(subscriptions, &kept, Why::InUse)?;
        let mut spare = Vec::new();
        for key in kept {
            let found = subscriptions
                .iter()
                .find_map(|subscription| Some((subscription.last_used, sequence_of(&key, subscription)?)));
            if let Some(place) = found
                && stay.contains(key.as_str())
                && !in_use.contains(key.as_str())
            {
                spare.push((place, key));
            }
        }
        spare.sort();
        Ok(spare.into_iter().map(|(_, key)| key).collect())
    }

    /// Forgets releases, and prunes the store after that, or `always`; gives what went.
    pub(super) async fn remove_what_nobody_needs(
        self: &Arc<Self>,
        always: bool,
    ) -> Result<PruneReport, Problem> {
        let subscriptions = subscription::all(&self.database)?;
        let all_told = self.all_told(&subscriptions);
        let mut forgotten = false;
        for key in self.replaced(&subscriptions).await? {
            forgotten |= self.forget_release(key).await?;
        }
        let needed: HashSet<String> = subscriptions.iter().map(|s| s.livepc.to_string()).collect();
        lock(&self.releases).retain(|key, _| livepc_of(key).is_some_and(|livepc| needed.contains(livepc)));
        if !always && !forgotten {
            return Ok(PruneReport::default());
        }
        let report = self
            .with_store(move |store| {
                if store.references_lost()? && all_told {
                    store.references_restored()?;
                }
                store.prune(false)
            })
            .await?;
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.touch();
        Ok(report)
    }

    /// Forgets a release, unless it is just being opened: then somebody needs it after all.
    pub(super) async fn forget_release(&self, key: ReleaseKey) -> Result<bool, Problem> {
        let name = key.as_str().to_owned();
        let Ok(_turn) = self.openings.of(&name).try_lock_owned() else {
            return Ok(false);
        };
        tracing::info!(release = name, "the store forgets a release");
        let forgotten = self.with_store(move |store| store.forget(&key)).await?;
        // Who wants it again opens it anew, and with that says again what it needs.
        lock(&self.releases).remove(&name);
        Ok(forgotten)
    }

    /// True if the store was told what each release needs that is here: one that is opened has told it.
    fn all_told(&self, subscriptions: &[Subscription]) -> bool {
        let opened = |subscription: &Subscription, release: &Release| {
            lock(&self.releases).contains_key(&subscription.key(release.sequence))
        };
        subscriptions.iter().all(|subscription| {
            let here = |release: &&Release| self.reader.has_object(&release.manifest);
            let mut releases = subscription.head.releases.iter().filter(here);
            releases.all(|release| opened(subscription, release))
        })
    }

    /// The keys of the releases that stay for a reason, of those that are kept now.
    fn staying(
        &self,
        subscriptions: &[Subscription],
        kept: &[ReleaseKey],
        why: Why,
    ) -> Result<HashSet<String>, Problem> {
        let jobs = self.jobs_to_do()?;
        let handed_out: HashSet<String> = {
            let mut handed_out = lock(&self.handed_out);
            handed_out.retain(|_, at| at.elapsed() < UNTIL_LEASED);
            handed_out.keys().cloned().collect()
        };
        let mut stay = HashSet::new();
        for subscription in subscriptions {
            let needs = self.needs(subscription, kept, &jobs)?;
            let own = kept.iter().filter_map(|key| sequence_of(key, subscription));
            for sequence in own {
                let key = subscription.key(sequence);
                let stays = match why {
                    Why::Needed => needs.keep(sequence),
                    Why::InUse => needs.needed.contains(&sequence),
                };
                if stays || handed_out.contains(&key) {
                    stay.insert(key);
                }
            }
        }
        Ok(stay)
    }

    fn needs(
        &self,
        subscription: &Subscription,
        kept: &[ReleaseKey],
        jobs: &[Job],
    ) -> Result<Needs, Problem> {
        let history = subscription::history(&self.database, &subscription.id)?;
        let records = self.machine_folder(&subscription.id).records();
        let runner = self.machines.state(&subscription.id);
        let bound = [
            subscription.in_use,
            subscription.pinned,
            subscription.newest().map(|release| release.sequence),
            self.next_release(subscription, &records).ok(),
            records
                .suspension
                .as_ref()
                .ok()
                .and_then(Option::as_ref)
                .map(|suspension| suspension.release),
            records
                .changes
                .as_ref()
                .ok()
                .and_then(Option::as_ref)
                .map(|changes| changes.release),
            runner.map(|runner| runner.release),
        ];
        let fetched = jobs.iter().filter(|job| job.id == subscription.id);
        let mut needed = history.wanted;
        needed.extend(bound.into_iter().flatten());
        needed.extend(fetched.map(|job| job.release));
        let here: BTreeSet<u64> = kept
            .iter()
            .filter_map(|key| sequence_of(key, subscription))
            .collect();
        if records.suspension.is_err() || records.changes.is_err() {
            // It could be any of them that the machine is bound to.
            needed.extend(&here);
        }
        let good = |sequence: &u64| {
            // One that is no longer listed cannot be started.
            let listed = subscription.head.release(*sequence).is_some();
            listed && !subscription.is_yanked(*sequence) && here.contains(sequence)
        };
        Ok(Needs {
            ran: history.ran.into_iter().filter(good).collect(),
            needed,
        })
    }
}

/// What left the store, as a person is told.
fn told(subscriptions: &[Subscription], report: PruneReport) -> Pruned {
    let releases = report.releases.into_iter().map(|(key, bytes)| {
        let found = subscriptions
            .iter()
            .find_map(|subscription| Some((subscription, sequence_of(&key, subscription)?)));
        let (livepc, sequence) = key.as_str().rsplit_once('-').unwrap_or((key.as_str(), ""));
        let release = found.and_then(|(subscription, sequence)| subscription.head.release(sequence));
        PrunedRelease {
            id: found.map(|(subscription, _)| subscription.id.clone()),
            title: found
                .map_or(livepc, |(subscription, _)| subscription.title.as_str())
                .to_owned(),
            release: sequence.parse().unwrap_or_default(),
            label: release.map(|release| release.label.clone()),
            bytes,
        }
    });
    let releases: Vec<_> = releases.collect();
    Pruned {
        leftover_bytes: report.bytes - releases.iter().map(|release| release.bytes).sum::<u64>(),
        releases,
        bytes: report.bytes,
    }
}

/// The id of the LivePC in a release's key.
pub(super) fn livepc_of(key: &str) -> Option<&str> {
    key.rsplit_once('-').map(|(livepc, _)| livepc)
}

/// The sequence in a release's key, if it is one of this subscription.
fn sequence_of(key: &ReleaseKey, subscription: &Subscription) -> Option<u64> {
    let (livepc, sequence) = key.as_str().rsplit_once('-')?;
    let sequence = sequence.parse().ok()?;
    (livepc == subscription.livepc.to_string()).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of releases 1 to 5, those that stay.
    fn staying(ran: &[u64], needed: &[u64]) -> Vec<u64> {
        let needs = Needs {
            ran: ran.iter().copied().collect(),
            needed: needed.iter().copied().collect(),
        };
        (1..=5).filter(|sequence| needs.keep(*sequence)).collect()
    }

    /// A new release that does not start must never be all that is left.
    #[test]
    fn what_ran_stays_until_two_later_ones_have_run() {
        assert_eq!(staying(&[], &[]), [1, 2, 3, 4, 5]);
        assert_eq!(
            staying(&[4], &[5]),
            [1, 2, 3, 4, 5],
            "nothing newer has proved itself"
        );
        assert_eq!(
            staying(&[3, 4], &[5]),
            [3, 4, 5],
            "5 is here, and has not run yet"
        );
        assert_eq!(staying(&[3, 4, 5], &[5]), [4, 5]);
        assert_eq!(
            staying(&[1, 5], &[5]),
            [1, 2, 3, 4, 5],
            "1 is the only one to go back to"
        );
    }

    #[test]
    fn what_is_needed_stays_whatever_has_run() {
        assert_eq!(staying(&[4, 5], &[1]), [1, 4, 5]);
    }
}
