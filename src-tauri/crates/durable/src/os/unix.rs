//! Unix: folders are flushed as files are.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (open, there) = (file.metadata()?, path.metadata()?);
    Ok((open.dev(), open.ino()) == (there.dev(), there.ino()))
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some file systems (FUSE, SMB) keep nothing back of a folder, and say that they cannot flush it.
        Err(error) if is_unsupported(&error) => Ok(()),
        result => result,
    }
}

/// Makes a folder that only the user can enter.
pub(crate) fn create_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)
}

/// True if a file system knows neither hard links nor a rename that replaces nothing.
pub(crate) fn has_no_such_rename(error: &io::Error) -> bool {
    // What `link` says on vfat and exFAT.
    const EPERM: i32 = 1;
    is_unsupported(error) || error.raw_os_error() == Some(EPERM)
}

fn is_unsupported(error: &io::Error) -> bool {
    const EINVAL: i32 = 22;
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(EINVAL)
}

/// Opens a file to read it; what is not one is opened without waiting for anybody.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let at_once = File::options()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
        .open(path);
    match at_once {
        // Another program has promised to be asked before it is opened, which takes a moment.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && path.metadata()?.is_file() => {
            File::open(path)
        }
        opened => opened,
    }
}

/// Flushing takes no right to write here.
pub(crate) fn open_to_flush(path: &Path) -> io::Result<File> {
    File::open(path)
}

pub(crate) fn readable_by_all(builder: &mut tempfile::Builder<'_, '_>) {
    builder.permissions(Permissions::from_mode(0o666));
}
