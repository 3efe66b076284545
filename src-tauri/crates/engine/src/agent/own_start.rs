//! Which chunks the machine's own last start would read of a release.

use std::collections::BTreeMap;
use std::sync::Arc;

use livepc_format::index::Shard;
use livepc_format::limits::SHARD_PAGES;
use livepc_format::manifest::Content;
use livepc_protocol::Problem;

use super::core::Core;
use super::release::{Chosen, OfPack, Opened};
use crate::own_start::{STRETCH, Stretch};

/// Which GiB of which region of which disk.
type Place = (u32, u32, u32);

impl Core {
    /// The chunks that lie where the machine's own last start read, in the order in which it did; none if it has not been
    /// started yet. What is needed of the index is fetched.
    pub(super) async fn own_start_chunks(
        self: &Arc<Self>,
        opened: &Arc<Opened>,
    ) -> Result<Vec<OfPack>, Problem> {
        let Some(start) = self.machine_folder(&opened.id).own_start() else {
            return Ok(Vec::new());
        };
        let shards = self.shards_of(opened, &start.stretches).await?;
        let mut chosen = Chosen::in_waves();
        for stretch in &start.stretches {
            let Some(shard) = shards.get(&place_of(*stretch)) else {
                continue;
            };
            let first = (stretch.first_page() % SHARD_PAGES) as u32;
            let end = first + STRETCH as u32;
            for extent in shard.from_page(first) {
                if extent.page >= end {
                    break;
                }
                let from = extent.page.max(first);
                let len = (extent.page + extent.len).min(end) - from;
                let pack = shard.packs[extent.pack as usize];
                let table = opened.table(self, pack).await?;
                chosen.add(
                    pack,
                    table.covering(extent.first_page + (from - extent.page), len),
                );
            }
        }
        Ok(chosen.finish())
    }

    /// The shards that describe these stretches; a release may have fewer disks and regions than the one before.
    async fn shards_of(
        self: &Arc<Self>,
        opened: &Arc<Opened>,
        stretches: &[Stretch],
    ) -> Result<BTreeMap<Place, Shard>, Problem> {
        let wanted: std::collections::BTreeSet<Place> = stretches.iter().map(|s| place_of(*s)).collect();
        let mut shards = BTreeMap::new();
        for (number, disk) in opened.manifest.disks.iter().enumerate() {
            let Content::Published { index, regions, .. } = &disk.content else {
                continue;
            };
            let number = number as u32;
            if !wanted.iter().any(|place| place.0 == number) {
                continue;
            }
            let root = opened.disk_root(self, index, regions).await?;
            for shard in &root.shards {
                let place = (number, shard.region, shard.number);
                if wanted.contains(&place) {
                    shards.insert(place, opened.shard(self, &shard.object).await?);
                }
            }
        }
        Ok(shards)
    }
}

fn place_of(stretch: Stretch) -> Place {
    // A sound stretch lies within 16 TiB.
    let shard = stretch.first_page() / SHARD_PAGES;
    (
        stretch.disk,
        stretch.region,
        u32::try_from(shard).unwrap_or(u32::MAX),
    )
}
