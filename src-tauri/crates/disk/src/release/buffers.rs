//! Buffers that are used again: to get a large one from the system and have it zeroed takes as long as to read into it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers below this many bytes are not worth keeping.
const LEAST: usize = 64 << 10;
/// Nor are those above this.
const LARGEST: usize = 4 << 20;
/// Bytes that are kept at the most.
const KEPT: usize = 16 << 20;

/// Buffers that nobody uses now. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// Bytes of somebody, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    /// At least `len` bytes.
    bytes: Vec<u8>,
    len: usize,
    home: Buffers,
}

impl Buffers {
    /// A buffer of `len` bytes. What is in it means nothing: it has been used before.
    pub(super) fn take(&self, len: usize) -> Buffer {
        let mut bytes = self.unused(len).unwrap_or_default();
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        Buffer {
            bytes,
            len,
            home: self.clone(),
        }
    }

    /// The smallest of those that are large enough.
    fn unused(&self, len: usize) -> Option<Vec<u8>> {
        if len < LEAST {
            return None;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = kept.iter().enumerate().filter(|(_, bytes)| bytes.len() >= len);
        let (place, _) = fits.min_by_key(|(_, bytes)| bytes.len())?;
        Some(kept.swap_remove(place))
    }

    fn give_back(&self, bytes: Vec<u8>) {
        if !(LEAST..=LARGEST).contains(&bytes.len()) {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.iter().map(Vec::len).sum::<usize>() + bytes.len() <= KEPT {
            kept.push(bytes);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.bytes));
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_used_again_and_not_too_much_is_kept() {
        let buffers = Buffers::default();
        let mut first = buffers.take(1 << 20);
        assert!(first.iter().all(|byte| *byte == 0));
        first.fill(7);
        let at = first.as_ptr();
        drop(first);
        let again = buffers.take(300_000);
        assert_eq!((again.as_ptr(), again.len()), (at, 300_000));
        drop(buffers.take(100));
        drop(buffers.take(LARGEST + 1));
        let many: Vec<Buffer> = (0..40).map(|_| buffers.take(1 << 20)).collect();
        drop((again, many));
        let kept = buffers.0.lock().unwrap();
        assert_eq!(kept.iter().map(Vec::len).sum::<usize>(), KEPT);
    }
}
