//! The writer's view of a store.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use livepc_format::index::{Chunk, ChunkTable};
use livepc_format::limits::CHUNK_PAGES;
use livepc_format::{Digest, PackId};

use crate::database::{Database, Place};
use crate::error::{Result, StoreError};
use crate::folder::{Folder, create_folder};
use crate::layout::PAGE_LEN;
use crate::lease::{lock_file, try_lock};
use crate::medium::{Disk, Medium};
use crate::objects;
use crate::pack_writer::Pages;
use crate::reader::{ReadOutcome, Reader, check_pages, range};
use crate::release_key::ReleaseKey;
use crate::writers::{Access, Writers};

/// Chunks that are copied in one batch: 16 MiB of pages in memory.
const COPY_BATCH: usize = 64;

/// A chunk to be kept. The caller has checked its digests ([`livepc_format::decompress_chunk`]).
///
/// The store takes the caller's word that this is what `pack` has at `first_page`, unless it has the pack's chunk table
/// itself: then it asks that. All LivePCs share the store, and a boot map says of packs what its publisher likes; so
/// before a chunk is taken on a boot map's word alone, the pack's table should be here.
#[derive(Clone, PartialEq, Eq)]
pub struct NewChunk {
    /// The pack that it belongs to.
    pub pack: PackId,
    /// Its first page in the pack.
    pub first_page: u32,
    /// SHA-256 of its pages.
    pub content_digest: Digest,
    /// 1 to 64 pages of 4,096 bytes.
    pub pages: Vec<u8>,
}

impl std::fmt::Debug for NewChunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pages = self.pages.len() / PAGE_LEN;
        write!(
            f,
            "NewChunk({} of pack {}, {pages} pages)",
            self.first_page, self.pack
        )
    }
}

/// A store that this process writes to, alone; any thread may call it.
pub struct Store {
    pub(crate) folder: Folder,
    pub(crate) reader: Reader,
    pub(crate) database: Database,
    pub(crate) writers: Writers,
    /// Shared by those who write, exclusive for the one who removes.
    pub(crate) pruning: RwLock<()>,
    pub(crate) lock: File,
    /// False where a file system gives a file a number of its own each time that it is looked up.
    pub(crate) tells_place: bool,
}

impl Store {
    /// Opens the store in `folder`, or makes one.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process writes to it, [`StoreError::Newer`] if a later program made it (nothing
    /// is touched then), and what the system says.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        Self::open_on(folder.as_ref(), Arc::new(Disk))
    }

    pub(crate) fn open_on(path: &Path, medium: Arc<dyn Medium>) -> Result<Self> {
        let folder = Folder::new(path);
        match folder.check_version() {
            // It is mended below, by who has the lock.
            Err(StoreError::Damaged { .. }) => {}
            checked => drop(checked?),
        }
        create_folder(path)?;
        let lock_path = folder.lock();
        let lock = lock_file(&lock_path)?;
        match try_lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(StoreError::io("locked", &lock_path, error)),
        }
        folder.create()?;
        let packs = folder.packs();
        let has_packs = fs::read_dir(&packs)
            .map_err(|error| StoreError::io("read", &packs, error))?
            .next()
            .is_some();
        let database = Database::open(&folder.database(), has_packs)?;
        let writers = Writers::new(folder.clone(), medium);
        let reader = Reader::new(folder.clone());
        Ok(Self {
            folder,
            reader,
            database,
            writers,
            pruning: RwLock::default(),
            tells_place: livepc_durable::is_at(&lock, &lock_path).is_ok_and(|is_at| is_at),
            lock,
        })
    }

    /// The store's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// True if the store's files are where they were when it was opened. Once they are not, because its folder was renamed or
    /// removed, what is written goes where nobody finds it. What cannot be found out is taken for a yes.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        !self.tells_place || livepc_durable::is_at(&self.lock, &self.folder.lock()).unwrap_or(true)
    }

    /// A reader of this store. All of them share their open files.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Keeps chunks; they are durable when this returns. Those that are here already are skipped.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] and others if the file system fails. Then no page of a pack that was not written whole is
    /// claimed to be here; packs of the batch that were done before stay. [`StoreError::NotOfPack`] if a chunk is none
    /// of its pack's, and [`StoreError::Invalid`] if it has an impossible size.
    pub fn write_chunks(&self, chunks: Vec<NewChunk>) -> Result<()> {
        let _writing = self.writing();
        let mut by_pack: BTreeMap<PackId, Vec<NewChunk>> = BTreeMap::new();
        for chunk in chunks {
            let pages = check_pages(chunk.first_page, chunk.pages.len())?;
            if pages.is_empty() || pages.len() > CHUNK_PAGES as usize {
                return Err(StoreError::Invalid(format!("{chunk:?} is no chunk")));
            }
            by_pack.entry(chunk.pack).or_default().push(chunk);
        }
        for (pack, chunks) in by_pack {
            self.write_to(pack, &chunks)?;
        }
        Ok(())
    }

    fn write_to(&self, pack: PackId, chunks: &[NewChunk]) -> Result<()> {
        let written = self.writers.with(pack, |access| {
            let mut new: Vec<&NewChunk> = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                if !access.has(chunk.first_page, (chunk.pages.len() / PAGE_LEN) as u32)? {
                    check_of_pack(access, chunk)?;
                    new.push(chunk);
                }
            }
            if new.is_empty() {
                return Ok(new);
            }
            let runs: Vec<Pages<'_>> = new
                .iter()
                .map(|chunk| Pages {
                    first: chunk.first_page,
                    bytes: &chunk.pages,
                })
                .collect();
            access.writer()?.write(&runs)?;
            Ok(new)
        })?;
        let contents: Vec<(Place, Digest)> = written
            .iter()
            .map(|chunk| {
                let pages = (chunk.pages.len() / PAGE_LEN) as u32;
                (
                    Place {
                        pack,
                        first_page: chunk.first_page,
                        pages,
                    },
                    chunk.content_digest,
                )
            })
            .collect();
        if let Err(error) = self.database.add_contents(&contents) {
            // The pages are here. That another LivePC cannot copy them is no reason to fail.
            tracing::warn!(%error, "content digests could not be listed");
        }
        Ok(())
    }

    /// Copies a chunk that another pack has here. Its bytes are hashed anew, so the result does not depend on what
    /// anybody said about that pack. True if the chunk is here now.
    ///
    /// # Errors
    /// As [`Store::write_chunks`].
    pub fn adopt(&self, content: &Digest, pack: PackId, first_page: u32, pages: u32) -> Result<bool> {
        range(first_page, pages)?;
        if self.reader.has(pack, first_page, pages) {
            return Ok(true);
        }
        let Some(chunk) = self.copy_of(content, pack, first_page, pages)? else {
            return Ok(false);
        };
        self.write_chunks(vec![chunk])?;
        Ok(true)
    }

    /// Copies those of a pack's chunks that are here under another pack, as [`Store::adopt`] does, in few batches. Gives
    /// those that are here now, in order.
    ///
    /// # Errors
    /// As [`Store::write_chunks`].
    pub fn adopt_chunks(&self, pack: PackId, chunks: &[Chunk]) -> Result<Vec<Chunk>> {
        let mut here = Vec::new();
        for part in chunks.chunks(COPY_BATCH) {
            let mut copies = Vec::new();
            for chunk in part {
                let (first, pages, content) =
                    (chunk.first_page, chunk.entry.pages, &chunk.entry.content_digest);
                if self.reader.has(pack, first, pages) {
                    here.push(*chunk);
                } else if let Some(copy) = self.copy_of(content, pack, first, pages)? {
                    here.push(*chunk);
                    copies.push(copy);
                }
            }
            self.write_chunks(copies)?;
        }
        Ok(here)
    }

    /// The chunk with this content, from wherever it lies.
    fn copy_of(
        &self,
        content: &Digest,
        pack: PackId,
        first_page: u32,
        pages: u32,
    ) -> Result<Option<NewChunk>> {
        for place in self.database.places(content)? {
            if place.pages != pages {
                continue;
            }
            let mut bytes = vec![0; pages as usize * PAGE_LEN];
            let outcome = self.reader.read(place.pack, place.first_page, &mut bytes)?;
            if outcome == ReadOutcome::Complete && Digest::of(&bytes) == *content {
                return Ok(Some(NewChunk {
                    pack,
                    first_page,
                    content_digest: *content,
                    pages: bytes,
                }));
            }
            self.database
                .drop_contents(place.pack, place.first_page, place.first_page + place.pages)?;
        }
        Ok(None)
    }

    /// Takes back that pages are here, after [`ReadOutcome::Damaged`], so that they are fetched again. Best called with
    /// the whole chunk.
    ///
    /// # Errors
    /// What the system says.
    pub fn drop_pages(&self, pack: PackId, first: u32, count: u32) -> Result<()> {
        let pages = range(first, count)?;
        if pages.is_empty() {
            return Ok(());
        }
        let _writing = self.writing();
        self.writers.with(pack, |access| match access.existing()? {
            Some(writer) => writer.clear(pages.clone()),
            None => Ok(()),
        })?;
        self.reader.close(pack);
        self.database.drop_contents(pack, pages.start, pages.end)
    }

    /// Has what is claimed of these packs survive a power cut: what was just written is there after one in any case, but
    /// might not be claimed.
    ///
    /// # Errors
    /// What the system says; [`StoreError::Removed`] if somebody has removed a pack's file, which then is nowhere claimed any
    /// more.
    pub fn flush(&self, packs: &[PackId]) -> Result<()> {
        let _writing = self.writing();
        for pack in packs {
            self.writers
                .with(*pack, |access| match access.existing()? {
                    Some(writer) => writer.flush(self.tells_place),
                    None => Err(StoreError::Removed(self.folder.pack(*pack))),
                })
                .inspect_err(|_| self.reader.close(*pack))?;
        }
        Ok(())
    }

    /// Keeps an object of the index; it is durable when this returns. One that is here and whole is left alone.
    ///
    /// A chunk table is told by its digest: pages of its pack that came before it, on a boot map's word, and are not what
    /// it says are dropped.
    ///
    /// # Errors
    /// [`StoreError::WrongDigest`] if the bytes are others, and what the system says.
    pub fn put_object(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if Digest::of(bytes) != *digest {
            return Err(StoreError::WrongDigest(*digest));
        }
        let pack = PackId(*digest);
        let _writing = self.writing();
        let table = if self.folder.pack(pack).exists() {
            ChunkTable::open(bytes, pack).ok()
        } else {
            None
        };
        let Some(table) = table else {
            return objects::write(&self.folder, digest, bytes);
        };
        if self.reader.object(digest, bytes.len() as u64)?.is_some() {
            return Ok(());
        }
        // Nothing may come in between: from the moment that the table is here, all pages are as it says.
        self.writers.with(pack, |access| {
            self.repair(access, &table, true)?;
            objects::write(&self.folder, digest, bytes)
        })
    }

    /// Says what a release needs, before any of it is fetched, so that it is not pruned. What was said of the release
    /// before is replaced.
    ///
    /// # Errors
    /// What the database says.
    pub fn keep(&self, release: &ReleaseKey, packs: &[PackId], objects: &[Digest]) -> Result<()> {
        let _writing = self.writing();
        self.database.keep(release, packs, objects, false)
    }

    /// Says what else a release needs, beside what was said before.
    ///
    /// # Errors
    /// What the database says.
    pub fn keep_also(&self, release: &ReleaseKey, packs: &[PackId], objects: &[Digest]) -> Result<()> {
        let _writing = self.writing();
        self.database.keep(release, packs, objects, true)
    }

    /// Says that a release need not be kept any more; false if it was not. Nothing is removed before
    /// [`Store::prune`](Store::prune), and nothing that a lease protects before the lease ends.
    ///
    /// # Errors
    /// What the database says.
    pub fn forget(&self, release: &ReleaseKey) -> Result<bool> {
        let _writing = self.writing();
        self.database.forget(release)
    }

    /// The releases that are kept.
    ///
    /// # Errors
    /// What the database says.
    pub fn kept(&self) -> Result<Vec<ReleaseKey>> {
        let releases = self.database.releases()?;
        Ok(releases
            .into_iter()
            .filter_map(|(key, kept)| kept.then_some(key))
            .collect())
    }

    /// True if the database was lost. Then [`Store::prune`](Store::prune) refuses until [`Store::keep`] was called for
    /// each release that is needed, and then [`Store::references_restored`].
    ///
    /// # Errors
    /// What the database says.
    pub fn references_lost(&self) -> Result<bool> {
        self.database.references_lost()
    }

    /// Says that each release that is needed is kept.
    ///
    /// # Errors
    /// What the database says.
    pub fn references_restored(&self) -> Result<()> {
        self.database.references_restored()
    }

    fn writing(&self) -> RwLockReadGuard<'_, ()> {
        self.pruning.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses a chunk that the pack's table, if it is here, does not name.
fn check_of_pack(access: &mut Access<'_>, chunk: &NewChunk) -> Result<()> {
    let Some(table) = access.table()? else {
        return Ok(());
    };
    let pages = (chunk.pages.len() / PAGE_LEN) as u32;
    let named = table
        .covering(chunk.first_page, pages)
        .first()
        .is_some_and(|named| {
            (named.first_page, named.entry.pages, named.entry.content_digest)
                == (chunk.first_page, pages, chunk.content_digest)
        });
    if named {
        Ok(())
    } else {
        Err(StoreError::NotOfPack {
            pack: chunk.pack,
            first_page: chunk.first_page,
        })
    }
}
