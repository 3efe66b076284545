//! A file of raw disk content as a block device.

#[cfg_attr(unix, path = "raw_file/unix.rs")]
#[cfg_attr(windows, path = "raw_file/windows.rs")]
mod os;

use std::{fs::File, io, path::Path, sync::Arc};

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::block::{BlockDevice, DeviceFuture, Piece, ReadError, Run, RunKind, check_range};

/// The most runs one [`BlockDevice::runs`] looks for: each costs two system calls.
const MAX_RUNS: usize = 1024;

/// The most reads of one file at a time: enough to keep a disk's queue busy. Without a limit, the 64 requests that a client
/// may have under way would take 64 threads.
const MAX_READS: usize = 8;

/// A file of raw disk content. Where the file has holes, so has the device.
///
/// Reads happen on tokio's blocking threads: the file may lie on a slow disk, and a worker thread that sat in `pread` would
/// stop every other connection. Against that a thread hop is cheap, and unlike `block_in_place` it works in every
/// runtime.
#[derive(Debug, Clone)]
pub struct RawFile {
    file: Arc<File>,
    size: u64,
    reads: Arc<Semaphore>,
}

impl RawFile {
    /// Opens `path` for reading. Its size now is the device's size from here on.
    ///
    /// # Errors
    /// If the file cannot be opened or its size cannot be found.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::new(File::open(path)?)
    }

    /// Takes a file that is open for reading. Its size now is the device's size from here on.
    ///
    /// # Errors
    /// If its size cannot be found.
    pub fn new(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self {
            file: Arc::new(file),
            size,
            reads: Arc::new(Semaphore::new(MAX_READS)),
        })
    }

    /// Runs `work` with the file where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let file = Arc::clone(&self.file);
        // Held by the thread, which goes on when this future is dropped. The semaphore is never closed.
        let permit = Arc::clone(&self.reads)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let done = livepc_panics::blocking("Reading a disk", move || {
            let done = work(&file);
            drop(permit);
            done
        })
        .await;
        Ok(done.map_err(io::Error::other)??)
    }
}

impl BlockDevice for RawFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, len: u32) -> DeviceFuture<'_, Vec<Piece>> {
        Box::pin(async move {
            check_range(offset, len.into(), self.size)?;
            if len == 0 {
                return Ok(Vec::new());
            }
            let data = self
                .blocking(move |file| os::read_exact_at(file, offset, len as usize))
                .await?;
            Ok(vec![Piece::Data(Bytes::from(data))])
        })
    }

    fn runs(&self, offset: u64, len: u64) -> DeviceFuture<'_, Vec<Run>> {
        Box::pin(async move {
            check_range(offset, len, self.size)?;
            self.blocking(move |file| runs(file, offset, offset + len)).await
        })
    }
}

/// The runs of `file` from `offset` on, up to `end` or [`MAX_RUNS`].
fn runs(file: &File, mut offset: u64, end: u64) -> io::Result<Vec<Run>> {
    let mut runs = Vec::new();
    while offset < end && runs.len() < MAX_RUNS {
        let data = os::next_data(file, offset)?.unwrap_or(end).min(end);
        let (kind, next) = if data > offset {
            (RunKind::Zero, data)
        } else {
            (RunKind::Data, os::next_hole(file, offset)?.clamp(offset + 1, end))
        };
        runs.push(Run {
            len: next - offset,
            kind,
        });
        offset = next;
    }
    Ok(runs)
}
