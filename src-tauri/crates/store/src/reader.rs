//! Reading a store, from any number of threads and processes.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use livepc_format::limits::PACK_PAGES;
use livepc_format::{Digest, PackId};

use crate::error::{Result, StoreError};
use crate::folder::Folder;
use crate::layout::PAGE_LEN;
use crate::lease::{self, Lease};
use crate::objects;
use crate::open_packs::OpenPacks;
use crate::pack_file::PackFile;
use crate::release_key::ReleaseKey;

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the buffer holds the pages only if the read is complete"]
pub enum ReadOutcome {
    /// The buffer holds the pages; each was checked against its CRC32C.
    Complete,
    /// Not all of the pages are here. What the buffer holds means nothing.
    Missing {
        /// The first page that is not here.
        page: u32,
    },
    /// A page that should be here is not what was written, or cannot be read back. It is to be treated as missing: the
    /// writer drops it ([`Store::drop_pages`](crate::Store::drop_pages)) and fetches it again. What the buffer holds
    /// means nothing.
    Damaged {
        /// The pack.
        pack: PackId,
        /// The first damaged page.
        page: u32,
    },
}

/// A view of a store that writes nothing but leases. Clones share their open files.
#[derive(Clone)]
pub struct Reader(Arc<Inner>);

struct Inner {
    folder: Folder,
    open: OpenPacks,
}

impl Reader {
    /// Opens the store in `folder`, which another process may be writing to.
    ///
    /// # Errors
    /// [`StoreError::NoStore`], [`StoreError::Newer`], [`StoreError::Io`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = Folder::new(folder.as_ref());
        if !folder.check_version()? {
            return Err(StoreError::NoStore(folder.path().to_owned()));
        }
        Ok(Self::new(folder))
    }

    pub(crate) fn new(folder: Folder) -> Self {
        Self(Arc::new(Inner {
            folder,
            open: OpenPacks::default(),
        }))
    }

    /// Reads the pages of `pack` from `first_page` on into `buf`, whose length is a multiple of 4,096 bytes.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if a pack has no such pages, [`StoreError::Io`] if the system fails; neither missing nor
    /// damaged pages are errors.
    pub fn read(&self, pack: PackId, first_page: u32, buf: &mut [u8]) -> Result<ReadOutcome> {
        let pages = check_pages(first_page, buf.len())?;
        if pages.is_empty() {
            return Ok(ReadOutcome::Complete);
        }
        let file = match self.look(pack, &pages)? {
            Ok(file) => file,
            Err(page) => return Ok(ReadOutcome::Missing { page }),
        };
        let damaged = file
            .read(first_page, buf)
            .map_err(|error| StoreError::io("read", &self.0.folder.pack(pack), error))?;
        Ok(match damaged {
            None => ReadOutcome::Complete,
            Some(page) => {
                tracing::warn!(%pack, page, "a page of the chunk store is damaged");
                // The writer may have put another file in its place by now.
                self.0.open.close(pack);
                ReadOutcome::Damaged { pack, page }
            }
        })
    }

    /// [`Reader::read`], if it can be complete without waiting for the disk. False says nothing about the pages: then it
    /// is for `read` to find out, on a thread that may wait. So it is always on systems that do not tell whether a read
    /// would wait (all but Linux), and for more than 4 MiB.
    #[must_use = "the buffer holds the pages only if this is true"]
    pub fn read_cached(&self, pack: PackId, first_page: u32, buf: &mut [u8]) -> bool {
        let Ok(pages) = check_pages(first_page, buf.len()) else {
            return false;
        };
        let Some(file) = self.0.open.get(pack) else {
            return false;
        };
        file.has(pages) && file.read_cached(first_page, buf)
    }

    /// True if the file system lets [`Reader::share`] put pages of `pack` into `file`, which is empty, and stays so.
    #[must_use]
    pub fn can_share(&self, pack: PackId, file: &File) -> bool {
        matches!(self.reopen(pack), Ok(Some(found)) if found.can_share(file))
    }

    /// Lets the bytes of `file` from `at` on, a multiple of 4,096, be `pages` pages of `pack` from `first_page` on. Both
    /// files have them in the same place of the disk, so that it costs neither space nor time; nor is a CRC looked at. Where
    /// [`Reader::can_share`] is false it does not work, or copies.
    ///
    /// False if not all of the pages are here.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the system fails.
    pub fn share(&self, pack: PackId, first_page: u32, pages: u32, file: &File, at: u64) -> Result<bool> {
        let Ok(found) = self.look(pack, &range(first_page, pages)?)? else {
            return Ok(false);
        };
        let shared = found.share(first_page, pages, file, at);
        shared.map_err(|error| StoreError::io("shared", &self.0.folder.pack(pack), error))?;
        Ok(true)
    }

    /// True if `pages` pages of `pack` from `first_page` on are all here. A page that is damaged and was not read yet
    /// counts as here. What cannot be found out counts as not here.
    #[must_use]
    pub fn has(&self, pack: PackId, first_page: u32, pages: u32) -> bool {
        range(first_page, pages).is_ok_and(|pages| matches!(self.look(pack, &pages), Ok(Ok(_))))
    }

    /// The runs of those `count` pages of `pack` from `first` on that are not here, in order.
    #[must_use]
    pub fn missing(&self, pack: PackId, first: u32, count: u32) -> Vec<Range<u32>> {
        let all = first..first.saturating_add(count);
        if all.is_empty() || self.has(pack, first, count) {
            return Vec::new();
        }
        // It was opened anew just now, if it is there.
        match (self.0.open.get(pack), range(first, count)) {
            (Some(file), Ok(pages)) => file.presence.missing(pages),
            _ => vec![all],
        }
    }

    /// How many pages of `pack` are here.
    #[must_use]
    pub fn count(&self, pack: PackId) -> u32 {
        self.reopen(pack)
            .ok()
            .flatten()
            .map_or(0, |file| file.presence.count())
    }

    /// The bytes of an object; `None` if it is not here, longer than `max` bytes, or damaged: then it is to be fetched
    /// and put into the store again. Its digest was checked.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the system fails.
    pub fn object(&self, digest: &Digest, max: u64) -> Result<Option<Vec<u8>>> {
        objects::read(&self.0.folder, digest, max)
    }

    /// True if there is a file for this object. It may be damaged: only [`Reader::object`] tells.
    #[must_use]
    pub fn has_object(&self, digest: &Digest) -> bool {
        self.0.folder.object(digest).is_file()
    }

    /// Protects what `release` needs from [`Store::prune`](crate::Store::prune) for as long as the lease lives, or the
    /// process. Waits while the store is being pruned.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the system fails.
    pub fn lease(&self, release: &ReleaseKey) -> Result<Lease> {
        lease::take(&self.0.folder, release)
    }

    /// Forgets what was known of `pack`, after bits were cleared or its file was removed.
    pub(crate) fn close(&self, pack: PackId) {
        self.0.open.close(pack);
    }

    /// The open file that has all of `pages`, or the first page that is not here. The file is looked at again before
    /// anything is called missing, since another process writes it.
    fn look(&self, pack: PackId, pages: &Range<u32>) -> Result<Result<Arc<PackFile>, u32>> {
        if let Some(file) = self.0.open.get(pack)
            && file.has(pages.clone())
        {
            return Ok(Ok(file));
        }
        let Some(file) = self.reopen(pack)? else {
            return Ok(Err(pages.start));
        };
        Ok(match file.presence.first_missing(pages.clone()) {
            None => Ok(file),
            Some(page) => Err(page),
        })
    }

    fn reopen(&self, pack: PackId) -> Result<Option<Arc<PackFile>>> {
        let path = self.0.folder.pack(pack);
        self.0
            .open
            .open(&path, pack)
            .map_err(|error| StoreError::io("opened", &path, error))
    }
}

/// The pages that `len` bytes from `first_page` on are, if a pack can have them.
pub(crate) fn check_pages(first_page: u32, len: usize) -> Result<Range<u32>> {
    if !len.is_multiple_of(PAGE_LEN) {
        return Err(StoreError::Invalid(format!("{len} bytes are not whole pages")));
    }
    range(first_page, u32::try_from(len / PAGE_LEN).unwrap_or(u32::MAX))
}

/// `count` pages from `first` on, if a pack can have them.
pub(crate) fn range(first: u32, count: u32) -> Result<Range<u32>> {
    match first.checked_add(count) {
        Some(end) if end <= PACK_PAGES => Ok(first..end),
        _ => Err(StoreError::Invalid(format!(
            "a pack has no {count} pages from page {first} on"
        ))),
    }
}
