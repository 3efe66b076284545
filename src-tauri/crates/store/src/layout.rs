//! The form of a local pack file.
//!
//! ```text
//! byte 0        header, 4 KiB: magic, version, page size, pack id, CRC32C of these
//! byte 4,096    presence, 8 KiB: one bit a page, the lowest bit first
//! byte 12,288   CRC32C of each page, 4 bytes little-endian, 256 KiB
//! byte 274,432  pages, 4 KiB each, at the place of their number
//! ```
//!
//! The form does not depend on the pack's chunk table, so that a page can be kept before the table is known. The file is
//! sparse: what was not written takes no room.

use livepc_format::PackId;
use livepc_format::limits::{PACK_PAGES, PAGE};

/// Bytes of a page, for slices.
pub(crate) const PAGE_LEN: usize = PAGE as usize;
/// Bytes of the header.
pub(crate) const HEADER_LEN: usize = 4096;
/// Where presence begins.
pub(crate) const PRESENCE_AT: u64 = HEADER_LEN as u64;
/// Bytes of presence.
pub(crate) const PRESENCE_LEN: usize = PACK_PAGES as usize / 8;
/// Where the CRCs begin.
const CRCS_AT: u64 = PRESENCE_AT + PRESENCE_LEN as u64;
/// Bytes of a CRC.
pub(crate) const CRC_LEN: usize = 4;
/// Where the pages begin: the length of a file without any.
pub(crate) const PAGES_AT: u64 = CRCS_AT + PACK_PAGES as u64 * CRC_LEN as u64;

const MAGIC: &[u8; 8] = b"LPPAGES\n";
const VERSION: u32 = 1;
const HEADER_USED: usize = 8 + 4 + 4 + 32;

/// Where the CRC of `page` lies.
pub(crate) fn crc_at(page: u32) -> u64 {
    CRCS_AT + u64::from(page) * CRC_LEN as u64
}

/// Where `page` lies.
pub(crate) fn page_at(page: u32) -> u64 {
    PAGES_AT + u64::from(page) * PAGE
}

/// The header of `pack`'s file.
pub(crate) fn header(pack: PackId) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&(PAGE as u32).to_le_bytes());
    header[16..HEADER_USED].copy_from_slice(pack.0.as_bytes());
    let crc = crc32c::crc32c(&header[..HEADER_USED]);
    header[HEADER_USED..HEADER_USED + CRC_LEN].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The CRCs of whole pages, as they lie in the file.
pub(crate) fn crcs(pages: &[u8]) -> Vec<u8> {
    pages
        .chunks_exact(PAGE_LEN)
        .flat_map(|page| crc32c::crc32c(page).to_le_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use livepc_format::Digest;

    #[test]
    fn pages_are_aligned_and_a_header_tells_packs_apart() {
        assert!(
            PAGES_AT.is_multiple_of(PAGE),
            "an unaligned page costs two blocks a read"
        );
        assert_eq!(PAGES_AT, 274_432, "the form is on people's disks");
        let (a, b) = (PackId(Digest::of(b"a")), PackId(Digest::of(b"b")));
        assert_ne!(header(a), header(b));
    }

    #[test]
    fn a_lost_page_is_not_taken_for_a_good_one() {
        let crc = crc32c::crc32c(&[0; PAGE_LEN]);
        assert_ne!(crc, 0, "zeros in place of a page and of its CRC must not agree");
    }
}
