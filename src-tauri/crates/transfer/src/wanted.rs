//! One chunk of one pack, as something to be wanted.

use std::cmp::Ordering;

use livepc_format::PackId;
use livepc_format::index::Chunk;

/// A chunk and its pack, ordered by where it lies. Two that claim the same place with other digests are different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) pack: PackId,
    pub(crate) chunk: Chunk,
}

impl Wanted {
    fn key(&self) -> impl Ord {
        let Chunk {
            first_page,
            offset,
            entry,
        } = self.chunk;
        (
            self.pack,
            offset,
            first_page,
            (entry.stored, entry.pages),
            (entry.stored_digest, entry.content_digest),
        )
    }

    /// The chunk's first byte in the pack.
    pub(crate) fn offset(&self) -> u64 {
        self.chunk.offset
    }

    /// One past the chunk's last byte in the pack.
    pub(crate) fn end(&self) -> u64 {
        self.chunk.end_offset()
    }
}

impl PartialOrd for Wanted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Wanted {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
