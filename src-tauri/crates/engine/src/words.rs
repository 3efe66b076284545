//! The words that the formats use for members of closed sets.

use serde::Serialize;

/// The word for a unit variant: `GuestOs::Linux` is `linux`.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
