//! A pack's chunk table: the digest of its bytes is the pack's id.

use super::wire::{Reader, Writer};
use crate::error::{FormatError, Result};
use crate::limits::{CHUNK_PAGES, CHUNK_STORED, PACK_PAGES, PACK_STORED};
use crate::{Digest, PackId};

const WHAT: &str = "a chunk table";
const LETTERS: &[u8; 4] = b"LPCT";
/// Bytes of an entry: stored length (u32), pages (u32), two digests.
const ENTRY: usize = 4 + 4 + 32 + 32;

/// What a publisher says of one chunk; where it lies follows from the entries before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkEntry {
    /// Stored bytes: one zstd frame.
    pub stored: u32,
    /// Pages in it: 1 to 64.
    pub pages: u32,
    /// SHA-256 of the stored bytes, checked before they are decompressed.
    pub stored_digest: Digest,
    /// SHA-256 of the pages: the chunk's identity, whatever compressed it.
    pub content_digest: Digest,
}

impl ChunkEntry {
    pub(crate) fn check(&self, what: &'static str) -> Result<()> {
        if (1..=CHUNK_PAGES).contains(&self.pages) && (1..=CHUNK_STORED).contains(&self.stored) {
            return Ok(());
        }
        Err(FormatError::malformed(
            what,
            "a chunk has 1 to 64 pages and at most 264 KiB stored",
        ))
    }
}

/// A chunk and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its first page in the pack.
    pub first_page: u32,
    /// Its first byte in the pack.
    pub offset: u64,
    /// What the publisher says of it.
    pub entry: ChunkEntry,
}

impl Chunk {
    /// One past its last page in the pack.
    #[must_use]
    pub fn end_page(&self) -> u32 {
        self.first_page.saturating_add(self.entry.pages)
    }

    /// One past its last byte in the pack.
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.entry.stored))
    }
}

/// The chunks of a pack, in the order in which they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkTable {
    id: PackId,
    chunks: Vec<Chunk>,
}

impl ChunkTable {
    /// Makes the table of a pack with these chunks, and gives the table's bytes.
    pub fn build(entries: &[ChunkEntry]) -> Result<(Self, Vec<u8>)> {
        let mut writer = Writer::new(LETTERS);
        // Where a count does not fit, `open` finds that it is not that of the entries.
        writer.bytes(&(entries.len() as u32).to_le_bytes());
        for entry in entries {
            writer.bytes(&entry.stored.to_le_bytes());
            writer.bytes(&entry.pages.to_le_bytes());
            writer.digest(&entry.stored_digest);
            writer.digest(&entry.content_digest);
        }
        let bytes = writer.finish();
        let id = PackId(Digest::of(&bytes));
        Ok((Self::open(&bytes, id)?, bytes))
    }

    /// Reads the table of pack `id` after checking that it is that.
    pub fn open(bytes: &[u8], id: PackId) -> Result<Self> {
        id.0.check(WHAT, bytes)?;
        let mut reader = Reader::new(WHAT, LETTERS, bytes)?;
        let count = reader.u32_le()?;
        if count == 0 || count > PACK_PAGES {
            return Err(reader.malformed("a pack has 1 to 65,536 chunks"));
        }
        // The length was bounded by the digest check's input; an entry that is not there ends the reading.
        let mut chunks = Vec::with_capacity((count as usize).min(bytes.len() / ENTRY));
        let (mut first_page, mut offset) = (0_u32, 0_u64);
        for _ in 0..count {
            let entry = ChunkEntry {
                stored: reader.u32_le()?,
                pages: reader.u32_le()?,
                stored_digest: reader.digest()?,
                content_digest: reader.digest()?,
            };
            entry.check(WHAT)?;
            chunks.push(Chunk {
                first_page,
                offset,
                entry,
            });
            first_page += entry.pages;
            offset += u64::from(entry.stored);
            if first_page > PACK_PAGES || offset > PACK_STORED {
                return Err(reader.malformed("the pack is too large"));
            }
        }
        reader.end()?;
        Ok(Self { id, chunks })
    }

    /// Bytes that the table of a pack takes at the most.
    pub const MAX_BYTES: u64 = 9 + PACK_PAGES as u64 * ENTRY as u64;

    /// The pack's id.
    #[must_use]
    pub fn id(&self) -> PackId {
        self.id
    }

    /// The chunks, in order.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Pages in the pack.
    #[must_use]
    pub fn pages(&self) -> u32 {
        self.chunks.last().map_or(0, Chunk::end_page)
    }

    /// Stored bytes of the pack: the length of its file.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.chunks.last().map_or(0, Chunk::end_offset)
    }

    /// The chunks that hold the pages `first..first + count`.
    #[must_use]
    pub fn covering(&self, first: u32, count: u32) -> &[Chunk] {
        let start = self.chunks.partition_point(|chunk| chunk.end_page() <= first);
        let end = self
            .chunks
            .partition_point(|chunk| chunk.first_page < first.saturating_add(count));
        self.chunks.get(start..end).unwrap_or_default()
    }
}
