//! A local pack file that is open for writing.
//!
//! The order of writing is what makes the bits true: pages and CRCs, then `fdatasync`, then the bits. The bits need no
//! `fdatasync` of their own: one that is lost is a page fetched again. Once somebody is told that all is here,
//! they are flushed, too.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use livepc_format::PackId;

use crate::error::{Result, StoreError};
use crate::folder::{DAMAGED, place_durably};
use crate::layout::{PAGE_LEN, PAGES_AT, PRESENCE_AT, crc_at, crcs, header, page_at};
use crate::medium::Medium;
use crate::os;
use crate::pack_file::{Found, PackFile};
use crate::presence::Presence;

/// Whole pages to be written, and the first one's number.
#[derive(Clone, Copy)]
pub(crate) struct Pages<'a> {
    pub(crate) first: u32,
    pub(crate) bytes: &'a [u8],
}

impl Pages<'_> {
    /// The pages' numbers.
    pub(crate) fn range(&self) -> Range<u32> {
        self.first..self.first + (self.bytes.len() / PAGE_LEN) as u32
    }
}

/// A local pack file and its bits. There is one of it for a pack, in one process.
pub(crate) struct PackWriter {
    path: PathBuf,
    file: File,
    presence: Presence,
    medium: Arc<dyn Medium>,
}

impl PackWriter {
    /// Opens the file of `pack`; `None` if there is none, or none that can be used.
    pub(crate) fn open(path: &Path, pack: PackId, medium: &Arc<dyn Medium>) -> Result<Option<Self>> {
        let found = PackFile::open_to_write(path, pack);
        match found.map_err(|error| StoreError::io("opened", path, error))? {
            Found::Pack(found) => {
                let (file, presence) = found.into_parts();
                Ok(Some(Self {
                    path: path.to_owned(),
                    file,
                    presence,
                    medium: Arc::clone(medium),
                }))
            }
            Found::Nothing => Ok(None),
            Found::Damaged => {
                tracing::warn!(path = %path.display(), "a local pack file is damaged; its pages are fetched again");
                let mut aside = path.as_os_str().to_owned();
                aside.push(DAMAGED);
                fs::rename(path, aside).map_err(|error| StoreError::io("moved aside", path, error))?;
                Ok(None)
            }
        }
    }

    /// Makes the file of `pack`, without any pages.
    pub(crate) fn create(path: &Path, pack: PackId, medium: &Arc<dyn Medium>) -> Result<Self> {
        let file = place_durably(path, |file| {
            os::make_sparse(file);
            file.write_all(&header(pack))?;
            file.set_len(PAGES_AT)
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            presence: Presence::empty(),
            medium: Arc::clone(medium),
        })
    }

    /// The pages that are here.
    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Writes those runs of which not every page is here; they are durable when this returns, and gives how many.
    ///
    /// After an error none of them is claimed to be here, and the file must be opened anew: the system may have told
    /// only once that it lost what was written.
    pub(crate) fn write(&mut self, runs: &[Pages<'_>]) -> Result<usize> {
        let new: Vec<&Pages<'_>> = runs
            .iter()
            .filter(|run| !self.presence.all(run.range()))
            .collect();
        if new.is_empty() {
            return Ok(0);
        }
        for run in &new {
            if self.presence.any(run.range()) {
                // Half a chunk: only one half of the bits got to the disk before a crash. Nothing may be claimed
                // while it is written over.
                self.clear(run.range())?;
            }
            self.write_at(run.bytes, page_at(run.first))?;
            self.write_at(&crcs(run.bytes), crc_at(run.first))?;
        }
        self.sync()?;
        for run in &new {
            self.presence.set(run.range(), true);
            self.write_bits(run.range())?;
        }
        Ok(new.len())
    }

    /// Takes back that `pages` are here, durably.
    pub(crate) fn clear(&mut self, pages: Range<u32>) -> Result<()> {
        self.presence.set(pages.clone(), false);
        self.write_bits(pages)?;
        self.sync()
    }

    /// Makes the bits durable.
    ///
    /// # Errors
    /// [`StoreError::Removed`] if the file is not where it was opened, which `tells_place` says can be seen: nobody finds what was
    /// written to it.
    pub(crate) fn flush(&self, tells_place: bool) -> Result<()> {
        self.sync()?;
        match livepc_durable::is_at(&self.file, &self.path) {
            Ok(false) if tells_place => Err(StoreError::Removed(self.path.clone())),
            _ => Ok(()),
        }
    }

    fn write_bits(&self, pages: Range<u32>) -> Result<()> {
        let (at, bytes) = self.presence.bytes_of(pages);
        self.write_at(&bytes, PRESENCE_AT + at as u64)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.medium
            .write_all_at(&self.file, bytes, offset)
            .map_err(|error| self.failed(error))
    }

    fn sync(&self) -> Result<()> {
        self.medium
            .sync_data(&self.file)
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> StoreError {
        StoreError::io("written", &self.path, error)
    }
}
