//! Windows.
#![allow(unsafe_code)] // two calls that the standard library has no name for

use std::ffi::c_void;
use std::fs::{File, Metadata};
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::fs::FileExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::Path;
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{
    ERROR_CRC, ERROR_IO_DEVICE, ERROR_SECTOR_NOT_FOUND, ERROR_TOO_MANY_OPEN_FILES, NO_ERROR, SetLastError,
};
use windows_sys::Win32::Storage::FileSystem::{GetCompressedFileSizeW, INVALID_FILE_SIZE};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::FSCTL_SET_SPARSE;

pub(super) fn read_some(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buf, offset)
}

/// Fills `buf` if that can be done without waiting for the disk: nobody tells.
pub(crate) fn read_cached(_file: &File, _buf: &mut [u8], _offset: u64) -> bool {
    false
}

/// Writes all `bytes` at `offset`.
pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Two files with the same place on the disk: only ReFS has that, and nobody has asked for it yet.
pub(crate) fn share_all(_from: &File, _to: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// As [`share_all`], for a part.
pub(crate) fn share(_from: (&File, u64), _to: (&File, u64), _len: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lets what is never written in the file take no room. A file system that cannot do so keeps zeros.
pub(crate) fn make_sparse(file: &File) {
    let mut returned = 0;
    // SAFETY: the handle is open as long as `file` is borrowed; this request has no buffers, and is not overlapped.
    unsafe {
        DeviceIoControl(
            file.as_raw_handle().cast::<c_void>(),
            FSCTL_SET_SPARSE,
            null_mut(),
            0,
            null_mut(),
            0,
            &raw mut returned,
            null_mut(),
        );
    }
}

/// The bytes that the file takes on the disk; its length where the system does not tell.
pub(crate) fn allocated(path: &Path, metadata: &Metadata) -> u64 {
    let name: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    let mut high = 0;
    // SAFETY: `name` ends with a zero and, like `high`, lives through the call. The last error is the thread's own; it is
    // reset because the low half of a size may look like a failure.
    let (low, error) = unsafe {
        SetLastError(NO_ERROR);
        (
            GetCompressedFileSizeW(name.as_ptr(), &raw mut high),
            io::Error::last_os_error(),
        )
    };
    if low == INVALID_FILE_SIZE && error.raw_os_error() != Some(NO_ERROR as i32) {
        return metadata.len();
    }
    u64::from(high) << 32 | u64::from(low)
}

/// True if the disk could not read back what was once written.
pub(crate) fn is_bad_medium(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(i32::cast_unsigned);
    matches!(code, Some(ERROR_CRC | ERROR_SECTOR_NOT_FOUND | ERROR_IO_DEVICE))
}

/// True if the process has too many open files.
pub(crate) fn is_out_of_handles(error: &io::Error) -> bool {
    error.raw_os_error().map(i32::cast_unsigned) == Some(ERROR_TOO_MANY_OPEN_FILES)
}
