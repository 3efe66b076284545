//! How much room a store takes.

use std::fs::{self, DirEntry};
use std::path::Path;

use livepc_format::PackId;

use crate::error::{Result, StoreError};
use crate::os;
use crate::store::Store;

impl Store {
    /// The bytes that a pack takes on the disk, 0 if nothing of it is here.
    #[must_use]
    pub fn local_bytes(&self, pack: PackId) -> u64 {
        allocated(&self.folder.pack(pack))
    }

    /// The bytes that the whole store takes on the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn usage(&self) -> Result<u64> {
        let mut bytes = 0;
        for folder in [self.folder.packs(), self.folder.objects()] {
            visit(&folder, &mut |entry| {
                bytes += allocated(&entry.path());
                Ok(())
            })?;
        }
        for entry in entries(self.folder.path())? {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                bytes += allocated(&entry.path());
            }
        }
        Ok(bytes)
    }
}

/// The bytes that a file takes on the disk; 0 if it is gone.
pub(crate) fn allocated(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| os::allocated(path, &metadata))
}

/// Visits the files in the folders in `folder`.
pub(crate) fn visit(folder: &Path, file: &mut dyn FnMut(&DirEntry) -> Result<()>) -> Result<()> {
    for inner in entries(folder)? {
        if !inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        for entry in entries(&inner.path())? {
            file(&entry)?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let read = || fs::read_dir(folder)?.collect::<Result<_, _>>();
    read().map_err(|error| StoreError::io("read", folder, error))
}
