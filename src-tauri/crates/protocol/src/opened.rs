//! A release whose disks can be served: what a runner needs for that.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What a runner needs to serve a release's disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct OpenedRelease {
    /// The LivePC's id.
    pub id: String,
    /// Names the release in the store and in later requests.
    pub key: String,
    /// The release's sequence.
    pub release: u64,
    /// The digest of its manifest, which is in the store as an object.
    pub manifest: String,
    /// The boot map, which is in the store as an object.
    pub boot_map: Option<IndexObject>,
    /// True if everything is here.
    pub complete: bool,
}

/// The name and sizes of an index object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct IndexObject {
    /// SHA-256 of its stored bytes.
    pub digest: String,
    /// Stored bytes.
    pub stored: u64,
    /// Bytes after decompression.
    pub size: u64,
}
