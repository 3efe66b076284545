//! Asking publishers for news: at the agent's start, then at intervals with jitter, and when somebody asks.

use std::sync::Arc;
use std::time::Duration;

use livepc_protocol::{Problem, Until, UpdateReport};

use super::core::Core;
use crate::published;
use crate::subscription::{self, Subscription};

/// Time between two rounds.
const INTERVAL: Duration = Duration::from_secs(30 * 60);

impl Core {
    /// Asks one publisher, and accepts or refuses what it says.
    pub(super) async fn check_feed(self: &Arc<Self>, subscription: &Subscription) -> Result<(), Problem> {
        let looked = published::look(&self.client, &subscription.feed_url, Some(&subscription.known)).await;
        let result = match looked {
            Ok(None) => subscription::unchanged(&self.database, &subscription.id, (self.now)()),
            Ok(Some(published)) => {
                subscription::accept(&self.database, &subscription.id, &published, (self.now)()).map(drop)
            }
            Err(problem) => Err(problem),
        };
        if let Err(problem) = &result {
            tracing::warn!(id = subscription.id, code = ?problem.code, "{}", problem.message);
            subscription::refused(&self.database, &subscription.id, problem)?;
        }
        self.touch();
        result
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
        report.changelog = opened.manifest.changelog.clone();
        report.bytes_to_fetch = self.bytes_to_fetch(&subscription, to);
        let level = from.and_then(|from| self.level(&subscription, from));
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

    /// How far a release is here.
    fn level(&self, subscription: &Subscription, sequence: u64) -> Option<Until> {
        let local = self.local_of_release(subscription, sequence);
        match (local.complete, local.boot_ready) {
            (true, _) => Some(Until::Complete),
            (false, true) => Some(Until::BootReady),
            (false, false) => None,
        }
    }

    /// Bytes to fetch for a release: what is missing, if its index is here; else what the publisher says for somebody
    /// who has the newest complete earlier one.
    pub(super) fn bytes_to_fetch(&self, subscription: &Subscription, sequence: u64) -> u64 {
        let Some(release) = subscription.head.release(sequence) else {
            return 0;
        };
        let local = self.local_of_release(subscription, sequence);
        if local.complete {
            return 0;
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

    /// Asks all publishers and sources again and again.
    pub(super) async fn poll(self: Arc<Self>) {
        loop {
            match crate::library::refresh(&self.database, &self.client, (self.now)()).await {
                Ok(true) => self.library_changed(),
                Ok(false) => {}
                Err(problem) => tracing::warn!("{problem}"),
            }
            for subscription in subscription::all(&self.database).unwrap_or_default() {
                // A failure was noted with the subscription, and is shown there.
                let _ = self
                    .update(&subscription, !self.fetches_by_itself(&subscription))
                    .await;
            }
            // Subscribers of one LivePC should not all come at the same second.
            let spread = u64::from(std::process::id()) % (INTERVAL.as_secs() / 5);
            tokio::time::sleep(INTERVAL + Duration::from_secs(spread)).await;
        }
    }
}
