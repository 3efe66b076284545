//! How much of a release is here. Counted from the store itself, so a resume never starts at nothing.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use livepc_format::index::{Chunk, DiskRoot, PackList};
use livepc_format::limits::PACK_PAGES;
use livepc_format::manifest::Content;
use livepc_protocol::Problem;

use super::core::Core;
use super::release::{OfPack, Opened};
use crate::locked::lock;
use crate::problems::of_format;
use crate::subscription::Subscription;

/// Stored bytes of a release that are here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) boot_bytes: u64,
    pub(super) boot_total: u64,
    pub(super) bytes: u64,
    pub(super) total: u64,
    pub(super) boot_ready: bool,
    pub(super) complete: bool,
    /// True if the release's metadata is here at all.
    pub(super) opened: bool,
}

/// What was counted, and after how many writes to the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    writes: u64,
    planned: bool,
    local: Local,
}

impl Core {
    /// How much of an opened release is here. Never asks the network.
    pub(super) fn local_of(&self, opened: &Opened) -> Local {
        let writes = self.writes.load(Ordering::SeqCst);
        let planned = opened.known_plan().is_some();
        if let Some(counted) = lock(&self.counted).get(opened.key.as_str())
            && counted.writes == writes
            && counted.planned == planned
        {
            return counted.local;
        }
        let local = self.count(opened);
        lock(&self.counted).insert(
            opened.key.as_str().to_owned(),
            Counted {
                writes,
                planned,
                local,
            },
        );
        local
    }

    fn count(&self, opened: &Opened) -> Local {
        let bytes = &opened.release.bytes;
        let mut local = Local {
            boot_total: bytes.boot_ready,
            total: bytes.new,
            opened: true,
            ..Local::default()
        };
        if let Some(map) = &opened.boot_map {
            let object = opened.release.boot_map.map_or(0, |object| object.stored);
            let here = map.chunks.iter().filter(|boot| {
                let pack = map.packs[boot.pack as usize];
                self.reader
                    .has(pack, boot.chunk.first_page, boot.chunk.entry.pages)
            });
            let (count, stored) = here.fold((0, 0), |(n, sum), boot| {
                (n + 1, sum + u64::from(boot.chunk.entry.stored))
            });
            local.boot_ready = count == map.chunks.len();
            local.boot_bytes = if local.boot_ready {
                local.boot_total
            } else {
                (object + stored).min(local.boot_total)
            };
            local.bytes = stored;
        }
        if let Some(plan) = opened.known_plan() {
            let (all, stored) = self.sum(&plan.packs);
            local.complete = all;
            local.bytes = if all {
                local.total
            } else {
                (plan.index_bytes + stored).min(local.total)
            };
            if opened.boot_map.is_none() {
                (local.boot_ready, local.boot_bytes) = (all, local.bytes);
            }
        }
        local.boot_ready |= local.complete;
        local
    }

    /// Whether all of these chunks are here, and the stored bytes of those that are.
    pub(super) fn sum(&self, packs: &[OfPack]) -> (bool, u64) {
        let (mut all, mut stored) = (true, 0);
        for (pack, chunks) in packs {
            // Asked once a pack: for each chunk that is missing, the pack's file would be looked for again.
            let missing = self.reader.missing(*pack, 0, PACK_PAGES);
            for chunk in chunks {
                if is_here(&missing, chunk) {
                    stored += u64::from(chunk.entry.stored);
                } else {
                    all = false;
                }
            }
        }
        (all, stored)
    }

    /// How much of a subscription's release is here; opens it if its metadata is.
    pub(super) fn local_of_release(&self, subscription: &Subscription, sequence: u64) -> Local {
        let opened = lock(&self.releases).get(&subscription.key(sequence)).cloned();
        if let Some(opened) = opened {
            return self.local_of(&opened);
        }
        let bytes = subscription
            .release(Some(sequence))
            .ok()
            .map(|release| &release.bytes);
        Local {
            boot_total: bytes.map_or(0, |bytes| bytes.boot_ready),
            total: bytes.map_or(0, |bytes| bytes.new),
            ..Local::default()
        }
    }

    /// Opens what can be opened without the network, so that what is here can be counted: at the agent's start.
    pub(super) async fn reopen(
        self: &Arc<Self>,
        subscription: &Subscription,
        sequence: u64,
    ) -> Result<(), Problem> {
        let Ok(release) = subscription.release(Some(sequence)) else {
            return Ok(());
        };
        if !self.reader.has_object(&release.manifest) {
            return Ok(());
        }
        let boot_map = release.boot_map.map(|map| map.digest);
        if boot_map.is_none_or(|digest| self.reader.has_object(&digest)) {
            return self.open_release(subscription, Some(sequence)).await.map(drop);
        }
        // The network is asked for the boot map, and the agent's start does not wait for that.
        let (core, subscription) = (self.clone(), subscription.clone());
        tokio::spawn(async move {
            if let Err(problem) = core.open_release(&subscription, Some(sequence)).await {
                tracing::warn!(id = subscription.id, sequence, "{problem}");
            }
            core.touch();
        });
        Ok(())
    }

    /// True if a plan can be made without the network.
    pub(super) fn index_is_here(&self, opened: &Opened) -> Result<bool, Problem> {
        let list_object = &opened.manifest.packs;
        let Some(bytes) = self.local_object(&list_object.digest, list_object.stored)? else {
            return Ok(false);
        };
        let list = PackList::decode(&bytes, list_object).map_err(|e| of_format(&e))?;
        if !list.packs.iter().all(|pack| self.reader.has_object(&pack.id.0)) {
            return Ok(false);
        }
        for disk in &opened.manifest.disks {
            let Content::Published { index, .. } = &disk.content else {
                continue;
            };
            let Some(bytes) = self.local_object(&index.digest, index.stored)? else {
                return Ok(false);
            };
            let root = DiskRoot::decode(&bytes, index).map_err(|e| of_format(&e))?;
            if !root
                .shards
                .iter()
                .all(|shard| self.reader.has_object(&shard.object.digest))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether a chunk of a pack is here, of which these pages are missing, in order.
pub(super) fn is_here(missing: &[Range<u32>], chunk: &Chunk) -> bool {
    let next = missing.partition_point(|pages| pages.end <= chunk.first_page);
    missing
        .get(next)
        .is_none_or(|pages| pages.start >= chunk.end_page())
}
