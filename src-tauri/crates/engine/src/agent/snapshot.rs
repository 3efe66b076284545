//! What clients see: all of it, at most four times a second.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use livepc_protocol::{
    LivePc, MachineState, OwnDisk, Problem, ReleaseInfo, Snapshot, StoreUse, Trust, Until,
};

use super::core::Core;
use super::lifecycle::kept_changes;
use super::progress::Local;
use crate::folder_bytes::folder_bytes;
use crate::freshness;
use crate::hypervisors::for_clients;
use crate::locked::lock;
use crate::lookalike;
use crate::machine_folder::{OverlayRecord, Suspension};
use crate::pages;
use crate::session_end;
use crate::subscription::{self, Subscription};
use crate::user_disk::UserDisk;

/// Ended jobs that a snapshot shows.
const ENDED_JOBS: usize = 20;

impl Core {
    /// A subscription as clients see it.
    pub(super) fn show(&self, subscription: &Subscription) -> LivePc {
        let available = subscription.newest();
        let records = self.machine_folder(&subscription.id).records();
        let next = self.next_release(subscription, &records).ok();
        let local = next
            .map(|sequence| self.local_of_release(subscription, sequence))
            .unwrap_or_default();
        let runner = self.machines.state(&subscription.id);
        let label = |sequence: u64| {
            let release = subscription.release(Some(sequence)).ok();
            release.map(|release| release.label.clone())
        };
        let in_use = subscription.in_use;
        let current = self.current_release(subscription);
        let update = available.filter(|release| current.is_some_and(|current| current != release.sequence));
        let problem = runner
            .as_ref()
            .and_then(|runner| runner.problem.clone())
            .or_else(|| records.suspension.clone().err())
            .or_else(|| kept_changes(subscription, &records).err())
            // What a person can do something about, before what once happened.
            .or_else(|| {
                subscription
                    .problem
                    .clone()
                    .filter(|problem| problem.sign_in.is_some())
            })
            .or_else(|| subscription.outcome.clone())
            .or_else(|| subscription.problem.clone());
        let root = &subscription.keys.root;
        let suspension = records.suspension.as_ref().ok().and_then(Option::as_ref);
        let suspended_in = suspension.and_then(Suspension::hypervisor);
        let changes = records.changes.as_ref().ok().and_then(Option::as_ref);
        let changed_in = changes.and_then(OverlayRecord::hypervisor);
        let bound = suspended_in.or(changed_in).map(for_clients);
        let runs = runner.as_ref().filter(|runner| runner.state.is_live());
        let hypervisor = runs.and_then(|runner| runner.hypervisor).or(bound);
        let passed_over = runs.and_then(|runner| runner.passed_over.clone());
        let withdrawn = next
            .into_iter()
            .chain(runs.map(|runner| runner.release))
            .find(|sequence| subscription.is_withdrawn(*sequence));
        let share = self.share_of(subscription.livepc);
        let runner_state = runner.map(|runner| runner.state);
        LivePc {
            id: subscription.id.clone(),
            title: subscription.title.clone(),
            summary: subscription.summary.clone(),
            publisher: subscription.publisher.clone(),
            guest_os: subscription.guest_os.clone(),
            feed_url: subscription.feed_url.to_string(),
            moved_from: subscription.moved_from.as_ref().map(ToString::to_string),
            publisher_key: root.to_string(),
            fingerprint: root.fingerprint().to_string(),
            trust: Trust::Verified,
            alike: false,
            release_in_use: in_use,
            label_in_use: in_use.and_then(label),
            release_available: available.map(|release| release.sequence),
            label_available: available.map(|release| release.label.clone()),
            boot_ready: local.boot_ready,
            complete: local.complete,
            has_boot_map: next
                .and_then(|n| subscription.release(Some(n)).ok())
                .is_some_and(|r| r.boot_map.is_some()),
            bytes_local: local.bytes,
            bytes_total: local.total,
            boot_bytes_local: local.boot_bytes,
            boot_bytes_total: local.boot_total,
            update_bytes: update.map(|release| self.update_bytes(subscription, release.sequence)),
            state: self.machine_state(subscription, local, runner_state, records.is_suspended()),
            problem,
            stale: freshness::stale(subscription, (self.now)()),
            yanked: next
                .into_iter()
                .chain(in_use)
                .find(|sequence| subscription.is_yanked(*sequence)),
            withdrawn,
            checked: subscription.checked,
            last_used: subscription.last_used,
            hypervisor,
            passed_over,
            policy: subscription.policy,
            pinned: subscription.pinned,
            keep_changes: subscription.keep_changes,
            changes_bytes: records.changes_bytes,
            suspended: suspension.map(|suspension| suspension.at),
            suspended_bytes: records.suspended_bytes,
            own_disks: next
                .map(|next| self.own_disks(subscription, next))
                .unwrap_or_default(),
            rollback_to: next.and_then(|next| self.rollback_offer(subscription, next)),
            store_bytes_private: share.private,
            store_bytes_shared: share.shared,
            machine_bytes: folder_bytes(&self.home.machine(&subscription.id))
                + folder_bytes(&crate::runner::flat::all(&self.home, &subscription.id)),
        }
    }

    /// The disks of a release that are the subscriber's own, as long as the release is known here.
    fn own_disks(&self, subscription: &Subscription, release: u64) -> Vec<OwnDisk> {
        let opened = lock(&self.releases).get(&subscription.key(release)).cloned();
        let Some(opened) = opened else {
            return Vec::new();
        };
        let folder = self.home.machine(&subscription.id);
        let disks = opened.manifest.disks.iter().filter_map(|disk| {
            let made = UserDisk::of(&folder, disk).ok()?.size().ok()?;
            Some(OwnDisk {
                role: disk.role.clone(),
                size: made.unwrap_or(disk.size),
                made: made.is_some(),
            })
        });
        disks.collect()
    }

    fn machine_state(
        &self,
        subscription: &Subscription,
        local: Local,
        runner: Option<MachineState>,
        suspended: bool,
    ) -> MachineState {
        match runner {
            Some(state) if state.is_live() => return state,
            _ if suspended => return MachineState::Suspended,
            Some(MachineState::Failed) => return MachineState::Failed,
            _ => {}
        }
        let failed = |outcome: &Problem| !session_end::is_of_it(outcome);
        if subscription.outcome.as_ref().is_some_and(failed) {
            return MachineState::Failed;
        }
        if local.boot_ready {
            return if subscription.last_used.is_some() {
                MachineState::Stopped
            } else {
                MachineState::Ready
            };
        }
        if self.jobs.downloading(&subscription.id) {
            return MachineState::Preparing;
        }
        if subscription.last_used.is_some() {
            return MachineState::Stopped;
        }
        if local.opened && local.bytes + local.boot_bytes > 0 {
            MachineState::Ready
        } else {
            MachineState::Absent
        }
    }

    /// A subscription's releases, newest first; those behind a release only, if one is given.
    pub(super) fn releases_of(
        &self,
        subscription: &Subscription,
        after: Option<u64>,
    ) -> impl Iterator<Item = ReleaseInfo> {
        let releases = subscription.head.releases.iter();
        let releases = releases.filter(move |release| after.is_none_or(|after| release.sequence < after));
        let changelog = |sequence: u64| {
            let opened = lock(&self.releases).get(&subscription.key(sequence)).cloned();
            opened.map(|opened| opened.changelog()).unwrap_or_default()
        };
        releases.map(move |release| ReleaseInfo {
            sequence: release.sequence,
            label: release.label.clone(),
            created: release.created,
            changelog: changelog(release.sequence),
            state: crate::words::word(&release.state),
            bytes_to_fetch: self.bytes_to_fetch(subscription, release.sequence, Until::Complete),
        })
    }

    /// All subscriptions as clients see them, by title. One whose showing panics is left out.
    pub(super) async fn livepcs(self: &Arc<Self>) -> Result<Vec<LivePc>, Problem> {
        let core = self.clone();
        Self::blocking(move || {
            let subscriptions = subscription::all(&core.database)?;
            let shown = subscriptions.iter().filter_map(|subscription| {
                let shown = livepc_panics::caught("Showing a LivePC", || core.show(subscription));
                shown
                    .inspect_err(|panicked| tracing::error!(id = subscription.id, "{panicked}"))
                    .ok()
            });
            let mut livepcs: Vec<LivePc> = shown.collect();
            lookalike::mark(&mut livepcs);
            Ok(livepcs)
        })
        .await?
    }

    /// All that clients show, now. Subscriptions that cannot be read are shown as they were: who waits for a job must learn
    /// of its end all the same.
    pub(super) async fn snapshot(self: &Arc<Self>) -> Result<Snapshot, Problem> {
        let free = self.free_space().await;
        let livepcs = match self.livepcs().await {
            Ok(livepcs) => livepcs,
            Err(problem) => {
                tracing::warn!("the subscriptions are shown as they were: {problem}");
                self.snapshots.borrow().livepcs.clone()
            }
        };
        let core = self.clone();
        Self::blocking(move || {
            let mut jobs = core.jobs.active();
            jobs.extend(core.jobs.ended().into_iter().take(ENDED_JOBS));
            let mut snapshot = Snapshot {
                livepcs,
                jobs,
                paused: core.is_paused(),
                store: StoreUse {
                    place: core.home.store().display().to_string(),
                    bytes: core.store_bytes(),
                    free,
                },
                library_revision: core.library_revision.load(Ordering::SeqCst),
                omitted: 0,
            };
            pages::fit(&mut snapshot);
            snapshot
        })
        .await
    }

    /// Sends snapshots to those who watch, after changes.
    pub(super) async fn publish_snapshots(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            self.publish_snapshot().await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Sends what is to be seen now to those who watch. Who begins to watch after this sees nothing older.
    pub(super) async fn publish_snapshot(self: &Arc<Self>) {
        // One at a time, so that none that was made earlier is sent later.
        let _turn = self.publishing.lock().await;
        match self.snapshot().await {
            Ok(snapshot) => {
                self.snapshots.send_if_modified(|last| {
                    let news = *last != snapshot;
                    *last = snapshot;
                    news
                });
            }
            Err(problem) => tracing::warn!("{problem}"),
        }
    }
}
