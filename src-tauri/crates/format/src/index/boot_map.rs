//! A boot map: the pages that a start of the machine reads, in that order, with all that is needed to fetch them.

use super::wire::{Reader, Writer};
use super::{Chunk, ChunkEntry, ObjectRef, pack};
use crate::PackId;
use crate::error::{FormatError, Result};
use crate::limits::{BOOT_EXTENTS, BOOT_PAGES, DISK_SIZE, DISKS, PACK_PAGES, PACK_STORED, PAGE, REGIONS};
use crate::manifest::{Content, Disk};

const WHAT: &str = "a boot map";
const LETTERS: &[u8; 4] = b"LPBM";

/// A chunk that a start needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootChunk {
    /// The pack: its place in [`BootMap::packs`].
    pub pack: u32,
    /// The chunk, as the pack's table has it.
    pub chunk: Chunk,
}

/// A run of pages that a start reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootExtent {
    /// The disk: its place in the manifest.
    pub disk: u32,
    /// The region: its place in the disk's list.
    pub region: u32,
    /// The first page, counted from the beginning of the region.
    pub page: u64,
    /// Pages.
    pub len: u32,
    /// The pack: its place in [`BootMap::packs`].
    pub pack: u32,
    /// The first page in the pack.
    pub first_page: u32,
}

/// The pages of a start. Zero pages are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootMap {
    /// The packs that it uses.
    pub packs: Vec<PackId>,
    /// The chunks that it uses, by pack and first page.
    pub chunks: Vec<BootChunk>,
    /// The pages, in the order in which the start read them.
    pub extents: Vec<BootExtent>,
}

impl BootMap {
    /// The stored bytes of the map, and their name.
    pub fn encode(&self) -> Result<(Vec<u8>, ObjectRef)> {
        let mut writer = Writer::new(LETTERS);
        writer.uint(self.packs.len() as u64);
        for id in &self.packs {
            writer.digest(&id.0);
        }
        writer.uint(self.chunks.len() as u64);
        for BootChunk { pack, chunk } in &self.chunks {
            writer.uint(u64::from(*pack));
            writer.uint(u64::from(chunk.first_page));
            writer.uint(chunk.offset);
            writer.uint(u64::from(chunk.entry.stored));
            writer.uint(u64::from(chunk.entry.pages));
            writer.digest(&chunk.entry.stored_digest);
            writer.digest(&chunk.entry.content_digest);
        }
        writer.uint(self.extents.len() as u64);
        for extent in &self.extents {
            writer.uint(u64::from(extent.disk));
            writer.uint(u64::from(extent.region));
            writer.uint(extent.page);
            writer.uint(u64::from(extent.len));
            writer.uint(u64::from(extent.pack));
            writer.uint(u64::from(extent.first_page));
        }
        let body = writer.finish();
        // Nothing is published that readers would refuse.
        Self::parse(&body)?;
        pack(WHAT, &body)
    }

    /// Reads the stored bytes of the map `object`.
    pub fn decode(stored: &[u8], object: &ObjectRef) -> Result<Self> {
        Self::parse(&object.unpack(WHAT, stored)?)
    }

    fn parse(body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(WHAT, LETTERS, body)?;
        let packs = reader.pack_ids(BOOT_EXTENTS)?;
        let count = reader.count(BOOT_EXTENTS, 69)?;
        let mut chunks: Vec<BootChunk> = Vec::with_capacity(count);
        for _ in 0..count {
            let next = boot_chunk(&mut reader, packs.len())?;
            let after = chunks.last().is_none_or(|last| {
                (last.pack, last.chunk.end_page()) <= (next.pack, next.chunk.first_page)
                    && (last.pack < next.pack || last.chunk.end_offset() <= next.chunk.offset)
            });
            if !after {
                return Err(reader.malformed("its chunks are not in order"));
            }
            chunks.push(next);
        }
        let count = reader.count(BOOT_EXTENTS, 6)?;
        let extents = (0..count)
            .map(|_| boot_extent(&mut reader, packs.len()))
            .collect::<Result<Vec<_>>>()?;
        if extents.iter().map(|extent| u64::from(extent.len)).sum::<u64>() > BOOT_PAGES {
            return Err(reader.malformed(&format!("its extents have more than {BOOT_PAGES} pages")));
        }
        reader.end()?;
        let map = Self {
            packs,
            chunks,
            extents,
        };
        map.check_chunks()?;
        Ok(map)
    }

    /// Checks that the chunks hold all pages of all extents.
    fn check_chunks(&self) -> Result<()> {
        // A chunk has a page at least, so this looks at no more chunks than the extents have pages, which are bounded.
        let held = |extent: &BootExtent| {
            let (mut page, end) = (extent.first_page, extent.first_page.saturating_add(extent.len));
            let first = self
                .chunks
                .partition_point(|c| (c.pack, c.chunk.end_page()) <= (extent.pack, page));
            for boot in &self.chunks[first..] {
                if page >= end || boot.pack != extent.pack || boot.chunk.first_page > page {
                    break;
                }
                page = boot.chunk.end_page();
            }
            page >= end
        };
        if self.extents.iter().all(held) {
            return Ok(());
        }
        Err(FormatError::malformed(
            WHAT,
            "it names pages that none of its chunks has",
        ))
    }

    /// Checks that every extent lies on a published disk of a machine with these `disks`, inside its region.
    pub fn check_fits(&self, disks: &[Disk]) -> Result<()> {
        let fits = |extent: &BootExtent| match disks.get(extent.disk as usize).map(|disk| &disk.content) {
            Some(Content::Published { regions, .. }) => regions
                .get(extent.region as usize)
                .is_some_and(|region| extent.page.saturating_add(u64::from(extent.len)) <= region.pages()),
            _ => false,
        };
        if self.extents.iter().all(fits) {
            return Ok(());
        }
        Err(FormatError::malformed(
            WHAT,
            "it names pages that the disks do not have",
        ))
    }
}

fn boot_chunk(reader: &mut Reader<'_>, packs: usize) -> Result<BootChunk> {
    let pack = reader.u32_to(BOOT_EXTENTS as u32)?;
    let first_page = reader.u32_to(PACK_PAGES)?;
    let offset = reader.uint_to(PACK_STORED)?;
    let entry = ChunkEntry {
        stored: reader.u32_to(u32::MAX)?,
        pages: reader.u32_to(u32::MAX)?,
        stored_digest: reader.digest()?,
        content_digest: reader.digest()?,
    };
    entry.check(WHAT)?;
    let chunk = Chunk {
        first_page,
        offset,
        entry,
    };
    if pack as usize >= packs || chunk.end_page() > PACK_PAGES || chunk.end_offset() > PACK_STORED {
        return Err(reader.malformed("a chunk lies outside its pack"));
    }
    Ok(BootChunk { pack, chunk })
}

fn boot_extent(reader: &mut Reader<'_>, packs: usize) -> Result<BootExtent> {
    let extent = BootExtent {
        disk: reader.u32_to(DISKS as u32 - 1)?,
        region: reader.u32_to(REGIONS as u32 - 1)?,
        page: reader.uint_to(DISK_SIZE / PAGE)?,
        len: reader.u32_to(PACK_PAGES)?,
        pack: reader.u32_to(BOOT_EXTENTS as u32)?,
        first_page: reader.u32_to(PACK_PAGES)?,
    };
    if extent.len == 0 || extent.pack as usize >= packs || extent.first_page + extent.len > PACK_PAGES {
        return Err(reader.malformed("an extent lies outside its pack"));
    }
    Ok(extent)
}
