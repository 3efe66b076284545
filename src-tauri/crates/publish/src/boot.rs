//! The boot map: the pages that a start of a release reads, published so that subscribers fetch them first.

use std::collections::HashMap;

use jiff::Timestamp;
use livepc_format::index::{BootChunk, BootExtent, BootMap, ChunkTable, DiskRoot, ObjectRef, Shard};
use livepc_format::limits::{BOOT_EXTENTS, BOOT_PAGES, PAGE, SHARD_PAGES};
use livepc_format::manifest::{Content, Region};
use livepc_format::{Digest, Head, Manifest, PackId, Release, paths};

use crate::authority::{PublishKeys, check};
use crate::destination::Destination;
use crate::error::{PublishError, Result};
use crate::opened::Opened;

/// Shards that are kept in memory at a time.
const SHARDS: usize = 64;
/// Pages in one word of the set of pages that were seen.
const WORD: u64 = 64;

/// The reads of one start of a release, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootTrace {
    /// The reads; the same pages may be read again.
    pub reads: Vec<TraceRead>,
}

impl BootTrace {
    /// Adds a read of `len` bytes from byte `offset` of the disk on, whose regions the manifest gives. What lies behind the
    /// disk's end is left out.
    pub fn add(&mut self, disk: u32, regions: &[Region], offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        let first = regions.partition_point(|region| region.offset() + region.len() <= offset);
        for (number, region) in regions.iter().enumerate().skip(first) {
            let (from, until) = (region.offset(), region.offset() + region.len());
            if from >= end || len == 0 {
                break;
            }
            let mut page = (offset.max(from) - from) / PAGE;
            let behind = (end.min(until) - from).div_ceil(PAGE);
            while page < behind {
                let pages = u32::try_from(behind - page).unwrap_or(u32::MAX);
                self.reads.push(TraceRead {
                    disk,
                    region: number as u32,
                    page,
                    pages,
                });
                page += u64::from(pages);
            }
        }
    }
}

/// A read of a disk, in pages of one of its regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceRead {
    /// The disk: its place in the manifest.
    pub disk: u32,
    /// The region: its place in the disk's list.
    pub region: u32,
    /// The first page, counted from the beginning of the region.
    pub page: u64,
    /// Pages.
    pub pages: u32,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedBootMap {
    /// The boot map.
    pub object: ObjectRef,
    /// Pages that it names: those that the start read and that are not zero.
    pub pages: u64,
    /// Chunks that have them.
    pub chunks: u64,
    /// Bytes to fetch until the release is boot-ready: the boot map and these chunks.
    pub boot_ready: u64,
    /// True if the head was replaced; false if it named this boot map already.
    pub changed: bool,
}

/// Publishes the boot map of a release that is in `dest`, and names it in the head. It takes the place of an earlier one.
///
/// # Errors
/// [`PublishError::NoRelease`], [`PublishError::Trace`] if the trace does not fit the release's disks, and those of
/// [`crate::publish`].
pub fn add_boot_map(
    dest: &dyn Destination,
    keys: &PublishKeys,
    sequence: u64,
    trace: &BootTrace,
    now: Timestamp,
) -> Result<AddedBootMap> {
    let lock = dest.lock()?;
    let no_release = || PublishError::NoRelease {
        place: dest.name(),
        sequence,
    };
    let opened = Opened::open(dest)?.ok_or_else(no_release)?;
    check(&opened.keys, keys, &keys.signing.public_key()?)?;
    let old = opened.head.as_ref().ok_or_else(no_release)?;
    let release = old.release(sequence).ok_or_else(no_release)?;
    let manifest = opened.manifest(release)?;

    let (map, pages) = Mapper::new(&opened, &manifest)?.map(trace)?;
    let (bytes, object) = map.encode()?;
    let chunks: u64 = map
        .chunks
        .iter()
        .map(|boot| u64::from(boot.chunk.entry.stored))
        .sum();
    let added = AddedBootMap {
        object,
        pages,
        chunks: map.chunks.len() as u64,
        boot_ready: object.stored + chunks,
        changed: release.boot_map != Some(object),
    };
    if added.changed {
        dest.put_new(&paths::object(&object.digest), &bytes)?;
        let head = with_boot_map(old, sequence, &added, now);
        let bytes = head.seal(&keys.signing)?;
        dest.replace(paths::HEAD, &bytes, opened.head_digest)?;
        keys.note(dest, &head, Digest::of(&bytes));
    }
    drop(lock);
    Ok(added)
}

fn with_boot_map(old: &Head, sequence: u64, added: &AddedBootMap, now: Timestamp) -> Head {
    let mut head = old.clone();
    head.revision += 1;
    head.issued = now;
    for release in head.releases.iter_mut().filter(|r| r.sequence == sequence) {
        name_boot_map(release, added.object, added.boot_ready);
    }
    head
}

/// Gives a release a boot map, of which and of whose chunks `boot_ready` bytes are to be fetched.
pub(crate) fn name_boot_map(release: &mut Release, map: ObjectRef, boot_ready: u64) {
    // Everybody fetches the boot map with the rest of the index.
    let before = release.boot_map.map_or(0, |map| map.stored);
    let exchange = |bytes: &mut u64| *bytes = bytes.saturating_sub(before) + map.stored;
    exchange(&mut release.bytes.new);
    release.bytes.from.values_mut().for_each(exchange);
    release.bytes.boot_ready = boot_ready;
    release.boot_map = Some(map);
}

/// Makes a boot map of a trace.
struct Mapper<'a> {
    opened: &'a Opened<'a>,
    disks: Vec<Option<(&'a [Region], DiskRoot)>>,
    shards: HashMap<(u32, u32, u32), Option<Shard>>,
    seen: HashMap<(u32, u32, u64), u64>,
    packs: Vec<PackId>,
    places: HashMap<PackId, u32>,
    extents: Vec<BootExtent>,
    pages: u64,
}

impl<'a> Mapper<'a> {
    fn new(opened: &'a Opened<'a>, manifest: &'a Manifest) -> Result<Self> {
        let disks = manifest.disks.iter().map(|disk| match &disk.content {
            Content::Published { regions, index, .. } => {
                Ok(Some((regions.as_slice(), opened.disk_root(index)?)))
            }
            Content::User { .. } => Ok(None),
        });
        Ok(Self {
            opened,
            disks: disks.collect::<Result<_>>()?,
            shards: HashMap::new(),
            seen: HashMap::new(),
            packs: Vec::new(),
            places: HashMap::new(),
            extents: Vec::new(),
            pages: 0,
        })
    }

    fn map(mut self, trace: &BootTrace) -> Result<(BootMap, u64)> {
        for read in &trace.reads {
            let disk = self.disks.get(read.disk as usize).and_then(Option::as_ref);
            let region = disk.and_then(|(regions, _)| regions.get(read.region as usize));
            let end = read.page.checked_add(u64::from(read.pages));
            if region.is_none_or(|region| end.is_none_or(|end| end > region.pages())) {
                return Err(PublishError::Trace(format!(
                    "it reads {} pages from page {} on of region {} of disk {}",
                    read.pages, read.page, read.region, read.disk
                )));
            }
            for page in read.page..read.page + u64::from(read.pages) {
                self.page(read.disk, read.region, page)?;
            }
        }
        let chunks = self.chunks()?;
        let map = BootMap {
            packs: self.packs,
            chunks,
            extents: self.extents,
        };
        Ok((map, self.pages))
    }

    fn page(&mut self, disk: u32, region: u32, page: u64) -> Result<()> {
        let seen = self.seen.entry((disk, region, page / WORD)).or_default();
        let bit = 1 << (page % WORD);
        if *seen & bit != 0 {
            return Ok(());
        }
        *seen |= bit;
        let Some((pack, first_page)) = self.locate(disk, region, page)? else {
            return Ok(());
        };
        if self.pages == BOOT_PAGES {
            return Err(PublishError::Trace(format!(
                "it reads more than {BOOT_PAGES} pages"
            )));
        }
        self.pages += 1;
        let Self { packs, places, .. } = self;
        let pack = *places.entry(pack).or_insert_with(|| {
            packs.push(pack);
            packs.len() as u32 - 1
        });
        let full = self.extents.len() == BOOT_EXTENTS;
        match self.extents.last_mut() {
            Some(last)
                if (last.disk, last.region, last.page + u64::from(last.len), last.pack)
                    == (disk, region, page, pack)
                    && last.first_page + last.len == first_page =>
            {
                last.len += 1;
            }
            _ if full => {
                return Err(PublishError::Trace(format!(
                    "it has more than {BOOT_EXTENTS} reads that lie apart"
                )));
            }
            _ => self.extents.push(BootExtent {
                disk,
                region,
                page,
                len: 1,
                pack,
                first_page,
            }),
        }
        Ok(())
    }

    /// Where a page lies; `None` if it is zero.
    fn locate(&mut self, disk: u32, region: u32, page: u64) -> Result<Option<(PackId, u32)>> {
        let number = (page / SHARD_PAGES) as u32;
        let key = (disk, region, number);
        if !self.shards.contains_key(&key) {
            let root = self.disks[disk as usize].as_ref().map(|(_, root)| root);
            let shard = match root.and_then(|root| root.shard(region, number)) {
                Some(object) => Some(self.opened.shard(object)?),
                None => None,
            };
            if self.shards.len() == SHARDS {
                self.shards.clear();
            }
            self.shards.insert(key, shard);
        }
        let Some(Some(shard)) = self.shards.get(&key) else {
            return Ok(None);
        };
        let page = (page % SHARD_PAGES) as u32;
        let extent = shard.from_page(page).first().filter(|extent| extent.page <= page);
        Ok(extent.map(|extent| {
            let place = extent.first_page + page - extent.page;
            (shard.packs[extent.pack as usize], place)
        }))
    }

    /// The chunks that have the pages, by pack and place.
    fn chunks(&self) -> Result<Vec<BootChunk>> {
        let mut wanted: Vec<(u32, u32, u32)> = self
            .extents
            .iter()
            .map(|extent| (extent.pack, extent.first_page, extent.len))
            .collect();
        wanted.sort_unstable();
        let mut chunks: Vec<BootChunk> = Vec::new();
        for of_pack in wanted.chunk_by(|a, b| a.0 == b.0) {
            let pack = of_pack[0].0;
            let table: ChunkTable = self.opened.table(self.packs[pack as usize])?;
            for (_, first, len) in of_pack {
                for chunk in table.covering(*first, *len) {
                    let is_behind = chunks
                        .last()
                        .is_none_or(|last| (last.pack, last.chunk.first_page) < (pack, chunk.first_page));
                    if is_behind {
                        chunks.push(BootChunk { pack, chunk: *chunk });
                    }
                }
            }
        }
        Ok(chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_of_bytes_become_pages_of_regions() {
        let regions = [(0, 63), (63, 100), (163, 8)].map(|(start, sectors)| Region { start, sectors });
        let pages = |offset, len| {
            let mut trace = BootTrace::default();
            trace.add(0, &regions, offset, len);
            let reads = trace.reads.iter();
            reads
                .map(|read| (read.region, read.page, read.pages))
                .collect::<Vec<_>>()
        };
        assert_eq!(pages(0, 512), [(0, 0, 1)]);
        assert_eq!(pages(4095, 2), [(0, 0, 2)], "both pages are touched");
        assert_eq!(
            pages(63 * 512, 4096),
            [(1, 0, 1)],
            "a region's pages count from its start"
        );
        assert_eq!(
            pages(62 * 512, 1024),
            [(0, 7, 1), (1, 0, 1)],
            "a read may cross regions"
        );
        assert_eq!(
            pages(0, u64::MAX),
            [(0, 0, 8), (1, 0, 13), (2, 0, 1)],
            "it ends with the disk"
        );
        assert_eq!(pages(171 * 512, 512), []);
        assert_eq!(pages(512, 0), []);
    }
}
