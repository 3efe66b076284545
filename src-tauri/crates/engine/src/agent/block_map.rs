//! Which parts of a release are here, for those who want to see it.

use std::collections::HashSet;
use std::sync::Arc;

use livepc_format::limits::PACK_PAGES;
use livepc_protocol::{BlockMap, Problem};

use super::core::Core;
use super::progress::is_here;
use super::release::{Opened, Plan};
use crate::locked::lock;
use crate::problems::not_found;
use crate::subscription;

/// Cells of a map at the most.
const CELLS: usize = 640;

impl Core {
    /// The map of a release whose index is here.
    pub(super) async fn block_map(
        self: &Arc<Self>,
        id: &str,
        release: Option<u64>,
    ) -> Result<BlockMap, Problem> {
        let subscription = subscription::find_by_beginning(&self.database, id)?;
        let newest = || subscription.newest().map(|release| release.sequence);
        let sequence = release
            .or_else(|| self.current_release(&subscription))
            .or_else(newest);
        let opened = sequence.and_then(|sequence| {
            let opened = lock(&self.releases).get(&subscription.key(sequence))?.clone();
            let plan = opened.known_plan()?.clone();
            Some((sequence, opened, plan))
        });
        let Some((sequence, opened, plan)) = opened else {
            return Err(not_found(
                format!("The index of “{}” is not here yet.", subscription.title),
                "It is fetched with the rest of the release.",
            ));
        };
        let under_way = self.fetcher.under_way().await;
        let under_way = under_way.iter().map(|(pack, chunk)| (*pack, chunk.first_page));
        let (core, under_way) = (self.clone(), under_way.collect());
        // A large release has thousands of files to look at.
        Self::blocking(move || core.draw(sequence, &opened, &plan, &under_way)).await
    }

    fn draw(
        &self,
        release: u64,
        opened: &Opened,
        plan: &Plan,
        under_way: &HashSet<(livepc_format::PackId, u32)>,
    ) -> BlockMap {
        let boot = opened.boot_map.iter().flat_map(|map| {
            let chunks = map.chunks.iter();
            chunks.map(|boot| (map.packs[boot.pack as usize], boot.chunk.first_page))
        });
        let boot: HashSet<_> = boot.collect();
        let total: usize = plan.packs.iter().map(|(_, chunks)| chunks.len()).sum();
        let count = total.min(CELLS);
        let mut map = BlockMap {
            release,
            here: Vec::with_capacity(count),
            boot: vec![false; count],
            fetching: vec![false; count],
        };
        let (mut all, mut here) = (vec![0; count], vec![0; count]);
        let mut number = 0;
        for (pack, chunks) in &plan.packs {
            // Asked once a pack: for each chunk that is missing, the pack's file would be looked for again.
            let missing = self.reader.missing(*pack, 0, PACK_PAGES);
            for chunk in chunks {
                let cell = number * count / total;
                number += 1;
                let stored = u64::from(chunk.entry.stored);
                all[cell] += stored;
                let name = (*pack, chunk.first_page);
                let is_here = is_here(&missing, chunk);
                here[cell] += if is_here { stored } else { 0 };
                map.boot[cell] |= boot.contains(&name);
                // What has just been kept may still count as being on its way.
                map.fetching[cell] |= !is_here && under_way.contains(&name);
            }
        }
        let hundredths = |(here, all): (&u64, &u64)| (here * 100 / all.max(&1)) as u8;
        map.here = here.iter().zip(&all).map(hundredths).collect();
        map
    }
}
