//! The first reading of the disks: the digest of every page that is not zero.

use std::ops::Range;

use livepc_format::Digest;
use livepc_format::index::PageDigest;
use livepc_format::limits::PAGE;
use rayon::prelude::*;

use crate::error::{Context as _, Result};
use crate::layout::{Layout, Stretch};
use crate::progress::{Counter, Phase, Progress};
use crate::sort::{Sorted, Sorter};

/// Pages that are read at a time.
const BLOCK: u64 = 256;

/// A page's digest (16 bytes) and its ordinal (8 bytes).
pub(crate) type PageRecord = [u8; 24];

/// The digest of a page by which it is found again: the first half of its SHA-256.
pub(crate) fn page_digest(page: &[u8]) -> PageDigest {
    let digest = Digest::of(page);
    let mut half = PageDigest::default();
    half.copy_from_slice(&digest.as_bytes()[..16]);
    half
}

/// Reads all disks on all cores; gives the pages that are not zero, by digest.
pub(crate) fn scan(
    layout: &Layout,
    scratch: &std::path::Path,
    progress: &dyn Progress,
) -> Result<Sorted<24>> {
    let mut counter = Counter::new(progress, Phase::Scan, layout.bytes());
    let mut pages = Sorter::new(scratch);
    let batch = rayon::current_num_threads() * 8;
    let mut blocks = Vec::with_capacity(batch);
    let mut done = 0;
    for stretch in layout.stretches() {
        let mut from = stretch.first;
        while let Some(found) = data_pages(layout, stretch, from)? {
            let mut at = found.start;
            while at < found.end {
                let count = BLOCK.min(found.end - at);
                blocks.push(at..at + count);
                at += count;
                if blocks.len() == batch {
                    hash(layout, &mut blocks, &mut pages)?;
                    counter.at(done + stretch.bytes(stretch.first, at - stretch.first).1 as u64)?;
                }
            }
            from = found.end;
        }
        hash(layout, &mut blocks, &mut pages)?;
        done += stretch.len;
        counter.at(done)?;
    }
    Ok(pages.finish())
}

/// The next pages from `from` on that are not in a hole.
fn data_pages(layout: &Layout, stretch: &Stretch, from: u64) -> Result<Option<Range<u64>>> {
    if from >= stretch.end() {
        return Ok(None);
    }
    let start = stretch.bytes(from, 1).0;
    let source = &layout.disks[stretch.disk].source;
    let data = source.data(start..stretch.offset + stretch.len)?;
    // A page that is partly in a hole is read whole.
    Ok(data.map(|data| {
        let first = stretch.first + (data.start - stretch.offset) / PAGE;
        let end = stretch.first + (data.end - stretch.offset).div_ceil(PAGE);
        first..end
    }))
}

fn hash(layout: &Layout, blocks: &mut Vec<Range<u64>>, pages: &mut Sorter<24>) -> Result<()> {
    let hashed: Vec<Vec<PageRecord>> = blocks
        .par_drain(..)
        .map(|block| {
            let mut bytes = Vec::new();
            layout.read(block.start, block.end - block.start, &mut bytes)?;
            let pages = block.zip(bytes.chunks_exact(PAGE as usize));
            Ok(pages
                .filter(|(_, page)| !is_zero(page))
                .map(|(ordinal, page)| record(page_digest(page), ordinal))
                .collect())
        })
        .collect::<Result<_>>()?;
    for page in hashed.into_iter().flatten() {
        pages
            .push(page)
            .context(|| "sorting the pages in the folder for temporary files".into())?;
    }
    Ok(())
}

fn is_zero(page: &[u8]) -> bool {
    let (words, rest) = page.as_chunks::<16>();
    words.iter().all(|word| *word == [0; 16]) && rest.iter().all(|byte| *byte == 0)
}

fn record(digest: PageDigest, ordinal: u64) -> PageRecord {
    let mut record = [0; 24];
    record[..16].copy_from_slice(&digest);
    record[16..].copy_from_slice(&ordinal.to_be_bytes());
    record
}
