//! Which part of the agent answers which request.

use std::sync::Arc;
use std::time::Instant;

use livepc_format::head::ReleaseState;
use livepc_format::{Fingerprint, PackId};
use livepc_panics::fenced;
use livepc_protocol::{
    Answer, Code, PAGE_BYTES, Preview, Problem, Request, Snapshot, Trust, Until, UpdateReport,
};
use livepc_transfer::Priority;
use tokio::sync::watch;

use super::core::Core;
use super::machines::Start;
use crate::hypervisors::HypervisorSettings;
use crate::locked::lock;
use crate::problems::{of_format, of_listed};
use crate::server::{Answers, misplaced};
use crate::subscription::Subscription;
use crate::{config, library, lookalike, pages, published, subscription};

impl Answers for Core {
    async fn answer(self: Arc<Self>, request: Request) -> Result<Answer, Problem> {
        let uses_store = matches!(
            request,
            Request::Prune { .. } | Request::OpenRelease { .. } | Request::Fetch { .. }
        );
        let answer = self.clone().answer_here(request).await;
        // What was read or done in a home that is gone is nothing to go by.
        self.check_home()?;
        if uses_store {
            self.check_store()?;
        }
        answer
    }

    fn is_in_place(&self) -> bool {
        self.check_home().is_ok()
    }

    fn snapshots(&self) -> Option<watch::Receiver<Snapshot>> {
        self.touch();
        Some(self.snapshots.subscribe())
    }
}

impl Core {
    async fn answer_here(self: Arc<Self>, request: Request) -> Result<Answer, Problem> {
        match request {
            Request::SourceAdd { .. }
            | Request::SourceRemove { .. }
            | Request::SourceList { .. }
            | Request::SourceRefresh
            | Request::Search { .. } => self.answer_library(request).await,
            Request::Preview { feed_url } => self
                .preview(&feed_url)
                .await
                .map(|preview| Answer::Preview { preview }),
            Request::Subscribe {
                feed_url,
                fingerprint,
                download,
            } => self.subscribe(&feed_url, &fingerprint, download).await,
            Request::List { after } => self.list(after).await,
            Request::Show { id, after, exact } => {
                let subscription = match exact {
                    true => subscription::find(&self.database, &id)?,
                    false => subscription::find_by_beginning(&self.database, &id)?,
                };
                let livepc = self.show(&subscription);
                let (releases, more) = pages::page(self.releases_of(&subscription, after));
                let next = releases.last().filter(|_| more).map(|release| release.sequence);
                Ok(Answer::Shown {
                    livepc,
                    releases,
                    next,
                })
            }
            Request::Download { id, until, release } => {
                let subscription = subscription::find_by_beginning(&self.database, &id)?;
                let sequence = self.offered(&subscription, release)?;
                // Who names the newest wants it as anybody who follows: it goes when there is a newer one.
                let newest = subscription.newest().map(|newest| newest.sequence);
                if release.is_some() && release != newest {
                    subscription::wanted(&self.database, &subscription.id, sequence)?;
                }
                let job = self.queue_download(&subscription, sequence, until)?;
                // Who asked follows the job from here on, and must not see how it stood before.
                self.publish_snapshot().await;
                Ok(Answer::Job { job })
            }
            Request::Update { id, check, after } => {
                let updates = self.answer_update(id, check, after).await;
                self.publish_snapshot().await;
                updates
            }
            Request::Unsubscribe { id, delete_data } => {
                let core = self.clone();
                Self::to_its_end(async move { core.unsubscribe(&id, delete_data).await }).await
            }
            Request::Start {
                id,
                display,
                serial,
                fill,
                hypervisor,
                cd,
                overcommit,
                desktop,
            } => {
                let subscription = subscription::find_by_beginning(&self.database, &id)?;
                let start = Start {
                    display,
                    serial,
                    fill,
                    hypervisor,
                    cd,
                    overcommit,
                    desktop,
                };
                let (core, id) = (self.clone(), subscription.id.clone());
                let started = Self::to_its_end(async move {
                    let started = fenced("The start", core.start_machine(&subscription, start)).await;
                    started
                        .map_err(Problem::of_panic)
                        .flatten()
                        .inspect_err(|problem| {
                            core.start_failed(&subscription.id, problem);
                        })
                });
                started.await?;
                self.livepc(&id)
            }
            Request::Stop { id, force, timeout } => {
                let id = subscription::find(&self.database, &id)?.id;
                self.stop_machine(&id, force, timeout).await?;
                self.livepc(&id)
            }
            Request::Suspend { .. }
            | Request::Revert { .. }
            | Request::Reset { .. }
            | Request::Keep { .. }
            | Request::SetPolicy { .. }
            | Request::Pin { .. }
            | Request::Rollback { .. }
            | Request::GrowDisk { .. } => {
                let core = self.clone();
                Self::to_its_end(async move { core.answer_lifecycle(request).await }).await
            }
            Request::Export { id, release, export } => {
                let subscription = subscription::find_by_beginning(&self.database, &id)?;
                let job = self.queue_export(&subscription, release, export).await?;
                self.publish_snapshot().await;
                Ok(Answer::Job { job })
            }
            Request::Retry { id } => {
                let id = subscription::find_by_beginning(&self.database, &id)?.id;
                self.retry_machine(&id).await.map(|()| Answer::Done)
            }
            Request::Job { job } => self.job(job).map(|job| Answer::Job { job }),
            Request::JobControl { job, action } => self.control_job(job, action).await.map(|()| Answer::Done),
            Request::BlockMap { id, release } => {
                let map = self.block_map(&id, release).await?;
                Ok(Answer::BlockMap { map })
            }
            Request::PauseAll { paused } => {
                self.database
                    .set(config::PAUSED, if paused { "true" } else { "false" })?;
                self.pause(paused);
                self.touch();
                Ok(Answer::Done)
            }
            Request::Verify { id, repair } => {
                let queued = self.answer_verify(id, repair);
                self.publish_snapshot().await;
                queued
            }
            Request::Prune { dry_run, wanted } => {
                let core = self.clone();
                let pruned = Self::to_its_end(async move { core.prune(dry_run, wanted).await }).await?;
                Ok(Answer::Pruned { pruned })
            }
            Request::Login { .. } | Request::Logout { .. } | Request::Logins { .. } => {
                let core = self.clone();
                Self::to_its_end(async move { core.answer_logins(request).await }).await
            }
            Request::ConfigGet { name } => {
                let value = config::get(&self.database, &name)?;
                Ok(Answer::Setting { name, value })
            }
            Request::ConfigSet { name, value } => {
                let value = config::set(&self.database, &name, &value)?;
                self.apply_settings()?;
                Ok(Answer::Setting { name, value })
            }
            Request::Hypervisors => {
                let settings = HypervisorSettings::read(|name| config::get(&self.database, name))?;
                let settings = settings.in_home(&self.home);
                let hypervisors = settings.survey().await;
                Ok(Answer::Hypervisors { hypervisors })
            }
            Request::Snapshot => Ok(Answer::Snapshot {
                snapshot: self.snapshot().await?,
            }),
            Request::OpenRelease { .. } | Request::Fetch { .. } | Request::Object { .. } => {
                self.answer_reader(request).await
            }
            Request::RunnerReport { state } => {
                self.runner_reported(state);
                Ok(Answer::Done)
            }
            Request::AgentStop => self.stop_if_idle().map(|()| Answer::Done),
            // Answered by the connection itself.
            Request::Watch => Ok(Answer::Done),
            Request::RunnerStatus
            | Request::RunnerStop { .. }
            | Request::RunnerSuspend
            | Request::RunnerRetry => Err(misplaced()),
        }
    }

    /// A page of the subscriptions.
    async fn list(self: &Arc<Self>, after: Option<String>) -> Result<Answer, Problem> {
        let livepcs = self.livepcs().await?;
        let (livepcs, next) = pages::behind(livepcs, after.as_deref(), |livepc| &livepc.id)?;
        Ok(Answer::List { livepcs, next })
    }

    async fn answer_library(self: &Arc<Self>, request: Request) -> Result<Answer, Problem> {
        let mut page = None;
        match request {
            Request::SourceList { after } => page = after,
            Request::SourceAdd { url } => {
                let url = self.address(&url).await?;
                library::add(&self.database, &self.client, &url, (self.now)()).await?;
                self.library_changed();
            }
            Request::SourceRemove { url } => {
                library::remove(&self.database, &url)?;
                self.library_changed();
            }
            Request::SourceRefresh => self.refresh_library().await?,
            Request::Search { text, after } => {
                let core = self.clone();
                return Self::blocking(move || {
                    let found = library::search(&core.database, &text, after.as_deref())?;
                    Ok(Answer::Library {
                        entries: found.entries,
                        total: found.total,
                        sources: library::sources(&core.database)?,
                        next: found.next,
                    })
                })
                .await?;
            }
            _ => {}
        }
        let sources = library::sources(&self.database)?;
        let (sources, next) = pages::behind(sources, page.as_deref(), |source| &source.url)?;
        Ok(Answer::Sources { sources, next })
    }

    async fn refresh_library(&self) -> Result<(), Problem> {
        if library::refresh(&self.database, &self.client, (self.now)()).await? {
            self.library_changed();
        }
        Ok(())
    }

    /// What a person decides on. Nothing but feed, head and keys is asked for.
    async fn preview(self: &Arc<Self>, feed_url: &str) -> Result<Preview, Problem> {
        let url = self.address(feed_url).await?;
        let published = published::first_look(&self.client, &url).await?;
        let Some((published, feed)) = published.and_then(|p| p.feed.clone().map(|feed| (p, feed))) else {
            return Err(published::gave_no_feed());
        };
        // Where it has moved to, if it has.
        let url = published.feed_url.clone();
        let livepc = published.keys.livepc();
        let subscriptions = subscription::all(&self.database)?;
        let fingerprint = published.keys.root.fingerprint().to_string();
        let looks_like = lookalike::of(&feed.title, &fingerprint, &subscriptions);
        let existing = subscriptions.into_iter().find(|s| s.livepc == livepc);
        subscription::check_feed_is_its_own(&self.database, &url, &published.keys)?;
        let release = published
            .head
            .newest(subscription::CHANNEL)
            .ok_or_else(no_release)?;
        Ok(Preview {
            feed_url: url.to_string(),
            host: url.host_str().unwrap_or_default().to_owned(),
            title: feed.title,
            summary: feed.summary,
            publisher: feed.publisher,
            publisher_key: published.keys.root.to_string(),
            fingerprint,
            looks_like,
            trust: if existing.is_some() {
                Trust::Verified
            } else {
                Trust::FirstSeen
            },
            release: release.sequence,
            label: release.label.clone(),
            boot_ready_bytes: release.bytes.boot_ready,
            full_bytes: release.bytes.new,
            free: self.free_space().await,
            expired: published
                .head
                .expires
                .is_some_and(|expires| expires < (self.now)()),
            subscribed: existing.map(|s| s.id),
        })
    }

    async fn subscribe(
        self: &Arc<Self>,
        feed_url: &str,
        fingerprint: &str,
        download: bool,
    ) -> Result<Answer, Problem> {
        let url = self.address(feed_url).await?;
        let fingerprint = Fingerprint::parse(fingerprint).map_err(|e| Problem {
            code: Code::Usage,
            ..of_format(&e)
        })?;
        let looked = published::first_look(&self.client, &url).await?;
        let published = looked.ok_or_else(published::gave_no_feed)?;
        let Some(sequence) = published
            .head
            .newest(subscription::CHANNEL)
            .map(|release| release.sequence)
        else {
            return Err(no_release());
        };
        // Whoever else subscribes to it now learns how this ends, and whoever unsubscribes waits.
        let livepc = published.keys.livepc().to_string();
        let _turn = self.machines.turns.of(&livepc).lock_owned().await;
        let before = subscription::all(&self.database)?;
        let owner = |id: &str| self.owner_of_machine(id);
        let id = subscription::add(&self.database, &published, &fingerprint, owner, (self.now)())?;
        let subscription = subscription::find(&self.database, &id)?;
        if let Err(problem) = self.open_release(&subscription, Some(sequence)).await {
            // A subscription whose first release was refused is none.
            if before.iter().all(|other| other.id != id) {
                subscription::remove(&self.database, &id)?;
                self.tidy_store().await;
            }
            return Err(problem);
        }
        if let Some(to) = published.feed.as_ref().and_then(|feed| feed.moved_to.as_ref()) {
            self.follow_to(&subscription, &published.feed_url, to).await;
        }
        self.library_changed();
        if download {
            self.queue_download(&subscription, sequence, Until::Complete)?;
        }
        self.livepc(&id)
    }

    async fn unsubscribe(self: &Arc<Self>, id: &str, delete_data: bool) -> Result<Answer, Problem> {
        let subscription = subscription::find(&self.database, id)?;
        // Those who subscribe to it first: they may have to wait for its server.
        let livepc = subscription.livepc.to_string();
        let _and_of_those_who_subscribe = match livepc == subscription.id {
            true => None,
            false => Some(self.machines.turns.of(&livepc).lock_owned().await),
        };
        let _turn = self.machines.turns.of(&subscription.id).lock_owned().await;
        if self.is_live(&subscription.id).await? {
            return Err(Problem::new(
                Code::Busy,
                format!("“{}” is running.", subscription.title),
                format!("Stop it first: “livepc stop {}”.", subscription.id),
            ));
        }
        self.cancel_jobs_of(&subscription.id);
        // What a runner that died had mounted would be deleted through.
        crate::runner::reap(&self.home, &subscription.id).await?;
        let mut gone = vec![self.home.bases(&subscription.id)];
        if delete_data {
            gone.push(self.home.machine(&subscription.id));
        }
        for folder in gone {
            let removed = Self::blocking(move || std::fs::remove_dir_all(folder)).await?;
            if let Err(error) = removed
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(Problem::io("The machine's data cannot be deleted", &error));
            }
        }
        subscription::remove(&self.database, &subscription.id)?;
        self.machines.forget(&subscription.id);
        self.tidy_store().await;
        self.library_changed();
        Ok(Answer::Done)
    }

    /// The release that was asked for, or the newest. One that its publisher has taken back is only for those who have it.
    pub(super) fn offered(&self, subscription: &Subscription, release: Option<u64>) -> Result<u64, Problem> {
        let release = subscription.release(release)?;
        let sequence = release.sequence;
        let has_it =
            subscription.in_use == Some(sequence) || self.local_of_release(subscription, sequence).boot_ready;
        if release.state == ReleaseState::Current || has_it {
            return Ok(sequence);
        }
        Err(crate::problems::not_found(
            format!("Its publisher has taken back release {sequence}."),
            format!("“livepc show {}” lists its releases.", subscription.id),
        ))
    }

    /// A page of updates; those behind it are checked when the next one is asked for.
    async fn answer_update(
        self: &Arc<Self>,
        id: Option<String>,
        check: bool,
        after: Option<String>,
    ) -> Result<Answer, Problem> {
        if let Some(id) = id {
            let subscription = subscription::find_by_beginning(&self.database, &id)?;
            return Ok(Answer::Updates {
                updates: vec![self.update_for_person(&subscription, check).await?],
                next: None,
            });
        }
        let mut all = subscription::all(&self.database)?;
        if let Some(after) = after {
            let last = all.iter().position(|subscription| subscription.id == after);
            all.drain(..=last.ok_or_else(pages::changed)?);
        }
        let (mut updates, mut bytes) = (Vec::new(), 0);
        let last = all.last().map(|subscription| subscription.id.clone());
        for subscription in all {
            if bytes >= PAGE_BYTES {
                break;
            }
            let failed = |problem| UpdateReport {
                id: subscription.id.clone(),
                from: subscription.in_use,
                to: None,
                bytes_to_fetch: 0,
                changelog: String::new(),
                job: None,
                problem: Some(problem),
            };
            let updated = self.update_for_person(&subscription, check).await;
            let update = updated.unwrap_or_else(failed);
            bytes += pages::bytes_of(&update);
            updates.push(update);
        }
        let next = updates.last().map(|update| update.id.clone());
        let next = next.filter(|next| Some(next) != last.as_ref());
        Ok(Answer::Updates { updates, next })
    }

    fn answer_verify(self: &Arc<Self>, id: Option<String>, repair: bool) -> Result<Answer, Problem> {
        let subscriptions = match id {
            Some(id) => vec![subscription::find_by_beginning(&self.database, &id)?],
            None => subscription::all(&self.database)?,
        };
        let mut last = None;
        for subscription in &subscriptions {
            last = Some(self.queue_verify(subscription, repair)?);
        }
        match last {
            Some(job) => Ok(Answer::Job { job }),
            None => Ok(Answer::Done),
        }
    }

    async fn answer_reader(self: &Arc<Self>, request: Request) -> Result<Answer, Problem> {
        match request {
            Request::OpenRelease { id, release } => {
                let subscription = subscription::find_by_beginning(&self.database, &id)?;
                let sequence = self.offered(&subscription, release)?;
                lock(&self.handed_out).insert(subscription.key(sequence), Instant::now());
                let opened = self.open_release(&subscription, Some(sequence)).await?;
                let complete = self.local_of(&opened).complete;
                // So that what is read on demand can be counted; reading does not wait for it.
                let (core, planned) = (self.clone(), opened.clone());
                tokio::spawn(async move {
                    if planned.plan(&core).await.is_ok() {
                        core.touch();
                    }
                });
                Ok(Answer::Opened {
                    release: opened.describe(complete),
                })
            }
            Request::Fetch {
                key,
                pack,
                first_page,
                pages,
                ahead,
            } => {
                let opened = self.release_by_key(&key).await?;
                let pack = PackId(pack.parse().map_err(|e| of_format(&e))?);
                let table = opened.table(self, pack).await?;
                let chunks = table.covering(first_page, pages);
                if chunks
                    .iter()
                    .all(|c| self.reader.has(pack, c.first_page, c.entry.pages))
                {
                    // The asker saw a damaged page, or another's fetch was faster. In doubt it is dropped and fetched.
                    self.check_pages(&table, chunks).await?;
                }
                let priority = if ahead {
                    Priority::BootMap
                } else {
                    Priority::Demand
                };
                self.fetcher
                    .fetch(&opened.origin, pack, chunks, priority)
                    .await
                    .map_err(|e| of_listed(&e))?;
                Ok(Answer::Done)
            }
            Request::Object { key, object } => {
                let opened = self.release_by_key(&key).await?;
                let digest = object.digest.parse().map_err(|e| of_format(&e))?;
                let object = livepc_format::index::ObjectRef {
                    digest,
                    stored: object.stored,
                    size: object.size,
                };
                self.object(&opened.origin, &object).await.map(|_| Answer::Done)
            }
            _ => Err(misplaced()),
        }
    }

    /// Drops those of the chunks whose pages cannot be read back.
    async fn check_pages(
        &self,
        table: &livepc_format::index::ChunkTable,
        chunks: &[livepc_format::index::Chunk],
    ) -> Result<(), Problem> {
        let (pack, chunks, reader) = (table.id(), chunks.to_vec(), self.reader.clone());
        self.with_store(move |store| {
            for chunk in chunks {
                let mut pages = vec![0; chunk.entry.pages as usize * livepc_format::limits::PAGE as usize];
                let outcome = reader.read(pack, chunk.first_page, &mut pages)?;
                if matches!(outcome, livepc_store::ReadOutcome::Damaged { .. }) {
                    tracing::warn!(%pack, page = chunk.first_page, "a damaged chunk is fetched again");
                    store.drop_pages(pack, chunk.first_page, chunk.entry.pages)?;
                }
            }
            Ok(())
        })
        .await
    }

    pub(super) fn livepc(&self, id: &str) -> Result<Answer, Problem> {
        let subscription = subscription::find(&self.database, id)?;
        self.touch();
        Ok(Answer::LivePc {
            livepc: self.show(&subscription),
        })
    }
}

fn no_release() -> Problem {
    crate::problems::not_found("It has no release that may be used.", "Ask its publisher.")
}
