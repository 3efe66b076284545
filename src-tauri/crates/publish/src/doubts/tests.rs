use std::convert::Infallible;

use super::*;
use crate::regions::test_disks::{disk, gpt_efi, put_entry, put_gpt};

fn told(bytes: &[u8]) -> String {
    let read = |offset: u64, buffer: &mut [u8]| -> Result<(), Infallible> {
        buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
        Ok(())
    };
    let Ok(doubts) = doubts(bytes.len() as u64, &read);
    doubts.join("\n")
}

fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    disk[at..at + bytes.len()].copy_from_slice(bytes);
}

#[test]
fn whole_disks_give_no_doubt() {
    assert_eq!(told(&disk(1)), "");
    assert_eq!(told(&vec![0xa5; 1 << 20]), "", "noise is no table");
}

const SECTORS: usize = 40_000;

fn with_gpt() -> Vec<u8> {
    let mut disk = disk(SECTORS);
    let last = SECTORS as u64 - 1;
    put_entry(&mut disk, 0, 0, 0xee, 1, SECTORS as u32 - 1);
    let partitions = [(2048, 9999, gpt_efi()), (10_000, last - 40, [7; 16])];
    put_gpt(&mut disk, (1, last), 2, &partitions);
    put_gpt(&mut disk, (last, 1), last - 32, &partitions);
    disk
}

/// A copy that broke off must not become a machine that breaks at some file.
#[test]
fn a_gpt_tells_where_its_disk_ends() {
    let disk = with_gpt();
    assert_eq!(told(&disk), "");
    let cut = told(&disk[..SECTORS / 2 * 512]);
    assert!(cut.contains("it looks cut off"), "{cut}");
    assert!(cut.contains("20480000 bytes, and it has 10240000"), "{cut}");
    assert!(cut.contains("partition 2 ends at byte"), "{cut}");

    let mut grown = disk.clone();
    grown.resize(SECTORS * 1024, 0);
    assert_eq!(told(&grown), "", "a disk that was made larger is whole");
    let mut lost = disk.clone();
    lost[(SECTORS - 1) * 512..].fill(0);
    assert!(
        told(&lost).contains("the copy of its partition table"),
        "{}",
        told(&lost)
    );
    let mut lost = disk;
    lost[512..1024].fill(0);
    assert!(
        told(&lost).contains("only the copy at its end"),
        "{}",
        told(&lost)
    );
}

#[test]
fn the_table_of_a_pc_tells_where_its_partitions_end() {
    let mut disk = disk(SECTORS);
    put_entry(&mut disk, 0, 0, 0x83, 2048, 10_000);
    put_entry(&mut disk, 0, 1, 0x05, 20_000, 20_000);
    put_entry(&mut disk, 20_000, 0, 0x83, 63, 19_937);
    assert_eq!(told(&disk), "");
    let cut = told(&disk[..30_000 * 512]);
    assert!(
        cut.contains("partition 2 ends at byte 20480000, past the end"),
        "{cut}"
    );
    let cut = told(&disk[..15_000 * 512]);
    assert!(
        cut.contains("partition 2 ends at byte"),
        "what the chain has is gone: {cut}"
    );
}

/// Bytes at a place.
type Mark = (usize, Vec<u8>);

/// Without a partition table only the file system knows how large it is.
#[test]
fn file_systems_tell_how_large_they_are() {
    const BYTES: u64 = 64 << 20;
    let le = |value: u64, len: usize| value.to_le_bytes()[..len].to_vec();
    let be = |value: u64, len: usize| value.to_be_bytes()[8 - len..].to_vec();
    let systems: [(&str, Vec<Mark>); 10] = [
        (
            "ext2/3/4",
            vec![
                (1024 + 56, vec![0x53, 0xef]),
                (1024 + 24, le(2, 4)),
                (1024 + 4, le(BYTES >> 12, 4)),
            ],
        ),
        (
            "XFS",
            vec![(0, b"XFSB".to_vec()), (4, be(4096, 4)), (8, be(BYTES >> 12, 8))],
        ),
        (
            "Btrfs",
            vec![
                ((64 << 10) + 64, b"_BHRfS_M".to_vec()),
                ((64 << 10) + 0xd1, le(BYTES, 8)),
            ],
        ),
        (
            "NTFS",
            vec![
                (3, b"NTFS    ".to_vec()),
                (11, le(512, 2)),
                (40, le((BYTES >> 9) - 1, 8)),
            ],
        ),
        (
            "exFAT",
            vec![(3, b"EXFAT   ".to_vec()), (108, vec![9]), (72, le(BYTES >> 9, 8))],
        ),
        (
            "FAT",
            vec![
                (0, vec![0xeb, 0x3c, 0x90]),
                (11, le(512, 2)),
                (13, vec![4]),
                (16, vec![2]),
                (21, vec![0xf8]),
                (32, le(BYTES >> 9, 4)),
                (510, vec![0x55, 0xaa]),
            ],
        ),
        (
            "ISO 9660",
            vec![
                (0x8000, b"\x01CD001\x01".to_vec()),
                (0x8000 + 80, le(BYTES >> 11, 4)),
                (0x8000 + 128, le(2048, 2)),
            ],
        ),
        (
            "LVM",
            vec![
                (512, b"LABELONE".to_vec()),
                (512 + 20, le(32, 4)),
                (512 + 24, b"LVM2 001".to_vec()),
                (512 + 32 + 32, le(BYTES, 8)),
            ],
        ),
        (
            "swap",
            vec![(4086, b"SWAPSPACE2".to_vec()), (1028, le((BYTES >> 12) - 1, 4))],
        ),
        ("squashfs", vec![(0, b"hsqs".to_vec()), (40, le(BYTES, 8))]),
    ];
    for (name, marks) in systems {
        let mut disk = vec![0; BYTES as usize + (4 << 20)];
        marks.iter().for_each(|(at, bytes)| put(&mut disk, *at, bytes));
        assert_eq!(told(&disk), "", "{name} is whole");
        let cut = told(&disk[..BYTES as usize / 2]);
        assert!(
            cut.contains(&format!("the file system ({name}) on the disk")),
            "{name}: {cut}"
        );
        assert!(cut.contains("cut off"), "{cut}");

        // The same in a partition that is too small for it, on a disk that is not.
        let mut parted = vec![0; BYTES as usize + (8 << 20)];
        marks
            .iter()
            .for_each(|(at, bytes)| put(&mut parted, (1 << 20) + at, bytes));
        put_entry(&mut parted, 0, 0, 0x83, 2048, (BYTES >> 9) as u32);
        assert_eq!(told(&parted), "", "{name} is whole in its partition");
        put_entry(&mut parted, 0, 0, 0x83, 2048, (BYTES >> 10) as u32);
        let cut = told(&parted);
        assert!(
            cut.contains(&format!("({name}) on its partition 1")),
            "{name}: {cut}"
        );
    }
}

#[test]
fn sectors_of_another_size_are_told() {
    let mut gpt = vec![0; 16 << 20];
    let last = (16_u64 << 20) / 4096 - 1;
    put_entry(&mut gpt, 0, 0, 0xee, 1, last as u32);
    let mut small = disk(80);
    put_gpt(&mut small, (1, last), 2, &[(256, 2000, [7; 16])]);
    put(&mut gpt, 4096, &small[512..1024]);
    put(&mut gpt, 2 * 4096, &small[1024..1024 + 128 * 128]);
    assert!(told(&gpt).contains("sectors of 4096 bytes"), "{}", told(&gpt));

    // Made for both.
    put(&mut gpt, 512, &{
        let mut both = disk(80);
        let end = (16_u64 << 20) / 512 - 1;
        put_gpt(&mut both, (1, end), 40, &[(2048, 16_000, [7; 16])]);
        both[512..1024].to_vec()
    });
    let mut table = disk(80);
    put_gpt(&mut table, (1, 2), 40, &[(2048, 16_000, [7; 16])]);
    put(&mut gpt, 40 * 512, &table[40 * 512..40 * 512 + 128 * 128]);
    assert!(!told(&gpt).contains("4096"), "{}", told(&gpt));

    // A PC's table does not say it; what it leads to does.
    let mut pc = vec![0; 16 << 20];
    put_entry(&mut pc, 0, 0, 0x83, 256, 3000);
    assert_eq!(told(&pc), "");
    put(&mut pc, 256 * 4096 + 1024 + 56, &[0x53, 0xef]);
    put(&mut pc, 256 * 4096 + 1024 + 4, &[1]);
    assert!(told(&pc).contains("sectors of 4096 bytes"), "{}", told(&pc));
}
