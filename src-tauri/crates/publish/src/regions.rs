//! The regions of a disk: its partitions, and what lies between them.
//!
//! Pages are counted from the beginning of a region, so that a partition's pages stay the same wherever it starts: a
//! grid from sector 0 would find nothing again of a partition that moved from sector 63 to 2048.

mod firmware;
mod gpt;
mod mbr;
mod tables;

pub(crate) use self::firmware::needs_uefi;
pub(crate) use self::tables::{Gpt, Tables, tables};

use livepc_format::limits::{REGIONS, SECTOR};
use livepc_format::manifest::Region;

/// Sectors of a gap behind a partition that become a part of the partition's region: an own region would cost a
/// shard, and a request, for a few sectors.
const SMALL_GAP: u64 = 2048;

/// What a partition table tells of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// The first sector.
    pub(crate) start: u64,
    /// Sectors.
    pub(crate) sectors: u64,
    /// UEFI starts from it.
    pub(crate) efi: bool,
    /// A BIOS starts from it, or the code that it starts is there.
    pub(crate) bios: bool,
}

impl Partition {
    /// The sector behind its last one.
    pub(crate) fn end(&self) -> Option<u64> {
        self.start.checked_add(self.sectors)
    }
}

/// Bytes of a disk at an offset.
pub(crate) trait ReadSectors<E>: Fn(u64, &mut [u8]) -> Result<(), E> {}

impl<E, F: Fn(u64, &mut [u8]) -> Result<(), E>> ReadSectors<E> for F {}

/// The regions of a disk of `size` bytes, which `read` reads: they cover it without gaps. A disk without a partition
/// table, or with one that makes no sense, has one region.
///
/// # Errors
/// Only those of `read`.
pub(crate) fn regions<E>(size: u64, read: &impl ReadSectors<E>) -> Result<Vec<Region>, E> {
    let sectors = size / SECTOR;
    let table = partitions(size, read)?;
    Ok(cover(sectors, &table).unwrap_or_else(|| vec![Region { start: 0, sectors }]))
}

/// The partitions, by rising start; none if there is no table that makes sense.
fn partitions<E>(size: u64, read: &impl ReadSectors<E>) -> Result<Vec<Partition>, E> {
    let sectors = size / SECTOR;
    let mut found = match mbr::read(sectors, read)? {
        mbr::Table::None => Vec::new(),
        mbr::Table::Protective => gpt::read(sectors, read)?.unwrap_or_default(),
        mbr::Table::Partitions(partitions) => partitions,
    };
    found.sort_unstable_by_key(|partition| partition.start);
    let mut next = 1; // The table itself lies in sector 0.
    for partition in &found {
        match partition.end() {
            Some(end) if partition.start >= next && partition.sectors > 0 && end <= sectors => next = end,
            _ => return Ok(Vec::new()),
        }
    }
    Ok(found)
}

/// Covers a disk with the partitions and the gaps between them.
fn cover(sectors: u64, partitions: &[Partition]) -> Option<Vec<Region>> {
    for small_gap in [SMALL_GAP, u64::MAX] {
        let regions = cover_with(sectors, partitions, small_gap);
        if regions.len() <= REGIONS {
            return Some(regions);
        }
    }
    None
}

fn cover_with(sectors: u64, partitions: &[Partition], small_gap: u64) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::with_capacity(2 * partitions.len() + 1);
    let mut next = 0;
    let fill = |regions: &mut Vec<Region>, next: u64, until: u64| {
        let gap = until - next;
        match regions.last_mut() {
            Some(last) if gap <= small_gap => last.sectors += gap,
            _ if gap > 0 => regions.push(Region {
                start: next,
                sectors: gap,
            }),
            _ => {}
        }
    };
    for partition in partitions {
        fill(&mut regions, next, partition.start);
        regions.push(Region {
            start: partition.start,
            sectors: partition.sectors,
        });
        next = partition.start + partition.sectors;
    }
    fill(&mut regions, next, sectors);
    regions
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
pub(crate) mod test_disks;
#[cfg(test)]
mod tests;
