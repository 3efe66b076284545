//! A release's disk as a block device: pages from the chunk store, and from the network what is not there yet.
//!
//! A read is split at the disk's regions; a region's pages are looked up in the boot map and in the extent shards; runs of
//! pages that lie together in a pack are read with one `pread`. What is missing is asked of a [`Backend`], all of one read
//! at once, and then read like the rest. Shards are loaded when they are first needed, so opening a disk costs nothing,
//! whatever its size.

mod ahead;
mod assembly;
mod boot;
mod buffers;
mod flat;
mod index;
mod pages;
mod regions;
mod shards;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use livepc_format::PackId;
use livepc_format::index::{BootMap, ObjectRef};
use livepc_format::limits::PAGE;
use livepc_format::manifest::Region;
use livepc_store::Reader;

use self::ahead::ReadAhead;
use self::assembly::Assembly;
use self::buffers::Buffers;
pub use self::flat::Shared;
use self::index::Index;
use self::regions::Part;
use crate::block::{BlockDevice, DeviceFuture, Piece, ReadError, Run, RunKind, check_range};

/// A boxed future, so that backends can stand behind `dyn Backend`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a disk's pages are, as its manifest says.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The disk: its place in the manifest.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// Its regions: they cover it without gaps.
    pub regions: Vec<Region>,
    /// The disk root.
    pub root: ObjectRef,
    /// The boot map: what it covers is found without a shard.
    pub boot_map: Option<Arc<BootMap>>,
}

/// Gets into the store what is not there. Dropping a future gives the request up.
pub trait Backend: Send + Sync + 'static {
    /// Resolves when these pages of a pack are in the store. Pages that are there but damaged are fetched again.
    fn fetch(&self, pack: PackId, first_page: u32, pages: u32) -> BoxFuture<'_, Result<(), FetchError>>;

    /// Resolves when an object of the index is in the store.
    fn object(&self, object: ObjectRef) -> BoxFuture<'_, Result<(), FetchError>>;

    /// A hint that these pages may be read soon; nobody waits for them.
    fn read_ahead(&self, pack: PackId, first_page: u32, pages: u32);
}

/// Why a [`Backend`] did not deliver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Nothing arrived for too long; the same request may succeed later.
    #[error("nothing arrived for {} s; check the network connection", .limit.as_secs())]
    Waited {
        /// How long it waited.
        limit: Duration,
    },
    /// It cannot be had.
    #[error("the data cannot be fetched: {0}")]
    Io(#[source] io::Error),
}

impl From<FetchError> for ReadError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Waited { limit } => Self::Waited { limit },
            FetchError::Io(error) => Self::Io(error),
        }
    }
}

/// Is told of each read of published pages, in order; zero pages are not told.
pub trait Trace: Send + Sync {
    /// `pages` pages of a region were read, from `page` on.
    fn read(&self, disk: u32, region: u32, page: u64, pages: u32);
}

/// A release's disk.
pub struct ReleaseDisk {
    layout: Layout,
    reader: Reader,
    backend: Arc<dyn Backend>,
    trace: Option<Arc<dyn Trace>>,
    index: Index,
    ahead: Mutex<ReadAhead>,
    buffers: Buffers,
}

/// A stretch of a region and where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// The first page of the region.
    page: u64,
    /// Pages.
    pages: u32,
    /// Where they lie; nowhere if they are zero.
    place: Option<(PackId, u32)>,
}

impl Span {
    /// Pack, first page in it, and pages, unless they are zero.
    fn stored(&self) -> Option<(PackId, u32, u32)> {
        self.place.map(|(pack, first)| (pack, first, self.pages))
    }
}

impl ReleaseDisk {
    /// A disk over the chunks of `reader`'s store. Its regions must cover it, as those of a manifest do.
    #[must_use]
    pub fn new(
        layout: Layout,
        reader: Reader,
        backend: Arc<dyn Backend>,
        trace: Option<Arc<dyn Trace>>,
    ) -> Self {
        let index = Index::new(&layout, reader.clone(), Arc::clone(&backend));
        Self {
            layout,
            reader,
            backend,
            trace,
            index,
            ahead: Mutex::default(),
            buffers: Buffers::default(),
        }
    }

    async fn read_pieces(&self, offset: u64, len: u32) -> Result<Vec<Piece>, ReadError> {
        check_range(offset, u64::from(len), self.layout.size)?;
        let mut assembly = Assembly::default();
        for part in regions::split(&self.layout.regions, offset, u64::from(len)) {
            let pages = part.pages();
            let spans = self.index.spans(part.region, pages.start, pages.end).await?;
            if let Some(trace) = &self.trace {
                for span in spans.iter().filter(|span| span.place.is_some()) {
                    trace.read(self.layout.number, part.region, span.page, span.pages);
                }
            }
            assembly.add(&part, &spans);
        }
        let runs = assembly.take_runs();
        // Before it is read: what comes next should be on its way at the same time, and reads end in another order than
        // they began.
        for part in regions::split(&self.layout.regions, offset, u64::from(len)) {
            self.look_ahead(&part);
        }
        let buffer = pages::read(&self.reader, &*self.backend, &self.buffers, runs).await?;
        Ok(assembly.pieces(buffer))
    }

    /// Tells the backend what a sequential reader will want next, as far as that is known without waiting.
    ///
    /// The start that was recorded for the boot map read on like this too, and how far, the map says: behind its pages
    /// lies what that start did not read.
    fn look_ahead(&self, part: &Part) {
        if self.index.is_of_boot(part.region, part.pages().end - 1) {
            return;
        }
        let count = self.layout.regions[part.region as usize].pages();
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).after(
            part.region,
            &part.pages(),
            count,
        );
        let Some(pages) = ahead else { return };
        let spans = self.index.known_spans(part.region, pages.start, pages.end);
        let (reader, backend) = (self.reader.clone(), Arc::clone(&self.backend));
        // What is missing is looked for in files; nobody waits for the answer.
        tokio::task::spawn_blocking(move || {
            for (pack, first, pages) in spans.iter().filter_map(Span::stored) {
                for missing in reader.missing(pack, first, pages) {
                    backend.read_ahead(pack, missing.start, missing.end - missing.start);
                }
            }
        });
    }

    async fn find_runs(&self, offset: u64, len: u64) -> Result<Vec<Run>, ReadError> {
        check_range(offset, len, self.layout.size)?;
        let mut runs: Vec<Run> = Vec::new();
        for part in regions::split(&self.layout.regions, offset, len) {
            let pages = part.pages();
            for span in self.index.spans(part.region, pages.start, pages.end).await? {
                let start = part.offset.max(span.page * PAGE);
                let stop = (part.offset + part.len).min((span.page + u64::from(span.pages)) * PAGE);
                let kind = if span.place.is_some() {
                    RunKind::Data
                } else {
                    RunKind::Zero
                };
                match runs.last_mut() {
                    Some(last) if last.kind == kind => last.len += stop - start,
                    _ => runs.push(Run {
                        len: stop - start,
                        kind,
                    }),
                }
            }
        }
        Ok(runs)
    }
}

impl BlockDevice for ReleaseDisk {
    fn size(&self) -> u64 {
        self.layout.size
    }

    fn read(&self, offset: u64, len: u32) -> DeviceFuture<'_, Vec<Piece>> {
        Box::pin(self.read_pieces(offset, len))
    }

    fn runs(&self, offset: u64, len: u64) -> DeviceFuture<'_, Vec<Run>> {
        // One GiB at a time: that is one shard, or a little more.
        Box::pin(self.find_runs(offset, len.min(1 << 30)))
    }
}
