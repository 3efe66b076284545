//! What the partition tables of a disk say, whether it makes sense or not.

use livepc_format::limits::SECTOR;

use super::mbr::Entry;
use super::{Partition, ReadSectors, gpt, mbr};

/// Sectors as large as those of newer disks; a machine's disks have [`SECTOR`].
const LARGE: u64 = 4096;

/// The partition tables of a disk.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// What they list, extended partitions included.
    pub(crate) partitions: Vec<Partition>,
    /// The GPT, if the PC's table says that there is one.
    pub(crate) gpt: Option<Gpt>,
    /// The GPT counts sectors of 4096 bytes.
    pub(crate) large_sectors: bool,
}

/// A GUID partition table with its copy.
#[derive(Debug)]
pub(crate) struct Gpt {
    /// Sectors that the disk must have, by the first one.
    pub(crate) sectors: Option<u64>,
    /// The one at the disk's beginning can be used.
    pub(crate) first: bool,
    /// The copy, where the first one says that it is, or at the disk's end, can be used.
    pub(crate) copy: bool,
}

/// Reads the tables of a disk of `size` bytes.
///
/// # Errors
/// Only those of `read`.
pub(crate) fn tables<E>(size: u64, read: &impl ReadSectors<E>) -> Result<Tables, E> {
    let sectors = size / SECTOR;
    let Some(entries) = mbr::primary(sectors, read)? else {
        return Ok(Tables::default());
    };
    if !entries.iter().any(Entry::is_protective) {
        let used = entries.iter().filter(|entry| entry.is_used());
        return Ok(Tables {
            partitions: match mbr::read(sectors, read)? {
                mbr::Table::Partitions(all) => all,
                // Its chain leads nowhere; what is in sector 0 is known.
                _ => used.map(|entry| entry.partition(0)).collect(),
            },
            ..Tables::default()
        });
    }
    let usable = |at: u64| {
        let Some(header) = gpt::header(at, sectors, SECTOR, read)? else {
            return Ok(None);
        };
        let partitions = gpt::partitions(&header, sectors, SECTOR, read)?;
        Ok(partitions.map(|partitions| (header, partitions)))
    };
    let first = usable(1)?;
    // Some images have both.
    if first.is_none() && gpt::header(1, size / LARGE, LARGE, read)?.is_some() {
        return Ok(Tables {
            large_sectors: true,
            ..Tables::default()
        });
    }
    let at = first.as_ref().map_or(sectors - 1, |(header, _)| header.other);
    let copy = usable(at)?;
    Ok(Tables {
        gpt: Some(Gpt {
            sectors: first.as_ref().map(|(header, _)| header.other.saturating_add(1)),
            first: first.is_some(),
            copy: copy.is_some(),
        }),
        partitions: first
            .or(copy)
            .map(|(_, partitions)| partitions)
            .unwrap_or_default(),
        large_sectors: false,
    })
}
