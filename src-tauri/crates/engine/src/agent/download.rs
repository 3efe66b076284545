//! Fetching a release: metadata, then what a start reads, then the rest; what another LivePC brought is copied.

use std::sync::Arc;
use std::time::Duration;

use livepc_format::PackId;
use livepc_panics::fenced;
use livepc_protocol::{Code, JobPhase, Problem, Until};
use livepc_transfer::Priority;
use tokio::task::JoinSet;

use super::core::Core;
use super::jobs::Active;
use super::progress::Local;
use super::release::{OfPack, Opened};
use super::speed::Speed;
use crate::problems::of_listed;
use crate::subscription;

/// Packs, or parts of packs that a start reads, whose chunks are asked for at the same time; the fetcher decides what is really
/// in flight.
const PACKS: usize = 4;
const PARTS: usize = 16;

impl Core {
    /// Fetches a release as far as the job says.
    pub(super) async fn download(self: &Arc<Self>, active: &Arc<Active>) -> Result<(), Problem> {
        let job = active.show();
        let until = job.until.unwrap_or(Until::Complete);
        let subscription = subscription::find(&self.database, &job.id)?;
        let opened = self.open_release(&subscription, Some(job.release)).await?;
        let everything = until == Until::Complete || opened.boot_map.is_none();
        let before = self.local_of(&opened);
        active.update(|job| show(job, before, everything));

        let boot = opened.boot_chunks(self).await?;
        let mut plan = None;
        if everything {
            plan = Some(opened.plan(self).await?);
        }
        let goal = plan.as_ref().map_or(&boot, |plan| &plan.packs);
        let phase = if boot.is_empty() {
            JobPhase::Complete
        } else {
            JobPhase::BootReady
        };
        {
            // One at a time, so that no two are promised the same room.
            let _turn = self.room.lock().await;
            self.make_room(&job, goal).await?;
            self.set_phase(active, phase);
        }
        let reused = self.reuse(goal).await?;
        let before = self.local_of(&opened);
        active.update(|job| {
            show(job, before, everything);
            job.bytes_reused = if job.bytes_reused == 0 {
                job.bytes_done
            } else {
                job.bytes_reused + reused
            };
        });

        let meter = self.meter(active, &opened, everything);
        let work = async {
            if !boot.is_empty() {
                self.fetch_all(&opened, &boot, Priority::BootMap).await?;
            }
            let own = self.own_start_chunks(&opened).await?;
            if !own.is_empty() {
                if plan.is_none() {
                    // It may be more than the publisher's boot map, for which there is room.
                    let _turn = self.room.lock().await;
                    self.make_room(&job, &own).await?;
                }
                self.set_phase(active, JobPhase::BootReady);
                self.fetch_all(&opened, &own, Priority::BootMap).await?;
            }
            if let Some(plan) = &plan {
                self.set_phase(active, JobPhase::Complete);
                self.fetch_all(&opened, &plan.packs, Priority::Fill).await?;
            }
            Ok(())
        };
        let done = tokio::select! {
            done = work => done,
            never = meter => match never {},
        };
        let local = self.local_of(&opened);
        active.update(|job| show(job, local, everything));
        done?;
        let packs: Vec<PackId> = goal.iter().map(|(pack, _)| *pack).collect();
        self.with_store(move |store| store.flush(&packs)).await
    }

    /// Fetches those of the chunks that are not here.
    pub(super) async fn fetch_all(
        self: &Arc<Self>,
        opened: &Arc<Opened>,
        packs: &[OfPack],
        priority: Priority,
    ) -> Result<(), Problem> {
        let mut waiting = packs.iter();
        let mut fetches = JoinSet::new();
        let most = if priority == Priority::BootMap {
            PARTS
        } else {
            PACKS
        };
        loop {
            while fetches.len() < most
                && let Some((pack, chunks)) = waiting.next()
            {
                let missing: Vec<_> = chunks
                    .iter()
                    .filter(|chunk| !self.reader.has(*pack, chunk.first_page, chunk.entry.pages))
                    .copied()
                    .collect();
                if missing.is_empty() {
                    continue;
                }
                let (core, origin, pack) = (self.clone(), opened.origin.clone(), *pack);
                fetches.spawn(fenced("Fetching", async move {
                    let fetched = core.fetcher.fetch(&origin, pack, &missing, priority).await;
                    fetched.map(drop).map_err(|e| of_listed(&e))
                }));
            }
            match fetches.join_next().await {
                Some(Ok(done)) => done.map_err(Problem::of_panic)??,
                Some(Err(error)) => return Err(Problem::new(Code::Failed, error.to_string(), "Try again.")),
                None => return Ok(()),
            }
        }
    }

    /// Copies chunks that are here under other packs; gives the stored bytes that need not be fetched.
    pub(super) async fn reuse(self: &Arc<Self>, packs: &[OfPack]) -> Result<u64, Problem> {
        let mut reused = 0;
        for (pack, chunks) in packs {
            let missing: Vec<_> = chunks
                .iter()
                .filter(|chunk| !self.reader.has(*pack, chunk.first_page, chunk.entry.pages))
                .copied()
                .collect();
            if missing.is_empty() {
                continue;
            }
            let pack = *pack;
            let adopted = self
                .with_store(move |store| store.adopt_chunks(pack, &missing))
                .await?;
            if !adopted.is_empty() {
                self.writes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
            reused += adopted
                .iter()
                .map(|chunk| u64::from(chunk.entry.stored))
                .sum::<u64>();
        }
        Ok(reused)
    }

    /// Keeps a job's figures up to date until it is dropped.
    async fn meter(
        self: &Arc<Self>,
        active: &Arc<Active>,
        opened: &Arc<Opened>,
        everything: bool,
    ) -> std::convert::Infallible {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        let mut speed = Speed::default();
        loop {
            tick.tick().await;
            let local = self.local_of(opened);
            active.update(|job| {
                show(job, local, everything);
                job.bytes_per_second = speed.now(job.bytes_done);
            });
        }
    }
}

fn show(job: &mut livepc_protocol::Job, local: Local, everything: bool) {
    (job.bytes_done, job.bytes_total) = if everything {
        (local.bytes, local.total)
    } else {
        (local.boot_bytes, local.boot_total)
    };
}
