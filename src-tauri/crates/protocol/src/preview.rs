//! What a person decides on before subscribing.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::state::Trust;

/// What a person decides on before subscribing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Preview {
    /// The feed's URL.
    pub feed_url: String,
    /// The host that it comes from; empty for a folder of this computer.
    pub host: String,
    /// What it is called.
    pub title: String,
    /// One line about it.
    pub summary: String,
    /// Who publishes it, as the feed says.
    pub publisher: String,
    /// The publisher's root key.
    pub publisher_key: String,
    /// What people compare of the key.
    pub fingerprint: String,
    /// How far the key is trusted already.
    pub trust: Trust,
    /// The newest release's sequence and label.
    pub release: u64,
    /// Its label.
    pub label: String,
    /// Bytes until it can be started at full speed.
    pub boot_ready_bytes: u64,
    /// Bytes until it is complete.
    pub full_bytes: u64,
    /// Bytes free where they would go.
    pub free: u64,
    /// The list of releases is older than it should be.
    pub expired: bool,
    /// The subscription's id, if there is one.
    pub subscribed: Option<String>,
    /// A subscription whose publisher has another key, and that looks like it by its title.
    #[serde(default)]
    pub looks_like: Option<Lookalike>,
}

/// A subscription that another LivePC looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Lookalike {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// What people compare of its publisher's key.
    pub fingerprint: String,
}
