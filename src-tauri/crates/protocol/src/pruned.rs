//! What left the store, or would.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What left the store, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Pruned {
    /// The releases.
    pub releases: Vec<PrunedRelease>,
    /// Releases that stay for no other reason than that somebody had them fetched by their number.
    #[serde(default)]
    pub kept: Vec<PrunedRelease>,
    /// Bytes on disk of what belonged to no release: what crashes left behind.
    pub leftover_bytes: u64,
    /// All bytes on disk that are free after it.
    pub bytes: u64,
}

/// A release that left the store, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct PrunedRelease {
    /// The LivePC's id, if it is still subscribed.
    pub id: Option<String>,
    /// What the LivePC is called; if it is not subscribed any more, the name that it has in the store.
    pub title: String,
    /// The release's sequence.
    pub release: u64,
    /// Its label, if it is known.
    pub label: Option<String>,
    /// Bytes on disk that only it needed. What several releases needed that went counts for the first of them.
    pub bytes: u64,
}
