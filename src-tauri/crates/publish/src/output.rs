//! What a publication writes, counted; a dry run counts only.

use std::sync::atomic::{AtomicU64, Ordering};

use livepc_format::{Digest, PackId, paths};

use crate::destination::{Destination, Put};
use crate::error::{PublishError, Result};

/// Writes immutable files into the destination.
pub(crate) struct Output<'a> {
    dest: &'a dyn Destination,
    dry_run: bool,
    written: AtomicU64,
    present: AtomicU64,
}

impl<'a> Output<'a> {
    pub(crate) fn new(dest: &'a dyn Destination, dry_run: bool) -> Self {
        Self {
            dest,
            dry_run,
            written: AtomicU64::new(0),
            present: AtomicU64::new(0),
        }
    }

    /// Bytes of the files that were written, or that would be.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Bytes of the files that were there already.
    pub(crate) fn present(&self) -> u64 {
        self.present.load(Ordering::Relaxed)
    }

    /// Puts a pack with its page list and its chunk table.
    pub(crate) fn put_pack(&self, id: &PackId, pack: &[u8], pages: &[u8], table: &[u8]) -> Result<()> {
        self.put(&paths::pack(id), pack)?;
        self.put(&paths::page_list(id), pages)?;
        self.put(&paths::object(&id.0), table)
    }

    /// Puts an object of the index.
    pub(crate) fn put_object(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        self.put(&paths::object(digest), bytes)
    }

    /// Puts an immutable file.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let len = bytes.len() as u64;
        let put = if self.dry_run {
            match self.dest.size(path)? {
                None => Put::Written,
                Some(size) if size == len => Put::Present,
                Some(_) => {
                    return Err(PublishError::Immutable {
                        place: self.dest.name(),
                        path: path.to_owned(),
                    });
                }
            }
        } else {
            self.dest.put_new(path, bytes)?
        };
        match put {
            Put::Written => self.written.fetch_add(len, Ordering::Relaxed),
            Put::Present => self.present.fetch_add(len, Ordering::Relaxed),
        };
        Ok(())
    }
}
