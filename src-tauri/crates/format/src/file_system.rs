//! File systems that a subscriber's own disk can have from the start.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::error::{FormatError, Result};

/// Bytes of a disk with FAT32: fewer have too few clusters for it, and of more the tables alone would take a quarter of a
/// GiB before anything is stored.
const FAT32_SIZE: RangeInclusive<u64> = 64 << 20..=1 << 40;
/// Characters of a label of FAT32.
const FAT32_LABEL: usize = 11;

/// A file system that the host makes on a subscriber's own disk. It takes the whole disk: there is no partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileSystem {
    /// FAT with 32 bits: what every guest reads and writes without more.
    Fat32,
}

impl FileSystem {
    /// Why there can be no such file system with `label` on a disk of `size` bytes; `None` if there can.
    #[must_use]
    pub fn why_not(self, size: u64, label: Option<&str>) -> Option<String> {
        let Self::Fat32 = self;
        if !FAT32_SIZE.contains(&size) {
            return Some(format!("a disk with fat32 has 64 MiB to 1 TiB, not {size} bytes"));
        }
        // What all systems show as it was written. Spaces fill a label up, so they end it.
        let shown = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_');
        match label {
            Some(label)
                if label.is_empty()
                    || label.len() > FAT32_LABEL
                    || !label.chars().all(shown)
                    || label.trim() != label =>
            {
                Some(format!(
                    "the label of a disk with fat32 has 1 to {FAT32_LABEL} of A–Z, a–z, 0–9, “-”, “_” and spaces inside, \
                     not “{label}”"
                ))
            }
            _ => None,
        }
    }

    /// Checks that `what` may ask for it on a disk of `size` bytes.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] with the bound that is broken.
    pub fn check(self, what: &'static str, size: u64, label: Option<&str>) -> Result<()> {
        match self.why_not(size, label) {
            Some(why) => Err(FormatError::malformed(what, why)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fat32_has_bounds() {
        let fits = |size, label| FileSystem::Fat32.why_not(size, label).is_none();
        for (size, label) in [
            (64 << 20, None),
            (1 << 40, Some("a")),
            (1 << 30, Some("livepc-user")),
            (1 << 30, Some("My Data_1")),
        ] {
            assert!(fits(size, label), "{size} {label:?}");
        }
        for size in [512, (64 << 20) - 512, (1 << 40) + 512, u64::MAX] {
            assert!(!fits(size, None), "{size}");
        }
        for label in ["", " ", "a ", " a", "twelve chars", "a.b", "Ä", "a\n", "a*"] {
            assert!(!fits(1 << 30, Some(label)), "{label:?}");
        }
    }
}
