//! What local pack files are written through, so that tests can put a failing disk or a power cut in between.

use std::fs::File;
use std::io;

use crate::os;

/// Writing and making durable.
pub(crate) trait Medium: Send + Sync {
    /// Writes all `bytes` at `offset`; they need not be durable.
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes all that was written to the file durable.
    fn sync_data(&self, file: &File) -> io::Result<()>;
}

/// The file system.
pub(crate) struct Disk;

impl Medium for Disk {
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        os::write_all_at(file, bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}
