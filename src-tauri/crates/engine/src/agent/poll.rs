//! Asking publishers for news: at the agent's start, then at intervals with jitter, after sleep, and when somebody asks.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use livepc_panics::fenced;
use livepc_protocol::{Code, Job, JobAction, JobKind, Problem, Until, UpdateReport};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::core::Core;
use super::schedule::{self, Ended, Schedule, Subject, TICK};
use crate::locked::lock;
use crate::subscription::{self, Subscription};
use crate::{config, connection};

/// Publishers that are asked at the same time, so that a slow one does not hold up the others.
const AT_ONCE: usize = 8;
/// How long a publisher may take for all that a check asks for.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

impl Core {
    /// Ends the downloads of releases that their publisher has taken back for a fault: who does not have one already does
    /// not get it.
    pub(super) fn cancel_what_was_taken_back(self: &Arc<Self>, id: &str) {
        let Ok(subscription) = subscription::find(&self.database, id) else {
            return;
        };
        let taken_back = |job: &Job| {
            let download = job.id == subscription.id && job.kind == JobKind::Download;
            let yanked = download && subscription.is_yanked(job.release);
            yanked && self.offered(&subscription, Some(job.release)).is_err()
        };
        for job in self.jobs.active().iter().filter(|job| taken_back(job)) {
            tracing::info!(
                id,
                release = job.release,
                "a release was taken back: its download ends"
            );
            // One that has just ended needs no cancelling.
            let _ = self.control_active(job.job, JobAction::Cancel);
        }
    }

    /// Checks a feed, then fetches the newest release to the level that the current one has.
    pub(super) async fn update(
        self: &Arc<Self>,
        subscription: &Subscription,
        check: bool,
    ) -> Result<UpdateReport, Problem> {
        let from = self
            .current_release(subscription)
            .or_else(|| subscription.newest().map(|release| release.sequence));
        self.check_feed(subscription).await?;
        let subscription = subscription::find(&self.database, &subscription.id)?;
        let mut report = UpdateReport {
            id: subscription.id.clone(),
            from,
            to: subscription.newest().map(|release| release.sequence),
            bytes_to_fetch: 0,
            changelog: String::new(),
            job: None,
            problem: None,
        };
        let Some(to) = report.to else { return Ok(report) };
        let opened = self.open_release(&subscription, Some(to)).await?;
        let level = from.and_then(|from| self.level(&subscription, from));
        report.changelog = opened.changelog();
        report.bytes_to_fetch = self.bytes_to_fetch(&subscription, to, level.unwrap_or(Until::Complete));
        if let (false, Some(until)) = (check, level) {
            let local = self.local_of(&opened);
            let there = if until == Until::Complete {
                local.complete
            } else {
                local.boot_ready
            };
            if !there {
                report.job = Some(self.queue_download(&subscription, to, until)?.job);
            }
        }
        Ok(report)
    }

    /// Does so because a person asked.
    pub(super) async fn update_for_person(
        self: &Arc<Self>,
        subscription: &Subscription,
        check: bool,
    ) -> Result<UpdateReport, Problem> {
        let updated = self.update(subscription, check).await;
        self.polling.person_asked(&subscription.id, how(&updated));
        updated
    }

    /// How far a release is here.
    fn level(&self, subscription: &Subscription, sequence: u64) -> Option<Until> {
        let local = self.local_of_release(subscription, sequence);
        match (local.complete, local.boot_ready) {
            (true, _) => Some(Until::Complete),
            (false, true) => Some(Until::BootReady),
            (false, false) => None,
        }
    }

    /// Bytes to fetch for an update to this release: as far as the one in use is here.
    pub(super) fn update_bytes(&self, subscription: &Subscription, sequence: u64) -> u64 {
        let from = self.current_release(subscription);
        let level = from.and_then(|from| self.level(subscription, from));
        self.bytes_to_fetch(subscription, sequence, level.unwrap_or(Until::Complete))
    }

    /// Bytes to fetch until a release is here so far: what is missing, if its index is here; else what the publisher says
    /// for somebody who has the newest complete earlier one.
    pub(super) fn bytes_to_fetch(&self, subscription: &Subscription, sequence: u64, until: Until) -> u64 {
        let Some(release) = subscription.head.release(sequence) else {
            return 0;
        };
        let local = self.local_of_release(subscription, sequence);
        if local.complete {
            return 0;
        }
        if until == Until::BootReady && release.boot_map.is_some() {
            let missing = local.boot_total.saturating_sub(local.boot_bytes);
            return if local.boot_ready { 0 } else { missing };
        }
        let from = release
            .bytes
            .from
            .iter()
            .rev()
            .find(|(earlier, _)| self.local_of_release(subscription, **earlier).complete);
        let missing = local.total.saturating_sub(local.bytes);
        from.map_or(missing, |(_, bytes)| missing.min(*bytes))
    }

    /// Asks publishers and sources again and again, each when it is due, and after the computer slept.
    pub(super) async fn poll(self: Arc<Self>) {
        let mut at_work = JoinSet::new();
        let mut is_hour = true;
        // Who was being asked when this ended the last time, if it did.
        self.polling.nobody_is_asked();
        loop {
            let was_hour = is_hour;
            is_hour = self.is_update_hour().unwrap_or(was_hour);
            if is_hour && !was_hour {
                tracing::info!("the hours for updates have begun");
                self.polling.hours_began();
            }
            self.follow_subscriptions();
            while at_work.len() < AT_ONCE
                && let Some(subject) = self.polling.take()
            {
                at_work.spawn(self.clone().ask(subject));
            }
            let full = at_work.len() >= AT_ONCE;
            let (pause, before) = (if full { TICK } else { self.polling.idle() }, (self.now)());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.polling.hurried.notified() => {}
                Some(_) = at_work.join_next() => {}
            }
            if schedule::woke(before, (self.now)(), pause) {
                tracing::info!("the computer slept: publishers are asked for news");
                self.polling.woke();
            }
        }
    }

    fn follow_subscriptions(&self) {
        match subscription::ids(&self.database) {
            Ok(ids) => {
                let subscriptions = ids.into_iter().map(Subject::Subscription);
                self.polling
                    .follow(std::iter::once(Subject::Library).chain(subscriptions));
            }
            Err(problem) => tracing::warn!("{problem}"),
        }
    }

    /// Asks one of those who are due.
    pub(super) async fn ask(self: Arc<Self>, subject: Subject) {
        let asked = async {
            match &subject {
                Subject::Library => {
                    if crate::library::refresh(&self.database, &self.client, (self.now)()).await? {
                        self.library_changed();
                    }
                    Ok(())
                }
                Subject::Subscription(id) => {
                    let subscription = subscription::find(&self.database, id)?;
                    let check = !(self.fetches_by_itself(&subscription) && self.may_fetch_unasked().await?);
                    self.update(&subscription, check).await.map(drop)
                }
            }
        };
        // What was noted with a subscription is shown there.
        let ended = match tokio::time::timeout(PATIENCE, fenced("Asking a publisher", asked)).await {
            Ok(Ok(result)) => {
                if let Err(problem) = &result {
                    tracing::warn!(?subject, "{problem}");
                }
                how(&result)
            }
            Ok(Err(panicked)) => {
                self.note(&subject, &Problem::of_panic(panicked));
                Ended::Badly
            }
            Err(_) => {
                self.note(&subject, &silence());
                Ended::InTrouble
            }
        };
        self.polling.ended(&subject, ended);
    }

    /// Whether a new release may be fetched now that nobody asks for it: by the hour, and by what the connection costs.
    async fn may_fetch_unasked(&self) -> Result<bool, Problem> {
        if !self.is_update_hour()? {
            return Ok(false);
        }
        Ok(config::get(&self.database, config::METERED)? == "fetch" || !connection::is_metered().await)
    }

    fn is_update_hour(&self) -> Result<bool, Problem> {
        let now = (self.now)().to_zoned(jiff::tz::TimeZone::system());
        config::is_update_hour(&self.database, now.time())
    }

    /// Notes why nothing came of asking, where it can be seen.
    fn note(&self, subject: &Subject, problem: &Problem) {
        tracing::warn!(?subject, "{problem}");
        let Subject::Subscription(id) = subject else {
            return;
        };
        if let Err(problem) = subscription::refused(&self.database, id, problem) {
            tracing::warn!("{problem}");
        }
        self.touch();
    }
}

/// A publisher has begun to answer and does not come to an end.
fn silence() -> Problem {
    Problem::new(
        Code::Network,
        format!(
            "The publisher's server did not answer within {} minutes.",
            PATIENCE.as_secs() / 60
        ),
        "It is asked again later.",
    )
}

/// The schedule of an agent, with its clock and its dice.
pub(super) struct Polling {
    schedule: Mutex<Schedule>,
    /// Somebody is due earlier than was said.
    hurried: Notify,
    since: Instant,
}

impl Polling {
    pub(super) fn new() -> Self {
        Self {
            schedule: Mutex::default(),
            hurried: Notify::new(),
            since: Instant::now(),
        }
    }

    pub(super) fn follow(&self, subjects: impl IntoIterator<Item = Subject>) {
        lock(&self.schedule).follow(subjects, self.since.elapsed());
    }

    pub(super) fn take(&self) -> Option<Subject> {
        lock(&self.schedule).take(self.since.elapsed())
    }

    pub(super) fn nobody_is_asked(&self) {
        lock(&self.schedule).nobody_is_asked(self.since.elapsed());
    }

    fn ended(&self, subject: &Subject, how: Ended) {
        lock(&self.schedule).ended(subject, how, self.since.elapsed(), random());
    }

    /// Notes that a person had a publisher asked.
    pub(super) fn person_asked(&self, id: &str, how: Ended) {
        let subject = Subject::Subscription(id.to_owned());
        lock(&self.schedule).person_asked(&subject, how, self.since.elapsed(), random());
    }

    fn hours_began(&self) {
        lock(&self.schedule).hours_began(self.since.elapsed(), random);
    }

    /// Has the Library's sources and these LivePCs' publishers asked now.
    pub(super) fn hurry(&self, ids: impl IntoIterator<Item = String>) {
        let subjects = ids.into_iter().map(Subject::Subscription);
        let mut schedule = lock(&self.schedule);
        for subject in std::iter::once(Subject::Library).chain(subjects) {
            schedule.hurry(&subject, self.since.elapsed());
        }
        drop(schedule);
        self.hurried.notify_one();
    }

    fn woke(&self) {
        lock(&self.schedule).woke(self.since.elapsed());
    }

    fn idle(&self) -> Duration {
        lock(&self.schedule).idle(self.since.elapsed())
    }
}

/// How asking ended, by what came of it.
fn how<T>(result: &Result<T, Problem>) -> Ended {
    match result {
        Ok(_) => Ended::Well,
        Err(problem) if problem.code == Code::Network => Ended::InTrouble,
        Err(_) => Ended::Badly,
    }
}

/// Spreads those who ask; a system without chance asks at the even times.
fn random() -> u32 {
    getrandom::u32().unwrap_or(0)
}
