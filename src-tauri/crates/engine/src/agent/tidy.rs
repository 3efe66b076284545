//! Which releases stay in the store, and removing what no subscription needs.
//!
//! A release that was used stays until later ones have proved themselves: it *has run* when its guest executed and its
//! machine ended without a failure. Of those that have run the newest two stay, so that there is always one to go back to
//! that is known to work. A release that nobody ran stays until a later one is here as far as it is: who follows a
//! publisher and starts the machine once a month does not keep thirty of them. Whatever else holds, these stay: what a
//! machine uses or is bound to, the newest, what the next start would use, what is being fetched, and an older one that
//! somebody had fetched by its number.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use livepc_format::Release;
use livepc_protocol::{Job, Problem, Pruned, PrunedRelease};
use livepc_store::{PruneReport, ReleaseKey};

use super::core::Core;
use super::progress::Local;
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
    /// How far those are here that a start could use.
    here: BTreeMap<u64, Level>,
    /// Those that somebody or something needs, whatever has run.
    needed: BTreeSet<u64>,
}

/// How far a release is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Parts of it.
    Begun,
    /// What a start reads.
    BootReady,
    /// All of it.
    Complete,
}

impl From<Local> for Level {
    fn from(local: Local) -> Self {
        match (local.complete, local.boot_ready) {
            (true, _) => Self::Complete,
            (_, true) => Self::BootReady,
            _ => Self::Begun,
        }
    }
}

/// Why a release stays.
#[derive(Clone, Copy, Debug)]
enum Why {
    /// Somebody or something needs it, or it is one to go back to.
    Needed,
    /// The same, but that somebody had it fetched by its number.
    Unasked,
    /// Somebody or something needs it, whatever has run.
    InUse,
}

impl Needs {
    /// Whether a release stays.
    fn keep(&self, sequence: u64) -> bool {
        if self.needed.contains(&sequence) {
            return true;
        }
        if self.ran.contains(&sequence) {
            return self.ran.iter().rev().take(THAT_RAN).any(|ran| *ran == sequence);
        }
        // Parts of a later one are in the place of nothing.
        let own = self.here.get(&sequence).copied().unwrap_or(Level::Begun);
        let least = own.max(Level::BootReady);
        !self.here.range(sequence + 1..).any(|(_, level)| *level >= least)
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

    /// Removes what no subscription needs, or only says what that is; if `wanted`, also what somebody had fetched by its
    /// number.
    pub(super) async fn prune(self: &Arc<Self>, dry_run: bool, wanted: bool) -> Result<Pruned, Problem> {
        let subscriptions = subscription::all(&self.database)?;
        if wanted && !dry_run {
            subscription::nothing_wanted(&self.database)?;
        }
        let kept = self.kept_for_somebody(&subscriptions).await?;
        let report = if dry_run {
            let why = if wanted { Why::Unasked } else { Why::Needed };
            let replaced = self.not_staying(&subscriptions, why).await?;
            self.with_store(move |store| store.would_prune(&replaced)).await?
        } else {
            self.database.nothing_is_lost()?;
            self.remove_what_nobody_needs(true).await?
        };
        Ok(told(&subscriptions, report, kept))
    }

    /// The releases that stay for no other reason than that somebody had them fetched by their number, with what they
    /// take.
    async fn kept_for_somebody(
        &self,
        subscriptions: &[Subscription],
    ) -> Result<Vec<(ReleaseKey, u64)>, Problem> {
        let kept = self.with_store(livepc_store::Store::kept).await?;
        let stay = self.staying(subscriptions, &kept, Why::Needed)?;
        let without = self.staying(subscriptions, &kept, Why::Unasked)?;
        let only = |key: &ReleaseKey| stay.contains(key.as_str()) && !without.contains(key.as_str());
        let wanted: Vec<ReleaseKey> = kept.into_iter().filter(only).collect();
        let report = self.with_store(move |store| store.would_prune(&wanted)).await?;
        Ok(report.releases)
    }

    /// The releases that are kept, and that nobody needs any more. After subscriptions were lost with a damaged state, those of
    /// LivePCs that nobody is subscribed to are not among them: only a person can say that.
    pub(super) async fn replaced(&self, subscriptions: &[Subscription]) -> Result<Vec<ReleaseKey>, Problem> {
        let mut replaced = self.not_staying(subscriptions, Why::Needed).await?;
        if self.database.has_lost()? {
            replaced.retain(|key| {
                subscriptions
                    .iter()
                    .any(|other| sequence_of(key, other).is_some())
            });
        }
        Ok(replaced)
    }

    /// The releases that are kept, and that do not stay for this reason.
    async fn not_staying(
        &self,
        subscriptions: &[Subscription],
        why: Why,
    ) -> Result<Vec<ReleaseKey>, Problem> {
        let mut kept = self.with_store(livepc_store::Store::kept).await?;
        let stay = self.staying(subscriptions, &kept, why)?;
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
            let mut releases = subscription.releases().filter(here);
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
            let needs = self.needs(subscription, kept, &jobs, why)?;
            let own = kept.iter().filter_map(|key| sequence_of(key, subscription));
            for sequence in own {
                let key = subscription.key(sequence);
                let stays = match why {
                    Why::Needed | Why::Unasked => needs.keep(sequence),
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
        why: Why,
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
        let mut needed = match why {
            Why::Unasked => BTreeSet::new(),
            Why::Needed | Why::InUse => history.wanted,
        };
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
            // One that is no longer listed is only for who is bound to it.
            let listed = subscription.head.release(*sequence).is_some();
            listed && !subscription.is_yanked(*sequence) && here.contains(sequence)
        };
        let level = |sequence: &u64| Level::from(self.local_of_release(subscription, *sequence));
        Ok(Needs {
            ran: history.ran.into_iter().filter(&good).collect(),
            here: here
                .iter()
                .filter(|sequence| good(sequence))
                .map(|sequence| (*sequence, level(sequence)))
                .collect(),
            needed,
        })
    }
}

/// What left the store, and what was kept for somebody, as a person is told.
fn told(subscriptions: &[Subscription], report: PruneReport, kept: Vec<(ReleaseKey, u64)>) -> Pruned {
    let of = |(key, bytes): (ReleaseKey, u64)| {
        let found = subscriptions
            .iter()
            .find_map(|subscription| Some((subscription, sequence_of(&key, subscription)?)));
        let (livepc, sequence) = key.as_str().rsplit_once('-').unwrap_or((key.as_str(), ""));
        let release = found.and_then(|(subscription, sequence)| subscription.release(Some(sequence)).ok());
        PrunedRelease {
            id: found.map(|(subscription, _)| subscription.id.clone()),
            title: found
                .map_or(livepc, |(subscription, _)| subscription.title.as_str())
                .to_owned(),
            release: sequence.parse().unwrap_or_default(),
            label: release.map(|release| release.label.clone()),
            bytes,
        }
    };
    let releases: Vec<_> = report.releases.into_iter().map(of).collect();
    let gone = |kept: &(ReleaseKey, u64)| {
        let kept = of(kept.clone());
        releases
            .iter()
            .any(|gone| (&gone.title, gone.release) == (&kept.title, kept.release))
    };
    Pruned {
        leftover_bytes: report.bytes - releases.iter().map(|release| release.bytes).sum::<u64>(),
        kept: kept.into_iter().filter(|kept| !gone(kept)).map(of).collect(),
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

    /// Of releases 1 to 5, those that stay, if all are complete but these.
    fn staying_with(ran: &[u64], needed: &[u64], less: &[(u64, Level)]) -> Vec<u64> {
        let mut here: BTreeMap<u64, Level> = (1..=5).map(|sequence| (sequence, Level::Complete)).collect();
        here.extend(less.iter().copied());
        let needs = Needs {
            ran: ran.iter().copied().collect(),
            needed: needed.iter().copied().collect(),
            here,
        };
        (1..=5).filter(|sequence| needs.keep(*sequence)).collect()
    }

    fn staying(ran: &[u64], needed: &[u64]) -> Vec<u64> {
        staying_with(ran, needed, &[])
    }

    /// A new release that does not start must never be all that is left.
    #[test]
    fn what_ran_stays_until_two_later_ones_have_run() {
        assert_eq!(staying(&[4], &[5]), [4, 5], "5 has not run yet");
        assert_eq!(staying(&[3, 4], &[5]), [3, 4, 5], "5 has not run yet");
        assert_eq!(staying(&[3, 4, 5], &[5]), [4, 5]);
        assert_eq!(staying(&[1, 5], &[5]), [1, 5], "1 is the only one to go back to");
        assert_eq!(staying(&[1], &[]), [1, 5]);
    }

    /// Who follows a publisher and starts nothing would fill the disk.
    #[test]
    fn what_nobody_ran_stays_until_a_later_one_is_here() {
        assert_eq!(staying(&[], &[]), [5]);
        assert_eq!(
            staying_with(&[], &[5], &[(5, Level::Begun)]),
            [4, 5],
            "5 is being fetched: until it is here, 4 is what starts without the network"
        );
        assert_eq!(
            staying_with(&[], &[5], &[(5, Level::BootReady)]),
            [4, 5],
            "4 is more of a machine than 5"
        );
        let begun = [
            (1, Level::Begun),
            (2, Level::BootReady),
            (3, Level::Begun),
            (5, Level::BootReady),
        ];
        assert_eq!(staying_with(&[], &[], &begun), [4, 5]);
        let all_begun = [1, 2, 3, 4, 5].map(|sequence| (sequence, Level::Begun));
        assert_eq!(
            staying_with(&[], &[], &all_begun),
            [1, 2, 3, 4, 5],
            "nothing replaces anything"
        );
    }

    #[test]
    fn what_is_needed_stays_whatever_has_run() {
        assert_eq!(staying(&[4, 5], &[1]), [1, 4, 5]);
    }
}
