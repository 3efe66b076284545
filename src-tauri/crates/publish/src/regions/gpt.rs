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

pub(super) fn read<E>(sectors: u64, read: &impl ReadSectors<E>) -> Result<Option<Vec<Partition>>, E> {
    for at in [1, sectors.saturating_sub(1)] {
        if let Some(partitions) = read_at(at, sectors, read)? {
            return Ok(Some(partitions));
        }
    }
    Ok(None)
}

fn read_at<E>(at: u64, sectors: u64, read: &impl ReadSectors<E>) -> Result<Option<Vec<Partition>>, E> {
    if at == 0 || at >= sectors {
        return Ok(None);
    }
    let mut header = [0; SECTOR as usize];
    read(at * SECTOR, &mut header)?;
    let len = u32_at(&header, 12) as usize;
    if header[..8] != *b"EFI PART" || !(92..=header.len()).contains(&len) || u64_at(&header, 24) != at {
        return Ok(None);
    }
    let crc = u32_at(&header, 16);
    header[16..20].fill(0);
    if crc32(&header[..len]) != crc {
        return Ok(None);
    }
    let (first, count, entry) = (u64_at(&header, 72), u32_at(&header, 80), u32_at(&header, 84));
    if count > ENTRIES || !(128..=ENTRY).contains(&entry) || !entry.is_multiple_of(8) {
        return Ok(None);
    }
    let bytes = u64::from(count * entry);
    if first >= sectors || bytes.div_ceil(SECTOR) > sectors - first {
        return Ok(None);
    }
    let mut table = vec![0; bytes as usize];
    read(first * SECTOR, &mut table)?;
    if crc32(&table) != u32_at(&header, 88) {
        return Ok(None);
    }
    let mut partitions = Vec::new();
    for entry in table.chunks_exact(entry as usize) {
        if entry[..16] == [0; 16] {
            continue;
        }
        let (start, last) = (u64_at(entry, 32), u64_at(entry, 40));
        if last < start || last >= sectors {
            return Ok(None);
        }
        partitions.push(Partition {
            start,
            sectors: last - start + 1,
            efi: entry[..16] == EFI_SYSTEM,
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
