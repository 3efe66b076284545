use super::*;

fn kind(file: &[u8]) -> Option<FileKind> {
    let tail = &file[file.len().saturating_sub(SECTOR as usize)..];
    FileKind::of(&file[..file.len().min(HEAD)], tail)
}

fn with(at: usize, mark: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 1 << 20];
    file[at..at + mark.len()].copy_from_slice(mark);
    file
}

/// What machines start from, and data that only looks odd.
#[test]
fn raw_disks_are_raw_disks() {
    let mut mbr = with(510, &[0x55, 0xaa]);
    mbr[..4].copy_from_slice(&[0xeb, 0x63, 0x90, 0]);
    for disk in [
        vec![0; 512],
        vec![0xff; 1 << 20],
        mbr,
        with(1024 + 56, &[0x53, 0xef]),
        with(0, b"XFSB"),
        with(0, b"LUKS\xba\xbe\0\x02"),
        with(0, b"\xeb\x52\x90NTFS    "),
        with(257, b"ustar"),
        with((1 << 20) - 512, b"conectix"),
        with(0, b"BZh9 is no archive"),
        with(0, b"P"),
        b"7".to_vec(),
    ] {
        assert_eq!(kind(&disk), None, "{:?}", &disk[..16.min(disk.len())]);
    }
}

#[test]
fn what_is_no_disk_is_told_with_what_to_do() {
    for (file, advice) in [
        (
            with(0, b"QFI\xfb\0\0\0\x03"),
            "qcow2 image, not a raw disk; convert it first: `qemu-img convert -O raw d.img d.raw`",
        ),
        (with(0, b"QED\0"), "-f qed -O raw"),
        (with(0, b"KDMV\x01"), "-f vmdk -O raw"),
        (with(0, b"COWD"), "VMDK"),
        (with(0, b"# Disk DescriptorFile\nversion=1"), "VMDK"),
        (with(0, b"conectix"), "-f vpc -O raw"),
        (with(0, b"vhdxfile"), "-f vhdx -O raw"),
        (with(64, b"\x7f\x10\xda\xbe"), "-f vdi -O raw"),
        (with(0, b"WithoutFreeSpace"), "-f parallels -O raw"),
        (with(0, b"\x1f\x8b\x08\0"), "gunzip -k d.img"),
        (with(0, b"\xfd7zXZ\0"), "unxz -k d.img"),
        (with(0, b"\x28\xb5\x2f\xfd"), "unzstd d.img"),
        (with(0, b"\x50\x2a\x4d\x18"), "unzstd d.img"),
        (with(0, b"BZh91AY&SY"), "bunzip2 -k d.img"),
        (with(0, b"PK\x03\x04"), "unzip d.img"),
        (with(0, b"7z\xbc\xaf\x27\x1c"), "7z x d.img"),
        (with(0, b"<!DocType html>"), "download the image again"),
        (with(0x8001, b"CD001\x01"), "starts from no disk"),
    ] {
        let kind = kind(&file).expect(advice);
        let told = kind.refusal(Path::new("d.img")).to_string();
        assert!(told.contains(advice), "{told}");
    }
    let told = FileKind::Image("VDI")
        .refusal(Path::new("/a b/c.raw"))
        .to_string();
    assert!(told.contains("\"/a b/c.raw\" \"/a b/c.disk.raw\""), "{told}");
}

/// A CD that was made to be started from a stick is what many people have.
#[test]
fn a_hybrid_iso_is_a_disk() {
    let mut iso = with(0x8001, b"CD001\x01");
    assert_eq!(kind(&iso), Some(FileKind::Cd));
    iso[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(kind(&iso), None);
}

#[test]
fn checksums_tell_a_tar_and_a_fixed_vhd_from_a_disk_that_has_their_marks() {
    let mut tar = with(257, b"ustar\0");
    tar[..4].copy_from_slice(b"disk");
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(kind(&tar), Some(FileKind::Archive("tar or OVA", "tar -xf")));
    tar[0] ^= 1;
    assert_eq!(kind(&tar), None);

    let mut footer = vec![0; 512];
    footer[..8].copy_from_slice(b"conectix");
    footer[60..64].copy_from_slice(&[0, 0, 0, 2]);
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    for len in [512, 511] {
        let mut vhd = vec![0; 1 << 20];
        vhd.extend(&footer[..len]);
        assert_eq!(kind(&vhd), Some(FileKind::Image("VHD")), "{len}");
        let at = (1 << 20) + 60;
        vhd[at] ^= 1;
        assert_eq!(kind(&vhd), None, "{len}");
    }
}
