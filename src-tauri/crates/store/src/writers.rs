//! One writer for each pack, so that whoever writes to a pack waits for whoever is writing to it, and nobody else does.

use std::sync::{Arc, MutexGuard, PoisonError};

use livepc_format::PackId;
use livepc_format::index::ChunkTable;
use livepc_format::limits::PACK_PAGES;

use crate::error::Result;
use crate::folder::Folder;
use crate::medium::Medium;
use crate::objects;
use crate::pack_writer::PackWriter;
use crate::slots::Slots;

/// The most files that are kept open for writing.
const MAX_OPEN: usize = 64;

/// What is known of a pack that is being written to.
#[derive(Default)]
pub(crate) struct Slot {
    writer: Option<PackWriter>,
    table: Option<Arc<ChunkTable>>,
}

/// The packs that are being written to, or were just now.
pub(crate) struct Writers {
    folder: Folder,
    medium: Arc<dyn Medium>,
    slots: Slots<PackId, Slot>,
}

impl Writers {
    pub(crate) fn new(folder: Folder, medium: Arc<dyn Medium>) -> Self {
        Self {
            folder,
            medium,
            slots: Slots::new(MAX_OPEN),
        }
    }

    /// Does `work` while nobody else writes to `pack`.
    pub(crate) fn with<T>(&self, pack: PackId, work: impl FnOnce(&mut Access<'_>) -> Result<T>) -> Result<T> {
        let slot = self.slots.of(pack);
        let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let mut access = Access {
            writers: self,
            pack,
            slot,
        };
        let done = work(&mut access);
        if done.is_err() {
            // What the file's bits are now is known only by reading them.
            access.slot.writer = None;
        }
        done
    }

    /// Closes all files. Nobody may be writing.
    pub(crate) fn close_all(&self) {
        self.slots.clear();
    }
}

/// A pack that nobody else writes to meanwhile.
pub(crate) struct Access<'a> {
    writers: &'a Writers,
    pack: PackId,
    slot: MutexGuard<'a, Slot>,
}

impl Access<'_> {
    /// Has the pack's file opened anew, since what is at its place is not what it was.
    pub(crate) fn reopen(&mut self) {
        self.slot.writer = None;
    }

    /// The pack's file, if it is there.
    pub(crate) fn existing(&mut self) -> Result<Option<&mut PackWriter>> {
        if self.slot.writer.is_none() {
            let path = self.writers.folder.pack(self.pack);
            self.slot.writer = PackWriter::open(&path, self.pack, &self.writers.medium)?;
        }
        Ok(self.slot.writer.as_mut())
    }

    /// The pack's file, made if it is not there.
    pub(crate) fn writer(&mut self) -> Result<&mut PackWriter> {
        let writer = match (self.existing()?.is_some(), self.slot.writer.take()) {
            (true, Some(writer)) => writer,
            _ => PackWriter::create(
                &self.writers.folder.pack(self.pack),
                self.pack,
                &self.writers.medium,
            )?,
        };
        Ok(self.slot.writer.insert(writer))
    }

    /// The pack's chunk table, if the store has it. A table is an object whose digest is the pack's id.
    pub(crate) fn table(&mut self) -> Result<Option<Arc<ChunkTable>>> {
        if self.slot.table.is_none() {
            let bytes = objects::read(&self.writers.folder, &self.pack.0, ChunkTable::MAX_BYTES)?;
            self.slot.table = bytes
                .and_then(|bytes| ChunkTable::open(&bytes, self.pack).ok())
                .map(Arc::new);
        }
        Ok(self.slot.table.clone())
    }

    /// True if all of these pages are here.
    pub(crate) fn has(&mut self, first: u32, count: u32) -> Result<bool> {
        debug_assert!(first + count <= PACK_PAGES, "callers check this");
        Ok(self
            .existing()?
            .is_some_and(|writer| writer.presence().all(first..first + count)))
    }
}
