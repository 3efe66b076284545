//! A backend that has everything that was published at hand, and remembers what it was asked for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use livepc_disk::release::{Backend, BoxFuture, FetchError, ReleaseDisk};
use livepc_format::PackId;
use livepc_format::index::{BootMap, Chunk, ObjectRef};
use livepc_store::{NewChunk, Reader, Store};
use tokio::sync::Notify;

use crate::published::{PAGE, Published};

/// What a backend was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Pages(PackId, u32, u32),
    Object(ObjectRef),
}

/// How a backend answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Willing,
    /// The network is gone.
    Waited,
    /// Says that it has fetched, and has not.
    Lying,
}

pub(crate) struct FakeBackend {
    pub(crate) published: Arc<Published>,
    pub(crate) store: Arc<Store>,
    pub(crate) asked: Mutex<Vec<Asked>>,
    pub(crate) ahead: Mutex<VecDeque<(PackId, u32, u32)>>,
    /// Rings when something is asked for ahead.
    pub(crate) ahead_bell: Notify,
    pub(crate) mood: Mutex<Mood>,
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

impl FakeBackend {
    fn answer(&self, asked: Asked, give: impl FnOnce()) -> Result<(), FetchError> {
        self.asked.lock().unwrap().push(asked);
        match *self.mood.lock().unwrap() {
            Mood::Waited => return Err(FetchError::Waited { limit: PATIENCE }),
            Mood::Lying => {}
            Mood::Willing => give(),
        }
        Ok(())
    }

    fn give(&self, pack: PackId, first: u32, pages: u32) {
        let reader = self.store.reader();
        let table = &self.published.packs[&pack].table;
        let chunks = table.covering(first, pages);
        let here = |chunk: &Chunk| reader.has(pack, chunk.first_page, chunk.entry.pages);
        if chunks.iter().all(here) {
            // Why is it asked for, if all of it is here?
            self.store.verify(table, true).unwrap();
        }
        let new = chunks
            .iter()
            .filter(|chunk| !here(chunk))
            .map(|chunk| self.chunk(pack, chunk))
            .collect();
        self.store.write_chunks(new).unwrap();
    }

    /// A chunk as it was published.
    pub(crate) fn chunk(&self, pack: PackId, chunk: &Chunk) -> NewChunk {
        let bytes = chunk.first_page as usize * PAGE..chunk.end_page() as usize * PAGE;
        NewChunk {
            pack,
            first_page: chunk.first_page,
            content_digest: chunk.entry.content_digest,
            pages: self.published.packs[&pack].pages[bytes].to_vec(),
        }
    }

    /// What was asked for since the last time.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Puts all of the index into the store.
    pub(crate) fn give_index(&self) {
        for (digest, bytes) in &self.published.objects {
            self.store.put_object(digest, bytes).unwrap();
        }
    }

    /// Puts all packs into the store.
    pub(crate) fn give_packs(&self) {
        for (id, pack) in &self.published.packs {
            let chunks = pack
                .table
                .chunks()
                .iter()
                .map(|chunk| self.chunk(*id, chunk))
                .collect();
            self.store.write_chunks(chunks).unwrap();
        }
    }
}

impl Backend for FakeBackend {
    fn fetch(&self, pack: PackId, first_page: u32, pages: u32) -> BoxFuture<'_, Result<(), FetchError>> {
        Box::pin(async move {
            // As over a network, the answer comes later.
            tokio::task::yield_now().await;
            self.answer(Asked::Pages(pack, first_page, pages), || {
                self.give(pack, first_page, pages);
            })
        })
    }

    fn object(&self, object: ObjectRef) -> BoxFuture<'_, Result<(), FetchError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let give = || {
                let bytes = &self.published.objects[&object.digest];
                self.store.put_object(&object.digest, bytes).unwrap();
            };
            self.answer(Asked::Object(object), give)
        })
    }

    fn read_ahead(&self, pack: PackId, first_page: u32, pages: u32) {
        self.ahead.lock().unwrap().push_back((pack, first_page, pages));
        self.ahead_bell.notify_one();
    }
}

/// A disk over an empty store, and all that is around it.
pub(crate) struct Bench {
    pub(crate) disk: Arc<ReleaseDisk>,
    pub(crate) backend: Arc<FakeBackend>,
    pub(crate) folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(published: Published, boot_map: Option<Arc<BootMap>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let backend = Arc::new(FakeBackend {
            published: Arc::new(published),
            store,
            asked: Mutex::default(),
            ahead: Mutex::default(),
            ahead_bell: Notify::new(),
            mood: Mutex::new(Mood::Willing),
        });
        let mut bench = Self {
            disk: Arc::new(disk(&backend, folder.path(), None, None)),
            backend,
            folder,
        };
        bench.reopen(boot_map, None);
        bench
    }

    /// Opens the disk anew, as another process would.
    pub(crate) fn reopen(
        &mut self,
        boot_map: Option<Arc<BootMap>>,
        trace: Option<Arc<dyn livepc_disk::release::Trace>>,
    ) {
        self.disk = Arc::new(disk(&self.backend, self.folder.path(), boot_map, trace));
    }

    pub(crate) fn published(&self) -> &Published {
        &self.backend.published
    }
}

fn disk(
    backend: &Arc<FakeBackend>,
    folder: &std::path::Path,
    boot_map: Option<Arc<BootMap>>,
    trace: Option<Arc<dyn livepc_disk::release::Trace>>,
) -> ReleaseDisk {
    let mut layout = backend.published.layout();
    layout.boot_map = boot_map;
    ReleaseDisk::new(layout, Reader::open(folder).unwrap(), backend.clone(), trace)
}
