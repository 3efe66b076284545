//! Objects of the index: whole files, named by their digest.

use std::io;

use livepc_format::Digest;

use crate::error::{Result, StoreError};
use crate::folder::{Folder, read_bounded, write_durably};
use crate::os;

/// The object's bytes; `None` if it is not here, longer than `max` bytes, or damaged.
pub(crate) fn read(folder: &Folder, digest: &Digest, max: u64) -> Result<Option<Vec<u8>>> {
    let path = folder.object(digest);
    match read_bounded(&path, max) {
        Ok(Some(bytes)) if Digest::of(&bytes) == *digest => Ok(Some(bytes)),
        Ok(_) => {
            tracing::warn!(path = %path.display(), "an object of the index is damaged; it is fetched again");
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound || os::is_bad_medium(&error) => Ok(None),
        Err(error) => Err(StoreError::io("read", &path, error)),
    }
}

/// Writes an object durably, unless it is here and whole.
pub(crate) fn write(folder: &Folder, digest: &Digest, bytes: &[u8]) -> Result<()> {
    if read(folder, digest, bytes.len() as u64)?.is_some() {
        return Ok(());
    }
    write_durably(&folder.object(digest), bytes)
}
