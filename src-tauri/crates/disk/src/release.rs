//! A release's disk as a block device: pages from the chunk store, and from the network what is not there yet.
//!
//! A read is split at the disk's regions; a region's pages are looked up in the boot map and in the extent shards; runs of
//! pages that lie together in a pack are read with one `pread`. What is missing is asked of a [`Backend`], all of one read
//! at once, and then read like the rest. Shards are loaded when they are first needed, so opening a disk costs nothing,
//! whatever its size.

mod ahead;
mod boot;
mod index;
mod regions;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use livepc_format::PackId;
use livepc_format::index::{BootMap, ObjectRef};
use livepc_format::limits::PAGE;
use livepc_format::manifest::Region;
use livepc_store::{ReadOutcome, Reader};

use self::ahead::ReadAhead;
use self::index::Index;
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

/// How often a damaged page is fetched again before that is an error.
const REPAIRS: u32 = 2;

impl ReleaseDisk {
    /// A disk over the chunks of `reader`'s store.
    #[must_use]
    pub fn new(
        layout: Layout,
        reader: Reader,
        backend: Arc<dyn Backend>,
        trace: Option<Arc<dyn Trace>>,
    ) -> Self {
        let index = Index::new(&layout, reader.clone(), backend.clone());
        Self {
            layout,
            reader,
            backend,
            trace,
            index,
            ahead: Mutex::default(),
        }
    }

    async fn read_pieces(&self, offset: u64, len: u32) -> Result<Vec<Piece>, ReadError> {
        check_range(offset, u64::from(len), self.layout.size)?;
        let mut pieces = Vec::new();
        for part in regions::split(&self.layout.regions, offset, u64::from(len)) {
            let first = part.offset / PAGE;
            let end = (part.offset + part.len).div_ceil(PAGE);
            let spans = self.index.spans(part.region, first, end).await?;
            if let Some(trace) = &self.trace {
                for span in spans.iter().filter(|span| span.place.is_some()) {
                    trace.read(self.layout.number, part.region, span.page, span.pages);
                }
            }
            let pages = self.read_spans(&spans).await?;
            for (span, data) in spans.iter().zip(pages) {
                // The first and the last page may be wanted in part.
                let start = part.offset.max(span.page * PAGE);
                let stop = (part.offset + part.len).min((span.page + u64::from(span.pages)) * PAGE);
                pieces.push(match data {
                    None => Piece::Zero((stop - start) as u32),
                    Some(data) => {
                        let skip = (start - span.page * PAGE) as usize;
                        Piece::Data(data.slice(skip..skip + (stop - start) as usize))
                    }
                });
            }
            self.look_ahead(part.region, first, end);
        }
        Ok(pieces)
    }

    /// The bytes of each span; nothing for those that are zero. All that is missing is asked for at once.
    async fn read_spans(&self, spans: &[Span]) -> Result<Vec<Option<Bytes>>, ReadError> {
        let mut found = Vec::with_capacity(spans.len());
        let mut absent = Vec::new();
        for (i, span) in spans.iter().enumerate() {
            let Some((pack, first)) = span.place else {
                found.push(None);
                continue;
            };
            let data = self.local(pack, first, span.pages)?;
            if data.is_none() {
                absent.push((i, pack, first, span.pages));
            }
            found.push(data);
        }
        if absent.is_empty() {
            return Ok(found);
        }
        let fetched = absent.iter().map(|&(i, pack, first, pages)| async move {
            Ok::<_, ReadError>((i, self.fetched(pack, first, pages).await?))
        });
        for (i, data) in futures_util::future::try_join_all(fetched).await? {
            found[i] = Some(data);
        }
        Ok(found)
    }

    /// Pages that are in the store. The read does not leave the asynchronous thread: it mostly comes from the page cache,
    /// where handing it to another thread would take longer than the read.
    fn local(&self, pack: PackId, first: u32, pages: u32) -> Result<Option<Bytes>, ReadError> {
        let mut buffer = vec![0; pages as usize * PAGE as usize];
        let outcome = self
            .reader
            .read(pack, first, &mut buffer)
            .map_err(|e| ReadError::Io(io::Error::other(e)))?;
        Ok((outcome == ReadOutcome::Complete).then(|| Bytes::from(buffer)))
    }

    async fn fetched(&self, pack: PackId, first: u32, pages: u32) -> Result<Bytes, ReadError> {
        for _ in 0..REPAIRS {
            self.backend.fetch(pack, first, pages).await?;
            if let Some(data) = self.local(pack, first, pages)? {
                return Ok(data);
            }
        }
        Err(ReadError::Io(io::Error::other(format!(
            "pages {first} to {first}+{pages} of pack {pack} cannot be read back after they were fetched",
        ))))
    }

    /// Tells the backend what a sequential reader will want next, as far as that is known without waiting.
    fn look_ahead(&self, region: u32, first: u64, end: u64) {
        let window = {
            let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
            ahead.after(region, first, end, self.layout.regions[region as usize].pages())
        };
        let Some((from, to)) = window else { return };
        let Some(spans) = self.index.known_spans(region, from, to) else {
            return;
        };
        for span in spans {
            if let Some((pack, first)) = span.place
                && !self.reader.has(pack, first, span.pages)
            {
                self.backend.read_ahead(pack, first, span.pages);
            }
        }
    }

    async fn find_runs(&self, offset: u64, len: u64) -> Result<Vec<Run>, ReadError> {
        check_range(offset, len, self.layout.size)?;
        let mut runs: Vec<Run> = Vec::new();
        for part in regions::split(&self.layout.regions, offset, len) {
            let (first, end) = (part.offset / PAGE, (part.offset + part.len).div_ceil(PAGE));
            for span in self.index.spans(part.region, first, end).await? {
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
