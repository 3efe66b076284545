//! Positional reads and holes on Unix.

use std::{fs::File, io};

use rustix::{
    buffer::spare_capacity,
    fs::{SeekFrom, seek},
    io::{Errno, pread},
};

/// Reads `len` bytes at `offset`, into memory that is not zeroed first.
pub(super) fn read_exact_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut data = Vec::with_capacity(len);
    while data.len() < len {
        let at = offset + data.len() as u64;
        // The allocator may have given more than was asked for.
        match pread(file, spare_capacity(&mut data), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    data.truncate(len);
    Ok(data)
}

/// The first byte at or after `offset` that is not in a hole; `None` if the rest of the file is one.
pub(super) fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Ok(Some(data)),
        Err(Errno::NXIO) => Ok(None),
        // A file system that knows no holes has none.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(offset)),
        Err(error) => Err(error.into()),
    }
}

/// The first byte at or after `offset` that is in a hole; the end of the file counts as one.
pub(super) fn next_hole(file: &File, offset: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Hole(offset)) {
        Ok(hole) => Ok(hole),
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NXIO) => Ok(u64::MAX),
        Err(error) => Err(error.into()),
    }
}
