//! A chunk's stored form: its pages, one after the other, as one zstd frame.

use crate::Digest;
use crate::error::{FormatError, Result};
use crate::index::ChunkEntry;
use crate::limits::{CHUNK_PAGES, PAGE};

const WHAT: &str = "a chunk";

/// Compresses 1 to 64 whole pages with the given zstd `level`; gives the stored bytes and the chunk's entry.
pub fn compress_chunk(pages: &[u8], level: i32) -> Result<(Vec<u8>, ChunkEntry)> {
    let page = PAGE as usize;
    if pages.is_empty() || !pages.len().is_multiple_of(page) || pages.len() > CHUNK_PAGES as usize * page {
        return Err(FormatError::malformed(WHAT, "it must have 1 to 64 whole pages"));
    }
    let stored =
        zstd::bulk::compress(pages, level).map_err(|e| FormatError::malformed(WHAT, e.to_string()))?;
    // Both fit: at most 256 KiB, and what zstd makes of it.
    let entry = ChunkEntry {
        stored: stored.len() as u32,
        pages: (pages.len() / page) as u32,
        stored_digest: Digest::of(&stored),
        content_digest: Digest::of(pages),
    };
    entry.check(WHAT)?;
    Ok((stored, entry))
}

/// Checks a chunk's stored bytes, decompresses them and checks the pages.
pub fn decompress_chunk(stored: &[u8], entry: &ChunkEntry) -> Result<Vec<u8>> {
    entry.check(WHAT)?;
    entry.stored_digest.check(WHAT, stored)?;
    let size = entry.pages as usize * PAGE as usize;
    let pages =
        zstd::bulk::decompress(stored, size).map_err(|e| FormatError::malformed(WHAT, e.to_string()))?;
    if pages.len() != size {
        return Err(FormatError::malformed(
            WHAT,
            format!("{} bytes instead of {size}", pages.len()),
        ));
    }
    entry.content_digest.check(WHAT, &pages)?;
    Ok(pages)
}
