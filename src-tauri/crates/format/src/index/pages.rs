//! A pack's page list (`packs/<id>.pages`): the first 16 bytes of each page's SHA-256, in the order of the pack.
//! Only publishers read it, to find the pages that they have published before.

use crate::Digest;
use crate::error::{FormatError, Result};
use crate::limits::PACK_PAGES;

const WHAT: &str = "a page list";

/// The first 16 bytes of a page's SHA-256.
pub type PageDigest = [u8; 16];

/// The bytes of a page list, and their digest.
#[must_use]
pub fn encode_pages(pages: &[PageDigest]) -> (Vec<u8>, Digest) {
    let bytes = pages.concat();
    let digest = Digest::of(&bytes);
    (bytes, digest)
}

/// Reads the page list with this digest.
pub fn decode_pages(bytes: &[u8], digest: &Digest) -> Result<Vec<PageDigest>> {
    digest.check(WHAT, bytes)?;
    let (pages, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() || pages.len() > PACK_PAGES as usize {
        return Err(FormatError::malformed(
            WHAT,
            "it must have 16 bytes a page, for at most 65,536 pages",
        ));
    }
    Ok(pages.to_vec())
}
