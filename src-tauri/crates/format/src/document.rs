//! What all JSON documents share: bounds, versions, and the rule for what a reader does not know.
//!
//! A document has `version` (its major version) and `requires` (names of features that a reader must know to use it).
//! Unknown fields are ignored; an unknown name in `requires` or a newer major version is refused.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{FormatError, Result};

/// The major version that this crate reads and writes.
pub(crate) const VERSION: u32 = 1;

/// The names in `requires` that this crate knows: none yet.
const KNOWN: [&str; 0] = [];

#[derive(Deserialize)]
struct Compatibility {
    version: u64,
    #[serde(default)]
    requires: Vec<String>,
}

/// Reads a JSON document of at most `limit` bytes; refuses what is for a later version before its fields are looked at.
pub(crate) fn parse<T: DeserializeOwned>(what: &'static str, bytes: &[u8], limit: u64) -> Result<T> {
    FormatError::check_size(what, bytes.len() as u64, limit)?;
    let malformed = |e: serde_json::Error| FormatError::malformed(what, e.to_string());
    let head: Compatibility = serde_json::from_slice(bytes).map_err(malformed)?;
    if head.version == 0 {
        return Err(FormatError::malformed(what, "versions count from 1"));
    }
    if head.version > u64::from(VERSION) {
        return Err(FormatError::Newer {
            what,
            need: format!("format version {}", head.version),
        });
    }
    if let Some(name) = head.requires.iter().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(FormatError::Newer {
            what,
            need: format!("“{}”", crate::text::line(name, 60)),
        });
    }
    serde_json::from_slice(bytes).map_err(malformed)
}

/// Checks the version of a document that is about to be signed.
pub(crate) fn check_version(what: &'static str, version: u32) -> Result<()> {
    if version == VERSION {
        return Ok(());
    }
    Err(FormatError::malformed(
        what,
        format!("this version writes format version {VERSION}, not {version}"),
    ))
}

/// The text of a document: indented, so that people can read it, with a line feed at the end.
pub(crate) fn pretty<T: Serialize>(document: &T) -> Vec<u8> {
    // Serialising these types cannot fail: they have string keys and no custom serialisers that return errors.
    let mut bytes = serde_json::to_vec_pretty(document).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
