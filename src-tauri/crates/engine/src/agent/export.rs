//! Exports: a release's disks, or a machine's, are fetched if need be, and written as files for other programs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use livepc_protocol::{Code, Export, Job, JobKind, JobPhase, Problem, Until};
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::jobs::Active;
use super::speed::Speed;
use crate::export::{Plan, StillMachine};
use crate::serve::Release;
use crate::subscription::{self, Subscription};

/// How often what is shown of an export changes at the most.
const OFTEN: Duration = Duration::from_millis(100);

/// A release or a machine, and what its export takes. Until this is dropped the machine that is exported does not change.
struct Exporting {
    release: Release,
    plan: Plan,
    _machine: Option<Exported>,
}

/// Tells those who want to do something with a machine why they cannot.
struct Exported {
    core: Arc<Core>,
    id: String,
}

impl Drop for Exported {
    fn drop(&mut self) {
        self.core.machines.set_exported(&self.id, false);
    }
}

impl Core {
    /// Queues an export, or finds the job that does it already. What cannot be exported is found out here, before anything
    /// is fetched for it.
    pub(super) async fn queue_export(
        self: &Arc<Self>,
        subscription: &Subscription,
        release: Option<u64>,
        export: Export,
    ) -> Result<Job, Problem> {
        let same = |job: &Job| {
            job.id == subscription.id
                && job.export.as_ref() == Some(&export)
                && release.is_none_or(|release| release == job.release)
        };
        if let Some(job) = self.join(same) {
            return Ok(job);
        }
        if !export.place.is_absolute() {
            return Err(Problem::new(
                Code::Usage,
                format!("{} is not an absolute path.", export.place.display()),
                "Give the whole path of the file or folder.",
            ));
        }
        let exporting = self.plan_export(&subscription.id, release, &export).await?;
        let sequence = exporting.release.opened.release;
        drop(exporting);
        let job = self.new_job(subscription, JobKind::Export, sequence);
        let job = Job {
            until: Some(Until::Complete),
            export: Some(export.clone()),
            ..job
        };
        self.join_or_begin(same, job)
    }

    async fn plan_export(
        self: &Arc<Self>,
        id: &str,
        release: Option<u64>,
        export: &Export,
    ) -> Result<Exporting, Problem> {
        let (still, release) = if export.changes {
            let still = StillMachine::hold_changed(&self.home, id).await?;
            let changed = still.release()?;
            if release.is_some_and(|release| release != changed) {
                return Err(Problem::new(
                    Code::Usage,
                    format!("The changes belong to release {changed}."),
                    "Leave the release out.",
                ));
            }
            (Some(still), Some(changed))
        } else {
            (None, release)
        };
        // As any other reader: by the agent's own socket.
        let release = Release::open(&self.home, &self.launcher, id, release).await?;
        let plan = Plan::make(&self.home, &self.launcher, &release, still, export.clone()).await?;
        let _machine = plan.holds_machine().then(|| {
            self.machines.set_exported(id, true);
            Exported {
                core: self.clone(),
                id: id.to_owned(),
            }
        });
        Ok(Exporting {
            release,
            plan,
            _machine,
        })
    }

    /// Fetches what is missing, and writes the export.
    pub(super) async fn export(self: &Arc<Self>, active: &Arc<Active>) -> Result<(), Problem> {
        let job = active.show();
        let Some(export) = &job.export else {
            return Err(Problem::new(
                Code::Failed,
                "The job does not say what it exports.",
                "Export again.",
            ));
        };
        // It may have ended since the job was queued.
        let subscription = subscription::find(&self.database, &job.id)?;
        let release = (!export.changes).then_some(job.release);
        let exporting = self.plan_export(&subscription.id, release, export).await?;
        let Exporting { release, plan, .. } = &exporting;
        if plan.reads_release() && !release.opened.complete {
            self.download(active).await?;
        }
        active.update(|job| {
            (job.bytes_done, job.bytes_total) = (0, plan.bytes());
            (job.bytes_reused, job.bytes_per_second) = (0, 0);
        });
        self.set_phase(active, JobPhase::Writing);
        let stop = CancellationToken::new();
        // Who drops this drops the export, and what it has written.
        let _stopped = stop.clone().drop_guard();
        let (active, runtime) = (active.clone(), tokio::runtime::Handle::current());
        Self::blocking(move || {
            let Exporting { release, plan, .. } = &exporting;
            let (mut speed, mut told) = (Speed::default(), Instant::now());
            let mut progress = |done: u64, total: u64| {
                if done == total || told.elapsed() >= OFTEN {
                    told = Instant::now();
                    active.update(|job| {
                        job.bytes_done = done;
                        job.bytes_per_second = speed.now(done);
                    });
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    () = stop.cancelled() => Err(Problem::new(Code::Cancelled, "The export was stopped.", "")),
                    done = plan.write(release, &mut progress) => done,
                }
            })
        })
        .await?
    }
}
