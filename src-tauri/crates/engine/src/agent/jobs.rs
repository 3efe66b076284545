//! Jobs: work that is persisted, shown as whole snapshots, and gone on with after the agent was killed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use livepc_panics::fenced;
use livepc_protocol::{Code, Job, JobAction, JobKind, JobPhase, JobStatus, Problem, Until};
use rusqlite::params;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::core::Core;
use crate::locked::lock;
use crate::problems::not_found;
use crate::subscription::{self, Subscription};

/// Jobs that are at work at the same time; more would only share the same link.
const AT_WORK: usize = 3;
/// The pause before a job is tried again for which the network failed, at first and at the most.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const MOST_PAUSE: Duration = Duration::from_secs(300);
/// The pauses before what is late is asked for again without a word.
const LATE: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// Ended jobs that are remembered.
const HISTORY: usize = 100;

/// The jobs that have not ended, and those that ended lately.
pub(super) struct Jobs {
    active: Mutex<BTreeMap<u64, Arc<Active>>>,
    /// Newest first, at most `HISTORY`. Who waits for a job learns its end from here, whether it could be recorded or not.
    ended: Mutex<VecDeque<Job>>,
    /// Held from the look for a job that does it already until there is one: two who ask at once share it.
    beginning: Mutex<()>,
    places: Semaphore,
}

/// A job that has not ended.
pub(super) struct Active {
    job: Mutex<Job>,
    stop: Mutex<CancellationToken>,
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self {
            active: Mutex::default(),
            ended: Mutex::default(),
            beginning: Mutex::default(),
            places: Semaphore::new(AT_WORK),
        }
    }

    /// True if a job would go on by itself.
    pub(super) fn at_work(&self) -> bool {
        lock(&self.active).values().any(|active| {
            matches!(
                active.show().status,
                JobStatus::Queued | JobStatus::Running | JobStatus::Waiting
            )
        })
    }

    /// The jobs that have not ended, newest first.
    pub(super) fn active(&self) -> Vec<Job> {
        lock(&self.active)
            .values()
            .rev()
            .map(|active| active.show())
            .collect()
    }

    /// Jobs that ended lately, newest first.
    pub(super) fn ended(&self) -> Vec<Job> {
        lock(&self.ended).iter().cloned().collect()
    }

    /// How a job stands, or how it ended, if that was not long ago.
    pub(super) fn show(&self, number: u64) -> Option<Job> {
        if let Some(active) = lock(&self.active).get(&number) {
            return Some(active.show());
        }
        lock(&self.ended).iter().find(|job| job.job == number).cloned()
    }

    /// Moves a job to those that have ended.
    fn retire(&self, job: Job) {
        // Both at once: there is no moment in which it is nowhere.
        let (mut active, mut ended) = (lock(&self.active), lock(&self.ended));
        active.remove(&job.job);
        let place = ended.iter().position(|other| other.job < job.job);
        let place = place.unwrap_or(ended.len());
        ended.insert(place, job);
        ended.truncate(HISTORY);
    }

    /// True while a release is being fetched.
    pub(super) fn downloading(&self, id: &str) -> bool {
        self.active().iter().any(|job| {
            job.id == id
                && job.kind == JobKind::Download
                && !job.status.has_ended()
                && job.status != JobStatus::Paused
        })
    }
}

impl Active {
    pub(super) fn show(&self) -> Job {
        lock(&self.job).clone()
    }

    /// Changes what is shown.
    pub(super) fn update(&self, change: impl FnOnce(&mut Job)) {
        change(&mut lock(&self.job));
    }
}

impl Core {
    /// Queues the download of a release, or finds the job that does it already.
    pub(super) fn queue_download(
        self: &Arc<Self>,
        subscription: &Subscription,
        sequence: u64,
        until: Until,
    ) -> Result<Job, Problem> {
        let same = |job: &Job| {
            job.kind == JobKind::Download
                && job.id == subscription.id
                && job.release == sequence
                && job.until.is_some_and(|other| other >= until)
        };
        let job = self.new_job(subscription, JobKind::Download, sequence);
        let until = Some(until);
        self.join_or_begin(same, Job { until, ..job })
    }

    /// The job that does what somebody asks for, if there is one; it goes on if it has paused.
    fn go_on_with(self: &Arc<Self>, same: impl Fn(&Job) -> bool) -> Option<Job> {
        let active = lock(&self.jobs.active)
            .values()
            .find(|active| same(&active.show()))
            .cloned()?;
        if matches!(active.show().status, JobStatus::Paused | JobStatus::Waiting) {
            lock(&active.stop).cancel();
            self.spawn_job(&active);
        }
        Some(active.show())
    }

    /// Queues a check of what is here of a subscription's releases, or finds the job that does it already.
    pub(super) fn queue_verify(
        self: &Arc<Self>,
        subscription: &Subscription,
        repair: bool,
    ) -> Result<Job, Problem> {
        let same =
            |job: &Job| job.kind == JobKind::Verify && job.id == subscription.id && job.repair == repair;
        let newest = subscription.newest().map_or(0, |release| release.sequence);
        let job = self.new_job(subscription, JobKind::Verify, newest);
        let phase = JobPhase::Checking;
        self.join_or_begin(same, Job { repair, phase, ..job })
    }

    /// A job that does nothing yet.
    pub(super) fn new_job(&self, subscription: &Subscription, kind: JobKind, release: u64) -> Job {
        Job {
            job: 0,
            id: subscription.id.clone(),
            title: subscription.title.clone(),
            kind,
            release,
            until: None,
            export: None,
            repair: false,
            damage: None,
            phase: JobPhase::Metadata,
            status: JobStatus::Queued,
            bytes_done: 0,
            bytes_total: 0,
            bytes_reused: 0,
            bytes_per_second: 0,
            started: (self.now)(),
            ended: None,
            problem: None,
        }
    }

    /// The job that does the same already, if there is one.
    pub(super) fn join(self: &Arc<Self>, same: impl Fn(&Job) -> bool) -> Option<Job> {
        let _alone = lock(&self.jobs.beginning);
        self.go_on_with(same)
    }

    /// Begins with a job, unless there is one that does the same already.
    pub(super) fn join_or_begin(
        self: &Arc<Self>,
        same: impl Fn(&Job) -> bool,
        job: Job,
    ) -> Result<Job, Problem> {
        let _alone = lock(&self.jobs.beginning);
        match self.go_on_with(same) {
            Some(other) => Ok(other),
            None => self.begin(job),
        }
    }

    /// Gives a job its number, and begins with it.
    pub(super) fn begin(self: &Arc<Self>, mut job: Job) -> Result<Job, Problem> {
        self.database.change(|t| {
            t.execute("INSERT INTO job (active, data) VALUES (1, '')", [])?;
            job.job = t.last_insert_rowid().unsigned_abs();
            // In one step with its number, so that nobody overlooks what it is going to fetch.
            let data = serde_json::to_string(&job).unwrap_or_default();
            t.execute("UPDATE job SET data = ?2 WHERE job = ?1", params![job.job, data])
        })?;
        let active = self.add_job(job);
        self.spawn_job(&active);
        Ok(active.show())
    }

    fn add_job(self: &Arc<Self>, job: Job) -> Arc<Active> {
        let number = job.job;
        let active = Arc::new(Active {
            job: Mutex::new(job),
            stop: Mutex::new(CancellationToken::new()),
        });
        self.save_job(&active);
        lock(&self.jobs.active).insert(number, active.clone());
        active
    }

    /// The jobs that have not ended, of this agent and of the last one.
    pub(super) fn jobs_to_do(&self) -> Result<Vec<Job>, Problem> {
        let sql = "SELECT data FROM job WHERE active = 1";
        let rows = self.database.all(sql, [], |row| row.get::<_, String>(0))?;
        Ok(rows
            .iter()
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect())
    }

    /// Goes on with what the last agent did not finish.
    pub(super) fn resume_jobs(self: &Arc<Self>) -> Result<(), Problem> {
        *lock(&self.jobs.ended) = self.recorded_ends()?.into();
        for mut job in self.jobs_to_do()? {
            let paused = job.status == JobStatus::Paused;
            if !paused {
                job.status = JobStatus::Queued;
            }
            let active = self.add_job(job);
            if !paused {
                self.spawn_job(&active);
            }
        }
        Ok(())
    }

    fn spawn_job(self: &Arc<Self>, active: &Arc<Active>) {
        let stop = CancellationToken::new();
        *lock(&active.stop) = stop.clone();
        active.update(|job| {
            job.status = JobStatus::Queued;
            job.problem = None;
        });
        self.touch();
        let (core, active) = (self.clone(), active.clone());
        tokio::spawn(async move {
            let work = fenced("A job", core.work_until_done(&active));
            tokio::select! {
                // What stopped it says how it stands.
                () = stop.cancelled() => {}
                done = work => core.end_job(&active, done.map_err(Problem::of_panic).flatten()),
            }
        });
    }

    /// Works, and tries again after a while when the network fails.
    async fn work_until_done(self: &Arc<Self>, active: &Arc<Active>) -> Result<(), Problem> {
        let mut pause = FIRST_PAUSE;
        let mut lates = LATE.iter();
        loop {
            let before = active.show().bytes_done;
            let done = {
                let _place = self.jobs.places.acquire().await;
                active.update(|job| job.problem = None);
                self.set_status(active, JobStatus::Running);
                self.work(active).await
            };
            let problem = match done {
                Err(problem) if problem.code == Code::Network => problem,
                done => return done,
            };
            if problem.is_late
                && let Some(pause) = lates.next()
            {
                tracing::info!(
                    job = active.show().job,
                    "asked again in a moment: {}",
                    problem.message
                );
                active.update(|job| job.bytes_per_second = 0);
                self.touch();
                tokio::time::sleep(*pause).await;
                continue;
            }
            tracing::warn!(
                job = active.show().job,
                "waiting for the network: {}",
                problem.message
            );
            active.update(|job| {
                job.bytes_per_second = 0;
                job.problem = Some(problem);
            });
            self.set_status(active, JobStatus::Waiting);
            if active.show().bytes_done > before {
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MOST_PAUSE);
        }
    }

    async fn work(self: &Arc<Self>, active: &Arc<Active>) -> Result<(), Problem> {
        let kind = active.show().kind;
        #[cfg(test)]
        assert!(
            active.show().title != super::tests::MISTAKEN,
            "a mistake in a job"
        );
        let ticks = async {
            let mut tick = tokio::time::interval(Duration::from_millis(250));
            loop {
                tick.tick().await;
                self.touch();
            }
        };
        tokio::select! {
            () = ticks => Ok(()),
            done = async {
                match kind {
                    JobKind::Download => self.download(active).await,
                    JobKind::Verify => self.verify(active).await,
                    JobKind::Export => self.export(active).await,
                }
            } => done,
        }
    }

    fn end_job(self: &Arc<Self>, active: &Arc<Active>, done: Result<(), Problem>) {
        if let Err(gone) = self.check_home() {
            self.give_up(active, &gone);
            return;
        }
        // What was done in a store that is not there is not done.
        let done = self.check_store().and(done);
        let now = (self.now)();
        let brought = done.is_ok() && active.show().kind == JobKind::Download;
        active.update(|job| {
            job.ended = Some(now);
            job.bytes_per_second = 0;
            match done {
                Ok(()) => job.status = JobStatus::Done,
                Err(problem) => {
                    tracing::warn!(job = job.job, id = job.id, code = ?problem.code, "{}", problem.message);
                    job.status = JobStatus::Failed;
                    job.problem = Some(problem);
                }
            }
        });
        self.finish(active);
        if brought {
            // What is here now may be in the place of what nobody has run.
            let core = self.clone();
            tokio::spawn(async move { core.forget_what_is_replaced().await });
        }
    }

    /// Tells those who wait that a job cannot go on here. What is recorded of it stays: in a home that was only moved away it
    /// is gone on with.
    fn give_up(&self, active: &Arc<Active>, why: &Problem) {
        active.update(|job| {
            job.status = JobStatus::Failed;
            job.ended = Some((self.now)());
            job.bytes_per_second = 0;
            job.problem = Some(why.clone());
        });
        self.jobs.retire(active.show());
        self.touch();
    }

    /// Ends all jobs of a home that is gone.
    pub(super) fn give_up_jobs(&self) {
        let active: Vec<_> = lock(&self.jobs.active).values().cloned().collect();
        for active in active {
            lock(&active.stop).cancel();
            self.give_up(&active, &self.home.gone());
        }
    }

    fn finish(self: &Arc<Self>, active: &Arc<Active>) {
        // Recorded first, so that what is told of is not done again by the next agent; told of also if it cannot be recorded.
        let recorded = livepc_panics::caught("The record of a job", || self.save_job(active));
        if let Err(panicked) = recorded {
            tracing::error!("{panicked}");
        }
        self.jobs.retire(active.show());
        self.touch();
        let old = "DELETE FROM job WHERE active = 0 AND job <= (SELECT MAX(job) FROM job) - ?1";
        if let Err(problem) = self.database.run_lazily(old, params![HISTORY]) {
            tracing::warn!("{problem}");
        }
        self.touch();
    }

    /// Changes what a job is doing, durably.
    pub(super) fn set_phase(&self, active: &Active, phase: JobPhase) {
        active.update(|job| job.phase = phase);
        self.save_job(active);
        self.touch();
    }

    fn set_status(&self, active: &Active, status: JobStatus) {
        active.update(|job| job.status = status);
        self.save_job(active);
        self.touch();
    }

    fn save_job(&self, active: &Active) {
        let job = active.show();
        let data = serde_json::to_string(&job).unwrap_or_default();
        let sql = "UPDATE job SET active = ?2, data = ?3 WHERE job = ?1";
        let ended = job.status.has_ended();
        // What somebody has decided, and an end, are told. How far it is besides, a power cut may take back.
        let told = ended || job.status == JobStatus::Paused;
        let saved = if told {
            self.database.run(sql, params![job.job, !ended, data])
        } else {
            self.database.run_lazily(sql, params![job.job, !ended, data])
        };
        if let Err(problem) = saved {
            // The work itself is unharmed; only its record is older after a crash.
            tracing::warn!("a job's record was not written: {problem}");
        }
    }

    /// Pauses, resumes, cancels or retries a job.
    pub(super) async fn control_job(self: &Arc<Self>, number: u64, action: JobAction) -> Result<(), Problem> {
        let has_ended = !lock(&self.jobs.active).contains_key(&number);
        if action == JobAction::Retry && has_ended {
            self.do_again(number).await
        } else {
            self.control_active(number, action)
        }
    }

    /// Does anew what a job was to do that has ended.
    async fn do_again(self: &Arc<Self>, number: u64) -> Result<(), Problem> {
        let job = self.job(number)?;
        let subscription = subscription::find(&self.database, &job.id)?;
        let again = match (job.export, job.until) {
            (Some(export), _) => {
                let release = (!export.changes).then_some(job.release);
                self.queue_export(&subscription, release, export).await
            }
            (None, Some(until)) => self.queue_download(&subscription, job.release, until),
            (None, None) => self.queue_verify(&subscription, job.repair),
        };
        again.map(drop)
    }

    /// How a job stands, or how it ended, if that was not long ago.
    pub(super) fn job(&self, number: u64) -> Result<Job, Problem> {
        self.jobs.show(number).ok_or_else(|| no_job(number))
    }

    /// Pauses, resumes, cancels or retries a job that has not ended.
    pub(super) fn control_active(self: &Arc<Self>, number: u64, action: JobAction) -> Result<(), Problem> {
        let active = lock(&self.jobs.active).get(&number).cloned();
        match (active, action) {
            (Some(active), JobAction::Pause) => {
                lock(&active.stop).cancel();
                active.update(|job| job.bytes_per_second = 0);
                self.set_status(&active, JobStatus::Paused);
                Ok(())
            }
            (Some(active), JobAction::Cancel) => {
                lock(&active.stop).cancel();
                let now = (self.now)();
                active.update(|job| {
                    job.status = JobStatus::Cancelled;
                    job.bytes_per_second = 0;
                    job.ended = Some(now);
                });
                self.finish(&active);
                Ok(())
            }
            (Some(active), JobAction::Resume | JobAction::Retry) => {
                let _alone = lock(&self.jobs.beginning);
                if matches!(active.show().status, JobStatus::Paused | JobStatus::Waiting) {
                    lock(&active.stop).cancel();
                    self.spawn_job(&active);
                }
                Ok(())
            }
            (None, _) => Err(no_job(number)),
        }
    }

    /// Cancels all jobs of a subscription.
    pub(super) fn cancel_jobs_of(self: &Arc<Self>, id: &str) {
        for job in self.jobs.active().iter().filter(|job| job.id == id) {
            // A job that has just ended needs no cancelling.
            let _ = self.control_active(job.job, JobAction::Cancel);
        }
    }

    /// Jobs that ended lately and were recorded, newest first.
    fn recorded_ends(&self) -> Result<Vec<Job>, Problem> {
        let sql = "SELECT data FROM job WHERE active = 0 ORDER BY job DESC LIMIT ?1";
        let rows = self
            .database
            .all(sql, params![HISTORY], |row| row.get::<_, String>(0))?;
        Ok(rows
            .iter()
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect())
    }
}

fn no_job(number: u64) -> Problem {
    not_found(format!("There is no job {number}."), "It may have ended.")
}
