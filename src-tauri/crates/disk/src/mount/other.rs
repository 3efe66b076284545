//! Systems on which disks cannot be mounted yet: a complete flat file is used instead.

use std::path::{Path, PathBuf};

use super::{AllowOther, MountError, MountOptions, MountedDisk};

/// There is none.
#[derive(Debug)]
pub(super) enum Mounted {}

impl Mounted {
    pub(super) async fn start(
        _: &Path,
        _: Vec<MountedDisk>,
        _: MountOptions,
    ) -> Result<(PathBuf, Self), MountError> {
        Err(MountError::Unsupported)
    }

    pub(super) async fn ended(&mut self) {
        match *self {}
    }

    pub(super) async fn unmount(self) -> Result<(), MountError> {
        match self {}
    }
}

pub(super) fn allow_other() -> AllowOther {
    AllowOther::Denied
}

pub(super) fn check() -> Result<(), MountError> {
    Err(MountError::Unsupported)
}

/// Nothing is ever mounted.
pub(super) fn take_away_dead(_: &Path) -> Result<bool, MountError> {
    Ok(false)
}
