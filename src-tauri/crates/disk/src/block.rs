//! What every export is written over: a read-only block device.

use std::{fmt, future::Future, io, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};

/// A future of a [`BlockDevice`]: boxed, so that devices of different kinds can stand behind one `Arc<dyn BlockDevice>`.
///
/// Dropping it gives the request up; a device must not lose or damage anything by that.
pub type DeviceFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ReadError>> + Send + 'a>>;

/// A read-only block device.
///
/// Its content never changes while it is exported, so any number of readers may share it without coordination.
pub trait BlockDevice: Send + Sync + 'static {
    /// The size in bytes.
    fn size(&self) -> u64;

    /// Reads `len` bytes at byte `offset`: pieces in order, whose lengths add up to exactly `len`.
    ///
    /// Pieces rather than one buffer, because a device that assembles a read from several places then copies nothing,
    /// and because a zero run costs neither memory nor bandwidth. [`BlockDevice::read_at`] gives one buffer.
    ///
    /// May wait for data from the network.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] if the range does not lie within the device, [`ReadError::Waited`] if the network brought
    /// nothing for too long, [`ReadError::Io`] for all else.
    fn read(&self, offset: u64, len: u32) -> DeviceFuture<'_, Vec<Piece>>;

    /// Says which parts of the `len` bytes at byte `offset` are zero without reading them.
    ///
    /// The runs start at `offset`, follow each other without gaps and together cover at least one byte and at most `len`.
    /// A device may stop early, after as many runs as are cheap to find; the caller asks again from where they end.
    /// `Data` may contain zeros: it promises nothing.
    ///
    /// # Errors
    /// As [`BlockDevice::read`]: what is zero may itself have to be fetched.
    fn runs(&self, offset: u64, len: u64) -> DeviceFuture<'_, Vec<Run>>;

    /// Reads `len` bytes at byte `offset` into one buffer; without a copy when the device gives a single piece of data.
    ///
    /// # Errors
    /// As [`BlockDevice::read`].
    fn read_at(&self, offset: u64, len: u32) -> DeviceFuture<'_, Bytes> {
        Box::pin(async move { Ok(join(self.read(offset, len).await?)) })
    }
}

/// A part of what [`BlockDevice::read`] read.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Data(Bytes),
    /// This many zero bytes.
    Zero(u32),
}

impl Piece {
    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Zero(len) => u64::from(*len),
        }
    }

    /// Whether the piece has no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::Zero(len) => write!(f, "Zero({len} bytes)"),
        }
    }
}

/// A stretch of a device whose bytes are all of one kind; the answer of [`BlockDevice::runs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The length in bytes.
    pub len: u64,
    /// What the bytes are.
    pub kind: RunKind,
}

/// What a [`Run`] consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// Must be read to be known.
    Data,
    /// Only zero bytes; nothing is stored or fetched for them.
    Zero,
}

/// Why a device could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The data is not local, and the network made no progress within the limit. A hypervisor pauses its machine and
    /// tries the same read again later.
    #[error(
        "the data is not on this computer yet, and nothing arrived for {} s; check the network connection, the read can be repeated",
        .limit.as_secs()
    )]
    Waited {
        /// How long the device waited without progress.
        limit: Duration,
    },
    /// What holds the data failed.
    #[error("reading the disk's local data failed ({0}); check the file system that holds it")]
    Io(#[from] io::Error),
    /// The range does not lie within the device.
    #[error(
        "bytes {offset} to {offset}+{len} do not lie within the disk, which has {size} bytes; read within its size"
    )]
    OutOfRange {
        /// The first byte asked for.
        offset: u64,
        /// The bytes asked for.
        len: u64,
        /// The size of the device in bytes.
        size: u64,
    },
}

/// Checks that `len` bytes at `offset` lie within a device of `size` bytes.
///
/// # Errors
/// [`ReadError::OutOfRange`] if they do not.
pub fn check_range(offset: u64, len: u64, size: u64) -> Result<(), ReadError> {
    match offset.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(ReadError::OutOfRange { offset, len, size }),
    }
}

/// Puts pieces into one buffer.
fn join(mut pieces: Vec<Piece>) -> Bytes {
    if let [Piece::Data(data)] = pieces.as_mut_slice() {
        return std::mem::take(data);
    }
    let len: usize = pieces.iter().map(|piece| piece.len() as usize).sum();
    let mut whole = BytesMut::with_capacity(len);
    for piece in pieces {
        match piece {
            Piece::Data(data) => whole.extend_from_slice(&data),
            Piece::Zero(zeros) => whole.resize(whole.len() + zeros as usize, 0),
        }
    }
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_checked_without_overflow() {
        assert!(check_range(0, 10, 10).is_ok());
        assert!(
            check_range(10, 0, 10).is_ok(),
            "nothing at the end is within the device"
        );
        assert!(check_range(1, 10, 10).is_err());
        assert!(
            check_range(u64::MAX, 2, u64::MAX).is_err(),
            "offset + len overflows"
        );
    }

    #[test]
    fn pieces_are_joined_in_order_and_a_single_one_is_not_copied() {
        let data = Bytes::from_static(b"abc");
        let joined = join(vec![
            Piece::Data(data.clone()),
            Piece::Zero(2),
            Piece::Data(data.clone()),
        ]);
        assert_eq!(joined.as_ref(), b"abc\0\0abc");
        assert_eq!(join(vec![Piece::Zero(3)]).as_ref(), [0; 3]);
        let same = join(vec![Piece::Data(data.clone())]);
        assert_eq!(same.as_ptr(), data.as_ptr(), "one piece must be handed through");
        assert!(join(Vec::new()).is_empty());
    }
}
