//! The GUID partition table (UEFI specification, chapter 5), with 512-byte sectors: the one behind sector 0, or its copy
//! at the end of the disk.

use livepc_format::limits::SECTOR;

use super::{Partition, ReadSectors, u32_at, u64_at};

/// Entries that a table may have here; 128 is what everybody makes.
const ENTRIES: u32 = 1024;
/// Bytes of an entry at the most.
const ENTRY: u32 = 1024;
/// C12A7328-F81F-11D2-BA4B-00A0C93EC93B
const EFI_SYSTEM: [u8; 16] = [
    0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
];

/// 21686148-6449-6E6F-744E-656564454649: the boot loader's, where the code in sector 0 finds it.
const BIOS_BOOT: [u8; 16] = [
    0x48, 0x61, 0x68, 0x21, 0x49, 0x64, 0x6f, 0x6e, 0x74, 0x4e, 0x65, 0x65, 0x64, 0x45, 0x46, 0x49,
];
/// The mark of a partition that a BIOS starts from.
const LEGACY_BOOTABLE: u64 = 1 << 2;

/// A header whose checksum is right.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// The sector of the other header, at the other end of the disk.
    pub(super) other: u64,
    table: u64,
    entries: u32,
    entry: u32,
    table_crc: u32,
}

pub(super) fn read<E>(sectors: u64, read: &impl ReadSectors<E>) -> Result<Option<Vec<Partition>>, E> {
    for at in [1, sectors.saturating_sub(1)] {
        let Some(header) = header(at, sectors, SECTOR, read)? else {
            continue;
        };
        let inside = |found: &Vec<Partition>| found.iter().all(|p| p.end().is_some_and(|end| end <= sectors));
        if let Some(found) = partitions(&header, sectors, SECTOR, read)?.filter(inside) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The header in sector `at` of a disk of so many sectors, each of `sector` bytes.
pub(super) fn header<E>(
    at: u64,
    sectors: u64,
    sector: u64,
    read: &impl ReadSectors<E>,
) -> Result<Option<Header>, E> {
    if at == 0 || at >= sectors {
        return Ok(None);
    }
    let mut header = [0; SECTOR as usize];
    read(at * sector, &mut header)?;
    let len = u32_at(&header, 12) as usize;
    if header[..8] != *b"EFI PART" || !(92..=header.len()).contains(&len) || u64_at(&header, 24) != at {
        return Ok(None);
    }
    let crc = u32_at(&header, 16);
    header[16..20].fill(0);
    if crc32(&header[..len]) != crc {
        return Ok(None);
    }
    let (entries, entry) = (u32_at(&header, 80), u32_at(&header, 84));
    if entries > ENTRIES || !(128..=ENTRY).contains(&entry) || !entry.is_multiple_of(8) {
        return Ok(None);
    }
    Ok(Some(Header {
        other: u64_at(&header, 32),
        table: u64_at(&header, 72),
        entries,
        entry,
        table_crc: u32_at(&header, 88),
    }))
}

/// The partitions in the table of a header, which may lie behind the end of the disk; `None` if the table is damaged.
pub(super) fn partitions<E>(
    header: &Header,
    sectors: u64,
    sector: u64,
    read: &impl ReadSectors<E>,
) -> Result<Option<Vec<Partition>>, E> {
    let bytes = u64::from(header.entries * header.entry);
    if header.table >= sectors || bytes.div_ceil(sector) > sectors - header.table {
        return Ok(None);
    }
    let mut table = vec![0; bytes as usize];
    read(header.table * sector, &mut table)?;
    if crc32(&table) != header.table_crc {
        return Ok(None);
    }
    let mut partitions = Vec::new();
    for entry in table.chunks_exact(header.entry as usize) {
        let kind = &entry[..16];
        if *kind == [0; 16] {
            continue;
        }
        let (start, last) = (u64_at(entry, 32), u64_at(entry, 40));
        let Some(before_last) = last.checked_sub(start) else {
            return Ok(None);
        };
        partitions.push(Partition {
            start,
            sectors: before_last.saturating_add(1),
            efi: *kind == EFI_SYSTEM,
            bios: *kind == BIOS_BOOT || u64_at(entry, 48) & LEGACY_BOOTABLE != 0,
        });
    }
    Ok(Some(partitions))
}

/// CRC-32 (ISO-HDLC), bit by bit: a table has a few KiB.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
