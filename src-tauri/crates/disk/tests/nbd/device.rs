//! Devices to serve in tests.

use std::{
    io::{Seek, SeekFrom, Write},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use livepc_disk::block::{BlockDevice, DeviceFuture, Piece, ReadError, Run, RunKind, check_range};
use tokio::sync::{Semaphore, watch};

pub(crate) const MIB: u64 = 1 << 20;

/// The byte that a page of [`image`] is filled with.
pub(crate) fn page_byte(page: u64) -> u8 {
    (page % 251) as u8 + 1
}

/// The zero runs of [`image`]: (offset, length) in bytes.
pub(crate) const HOLES: [(u64, u64); 3] = [(0, 64 << 10), (MIB, MIB), (3 * MIB, MIB)];
/// The size of [`image`] in bytes: no multiple of a page, and data at the end.
pub(crate) const SIZE: u64 = 5 * MIB + 512;

/// Disk content in which every page has a byte of its own, but for [`HOLES`].
pub(crate) fn image() -> Vec<u8> {
    let mut image: Vec<u8> = (0..SIZE).map(|at| page_byte(at / 4096)).collect();
    for (offset, len) in HOLES {
        image[offset as usize..(offset + len) as usize].fill(0);
    }
    image
}

/// [`image`] as a file that has holes where it is zero.
pub(crate) fn sparse_file() -> tempfile::NamedTempFile {
    let image = image();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(SIZE).unwrap();
    let mut at = 0;
    for (hole, len) in HOLES.into_iter().chain([(SIZE, 0)]) {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&image[at as usize..hole as usize]).unwrap();
        at = hole + len;
    }
    file.flush().unwrap();
    file
}

/// Content in memory, given in pieces of odd lengths, with zeros as zeros.
pub(crate) struct Memory {
    content: Bytes,
}

impl Memory {
    pub(crate) fn new(content: Vec<u8>) -> Self {
        Self {
            content: content.into(),
        }
    }

    /// The run that `offset` lies in, in steps of 1000 bytes.
    fn run_at(&self, offset: u64, end: u64) -> Run {
        let step_end = (offset / 1000 + 1) * 1000;
        let len = step_end.min(end) - offset;
        let zero = self.content[offset as usize..(offset + len) as usize]
            .iter()
            .all(|byte| *byte == 0);
        Run {
            len,
            kind: if zero { RunKind::Zero } else { RunKind::Data },
        }
    }

    fn all_runs(&self, mut offset: u64, len: u64) -> Vec<Run> {
        let end = offset + len;
        let mut runs: Vec<Run> = Vec::new();
        while offset < end {
            let run = self.run_at(offset, end);
            offset += run.len;
            match runs.last_mut() {
                Some(last) if last.kind == run.kind && run.kind == RunKind::Zero => last.len += run.len,
                _ => runs.push(run),
            }
        }
        runs
    }
}

impl BlockDevice for Memory {
    fn size(&self) -> u64 {
        self.content.len() as u64
    }

    fn read(&self, offset: u64, len: u32) -> DeviceFuture<'_, Vec<Piece>> {
        Box::pin(async move {
            check_range(offset, len.into(), self.size())?;
            let mut at = offset as usize;
            let pieces = self.all_runs(offset, len.into()).into_iter().map(|run| {
                let from = at;
                at += run.len as usize;
                match run.kind {
                    RunKind::Zero => Piece::Zero(run.len as u32),
                    RunKind::Data => Piece::Data(self.content.slice(from..at)),
                }
            });
            Ok(pieces.collect())
        })
    }

    fn runs(&self, offset: u64, len: u64) -> DeviceFuture<'_, Vec<Run>> {
        Box::pin(async move {
            check_range(offset, len, self.size())?;
            Ok(self.all_runs(offset, len))
        })
    }
}

/// A device whose reads below [`Gate::OPEN_FROM`] wait until they are let through, and are seen doing so.
pub(crate) struct Gate {
    passes: Semaphore,
    begun: watch::Sender<usize>,
    pub(crate) given_up: AtomicUsize,
}

impl Gate {
    pub(crate) const SIZE: u64 = 128 * MIB;
    /// From this byte on, reads do not wait.
    pub(crate) const OPEN_FROM: u64 = 64 * MIB;
    /// A read here fails for lack of a network.
    pub(crate) const WAITED_AT: u64 = 100 * MIB;
    /// A read here gives too few bytes.
    pub(crate) const SHORT_AT: u64 = 101 * MIB;
    /// A read here panics.
    pub(crate) const PANIC_AT: u64 = 102 * MIB;
    /// A read here fails for a local reason.
    pub(crate) const BROKEN_AT: u64 = 103 * MIB;

    pub(crate) fn new() -> Self {
        Self {
            passes: Semaphore::new(0),
            begun: watch::Sender::new(0),
            given_up: AtomicUsize::new(0),
        }
    }

    /// Lets `count` waiting reads through.
    pub(crate) fn pass(&self, count: usize) {
        self.passes.add_permits(count);
    }

    /// Waits until `count` reads have begun to wait.
    pub(crate) async fn waiting(&self, count: usize) {
        self.begun
            .subscribe()
            .wait_for(|begun| *begun >= count)
            .await
            .unwrap();
    }

    /// The reads that have begun to wait so far.
    pub(crate) fn begun(&self) -> usize {
        *self.begun.borrow()
    }
}

/// Counts a read that was dropped while it waited.
struct Waiting<'a>(&'a Gate);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

impl BlockDevice for Gate {
    fn size(&self) -> u64 {
        Self::SIZE
    }

    fn read(&self, offset: u64, len: u32) -> DeviceFuture<'_, Vec<Piece>> {
        Box::pin(async move {
            match offset {
                Self::WAITED_AT => {
                    return Err(ReadError::Waited {
                        limit: Duration::from_secs(10),
                    });
                }
                Self::SHORT_AT => return Ok(vec![Piece::Zero(len - 1)]),
                Self::PANIC_AT => panic!("a bug in a device"),
                Self::BROKEN_AT => return Err(std::io::Error::other("the store is broken").into()),
                Self::OPEN_FROM.. => {}
                _ => {
                    let waiting = Waiting(self);
                    self.begun.send_modify(|begun| *begun += 1);
                    self.passes.acquire().await.unwrap().forget();
                    std::mem::forget(waiting);
                }
            }
            Ok(vec![Piece::Data(vec![7; len as usize].into())])
        })
    }

    fn runs(&self, _offset: u64, len: u64) -> DeviceFuture<'_, Vec<Run>> {
        Box::pin(async move {
            Ok(vec![Run {
                len,
                kind: RunKind::Data,
            }])
        })
    }
}
