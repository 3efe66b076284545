//! Feeds and catalogs: what people and feed readers see. Nothing in them is trusted.
//!
//! A *feed* is one LivePC's: one entry per release, newest first, and a link to `head.json`. A *catalog* has one entry
//! per LivePC, each with a link to its feed. Both are Atom; RSS 2.0 is read too. Every text that is read is plain and
//! bounded, and every address is absolute and of a kind that the document may point to.

mod atom;
mod catalog;
mod livepc;
mod lost;
mod read;
mod sift;
mod text;

pub use catalog::{Catalog, CatalogEntry, lost_by_writing, read_catalog, write_catalog};
pub use livepc::{Feed, FeedEntry, read_feed, why_not_address, write_feed};

use url::Url;

use crate::error::{FormatError, Result};
use crate::limits;

/// The media type of an Atom document.
pub const ATOM_TYPE: &str = "application/atom+xml";

/// What an address that a person gave leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one per document, and it is taken apart at once"
)]
pub enum Source {
    /// The feed of one LivePC.
    Feed(Feed),
    /// A list of LivePCs.
    Catalog(Catalog),
}

/// Reads a feed or a catalog, whichever the document is, of at most [`limits::CATALOG_BYTES`].
///
/// `charset` is what HTTP said of its encoding, if it came over HTTP and something was said. `base` is the document's own
/// address: relative addresses are resolved against it, and a document that came over HTTP may not point to files.
pub fn read(bytes: &[u8], charset: Option<&str>, base: &Url) -> Result<Source> {
    let document = read::document(
        "the feed",
        bytes,
        charset,
        base,
        limits::CATALOG_BYTES,
        limits::CATALOG_ENTRIES,
    )?;
    if livepc::find_head(&document).is_none() {
        return catalog::from_document(&document, base).map(Source::Catalog);
    }
    // A feed's bounds are narrower.
    FormatError::check_size("the feed", bytes.len() as u64, limits::FEED_BYTES)?;
    if document.entries.len() > limits::RELEASES {
        let why = format!("it has more than {} entries", limits::RELEASES);
        return Err(FormatError::malformed("the feed", why));
    }
    livepc::from_document(&document, base).map(Source::Feed)
}
