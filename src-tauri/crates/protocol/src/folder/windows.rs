//! Folders on Windows, where the user's own are private by inheritance.

use std::fs::Metadata;
use std::path::Path;

use crate::Problem;

#[allow(clippy::unnecessary_wraps)] // Its twin can refuse.
pub(super) fn check(_folder: &Path, _found: &Metadata) -> Result<(), Problem> {
    Ok(())
}

/// True if a folder is there: what is inside the user's profile is private.
#[must_use]
pub fn is_private(folder: &Path) -> bool {
    folder.is_dir()
}

/// True if what is made for its owner alone is kept from others.
#[must_use]
pub fn keeps_modes(_folder: &Path) -> bool {
    true
}
