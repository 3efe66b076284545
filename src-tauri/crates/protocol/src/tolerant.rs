//! Reading what a newer side says: of a list, what is not understood is left out.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Those things of a list that this version understands. A newer one may have states and kinds of them that it does not.
pub(crate) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let values = Vec::<Value>::deserialize(from)?;
    let understood = |value| match serde_json::from_value(value) {
        Ok(thing) => Some(thing),
        Err(error) => {
            tracing::warn!("the other side tells of what this version does not know: {error}");
            None
        }
    };
    Ok(values.into_iter().filter_map(understood).collect())
}
