//! Space for the state on a disk that is full: a file that takes some, and is given up when the state needs it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Bytes in reserve: several times what the changes of a busy day need.
const BYTES: u64 = 4 << 20;
/// It is made (again) only while much more than that is free.
const PLENTY: u64 = 16 * BYTES;
/// With less than this free, whatever fails fails for that.
const NOTHING: u64 = 256 << 10;

/// The file, beside the database at `path`.
fn file(path: &Path) -> PathBuf {
    path.with_extension("reserve")
}

/// Takes the space, unless it is taken already or there is too little. That it cannot be had is no reason not to go on.
pub(super) fn make(path: &Path) {
    let file = file(path);
    let taken = file.metadata().is_ok_and(|found| found.len() == BYTES);
    if taken || free(path).is_none_or(|free| free < PLENTY) {
        return;
    }
    let made = File::create(&file).and_then(|reserve| take(&reserve));
    if let Err(error) = made {
        tracing::info!(%error, "no space is in reserve for the state");
        let _ = std::fs::remove_file(&file);
    }
}

/// Bytes that are written take space on every file system, if they are none that one would leave out or pack.
fn take(mut reserve: &File) -> io::Result<()> {
    let mut noise = vec![0; BYTES as usize];
    getrandom::fill(&mut noise).map_err(io::Error::other)?;
    reserve.write_all(&noise)
}

/// Gives the space up; false if there is none.
pub(super) fn release(path: &Path) -> bool {
    let given = std::fs::remove_file(file(path)).is_ok();
    if given {
        tracing::warn!("the disk is full: the space in reserve for the state is used");
    }
    given
}

/// True if it failed since the disk is full. SQLite does not always say so: it may only say that a file cannot be made.
pub(super) fn is_full(error: &rusqlite::Error, path: &Path) -> bool {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => true,
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => {
            free(path).is_some_and(|free| free < NOTHING)
        }
        _ => false,
    }
}

/// Bytes free where the database is.
fn free(path: &Path) -> Option<u64> {
    fs4::available_space(path.parent()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_takes_space_until_it_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        assert!(!release(&path));
        make(&path);
        make(&path);
        let taken = file(&path).metadata().unwrap();
        assert_eq!(taken.len(), BYTES);
        #[cfg(unix)]
        assert!(std::os::unix::fs::MetadataExt::blocks(&taken) * 512 >= BYTES);
        assert!(release(&path));
        assert!(!file(&path).exists());
    }
}
