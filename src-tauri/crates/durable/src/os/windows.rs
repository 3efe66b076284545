//! Windows: NTFS journals names itself, and folders cannot be flushed.

use std::fs::File;
use std::io;
use std::path::Path;

pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = same_file::Handle::from_file(file.try_clone()?)?;
    Ok(open == same_file::Handle::from_path(path)?)
}

// Fails where it would on Unix, too.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    folder.metadata().map(drop)
}

/// The user's own folders are private by inheritance.
pub(crate) fn create_private(folder: &Path) -> io::Result<()> {
    std::fs::create_dir(folder)
}

/// Opens a file to read it; a pipe that nobody has answers at once.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied if path.is_dir() => io::ErrorKind::IsADirectory.into(),
        _ => error,
    })
}

/// Only who may write may flush.
pub(crate) fn open_to_flush(path: &Path) -> io::Result<File> {
    File::options().write(true).open(path)
}

/// A file has the rights of its folder.
pub(crate) fn readable_by_all(_: &mut tempfile::Builder<'_, '_>) {}

/// Windows has one for every file system.
pub(crate) fn has_no_such_rename(_: &io::Error) -> bool {
    false
}
