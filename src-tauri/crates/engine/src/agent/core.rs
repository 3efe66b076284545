//! What all parts of the agent share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jiff::Timestamp;
use livepc_format::index::Chunk;
use livepc_format::{LivePcId, PackId};
use livepc_protocol::{Code, Home, Launcher, Problem, ProcessLock, Snapshot};
use livepc_store::{NewChunk, Reader, ReleaseKey, Share, Store, StoreError, Usage};
use livepc_transfer::{ChunkSink, Client, Fetcher, VerifiedChunk};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::jobs::Jobs;
use super::machines::Machines;
use super::poll::Polling;
use super::progress::Counted;
use super::release::Opened;
use super::tidy::livepc_of;
use crate::database::Database;
use crate::locked::lock;
use crate::logins::Logins;
use crate::problems::of_store;
use crate::server::Guests;

/// Tells the time; tests hand in their own.
pub type Clock = fn() -> Timestamp;

pub(crate) struct Core {
    pub(super) home: Home,
    /// The lock by which this is the home's agent.
    pub(super) lock: Arc<ProcessLock>,
    /// Cancelled once the home is not where it was.
    pub(super) home_is_gone: CancellationToken,
    pub(super) launcher: Launcher,
    pub(super) now: Clock,
    pub(super) database: Database,
    pub(super) logins: Arc<Logins>,
    pub(super) store: Arc<Store>,
    pub(super) reader: Reader,
    pub(super) client: Client,
    pub(super) fetcher: Fetcher,
    pub(super) releases: Mutex<HashMap<String, Arc<Opened>>>,
    /// When a release was given to a process that will read it, by its key.
    pub(super) handed_out: Mutex<HashMap<String, Instant>>,
    /// One opening of a release at a time, by its key.
    pub(super) openings: Turns,
    /// One fetch of an object of the index at a time, by its digest.
    pub(super) fetches: Turns,
    pub(super) counted: Mutex<HashMap<String, Counted>>,
    pub(super) jobs: Jobs,
    pub(super) machines: Machines,
    pub(super) polling: Polling,
    pub(super) paused: AtomicBool,
    pub(super) guests: Guests,
    pub(super) asked_to_stop: CancellationToken,
    pub(super) library_revision: AtomicU64,
    /// Counts the writes to the store, so that what was counted once is counted again only after a change.
    pub(super) writes: Arc<AtomicU64>,
    /// What the store took on the disk, and after how many writes.
    pub(super) usage: Mutex<Option<(u64, Arc<Usage>)>>,
    /// Held by the download that is finding out whether there is room for it.
    pub(super) room: tokio::sync::Mutex<()>,
    pub(super) changed: Notify,
    pub(super) snapshots: watch::Sender<Snapshot>,
    pub(super) publishing: tokio::sync::Mutex<()>,
}

impl Core {
    /// Says that a client may see something new.
    pub(super) fn touch(&self) {
        self.changed.notify_one();
    }

    /// Looks whether the home is still the one that was opened. If it is not, this agent ends: it would write where nobody finds
    /// it, or into the home of another.
    pub(super) fn check_home(&self) -> Result<(), Problem> {
        if self.lock.is_in_place() {
            return Ok(());
        }
        self.home_is_gone.cancel();
        Err(self.home.gone())
    }

    /// Looks whether what is written to the store is found there.
    pub(super) fn check_store(&self) -> Result<(), Problem> {
        if self.store.is_in_place() {
            return Ok(());
        }
        Err(Problem::new(
            Code::Failed,
            format!(
                "The store {} was moved or removed while LivePC used it.",
                livepc_format::shown::path(self.store.folder())
            ),
            "Move it back. If it was removed, close the app, run “livepc agent stop”, and try again: it is fetched again.",
        ))
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    pub(super) fn library_changed(&self) {
        self.library_revision.fetch_add(1, Ordering::SeqCst);
        self.touch();
    }

    /// The bytes that the store takes on the disk.
    pub(super) fn store_bytes(&self) -> u64 {
        self.usage().bytes
    }

    /// What the releases of a LivePC take of the store.
    pub(super) fn share_of(&self, livepc: LivePcId) -> Share {
        let usage = self.usage();
        usage.shares.get(&livepc.to_string()).copied().unwrap_or_default()
    }

    /// What the store takes on the disk, counted again only after writes.
    fn usage(&self) -> Arc<Usage> {
        let writes = self.writes.load(Ordering::SeqCst);
        match &*lock(&self.usage) {
            Some((then, usage)) if *then == writes => return usage.clone(),
            _ => {}
        }
        let owner = |key: &ReleaseKey| livepc_of(key.as_str()).map(str::to_owned);
        let usage = Arc::new(self.store.usage_of(owner).unwrap_or_default());
        *lock(&self.usage) = Some((writes, usage.clone()));
        usage
    }

    /// Runs what blocks on the file system.
    pub(super) async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        livepc_panics::blocking("A part of the agent", work)
            .await
            .map_err(Problem::of_panic)
    }

    /// Does something to its end, even if who asked for it goes away meanwhile.
    pub(super) async fn to_its_end<T: Send + 'static>(
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        match livepc_panics::spawn("A part of the agent", work).await {
            Ok(done) => done.map_err(Problem::of_panic)?,
            // The task itself ends only with the process.
            Err(_) => Err(Problem::new(
                Code::AgentGone,
                "LivePC's agent ends.",
                "Try again: a new one is started.",
            )),
        }
    }

    /// Works on the store, off the asynchronous threads.
    pub(super) async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> livepc_store::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let store = self.store.clone();
        Self::blocking(move || work(&store))
            .await?
            .map_err(|e| of_store(&e))
    }
}

/// Names after which those are forgotten that nobody holds.
const MANY_TURNS: usize = 256;

/// Locks by name: whoever works on the same thing takes turns.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    pub(super) fn of(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = lock(&self.0);
        if turns.len() >= MANY_TURNS {
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        turns.entry(name.to_owned()).or_default().clone()
    }
}

/// Puts fetched chunks into the store, and counts the writes.
struct StoreSink {
    store: Arc<Store>,
    reader: Reader,
    writes: Arc<AtomicU64>,
}

/// What fetched chunks go into.
pub(crate) fn sink(store: &Arc<Store>) -> Arc<dyn ChunkSink> {
    counting_sink(store, &Arc::default())
}

/// What fetched chunks go into; `writes` rises with each batch.
pub(super) fn counting_sink(store: &Arc<Store>, writes: &Arc<AtomicU64>) -> Arc<dyn ChunkSink> {
    Arc::new(StoreSink {
        store: store.clone(),
        reader: store.reader(),
        writes: writes.clone(),
    })
}

impl ChunkSink for StoreSink {
    fn has(&self, pack: &PackId, chunk: &Chunk) -> bool {
        self.reader.has(*pack, chunk.first_page, chunk.entry.pages)
    }

    fn put(&self, chunks: Vec<VerifiedChunk>) -> std::io::Result<()> {
        let chunks = chunks
            .into_iter()
            .map(|VerifiedChunk { pack, chunk, pages }| NewChunk {
                pack,
                first_page: chunk.first_page,
                content_digest: chunk.entry.content_digest,
                pages,
            })
            .collect();
        let written = self.store.write_chunks(chunks).map_err(|error| match error {
            StoreError::DiskFull { .. } => std::io::Error::new(std::io::ErrorKind::StorageFull, error),
            other => std::io::Error::other(other),
        });
        self.writes.fetch_add(1, Ordering::SeqCst);
        written
    }
}
