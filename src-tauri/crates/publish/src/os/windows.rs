//! Windows: `ReadFile` at a position. Holes are not looked for: they are read as the zeros that they are. Who may read a
//! new file follows from the folder that it lies in, which for keys is the user's own.

use std::fs::{File, Metadata};
use std::io;
use std::os::windows::fs::FileExt as _;
use std::path::Path;

/// Fills `buffer` from byte `offset` on.
pub(crate) fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.seek_read(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The first byte at or after `offset` that is not in a hole: every byte.
pub(crate) fn next_data(_file: &File, offset: u64) -> io::Result<Option<u64>> {
    Ok(Some(offset))
}

/// The first byte at or after `offset` that is in a hole: none.
pub(crate) fn next_hole(_file: &File, _offset: u64) -> io::Result<u64> {
    Ok(u64::MAX)
}

/// Disk devices have no entry in a folder on Windows.
pub(crate) fn is_disk_device(_metadata: &Metadata) -> bool {
    false
}

/// True if others can read a file that was made for its owner alone.
#[allow(clippy::unnecessary_wraps)] // Its twin can fail.
pub(crate) fn is_exposed(_file: &File) -> io::Result<bool> {
    Ok(false)
}

/// Temporary files are made as any other file is.
pub(crate) fn public_file(_builder: &mut tempfile::Builder<'_, '_>) {}

/// A new file is for those for whom its folder is.
pub(crate) fn read_as(_file: &File, _place: &Path) -> io::Result<()> {
    Ok(())
}
