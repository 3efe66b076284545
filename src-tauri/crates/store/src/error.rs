//! What can go wrong in a store.

use std::io;
use std::path::{Path, PathBuf};

use livepc_format::shown;
use livepc_format::{Digest, PackId};

use crate::os;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process writes to the store.
    #[error("the chunk store {} is in use by another LivePC agent; use that one, or stop it first", shown::path(.0))]
    InUse(PathBuf),
    /// Somebody reads from the store, so it cannot be moved.
    #[error("the chunk store {} is being read by a machine or another program; stop it first", shown::path(.0))]
    BeingRead(PathBuf),
    /// A later version of LivePC has made the store. Nothing in it was touched.
    #[error(
        "the chunk store {} has version {found}, and this LivePC knows up to {known}: update LivePC",
        shown::path(.path)
    )]
    Newer {
        /// The store's folder.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest version that this program knows.
        known: u64,
    },
    /// There is no store in this folder.
    #[error("there is no chunk store in {}; check the storage folder in the settings", shown::path(.0))]
    NoStore(PathBuf),
    /// Somebody has removed or renamed a file of the store that was in use.
    #[error("{} was removed while LivePC wrote it; try again, and it is fetched again", shown::path(.0))]
    Removed(PathBuf),
    /// What a file of the store itself says makes no sense.
    #[error("{} is damaged ({why}); move it away, and LivePC makes a new one", shown::path(.path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file system has no room. Nothing is claimed to be here that is not.
    #[error(
        "there is no room left for {}; free some disk space or choose another storage folder, then try again",
        shown::path(.path)
    )]
    DiskFull {
        /// What was written.
        path: PathBuf,
    },
    /// The operating system refused or failed.
    #[error("{} could not be {what} ({source}); check the disk and the permissions of the storage folder", shown::path(.path))]
    Io {
        /// What was tried, as a participle.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The database failed.
    #[error("the chunk store's database failed ({0}); check the disk of the storage folder")]
    Database(#[source] rusqlite::Error),
    /// The database was damaged and made new, so that nobody knows which releases need what.
    #[error(
        "the chunk store's database was lost, so LivePC does not know yet what may be removed; \
         it will when every subscription has been looked at again"
    )]
    ReferencesLost,
    /// A chunk is not one of its pack, as the pack's chunk table has it.
    #[error(
        "what was fetched as page {first_page} of pack {pack} does not belong there; ask its publisher to publish it again"
    )]
    NotOfPack {
        /// The pack.
        pack: PackId,
        /// The first page of the refused chunk.
        first_page: u32,
    },
    /// An object's bytes do not have the digest that names it.
    #[error("the bytes offered as object {0} are others; ask its publisher to publish it again")]
    WrongDigest(Digest),
    /// The caller asked for something that cannot be, which is a fault of the program.
    #[error("{0}; please report this as a fault of LivePC")]
    Invalid(String),
}

/// The result of a store's work.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl StoreError {
    /// Makes an error of what the system said when `path` was to be `what`.
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if os::is_full(&source) {
            Self::DiskFull { path }
        } else {
            Self::Io { what, path, source }
        }
    }

    /// True if there was no room.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}
