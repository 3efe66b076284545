//! The pages that the kept releases have, wherever they lie.
//!
//! They are read from the destination itself: head → manifest → pack list → page list, each checked with the digest in the
//! one before. So a computer that has nothing but the keys publishes the same release as the one before it did.

use std::collections::HashMap;
use std::path::Path;

use livepc_format::index::{PackRef, decode_pages};
use livepc_format::limits::PACK_PAGES;
use livepc_format::{PackId, paths};

use crate::destination::{Destination, read_named};
use crate::error::{Context as _, PublishError, Result};
use crate::opened::{Kept, Opened};
use crate::progress::{Counter, Phase, Progress};
use crate::sort::{Sorted, Sorter};

/// All packs of the kept releases, and those of the release that is being made. A pack's *number* is its place here.
#[derive(Default)]
pub(crate) struct Packs {
    packs: Vec<PackRef>,
    numbers: HashMap<PackId, u32>,
}

impl Packs {
    /// Adds a pack; gives its number.
    pub(crate) fn add(&mut self, pack: PackRef) -> u32 {
        let Self { packs, numbers } = self;
        *numbers.entry(pack.id).or_insert_with(|| {
            packs.push(pack);
            // 16 TiB are far fewer packs.
            packs.len() as u32 - 1
        })
    }

    pub(crate) fn get(&self, number: u32) -> &PackRef {
        &self.packs[number as usize]
    }

    pub(crate) fn number(&self, id: &PackId) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.packs.len()
    }
}

/// Checks that the packs of earlier releases are there which the `pages` that are known (ordinal, number of the pack,
/// place there) lie in. Whoever gets the new release fetches them, and it says that it has their pages.
pub(crate) fn check_present(dest: &dyn Destination, packs: &Packs, pages: &Sorted<16>) -> Result<()> {
    let what = || "reading the sorted pages back".to_owned();
    let mut used = vec![false; packs.len()];
    for page in pages.iter().context(what)? {
        let page = page.context(what)?;
        let number = u32::from_be_bytes(std::array::from_fn(|i| page[8 + i]));
        used[number as usize] = true;
    }
    for (pack, _) in packs.packs.iter().zip(used).filter(|(_, used)| *used) {
        let path = paths::pack(&pack.id);
        if dest.size(&path)? != Some(pack.stored) {
            return Err(PublishError::Lost {
                place: dest.name(),
                path,
            });
        }
    }
    Ok(())
}

/// Reads the page lists of all packs of the kept releases. The records are a page's digest (16 bytes), its pack's
/// number (4 bytes) and its place there (4 bytes); of equal pages, those in packs of newer releases come first.
pub(crate) fn known(
    dest: &dyn Destination,
    opened: Option<&Opened<'_>>,
    kept: &[Kept<'_>],
    scratch: &Path,
    progress: &dyn Progress,
) -> Result<(Packs, Sorted<24>)> {
    let mut packs = Packs::default();
    if let Some(opened) = opened {
        for kept in kept {
            for pack in opened.pack_list(&kept.manifest.packs)?.packs {
                packs.add(pack);
            }
        }
    }
    let mut counter = Counter::new(progress, Phase::Known, packs.len() as u64);
    let mut pages = Sorter::new(scratch);
    for (number, pack) in packs.packs.iter().enumerate() {
        let bytes = read_named(dest, &paths::page_list(&pack.id), u64::from(PACK_PAGES) * 16)?;
        for (place, digest) in decode_pages(&bytes, &pack.page_list)?.iter().enumerate() {
            let mut record = [0; 24];
            record[..16].copy_from_slice(digest);
            record[16..20].copy_from_slice(&(number as u32).to_be_bytes());
            record[20..].copy_from_slice(&(place as u32).to_be_bytes());
            pages
                .push(record)
                .context(|| "sorting the known pages in the folder for temporary files".into())?;
        }
        counter.add(1)?;
    }
    Ok((packs, pages.finish()))
}
