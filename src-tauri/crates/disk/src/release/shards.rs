//! The extent shards that are in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use livepc_format::index::{Extent, Shard};
use livepc_format::{PackId, limits::SHARD_PAGES};
use tokio::sync::OnceCell;

use super::Span;

/// Which GiB of which region a shard describes.
pub(super) type Place = (u32, u32);

/// Shards, up to a number of bytes; those that were not used for the longest time go first.
#[derive(Debug)]
pub(super) struct Shards {
    most: usize,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    slots: HashMap<Place, Slot>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug, Default)]
struct Slot {
    cell: Arc<OnceCell<Arc<Shard>>>,
    /// What it counts for; 0 until it is loaded.
    bytes: usize,
    used: u64,
}

impl Shards {
    /// Room for `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            slots: Mutex::default(),
        }
    }

    /// The shard, if it is in memory.
    pub(super) fn get(&self, place: Place) -> Option<Arc<Shard>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.uses += 1;
        let now = slots.uses;
        let slot = slots.slots.get_mut(&place)?;
        slot.used = now;
        slot.cell.get().cloned()
    }

    /// The cell that the shard is loaded into: whoever needs the same shard meets there.
    pub(super) fn cell(&self, place: Place) -> Arc<OnceCell<Arc<Shard>>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.uses += 1;
        let now = slots.uses;
        let slot = slots.slots.entry(place).or_default();
        slot.used = now;
        Arc::clone(&slot.cell)
    }

    /// Counts a shard that was loaded into its cell, and makes room for it.
    pub(super) fn loaded(&self, place: Place, shard: &Shard) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = size_of::<Slot>()
            + shard.extents.len() * size_of::<Extent>()
            + shard.packs.len() * size_of::<PackId>();
        let Some(slot) = slots.slots.get_mut(&place) else {
            return;
        };
        let counted = std::mem::replace(&mut slot.bytes, bytes);
        slots.bytes = slots.bytes - counted + bytes;
        while slots.bytes > self.most {
            let others = slots
                .slots
                .iter()
                .filter(|(other, slot)| **other != place && slot.bytes > 0);
            let Some(oldest) = others.min_by_key(|(_, slot)| slot.used).map(|(place, _)| *place) else {
                return;
            };
            slots.bytes -= slots.slots.remove(&oldest).map_or(0, |slot| slot.bytes);
        }
    }
}

/// Adds zero pages.
pub(super) fn add_zero(spans: &mut Vec<Span>, mut page: u64, end: u64) {
    while page < end {
        let pages = (end - page).min(SHARD_PAGES);
        // A shard's pages fit in 32 bits.
        spans.push(Span {
            page,
            pages: pages as u32,
            place: None,
        });
        page += pages;
    }
}

/// Adds the pages `page..end`, all of which lie in the shard that begins at page `base`.
pub(super) fn add_of_shard(spans: &mut Vec<Span>, shard: &Shard, base: u64, mut page: u64, end: u64) {
    for extent in shard.from_page((page - base) as u32) {
        let from = base + u64::from(extent.page);
        if from >= end {
            break;
        }
        if from > page {
            add_zero(spans, page, from);
            page = from;
        }
        let skip = page - from;
        let pages = (u64::from(extent.len) - skip).min(end - page);
        let place = (shard.packs[extent.pack as usize], extent.first_page + skip as u32);
        spans.push(Span {
            page,
            pages: pages as u32,
            place: Some(place),
        });
        page += pages;
    }
    add_zero(spans, page, end);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(extents: usize) -> Arc<Shard> {
        let extents = vec![
            Extent {
                page: 0,
                len: 1,
                pack: 0,
                first_page: 0
            };
            extents
        ];
        Arc::new(Shard {
            packs: vec![],
            extents,
        })
    }

    async fn load(shards: &Shards, place: Place, extents: usize) {
        let shard = shard(extents);
        shards.cell(place).get_or_init(|| async { shard.clone() }).await;
        shards.loaded(place, &shard);
    }

    #[tokio::test]
    async fn what_was_used_last_stays() {
        let shards = Shards::new(100_000);
        for number in 0..3 {
            load(&shards, (0, number), 1500).await;
        }
        assert!(shards.get((0, 0)).is_some(), "three have room");
        load(&shards, (0, 3), 3500).await;
        let here = [0, 1, 2, 3].map(|number| shards.get((0, number)).is_some());
        assert_eq!(
            here,
            [true, false, false, true],
            "the two that were not used make room"
        );
        load(&shards, (1, 0), 50_000).await;
        assert!(shards.get((1, 0)).is_some(), "one always has room");
        assert!(shards.get((0, 3)).is_none(), "and no other beside it");
    }

    #[test]
    fn spans_of_a_shard_have_no_gaps() {
        let pack = PackId(livepc_format::Digest::of(b"pack"));
        let extents = vec![
            Extent {
                page: 10,
                len: 5,
                pack: 0,
                first_page: 100,
            },
            Extent {
                page: 15,
                len: 5,
                pack: 0,
                first_page: 7,
            },
        ];
        let shard = Shard {
            packs: vec![pack],
            extents,
        };
        let mut spans = Vec::new();
        add_of_shard(&mut spans, &shard, 1000, 1005, 1030);
        let span = |page, pages, place: Option<u32>| Span {
            page,
            pages,
            place: place.map(|at| (pack, at)),
        };
        let expected = [
            span(1005, 5, None),
            span(1010, 5, Some(100)),
            span(1015, 5, Some(7)),
            span(1020, 10, None),
        ];
        assert_eq!(spans, expected);
        spans.clear();
        add_of_shard(&mut spans, &shard, 1000, 1012, 1013);
        assert_eq!(spans, [span(1012, 1, Some(102))], "in the middle of an extent");
    }
}
