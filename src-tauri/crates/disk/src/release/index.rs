//! Which page lies where: the boot map first, then the shards, loaded when they are first needed.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use livepc_format::index::{DiskRoot, ObjectRef, Shard};
use livepc_format::limits::SHARD_PAGES;
use livepc_store::Reader;
use tokio::sync::OnceCell;

use super::boot::BootIndex;
use super::{Backend, Layout, Span};
use crate::block::ReadError;

/// Bytes of shards in memory at the most, about; a shard has at least this many extents' worth.
const CACHE: usize = 64 << 20;
/// Bytes that an extent and a pack's id take in memory.
const EXTENT: usize = 16;
const PACK: usize = 32;

pub(super) struct Index {
    root_object: ObjectRef,
    root: OnceCell<DiskRoot>,
    boot: Option<BootIndex>,
    shards: Mutex<Cache>,
    reader: Reader,
    backend: Arc<dyn Backend>,
}

#[derive(Default)]
struct Cache {
    shards: HashMap<(u32, u32), (Arc<Shard>, u64)>,
    bytes: usize,
    uses: u64,
}

impl Index {
    pub(super) fn new(layout: &Layout, reader: Reader, backend: Arc<dyn Backend>) -> Self {
        let boot = layout
            .boot_map
            .as_ref()
            .map(|map| BootIndex::new(map, layout.number));
        Self {
            root_object: layout.root,
            root: OnceCell::new(),
            boot,
            shards: Mutex::default(),
            reader,
            backend,
        }
    }

    /// Where the pages `first..end` of a region lie: spans in order, without gaps.
    pub(super) async fn spans(&self, region: u32, first: u64, end: u64) -> Result<Vec<Span>, ReadError> {
        if let Some(spans) = self.boot.as_ref().and_then(|boot| boot.spans(region, first, end)) {
            return Ok(spans);
        }
        let mut spans = Vec::new();
        let mut page = first;
        while page < end {
            let number = page / SHARD_PAGES;
            let base = number * SHARD_PAGES;
            let stop = end.min(base + SHARD_PAGES);
            match self.shard(region, number as u32).await? {
                None => zero(&mut spans, page, stop),
                Some(shard) => in_shard(&mut spans, &shard, base, page, stop),
            }
            page = stop;
        }
        Ok(spans)
    }

    /// [`Index::spans`] without waiting, if the shard is in memory: all of the pages must lie in one.
    pub(super) fn known_spans(&self, region: u32, first: u64, end: u64) -> Option<Vec<Span>> {
        if let Some(spans) = self.boot.as_ref().and_then(|boot| boot.spans(region, first, end)) {
            return Some(spans);
        }
        let number = first / SHARD_PAGES;
        let base = number * SHARD_PAGES;
        let shard = self.cached(region, number as u32)?;
        let mut spans = Vec::new();
        in_shard(&mut spans, &shard, base, first, end.min(base + SHARD_PAGES));
        Some(spans)
    }

    async fn shard(&self, region: u32, number: u32) -> Result<Option<Arc<Shard>>, ReadError> {
        if let Some(shard) = self.cached(region, number) {
            return Ok(Some(shard));
        }
        let root = self.root.get_or_try_init(|| self.load_root()).await?;
        let Some(object) = root.shard(region, number) else {
            return Ok(None);
        };
        let bytes = self.load(object).await?;
        let shard = Arc::new(Shard::decode(&bytes, object).map_err(|e| ReadError::Io(io::Error::other(e)))?);
        self.remember(region, number, &shard);
        Ok(Some(shard))
    }

    async fn load_root(&self) -> Result<DiskRoot, ReadError> {
        let bytes = self.load(&self.root_object).await?;
        DiskRoot::decode(&bytes, &self.root_object).map_err(|e| ReadError::Io(io::Error::other(e)))
    }

    /// The stored bytes of an object, fetched into the store if they are not there.
    async fn load(&self, object: &ObjectRef) -> Result<Vec<u8>, ReadError> {
        let local = || {
            self.reader
                .object(&object.digest, object.stored)
                .map_err(|e| ReadError::Io(io::Error::other(e)))
        };
        if let Some(bytes) = local()? {
            return Ok(bytes);
        }
        self.backend.object(*object).await?;
        local()?.ok_or_else(|| {
            ReadError::Io(io::Error::other(format!(
                "index object {} is not there after it was fetched",
                object.digest
            )))
        })
    }

    fn cached(&self, region: u32, number: u32) -> Option<Arc<Shard>> {
        let mut cache = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        cache.uses += 1;
        let now = cache.uses;
        let (shard, used) = cache.shards.get_mut(&(region, number))?;
        *used = now;
        Some(shard.clone())
    }

    fn remember(&self, region: u32, number: u32, shard: &Arc<Shard>) {
        let mut cache = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        cache.uses += 1;
        let now = cache.uses;
        cache.bytes += size(shard);
        if let Some((old, _)) = cache.shards.insert((region, number), (shard.clone(), now)) {
            cache.bytes -= size(&old);
        }
        while cache.bytes > CACHE && cache.shards.len() > 1 {
            let Some((&oldest, _)) = cache.shards.iter().min_by_key(|(_, (_, used))| *used) else {
                break;
            };
            if let Some((old, _)) = cache.shards.remove(&oldest) {
                cache.bytes -= size(&old);
            }
        }
    }
}

fn size(shard: &Shard) -> usize {
    shard.extents.len() * EXTENT + shard.packs.len() * PACK
}

/// Adds zero pages.
fn zero(spans: &mut Vec<Span>, mut page: u64, end: u64) {
    while page < end {
        // A span counts its pages in 32 bits; a shard has far fewer.
        let pages = (end - page).min(SHARD_PAGES);
        spans.push(Span {
            page,
            pages: pages as u32,
            place: None,
        });
        page += pages;
    }
}

/// Adds the pages `page..end`, all of which lie in the shard that begins at page `base`.
fn in_shard(spans: &mut Vec<Span>, shard: &Shard, base: u64, mut page: u64, end: u64) {
    for extent in shard.from_page((page - base) as u32) {
        let from = base + u64::from(extent.page);
        if from >= end {
            break;
        }
        if from > page {
            zero(spans, page, from);
            page = from;
        }
        let skip = page - from;
        let pages = (u64::from(extent.len) - skip).min(end - page);
        let place = (shard.packs[extent.pack as usize], extent.first_page + skip as u32);
        spans.push(Span {
            page,
            pages: pages as u32,
            place: Some(place),
        });
        page += pages;
    }
    zero(spans, page, end);
}
