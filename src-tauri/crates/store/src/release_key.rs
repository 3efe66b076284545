//! The name under which a store knows a release.

use std::fmt;
use std::str::FromStr;

use crate::error::{Result, StoreError};

/// The name under which a store knows a release, normally `<LivePC id>-<sequence>`: 1 to 128 of `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseKey(String);

impl ReleaseKey {
    /// Takes a name.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if it has another form.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let safe = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=128).contains(&name.len()) && name.bytes().all(safe) {
            Ok(Self(name))
        } else {
            Err(StoreError::Invalid(format!(
                "{name:?} cannot name a release in the chunk store"
            )))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReleaseKey {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

impl fmt::Display for ReleaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_folder() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "A",
            "a.b",
            "ä",
            "a b",
            &"a".repeat(129),
        ] {
            assert!(
                ReleaseKey::new(bad).is_err(),
                "{bad:?} is not safe as a file name everywhere"
            );
        }
        assert_eq!(ReleaseKey::new("0af-12").unwrap().as_str(), "0af-12");
    }
}
