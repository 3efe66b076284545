//! Which page lies where: the boot map first, then the shards, loaded when they are first needed.

use std::io;
use std::sync::Arc;

use livepc_format::index::{DiskRoot, ObjectRef, Shard};
use livepc_format::limits::SHARD_PAGES;
use livepc_format::manifest::Region;
use livepc_store::Reader;
use tokio::sync::{OnceCell, Semaphore};

use super::boot::{BootIndex, Known};
use super::shards::{Shards, add_of_shard, add_zero};
use super::{Backend, Layout, Span};
use crate::block::ReadError;

/// Bytes of shards that are kept in memory.
const SHARD_BYTES: usize = 32 << 20;
/// Objects that are decoded at a time: one that means no good takes up to 256 MiB for that.
const DECODED_AT_ONCE: usize = 2;

pub(super) struct Index {
    regions: Arc<[Region]>,
    root_object: ObjectRef,
    root: OnceCell<DiskRoot>,
    shards: Shards,
    boot: BootIndex,
    decoding: Arc<Semaphore>,
    reader: Reader,
    backend: Arc<dyn Backend>,
}

/// Where the knowledge that is in memory ends.
struct Unknown {
    /// The first page that nothing is known of.
    page: u64,
    /// One past the last, no further than the shard that must be loaded.
    end: u64,
}

/// Why an object could not be loaded.
enum NotLoaded {
    /// The store has not got it.
    Absent,
    Failed(ReadError),
}

impl Index {
    pub(super) fn new(layout: &Layout, reader: Reader, backend: Arc<dyn Backend>) -> Self {
        let boot = layout
            .boot_map
            .as_deref()
            .map(|map| BootIndex::new(map, layout.number));
        Self {
            regions: layout.regions.as_slice().into(),
            root_object: layout.root,
            root: OnceCell::new(),
            shards: Shards::new(SHARD_BYTES),
            boot: boot.unwrap_or_default(),
            decoding: Arc::new(Semaphore::new(DECODED_AT_ONCE)),
            reader,
            backend,
        }
    }

    /// Where the pages `first..end` of a region lie: spans in order, without gaps.
    pub(super) async fn spans(&self, region: u32, first: u64, end: u64) -> Result<Vec<Span>, ReadError> {
        let mut spans = Vec::new();
        let mut page = first;
        while let Some(unknown) = self.add_known(&mut spans, region, page, end) {
            let number = shard_number(unknown.page);
            match self.shard((region, number)).await? {
                // It may be gone from memory again, so it is used as it is.
                Some(shard) => {
                    add_of_shard(&mut spans, &shard, shard_base(number), unknown.page, unknown.end);
                }
                None => add_zero(&mut spans, unknown.page, unknown.end),
            }
            page = unknown.end;
        }
        Ok(spans)
    }

    /// True if the boot map covers a page.
    pub(super) fn is_of_boot(&self, region: u32, page: u64) -> bool {
        matches!(self.boot.look(region, page, page + 1), Known::Here(_))
    }

    /// As [`Index::spans`], up to what is known without waiting.
    pub(super) fn known_spans(&self, region: u32, first: u64, end: u64) -> Vec<Span> {
        let mut spans = Vec::new();
        self.add_known(&mut spans, region, first, end);
        spans
    }

    /// Adds what is known of the pages `page..end` without waiting; says where that ends, if it is not all of them.
    fn add_known(&self, spans: &mut Vec<Span>, region: u32, mut page: u64, end: u64) -> Option<Unknown> {
        while page < end {
            let gap_end = match self.boot.look(region, page, end) {
                Known::Here(span) => {
                    page += u64::from(span.pages);
                    spans.push(span);
                    continue;
                }
                Known::NothingTo(gap_end) => gap_end,
            };
            let number = shard_number(page);
            let stop = gap_end.min(shard_base(number) + SHARD_PAGES);
            if let Some(shard) = self.shards.get((region, number)) {
                add_of_shard(spans, &shard, shard_base(number), page, stop);
            } else if self
                .root
                .get()
                .is_some_and(|root| root.shard(region, number).is_none())
            {
                add_zero(spans, page, stop);
            } else {
                return Some(Unknown { page, end: stop });
            }
            page = stop;
        }
        None
    }

    /// The shard; `None` if the GiB is zero.
    async fn shard(&self, place: (u32, u32)) -> Result<Option<Arc<Shard>>, ReadError> {
        let regions = Arc::clone(&self.regions);
        let decode = move |bytes: &[u8], object: &ObjectRef| {
            let root = DiskRoot::decode(bytes, object)?;
            root.check_fits(&regions).map(|()| root)
        };
        let root = self.loaded(&self.root, &self.root_object, decode).await?;
        let Some(object) = root.shard(place.0, place.1) else {
            return Ok(None);
        };
        let cell = self.shards.cell(place);
        // The root fits, so the region is there and reaches into the shard.
        let pages = self.regions[place.0 as usize].pages() - shard_base(place.1);
        let decode = move |bytes: &[u8], object: &ObjectRef| {
            let shard = Shard::decode(bytes, object)?;
            shard.check_fits(pages).map(|()| Arc::new(shard))
        };
        let shard = self.loaded(&cell, object, decode).await?;
        self.shards.loaded(place, shard);
        Ok(Some(Arc::clone(shard)))
    }

    /// What is in the cell, loaded if there is nothing yet.
    ///
    /// Only the loading from the store is done once for all who wait: who waits for the network does so for itself, so
    /// that nobody waits for longer than the network's limit.
    async fn loaded<'a, T: Send + Sync + 'static>(
        &self,
        cell: &'a OnceCell<T>,
        object: &ObjectRef,
        decode: impl Fn(&[u8], &ObjectRef) -> livepc_format::Result<T> + Clone + Send + 'static,
    ) -> Result<&'a T, ReadError> {
        let mut fetched = false;
        loop {
            match cell.get_or_try_init(|| self.load(object, decode.clone())).await {
                Ok(value) => return Ok(value),
                Err(NotLoaded::Failed(error)) => return Err(error),
                Err(NotLoaded::Absent) if fetched => {
                    let digest = object.digest;
                    let why = format!("index object {digest} is not there after it was fetched");
                    return Err(ReadError::Io(io::Error::other(why)));
                }
                Err(NotLoaded::Absent) => self.backend.object(*object).await?,
            }
            fetched = true;
        }
    }

    /// Reads and decodes an object of the store, where that may take its time.
    async fn load<T: Send + 'static>(
        &self,
        object: &ObjectRef,
        decode: impl Fn(&[u8], &ObjectRef) -> livepc_format::Result<T> + Send + 'static,
    ) -> Result<T, NotLoaded> {
        let failed = |error: io::Error| NotLoaded::Failed(ReadError::Io(error));
        // The semaphore is never closed.
        let permit = Arc::clone(&self.decoding).acquire_owned().await;
        let (reader, object) = (self.reader.clone(), *object);
        let work = move || {
            let _permit = permit;
            match reader.object(&object.digest, object.stored) {
                Ok(Some(bytes)) => decode(&bytes, &object).map_err(|error| failed(io::Error::other(error))),
                Ok(None) => Err(NotLoaded::Absent),
                Err(error) => Err(failed(io::Error::other(error))),
            }
        };
        livepc_panics::blocking("Reading the store", work)
            .await
            .map_err(|error| failed(error.into()))?
    }
}

/// Which shard of its region a page lies in. A disk has at most 16 TiB, so the number fits.
fn shard_number(page: u64) -> u32 {
    (page / SHARD_PAGES) as u32
}

/// The first page of a shard.
fn shard_base(number: u32) -> u64 {
    u64::from(number) * SHARD_PAGES
}
