//! What differs between operating systems: positional reads and writes, sparse files, durable folders.

#[cfg_attr(unix, path = "os/unix.rs")]
#[cfg_attr(windows, path = "os/windows.rs")]
mod system;

use std::fs::File;
use std::io;

pub(crate) use system::{
    allocated, is_bad_medium, is_out_of_handles, make_sparse, read_cached, share, share_all, write_all_at,
};

/// Reads at `offset` until `buf` is full or the file ends; gives the bytes read.
pub(crate) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match system::read_some(file, &mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// True if the file system, the user's quota or a process limit leaves no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
