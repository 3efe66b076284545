//! The PC's partition table in sector 0, with its chain of logical partitions.

use livepc_format::limits::SECTOR;

use super::{Partition, ReadSectors, u32_at};

/// Logical partitions at the most: a chain that is longer goes round.
const LOGICAL: usize = 256;
const ENTRIES: usize = 446;
const EFI_SYSTEM: u8 = 0xef;
const PROTECTIVE: u8 = 0xee;
const ACTIVE: u8 = 0x80;

pub(super) enum Table {
    /// There is none, or it makes no sense.
    None,
    /// It only says that there is a GPT.
    Protective,
    Partitions(Vec<Partition>),
}

pub(super) struct Entry {
    status: u8,
    kind: u8,
    pub(super) start: u64,
    sectors: u64,
}

impl Entry {
    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    pub(super) fn is_used(&self) -> bool {
        self.kind != 0 && self.sectors > 0
    }

    /// True if it only says that there is a GPT.
    pub(super) fn is_protective(&self) -> bool {
        self.kind == PROTECTIVE
    }

    pub(super) fn is_efi(&self) -> bool {
        self.kind == EFI_SYSTEM
    }

    /// True if a BIOS starts from it. An entry that is not used otherwise may have this mark: some BIOSes look for it.
    pub(super) fn is_active(&self) -> bool {
        self.status == ACTIVE
    }

    pub(super) fn partition(&self, base: u64) -> Partition {
        Partition {
            start: base + self.start,
            sectors: self.sectors,
            efi: self.is_efi(),
            bios: self.is_active(),
        }
    }
}

/// The four entries of the table in sector 0; `None` if there is none.
pub(super) fn primary<E>(sectors: u64, read: &impl ReadSectors<E>) -> Result<Option<[Entry; 4]>, E> {
    // The boot sector of a bare file system has the signature too, and program code where the entries would be.
    let is_table = |entries: &[Entry; 4]| entries.iter().all(|entry| entry.status & 0x7f == 0);
    Ok(entries(0, sectors, read)?.filter(is_table))
}

pub(super) fn read<E>(sectors: u64, read: &impl ReadSectors<E>) -> Result<Table, E> {
    let Some(entries) = primary(sectors, read)? else {
        return Ok(Table::None);
    };
    if entries.iter().any(Entry::is_protective) {
        return Ok(Table::Protective);
    }
    let mut partitions = Vec::new();
    for entry in entries.iter().filter(|entry| entry.is_used()) {
        if entry.is_extended() {
            let Some(logical) = logical(entry.start, sectors, read)? else {
                return Ok(Table::None);
            };
            partitions.extend(logical);
        } else {
            partitions.push(entry.partition(0));
        }
    }
    Ok(Table::Partitions(partitions))
}

/// Follows the chain of an extended partition that starts at sector `base`; `None` if it is broken or goes round.
fn logical<E>(base: u64, sectors: u64, read: &impl ReadSectors<E>) -> Result<Option<Vec<Partition>>, E> {
    let mut partitions = Vec::new();
    let mut at = base;
    for _ in 0..LOGICAL {
        let Some([first, next, ..]) = entries(at, sectors, read)? else {
            return Ok(None);
        };
        if first.is_used() {
            partitions.push(first.partition(at));
        }
        if !next.is_used() {
            return Ok(Some(partitions));
        }
        if !next.is_extended() {
            return Ok(None);
        }
        at = base + next.start;
    }
    Ok(None)
}

fn entries<E>(at: u64, sectors: u64, read: &impl ReadSectors<E>) -> Result<Option<[Entry; 4]>, E> {
    if at >= sectors {
        return Ok(None);
    }
    let mut sector = [0; SECTOR as usize];
    read(at * SECTOR, &mut sector)?;
    if sector[510..] != [0x55, 0xaa] {
        return Ok(None);
    }
    Ok(Some(std::array::from_fn(|i| {
        let entry = &sector[ENTRIES + 16 * i..];
        Entry {
            status: entry[0],
            kind: entry[4],
            start: u64::from(u32_at(entry, 8)),
            sectors: u64::from(u32_at(entry, 12)),
        }
    })))
}
