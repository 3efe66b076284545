//! The text descriptor by which VMware and QEMU take a raw file as a VMDK disk.

use std::num::NonZeroU64;

/// Bytes of a sector, the unit of a descriptor.
pub const SECTOR: u64 = 512;

/// The descriptor of a disk of `sectors` sectors whose bytes are the file `flat` beside it.
///
/// The content ID comes from `identity`, a digest of the disk's content: VMware takes it for the same disk exactly as
/// long as it is. `flat` must be a plain file name without quotes and control characters.
#[must_use]
pub fn flat_descriptor(flat: &str, sectors: NonZeroU64, identity: &[u8; 32]) -> String {
    let (cylinders, heads, per_track) = geometry(sectors.get());
    format!(
        "# Disk DescriptorFile
version=1
encoding=\"UTF-8\"
CID={cid:08x}
parentCID=ffffffff
createType=\"monolithicFlat\"

# Extent description
RW {sectors} FLAT \"{flat}\" 0

# The Disk Data Base
#DDB

ddb.virtualHWVersion = \"10\"
ddb.geometry.cylinders = \"{cylinders}\"
ddb.geometry.heads = \"{heads}\"
ddb.geometry.sectors = \"{per_track}\"
ddb.adapterType = \"lsilogic\"
",
        cid = content_id(identity),
    )
}

/// The content ID: the identity's first 4 bytes, but never one of the two that mean that there is none.
#[must_use]
pub fn content_id(identity: &[u8; 32]) -> u32 {
    let [a, b, c, d, ..] = *identity;
    match u32::from_be_bytes([a, b, c, d]) {
        reserved @ 0xffff_fffe.. => reserved & 0x7fff_ffff,
        id => id,
    }
}

/// Cylinders, heads and sectors per track, as VMware chooses them for a SCSI disk of this many sectors.
fn geometry(sectors: u64) -> (u64, u64, u64) {
    const GIB: u64 = (1 << 30) / SECTOR;
    const TWO_GIB: u64 = 2 * GIB;
    let (heads, per_track) = match sectors {
        0..GIB => (64, 32),
        GIB..=TWO_GIB => (128, 32),
        _ => (255, 63),
    };
    ((sectors / (heads * per_track)).max(1), heads, per_track)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_id_is_never_a_reserved_one() {
        let mut identity = [0xff; 32];
        assert_eq!(content_id(&identity), 0x7fff_ffff, "ffffffff means: no parent");
        identity[3] = 0xfe;
        assert_eq!(content_id(&identity), 0x7fff_fffe, "fffffffe means: unknown");
        identity[3] = 0xfd;
        assert_eq!(content_id(&identity), 0xffff_fffd);
        identity[..4].copy_from_slice(&[0, 1, 2, 3]);
        assert_eq!(content_id(&identity), 0x0001_0203);
    }

    #[test]
    fn the_geometry_is_never_larger_than_the_disk_and_never_zero() {
        for sectors in [1, 2047, 1 << 21, 1 << 22, (1 << 22) + 1, 1 << 35] {
            let (cylinders, heads, per_track) = geometry(sectors);
            assert!(cylinders > 0);
            assert!(cylinders == 1 || cylinders * heads * per_track <= sectors);
        }
        assert_eq!(
            geometry(16 << 21),
            (2088, 255, 63),
            "what VMware gives a disk of 16 GiB"
        );
    }

    #[test]
    fn the_descriptor_names_the_file_and_its_sectors() {
        let text = flat_descriptor("disk-flat.vmdk", NonZeroU64::new(77).unwrap(), &[0xab; 32]);
        assert!(text.starts_with("# Disk DescriptorFile\n"), "{text}");
        for line in [
            "RW 77 FLAT \"disk-flat.vmdk\" 0",
            "CID=abababab",
            "parentCID=ffffffff",
        ] {
            assert!(text.lines().any(|had| had == line), "no {line} in {text}");
        }
    }
}
