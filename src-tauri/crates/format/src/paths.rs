//! Where the files of a LivePC lie, relative to its folder on the server.

use crate::{Digest, PackId};

/// The signed list of releases.
pub const HEAD: &str = "head.json";
/// The signing keys.
pub const KEYS: &str = "keys.json";
/// The Atom feed.
pub const FEED: &str = "feed.xml";

/// A release's manifest.
#[must_use]
pub fn manifest(digest: &Digest) -> String {
    format!("manifests/{digest}.json")
}

/// An object of the index; a chunk table's name is its pack's id.
#[must_use]
pub fn object(digest: &Digest) -> String {
    format!("index/{digest}")
}

/// A pack.
#[must_use]
pub fn pack(id: &PackId) -> String {
    format!("packs/{id}.pack")
}

/// A pack's page list.
#[must_use]
pub fn page_list(id: &PackId) -> String {
    format!("packs/{id}.pages")
}
