//! Unix: `pread`, `SEEK_DATA` and `SEEK_HOLE`, permissions.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// Fills `buffer` from byte `offset` on.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)
}

/// The first byte at or after `offset` that is not in a hole; `None` if the rest of the file is one.
pub(crate) fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Ok(Some(data)),
        Err(Errno::NXIO) => Ok(None),
        // What knows no holes has none.
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY) => Ok(Some(offset)),
        Err(error) => Err(error.into()),
    }
}

/// The first byte at or after `offset` that is in a hole; the end of the file counts as one.
pub(crate) fn next_hole(file: &File, offset: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Hole(offset)) {
        Ok(hole) => Ok(hole),
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY | Errno::NXIO) => Ok(u64::MAX),
        Err(error) => Err(error.into()),
    }
}

/// True for a disk device, which is read as a raw image is.
pub(crate) fn is_disk_device(metadata: &Metadata) -> bool {
    metadata.file_type().is_block_device()
}

/// True if others can read a file that was made for its owner alone.
pub(crate) fn is_exposed(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.permissions().mode() & 0o077 != 0)
}

/// Lets a temporary file be made as any other file is: readable by a web server, unless the umask forbids it.
pub(crate) fn public_file(builder: &mut tempfile::Builder<'_, '_>) {
    builder.permissions(Permissions::from_mode(0o666));
}

/// Lets those read a new file who may read the one at `place`, which it is to replace.
pub(crate) fn read_as(file: &File, place: &Path) -> io::Result<()> {
    let before = place.metadata()?;
    if before.gid() != file.metadata()?.gid() {
        // Only who is in that group may give it away; then others of the group can read it no longer.
        let _ = std::os::unix::fs::fchown(file, None, Some(before.gid()));
    }
    file.set_permissions(Permissions::from_mode(before.mode() & 0o777))
}
