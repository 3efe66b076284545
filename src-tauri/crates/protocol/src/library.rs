//! The Library: what catalogs and feeds offer, and how their sources are.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::Problem;

/// An entry of the Library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct LibraryEntry {
    /// The feed's URL.
    pub feed_url: String,
    /// What it is called.
    pub title: String,
    /// One line about it.
    pub summary: String,
    /// More about it, as plain text.
    pub description: String,
    /// Who publishes it, as the catalog says.
    pub publisher: String,
    /// What it is about.
    pub categories: Vec<String>,
    /// The family of the guest's operating system, if the catalog says.
    pub guest_os: String,
    /// Bytes until boot-ready, if the catalog says.
    pub boot_ready_bytes: Option<u64>,
    /// Bytes until complete, if the catalog says.
    pub full_bytes: Option<u64>,
    /// The source that it comes from.
    pub source: String,
    /// The subscription's id, if there is one.
    pub subscribed: Option<String>,
    /// What people compare of its publisher's key; known of those that are subscribed.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Whether another LivePC of the Library or of the subscriptions, which may have another key, looks like it by its title.
    #[serde(default)]
    pub alike: bool,
}

/// A source of the Library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct SourceStatus {
    /// Its URL.
    pub url: String,
    /// Its URL before its server moved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub moved_from: Option<String>,
    /// What it is called.
    pub title: String,
    /// Its entries.
    pub entries: u64,
    /// Why it could not be read lately; the entries are from before.
    pub problem: Option<Problem>,
    /// When it was last read.
    #[ts(type = "string | null")]
    pub checked: Option<jiff::Timestamp>,
}
