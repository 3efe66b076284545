use std::convert::Infallible;

use livepc_format::manifest::check_regions;
use proptest::prelude::*;

use super::test_disks::{disk, gpt_efi, put_entry, put_gpt};
use super::*;

fn regions_of(disk: &[u8]) -> Vec<Region> {
    let read = reader(disk);
    let Ok(regions) = regions(disk.len() as u64, &read);
    check_regions(disk.len() as u64, &regions).expect("regions cover the disk");
    regions
}

pub(super) fn uefi_only(disk: &[u8]) -> bool {
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
    put_gpt(&mut disk, (1, sectors as u64 - 1), 2, &partitions);
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
    put_gpt(
        &mut disk,
        (sectors as u64 - 1, 1),
        sectors as u64 - 33,
        &partitions,
    );
    assert_eq!(places(&regions_of(&disk)), expected, "its copy is one");
    disk[0] = 0xeb;
    let uefi = uefi_only(&disk);
    assert!(uefi, "Windows and others put code there in any case");
}

/// One machine that does not start is worse than a question: each layout is one that a tool makes.
#[test]
fn the_firmware_is_guessed_of_what_the_tables_say() {
    const BIOS_BOOT: [u8; 16] = *b"Hah!IdontNeedEFI";
    let with_code = |mut disk: Vec<u8>| {
        disk[..2].copy_from_slice(&[0xeb, 0x63]);
        disk
    };
    let active = |mut disk: Vec<u8>, slot: usize| {
        disk[446 + 16 * slot] = 0x80;
        disk
    };
    let mbr = |entries: &[(u8, u32, u32)]| {
        let mut disk = disk(20_000);
        for (slot, (kind, start, sectors)) in entries.iter().enumerate() {
            put_entry(&mut disk, 0, slot, *kind, *start, *sectors);
        }
        disk
    };
    let gpt = |partitions: &[(u64, u64, [u8; 16])]| {
        let mut disk = mbr(&[(0xee, 1, 19_999)]);
        put_gpt(&mut disk, (1, 19_999), 2, partitions);
        put_gpt(&mut disk, (19_999, 1), 19_967, partitions);
        disk
    };
    let efi = (2048, 4095, gpt_efi());
    let linux = (8192, 16_000, LINUX);
    let boot = (64, 2047, BIOS_BOOT);
    let logical = |kind| {
        let mut disk = mbr(&[(0x83, 2048, 100), (5, 4096, 4096)]);
        put_entry(&mut disk, 4096, 0, kind, 64, 1000);
        disk
    };
    let legacy = |mut disk: Vec<u8>, slot: usize| {
        // The mark needs new checksums.
        let at = 1024 + 128 * slot + 48;
        disk[at] |= 4;
        let crc = gpt::crc32(&disk[1024..1024 + 128 * 128]);
        disk[512 + 88..512 + 92].copy_from_slice(&crc.to_le_bytes());
        disk[512 + 16..512 + 20].fill(0);
        let crc = gpt::crc32(&disk[512..512 + 92]);
        disk[512 + 16..512 + 20].copy_from_slice(&crc.to_le_bytes());
        disk
    };
    let cut = |disk: Vec<u8>| disk[..10_000 * 512].to_vec();
    let layouts = [
        ("nothing", disk(100), false),
        ("no table but code", with_code(disk(100)), false),
        ("a PC's disk", active(mbr(&[(0x83, 2048, 9000)]), 0), false),
        ("a PC's disk without a mark", mbr(&[(0x83, 2048, 9000)]), false),
        ("GPT of Linux alone", gpt(&[linux]), false),
        (
            "GPT of Windows: code, and a system partition",
            with_code(gpt(&[efi, linux])),
            true,
        ),
        ("GPT for UEFI alone", gpt(&[efi, linux]), true),
        ("a cloud image: both", with_code(gpt(&[boot, efi, linux])), false),
        (
            "both, before the loader is installed",
            gpt(&[boot, efi, linux]),
            false,
        ),
        (
            "GPT with the mark that syslinux reads",
            legacy(with_code(gpt(&[efi, linux])), 1),
            false,
        ),
        (
            "the same mark on the system partition",
            legacy(with_code(gpt(&[efi, linux])), 0),
            false,
        ),
        (
            "the mark, and no code that reads it",
            legacy(gpt(&[efi, linux]), 0),
            true,
        ),
        (
            "GPT whose protective entry is active",
            active(with_code(gpt(&[efi, linux])), 0),
            false,
        ),
        ("a GPT that was cut off", cut(gpt(&[efi, linux])), true),
        (
            "a PC's table for both",
            active(with_code(mbr(&[(0x83, 2048, 900), (0xef, 4096, 900)])), 0),
            false,
        ),
        (
            "a PC's table for UEFI",
            with_code(mbr(&[(0x83, 2048, 900), (0xef, 4096, 900)])),
            true,
        ),
        (
            "an active system partition with code",
            active(with_code(mbr(&[(0xef, 2048, 900)])), 0),
            false,
        ),
        (
            "an active system partition without",
            active(mbr(&[(0xef, 2048, 900)]), 0),
            true,
        ),
        ("a system partition that is logical", logical(0xef), true),
        (
            "a hybrid table with an active one",
            active(
                with_code(mbr(&[(0xee, 1, 2047), (7, 2048, 900), (0xef, 4096, 9)])),
                1,
            ),
            false,
        ),
        (
            "ISO for UEFI alone",
            mbr(&[(0x83, 0, 420), (0xef, 420, 8192)]),
            true,
        ),
        (
            "ISO with code, for UEFI alone",
            with_code(mbr(&[(0xcd, 0, 16_000), (0xef, 16_000, 900)])),
            true,
        ),
        (
            "ISO for both: the file system's entry is active",
            active(with_code(mbr(&[(0, 0, 9000), (0xef, 100, 300)])), 0),
            false,
        ),
        (
            "ISO for both: an entry of no use is active",
            active(with_code(mbr(&[(0xee, 1, 9000), (0, 0, 1)])), 1),
            false,
        ),
    ];
    for (name, disk, uefi) in layouts {
        assert_eq!(uefi_only(&disk), uefi, "{name}");
    }
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
            bios: false,
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
            bios: false,
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
        put_gpt(&mut disk, (1, 255), 2, &entries);
        regions_of(&disk);
    }
}
