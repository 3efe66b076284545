//! A published disk, made of nothing: its pages, its packs and its index.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use livepc_disk::release::Layout;
use livepc_format::index::{
    BootChunk, BootExtent, BootMap, ChunkTable, DiskRoot, Extent, ObjectRef, Shard, ShardRef,
};
use livepc_format::limits::SHARD_PAGES;
use livepc_format::manifest::Region;
use livepc_format::{Digest, PackId, compress_chunk};

pub(crate) const PAGE: usize = 4096;

/// A run of pages of a region that are not zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data {
    pub(crate) region: u32,
    pub(crate) page: u64,
    pub(crate) pages: u32,
    /// The pack that has them, and how far behind the pages before them they lie there.
    pub(crate) pack: usize,
    pub(crate) gap: u32,
}

/// A pack: its table and all of its pages.
pub(crate) struct Pack {
    pub(crate) table: ChunkTable,
    pub(crate) pages: Vec<u8>,
}

/// Everything that a publisher has made of a disk.
pub(crate) struct Published {
    pub(crate) regions: Vec<Region>,
    pub(crate) packs: HashMap<PackId, Pack>,
    pub(crate) objects: HashMap<Digest, Vec<u8>>,
    pub(crate) root: ObjectRef,
    /// Where each page that is not zero lies, by region and page.
    pub(crate) places: BTreeMap<(u32, u64), (PackId, u32)>,
    size: u64,
}

/// A page that no other is like.
pub(crate) fn page(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(PAGE);
    while bytes.len() < PAGE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

impl Published {
    /// Publishes a disk with regions of these lengths in sectors, and this data, whose runs do not overlap.
    pub(crate) fn new(sectors: &[u64], data: &[Data]) -> Self {
        let mut start = 0;
        let regions: Vec<Region> = sectors
            .iter()
            .map(|&sectors| {
                let region = Region { start, sectors };
                start += sectors;
                region
            })
            .collect();
        let count = data.iter().map(|data| data.pack + 1).max().unwrap_or(0);
        let mut contents: Vec<Vec<u8>> = vec![Vec::new(); count];
        // Where each run lies in its pack.
        let mut firsts = Vec::new();
        for run in data {
            let pack = &mut contents[run.pack];
            for _ in 0..run.gap {
                pack.extend(page(u64::MAX - pack.len() as u64));
            }
            firsts.push((pack.len() / PAGE) as u32);
            for page_number in run.page..run.page + u64::from(run.pages) {
                let mut bytes = page(u64::from(run.region) << 40 | page_number);
                // What lies behind the end of a region is zero in its last page.
                let left = regions[run.region as usize].len() - page_number * PAGE as u64;
                bytes[(left.min(PAGE as u64)) as usize..].fill(0);
                pack.extend(bytes);
            }
        }
        let packs: Vec<Pack> = contents.into_iter().map(make_pack).collect();
        let mut published = Self {
            size: start * 512,
            regions,
            packs: HashMap::new(),
            objects: HashMap::new(),
            root: ObjectRef {
                digest: Digest::of(b""),
                stored: 0,
                size: 0,
            },
            places: BTreeMap::new(),
        };
        for (run, first) in data.iter().zip(firsts) {
            let pack = packs[run.pack].table.id();
            for i in 0..run.pages {
                published
                    .places
                    .insert((run.region, run.page + u64::from(i)), (pack, first + i));
            }
        }
        published.packs = packs.into_iter().map(|pack| (pack.table.id(), pack)).collect();
        published.make_index();
        published
    }

    /// Publishes a disk of so many GiB that are all in use, of which so many pages lie together, and of which one pack is made:
    /// the first pages of each GiB lie in it. The others have names.
    pub(crate) fn vast(gib: u64, together: u32) -> Self {
        const PACKS: u64 = 64;
        let mut published = Self::new(
            &[gib << 21],
            &[Data {
                region: 0,
                page: 0,
                pages: 64,
                pack: 0,
                gap: 0,
            }],
        );
        let (pack, _) = published.places[&(0, 0)];
        published.objects.clear();
        let mut root = DiskRoot::default();
        for number in 0..gib as u32 {
            let mut shard = Shard::default();
            shard.packs.push(pack);
            let other = |of: u64| PackId(Digest::of(&(u64::from(number) << 32 | of).to_le_bytes()));
            shard.packs.extend((0..PACKS).map(other));
            // A chunk is here, the next one there, as on a disk that has lived.
            for chunk in 0..SHARD_PAGES as u32 / together {
                let of = u64::from(chunk) * 7 % PACKS;
                shard.extents.push(Extent {
                    page: chunk * together,
                    len: together,
                    pack: if chunk == 0 { 0 } else { 1 + of as u32 },
                    first_page: if chunk == 0 {
                        0
                    } else {
                        chunk / PACKS as u32 * together
                    },
                });
            }
            let (bytes, object) = shard.encode().unwrap();
            published.objects.insert(object.digest, bytes);
            root.shards.push(ShardRef {
                region: 0,
                number,
                object,
            });
        }
        let (bytes, object) = root.encode().unwrap();
        published.objects.insert(object.digest, bytes);
        published.root = object;
        published
    }

    fn make_index(&mut self) {
        let mut shards: BTreeMap<(u32, u32), Shard> = BTreeMap::new();
        for (&(region, page), &(pack, first_page)) in &self.places {
            let shard = shards.entry((region, (page / SHARD_PAGES) as u32)).or_default();
            let page = (page % SHARD_PAGES) as u32;
            let pack = shard.packs.iter().position(|id| *id == pack).unwrap_or_else(|| {
                shard.packs.push(pack);
                shard.packs.len() - 1
            }) as u32;
            match shard.extents.last_mut() {
                Some(last)
                    if last.page + last.len == page
                        && last.pack == pack
                        && last.first_page + last.len == first_page =>
                {
                    last.len += 1;
                }
                _ => shard.extents.push(Extent {
                    page,
                    len: 1,
                    pack,
                    first_page,
                }),
            }
        }
        let mut root = DiskRoot::default();
        for ((region, number), shard) in shards {
            let (bytes, object) = shard.encode().unwrap();
            self.objects.insert(object.digest, bytes);
            root.shards.push(ShardRef {
                region,
                number,
                object,
            });
        }
        let (bytes, object) = root.encode().unwrap();
        self.objects.insert(object.digest, bytes);
        self.root = object;
    }

    /// The layout of the disk, without a boot map.
    pub(crate) fn layout(&self) -> Layout {
        Layout {
            number: 0,
            size: self.size,
            regions: self.regions.clone(),
            root: self.root,
            boot_map: None,
        }
    }

    /// A boot map of these runs of pages, each a region, a first page and pages; zero pages are left out.
    pub(crate) fn boot_map(&self, runs: &[(u32, u64, u64)]) -> Arc<BootMap> {
        let mut map = BootMap::default();
        let mut chunks = BTreeMap::new();
        for &(region, first, pages) in runs {
            for page in first..first + pages {
                let Some(&(id, first_page)) = self.places.get(&(region, page)) else {
                    continue;
                };
                let pack = map
                    .packs
                    .iter()
                    .position(|known| *known == id)
                    .unwrap_or_else(|| {
                        map.packs.push(id);
                        map.packs.len() - 1
                    }) as u32;
                for chunk in self.packs[&id].table.covering(first_page, 1) {
                    chunks.insert((pack, chunk.first_page), BootChunk { pack, chunk: *chunk });
                }
                map.extents.push(BootExtent {
                    disk: 0,
                    region,
                    page,
                    len: 1,
                    pack,
                    first_page,
                });
            }
        }
        map.chunks = chunks.into_values().collect();
        // As a subscriber gets it.
        let (bytes, object) = map.encode().unwrap();
        Arc::new(BootMap::decode(&bytes, &object).unwrap())
    }

    /// What the disk has at these bytes.
    pub(crate) fn expected(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for (number, region) in self.regions.iter().enumerate() {
            let number = number as u32;
            for &(_, at) in self
                .places
                .range((number, 0)..(number + 1, 0))
                .map(|(key, _)| key)
            {
                let begin = region.offset() + at * PAGE as u64;
                let end = (begin + PAGE as u64).min(region.offset() + region.len());
                let (from, to) = (begin.max(offset), end.min(offset + len as u64));
                if from < to {
                    let (pack, first) = self.places[&(number, at)];
                    let content = &self.packs[&pack].pages[first as usize * PAGE..][..PAGE];
                    bytes[(from - offset) as usize..(to - offset) as usize]
                        .copy_from_slice(&content[(from - begin) as usize..(to - begin) as usize]);
                }
            }
        }
        bytes
    }
}

/// Puts pages into chunks of 64, the last one shorter.
fn make_pack(pages: Vec<u8>) -> Pack {
    let entries: Vec<_> = pages
        .chunks(64 * PAGE)
        .map(|chunk| compress_chunk(chunk, 1).unwrap().1)
        .collect();
    let (table, _) = ChunkTable::build(&entries).unwrap();
    Pack { table, pages }
}
