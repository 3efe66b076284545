//! Unix.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

/// `EIO` and `EMFILE`/`ENFILE` have these numbers on every Unix that LivePC runs on.
const EIO: i32 = 5;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

pub(super) fn read_some(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buf, offset)
}

/// Fills `buf` if that can be done without waiting for the disk.
#[cfg(target_os = "linux")]
pub(crate) fn read_cached(file: &File, buf: &mut [u8], offset: u64) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    let len = buf.len();
    // A file system that does not know the flag says so, which is a no as well.
    preadv2(
        file,
        &mut [io::IoSliceMut::new(buf)],
        offset,
        ReadWriteFlags::NOWAIT,
    ) == Ok(len)
}

/// Fills `buf` if that can be done without waiting for the disk: nobody tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read_cached(_file: &File, _buf: &mut [u8], _offset: u64) -> bool {
    false
}

/// Writes all `bytes` at `offset`.
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Lets all of `to`, which is empty, be what `from` is, with the same place on the disk for both. An error says that the file
/// system cannot do that.
#[cfg(target_os = "linux")]
pub(crate) fn share_all(from: &File, to: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(to, from)?)
}

/// Lets `len` bytes of `to` be those of `from`, each from an offset on. Where [`share_all`] works, whole blocks get no place of
/// their own on the disk: there copying is sharing (`copy_file_range(2)`).
#[cfg(target_os = "linux")]
pub(crate) fn share(from: (&File, u64), to: (&File, u64), len: u64) -> io::Result<()> {
    // Both offsets follow what is copied.
    let (mut read, mut write) = (from.1, to.1);
    let end = read + len;
    while read < end {
        let left = usize::try_from(end - read).unwrap_or(usize::MAX);
        if rustix::fs::copy_file_range(from.0, Some(&mut read), to.0, Some(&mut write), left)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Two files with the same place on the disk: macOS shares only whole files.
#[cfg(not(target_os = "linux"))]
pub(crate) fn share_all(_from: &File, _to: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// As [`share_all`], for a part.
#[cfg(not(target_os = "linux"))]
pub(crate) fn share(_from: (&File, u64), _to: (&File, u64), _len: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lets what is never written in the file take no room: so it is without being asked.
pub(crate) fn make_sparse(_file: &File) {}

/// The bytes that the file takes on the disk.
pub(crate) fn allocated(_path: &Path, metadata: &Metadata) -> u64 {
    metadata.blocks() * 512
}

/// True if the disk could not read back what was once written.
pub(crate) fn is_bad_medium(error: &io::Error) -> bool {
    error.raw_os_error() == Some(EIO)
}

/// True if the process or the system has too many open files.
pub(crate) fn is_out_of_handles(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}
