//! Disks with partition tables, for tests.

use super::gpt;

pub(crate) fn disk(sectors: usize) -> Vec<u8> {
    vec![0; sectors * 512]
}

pub(crate) fn put_entry(disk: &mut [u8], sector: usize, slot: usize, kind: u8, start: u32, sectors: u32) {
    let at = sector * 512 + 446 + 16 * slot;
    disk[at + 4] = kind;
    disk[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
    disk[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
    disk[sector * 512 + 510..sector * 512 + 512].copy_from_slice(&[0x55, 0xaa]);
}

/// A header in sector `at`, which names `other`, and its table.
pub(crate) fn put_gpt(
    disk: &mut [u8],
    (at, other): (u64, u64),
    table: u64,
    partitions: &[(u64, u64, [u8; 16])],
) {
    let mut entries = vec![0; 128 * 128];
    for (entry, (start, last, kind)) in entries.chunks_exact_mut(128).zip(partitions) {
        entry[..16].copy_from_slice(kind);
        entry[32..40].copy_from_slice(&start.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
    }
    let mut header = [0; 92];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..12].copy_from_slice(&[0, 0, 1, 0]);
    header[12..16].copy_from_slice(&92_u32.to_le_bytes());
    header[24..32].copy_from_slice(&at.to_le_bytes());
    header[32..40].copy_from_slice(&other.to_le_bytes());
    header[72..80].copy_from_slice(&table.to_le_bytes());
    header[80..84].copy_from_slice(&128_u32.to_le_bytes());
    header[84..88].copy_from_slice(&128_u32.to_le_bytes());
    header[88..92].copy_from_slice(&gpt::crc32(&entries).to_le_bytes());
    let crc = gpt::crc32(&header);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    disk[at as usize * 512..][..92].copy_from_slice(&header);
    disk[table as usize * 512..][..entries.len()].copy_from_slice(&entries);
}

pub(crate) fn gpt_efi() -> [u8; 16] {
    let mut kind = [0; 16];
    kind.copy_from_slice(&[
        0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
    ]);
    kind
}
