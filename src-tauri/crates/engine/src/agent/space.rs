//! Whether there is room for what a download brings; under the store's quota some is made.

use std::collections::HashSet;
use std::sync::Arc;

use livepc_format::PackId;
use livepc_format::index::Chunk;
use livepc_format::limits::PAGE;
use livepc_format::shown;
use livepc_protocol::{Code, Job, JobKind, JobPhase, JobStatus, Problem, Until};
use livepc_store::Store;

use super::core::Core;
use super::release::{OfPack, Opened};
use crate::locked::lock;
use crate::{config, subscription};

/// What a local pack file takes beside its pages at the most, its checksums aside.
const PACK_FILE: u64 = 4 * PAGE;
/// What the checksums of a chunk take at the most: they may touch two pages of them.
const CHECKSUMS: u64 = 2 * PAGE;

impl Core {
    /// Refuses to begin what cannot end for lack of space. What other downloads still bring counts as well.
    pub(super) async fn make_room(self: &Arc<Self>, job: &Job, packs: &[OfPack]) -> Result<(), Problem> {
        let needed = self.missing_bytes(packs);
        if needed == 0 {
            return Ok(());
        }
        let (promised, free) = (self.promised(job.job), self.free_space().await);
        if needed.saturating_add(promised) > free {
            return Err(Problem::new(
                Code::DiskFull,
                format!(
                    "It needs {} on this disk, and only {} are free.{}",
                    shown::size(needed),
                    shown::size(free),
                    others(promised)
                ),
                "Free some space, then try again: what is already here is kept.",
            ));
        }
        match config::max_store_bytes(&self.database)? {
            Some(quota) => self.keep_to(quota, needed, promised).await,
            None => Ok(()),
        }
    }

    /// Makes room under the quota: first goes what nobody needs, then what only stays to be gone back to. Nothing goes if
    /// that is not enough.
    async fn keep_to(self: &Arc<Self>, quota: u64, needed: u64, promised: u64) -> Result<(), Problem> {
        let core = self.clone();
        let taken = Self::blocking(move || core.store_bytes()).await?;
        let all = taken.saturating_add(promised).saturating_add(needed);
        let over = all.saturating_sub(quota);
        if over == 0 {
            return Ok(());
        }
        let subscriptions = subscription::all(&self.database)?;
        let mut gone = self.replaced(&subscriptions).await?;
        let mut freed = self.would_free(&gone).await?.0;
        for key in self.spare(&subscriptions).await? {
            if freed >= over {
                break;
            }
            gone.push(key.clone());
            let (more, releases) = self.would_free(&gone).await?;
            if releases.contains(key.as_str()) {
                freed = more;
            } else {
                // Somebody reads it.
                gone.pop();
            }
        }
        if freed < over {
            return Err(Problem::new(
                Code::DiskFull,
                format!(
                    "It needs {} in the store, which may take {} (the setting {}) and takes {}; {} could be freed.{}",
                    shown::size(needed),
                    shown::size(quota),
                    config::MAX_STORE,
                    shown::size(taken),
                    shown::size(freed),
                    others(promised),
                ),
                format!(
                    "Unsubscribe from what you do not use, or allow more: “livepc config set {} {all}”, 0 for no limit.",
                    config::MAX_STORE
                ),
            ));
        }
        tracing::info!(quota, needed, freed, "the store makes room");
        for key in gone {
            self.forget_release(key).await?;
        }
        self.remove_what_nobody_needs(true).await.map(drop)
    }

    /// The bytes that would be free without these releases, and the keys of those that would really go.
    async fn would_free(&self, gone: &[livepc_store::ReleaseKey]) -> Result<(u64, HashSet<String>), Problem> {
        let gone = gone.to_vec();
        let report = self
            .with_store(move |store: &Store| store.would_prune(&gone))
            .await?;
        let releases = report.releases.iter().map(|(key, _)| key.as_str().to_owned());
        Ok((report.bytes, releases.collect()))
    }

    /// Bytes on disk that these chunks will take, as far as they are not here.
    fn missing_bytes(&self, packs: &[OfPack]) -> u64 {
        let of = |(pack, chunks): &OfPack| self.missing_of_pack(*pack, chunks.iter());
        packs.iter().map(of).sum()
    }

    fn missing_of_pack<'a>(&self, pack: PackId, chunks: impl Iterator<Item = &'a Chunk>) -> u64 {
        let missing = chunks.filter(|chunk| !self.reader.has(pack, chunk.first_page, chunk.entry.pages));
        let (count, pages) = missing.fold((0, 0), |(count, pages), chunk| {
            (count + 1, pages + u64::from(chunk.entry.pages))
        });
        match count {
            0 => 0,
            count => pages * PAGE + PACK_FILE + (count * CHECKSUMS).min(64 * PAGE),
        }
    }

    /// Bytes on disk that the other downloads still bring that have begun.
    fn promised(&self, but: u64) -> u64 {
        let begun = |job: &Job| {
            job.job != but
                && job.kind != JobKind::Verify
                && matches!(job.status, JobStatus::Running | JobStatus::Waiting)
                && matches!(job.phase, JobPhase::BootReady | JobPhase::Complete)
        };
        let mut bytes = 0;
        for job in self.jobs.active().iter().filter(|job| begun(job)) {
            let Ok(subscription) = subscription::find(&self.database, &job.id) else {
                continue;
            };
            let opened = lock(&self.releases).get(&subscription.key(job.release)).cloned();
            bytes += opened.map_or(0, |opened| self.still_brings(&opened, job.until));
        }
        bytes
    }

    fn still_brings(&self, opened: &Opened, until: Option<Until>) -> u64 {
        match (&opened.boot_map, until, opened.known_plan()) {
            (Some(map), Some(Until::BootReady), _) => map
                .packs
                .iter()
                .zip(0..)
                .map(|(pack, place)| {
                    let of_pack = map.chunks.iter().filter(|boot| boot.pack == place);
                    self.missing_of_pack(*pack, of_pack.map(|boot| &boot.chunk))
                })
                .sum(),
            (_, _, Some(plan)) => self.missing_bytes(&plan.packs),
            _ => 0,
        }
    }

    /// Bytes free where the store is; all there could be, if the system does not say.
    pub(super) async fn free_space(&self) -> u64 {
        let folder = self.home.store();
        Self::blocking(move || fs4::available_space(folder).unwrap_or(u64::MAX))
            .await
            .unwrap_or(u64::MAX)
    }
}

/// What a refusal says of other downloads.
fn others(promised: u64) -> String {
    match promised {
        0 => String::new(),
        _ => format!(" Other downloads bring {} more.", shown::size(promised)),
    }
}
