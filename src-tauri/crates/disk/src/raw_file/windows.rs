//! Positional reads on Windows. Holes are not looked for: they read as the zeros they are.

use std::{fs::File, io, os::windows::fs::FileExt};

/// Reads `len` bytes at `offset`.
pub(super) fn read_exact_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut data = vec![0; len];
    let mut done = 0;
    while done < len {
        match file.seek_read(&mut data[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(data)
}

/// The first byte at or after `offset` that is not in a hole: every byte.
pub(super) fn next_data(_file: &File, offset: u64) -> io::Result<Option<u64>> {
    Ok(Some(offset))
}

/// The first byte at or after `offset` that is in a hole: none.
pub(super) fn next_hole(_file: &File, _offset: u64) -> io::Result<u64> {
    Ok(u64::MAX)
}
