use std::convert::Infallible;

use livepc_format::manifest::check_regions;
use proptest::prelude::*;

use super::*;

fn regions_of(disk: &[u8]) -> Vec<Region> {
    let read = reader(disk);
    let Ok(regions) = regions(disk.len() as u64, &read);
    check_regions(disk.len() as u64, &regions).expect("regions cover the disk");
    regions
}

fn uefi_only(disk: &[u8]) -> bool {
    let read = reader(disk);
    let Ok(uefi) = needs_uefi(disk.len() as u64, &read);
    uefi
}

fn reader(disk: &[u8]) -> impl Fn(u64, &mut [u8]) -> Result<(), Infallible> + use<'_> {
    move |offset, buffer| {
        buffer.copy_from_slice(&disk[offset as usize..][..buffer.len()]);
        Ok(())
    }
}

fn places(regions: &[Region]) -> Vec<(u64, u64)> {
    regions.iter().map(|r| (r.start, r.sectors)).collect()
}

fn disk(sectors: usize) -> Vec<u8> {
    vec![0; sectors * 512]
}

fn put_entry(disk: &mut [u8], sector: usize, slot: usize, kind: u8, start: u32, sectors: u32) {
    let at = sector * 512 + 446 + 16 * slot;
    disk[at + 4] = kind;
    disk[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
    disk[at + 12..at + 16].copy_from_slice(&sectors.to_le_bytes());
    disk[sector * 512 + 510..sector * 512 + 512].copy_from_slice(&[0x55, 0xaa]);
}

fn put_gpt(disk: &mut [u8], at: u64, table: u64, partitions: &[(u64, u64, [u8; 16])]) {
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
    header[72..80].copy_from_slice(&table.to_le_bytes());
    header[80..84].copy_from_slice(&128_u32.to_le_bytes());
    header[84..88].copy_from_slice(&128_u32.to_le_bytes());
    header[88..92].copy_from_slice(&gpt::crc32(&entries).to_le_bytes());
    let crc = gpt::crc32(&header);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    disk[at as usize * 512..][..92].copy_from_slice(&header);
    disk[table as usize * 512..][..entries.len()].copy_from_slice(&entries);
}

const LINUX: [u8; 16] = [7; 16];

#[test]
fn a_bare_disk_is_one_region() {
    assert_eq!(places(&regions_of(&disk(1))), [(0, 1)], "one sector");
    assert_eq!(places(&regions_of(&disk(999))), [(0, 999)]);
    let mut fat = disk(999);
    fat[446..500].fill(0x41);
    fat[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(
        places(&regions_of(&fat)),
        [(0, 999)],
        "a boot sector's code is no table"
    );
}

#[test]
fn partitions_and_the_gaps_between_them_are_regions() {
    let mut disk = disk(40_000);
    put_entry(&mut disk, 0, 0, 0x83, 63, 937);
    put_entry(&mut disk, 0, 1, 0x83, 1010, 990);
    put_entry(&mut disk, 0, 2, 0x07, 30_000, 8_000);
    assert_eq!(
        places(&regions_of(&disk)),
        [(0, 63), (63, 947), (1010, 990), (2000, 28_000), (30_000, 10_000)],
        "small gaps belong to the partition before them, and every partition begins its own region"
    );
}

#[test]
fn logical_partitions_are_found() {
    let mut disk = disk(40_000);
    put_entry(&mut disk, 0, 0, 0x83, 2048, 2000);
    put_entry(&mut disk, 0, 1, 0x05, 10_000, 30_000);
    put_entry(&mut disk, 10_000, 0, 0x83, 63, 5_000);
    put_entry(&mut disk, 10_000, 1, 0x05, 10_000, 9_000);
    put_entry(&mut disk, 20_000, 0, 0x83, 63, 8_000);
    assert_eq!(
        places(&regions_of(&disk)),
        [
            (0, 2048),
            (2048, 2000),
            (4048, 6015),
            (10_063, 5000),
            (15_063, 5000),
            (20_063, 8000),
            (28_063, 11_937)
        ]
    );
    put_entry(&mut disk, 20_000, 1, 0x05, 0, 9_000);
    assert_eq!(
        places(&regions_of(&disk)),
        [(0, 40_000)],
        "a chain that goes round is no table"
    );
}

#[test]
fn absurd_tables_are_no_tables() {
    for (start, sectors, why) in [
        (500, 600, "it ends behind the disk"),
        (5000, 10, "it starts behind the disk"),
        (0, 10, "it overlaps the table"),
    ] {
        let mut disk = disk(1000);
        put_entry(&mut disk, 0, 0, 0x83, start, sectors);
        assert_eq!(places(&regions_of(&disk)), [(0, 1000)], "{why}");
    }
    let mut disk = disk(1000);
    put_entry(&mut disk, 0, 0, 0x83, 100, 200);
    put_entry(&mut disk, 0, 1, 0x83, 299, 200);
    assert_eq!(places(&regions_of(&disk)), [(0, 1000)], "partitions overlap");
}

#[test]
fn a_gpt_is_read_from_its_front_or_its_back() {
    let sectors = 20_000;
    let mut disk = disk(sectors);
    put_entry(&mut disk, 0, 0, 0xee, 1, sectors as u32 - 1);
    let partitions = [(10_000, 19_000, LINUX), (2048, 9999, gpt_efi())];
    put_gpt(&mut disk, 1, 2, &partitions);
    let expected = [(0, 2048), (2048, 7952), (10_000, 10_000)];
    assert_eq!(
        places(&regions_of(&disk)),
        expected,
        "entries need not be in order"
    );
    let uefi = uefi_only(&disk);
    assert!(uefi, "an EFI system partition and no boot code");

    disk[700] ^= 1;
    assert_eq!(
        places(&regions_of(&disk)).len(),
        3,
        "behind the header is nothing that counts"
    );
    disk[512 + 40] ^= 1;
    assert_eq!(
        places(&regions_of(&disk)),
        [(0, 20_000)],
        "a damaged header is no table"
    );
    put_gpt(&mut disk, sectors as u64 - 1, sectors as u64 - 33, &partitions);
    assert_eq!(places(&regions_of(&disk)), expected, "its copy is one");
    disk[0] = 0xeb;
    let uefi = uefi_only(&disk);
    assert!(!uefi, "what has boot code starts by BIOS too");
}

fn gpt_efi() -> [u8; 16] {
    let mut kind = [0; 16];
    kind.copy_from_slice(&[
        0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
    ]);
    kind
}

#[test]
fn the_checksum_is_the_standard_one() {
    assert_eq!(
        gpt::crc32(b"123456789"),
        0xcbf4_3926,
        "the check value of CRC-32/ISO-HDLC"
    );
}

#[test]
fn too_many_partitions_are_still_regions() {
    let partitions: Vec<_> = (0..900)
        .map(|i| Partition {
            start: 10_000 * (i + 1),
            sectors: 100,
            efi: false,
        })
        .collect();
    let sectors = 10_000_000;
    let regions = cover(sectors, &partitions).expect("gaps are given up first");
    assert_eq!(regions.len(), 901);
    check_regions(sectors * 512, &regions).unwrap();
    let many: Vec<_> = (0..1024)
        .map(|i| Partition {
            start: 3 * (i + 1),
            sectors: 1,
            efi: false,
        })
        .collect();
    assert!(cover(sectors, &many).is_none(), "more than may be listed");
}

proptest! {
    /// Whatever stands in the sectors that a table may use: the regions cover the disk.
    #[test]
    fn garbage_gives_regions(
        mut disk in proptest::collection::vec(any::<u8>(), 512 * 8),
        kinds in proptest::array::uniform4(prop_oneof![Just(0_u8), Just(5), Just(0x83), Just(0xee), any::<u8>()]),
        starts in proptest::array::uniform4(0_u32..10),
        sizes in proptest::array::uniform4(0_u32..10),
    ) {
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        regions_of(&disk);
        for slot in 0..4 {
            disk[446 + 16 * slot] = 0x80;
            for sector in [0, starts[slot] as usize] {
                if sector < 8 {
                    put_entry(&mut disk, sector, slot, kinds[slot], starts[slot], sizes[slot]);
                }
            }
        }
        regions_of(&disk);
    }

    /// A GPT whose checksums are right but whose entries are anything.
    #[test]
    fn any_entries_give_regions(entries in proptest::collection::vec((0_u64..300, 0_u64..300), 0..20)) {
        let mut disk = disk(256);
        put_entry(&mut disk, 0, 0, 0xee, 1, 255);
        let entries: Vec<_> = entries.into_iter().map(|(a, b)| (a, b, LINUX)).collect();
        put_gpt(&mut disk, 1, 2, &entries);
        regions_of(&disk);
    }
}
