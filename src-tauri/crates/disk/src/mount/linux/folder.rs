//! The folder that is mounted at: made, freed of a dead mount, and refused if it has something in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use super::attach;
use crate::mount::MountError;

/// Makes `folder` ready to be mounted at, and gives its absolute path.
pub(super) fn prepare(folder: &Path) -> Result<PathBuf, MountError> {
    let unusable = |source| MountError::Folder {
        folder: folder.to_owned(),
        source,
    };
    fs::create_dir_all(folder).or_else(|error| match error.kind() {
        // Something is there, and looked at below.
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotConnected => Ok(()),
        _ => Err(unusable(error)),
    })?;
    let folder = absolute(folder).map_err(unusable)?;
    if is_dead(&folder) {
        tracing::info!(folder = %folder.display(), "a dead mount is taken away");
        attach::detach(&folder)?;
    }
    let mut entries = fs::read_dir(&folder).map_err(|source| match source.kind() {
        io::ErrorKind::NotADirectory => MountError::NotAFolder {
            folder: folder.clone(),
        },
        _ => MountError::Folder {
            folder: folder.clone(),
            source,
        },
    })?;
    if is_mount_point(&folder) {
        return Err(MountError::Mounted { folder });
    }
    if entries.next().is_some() {
        return Err(MountError::NotEmpty { folder });
    }
    Ok(folder)
}

/// Whether what is mounted at `folder` is served by nobody any more. Its metadata would not tell: the kernel remembers it.
pub(super) fn is_dead(folder: &Path) -> bool {
    fs::read_dir(folder).is_err_and(|error| error.kind() == io::ErrorKind::NotConnected)
}

/// The path without links. Of a dead mount only what is above it can be followed.
fn absolute(folder: &Path) -> io::Result<PathBuf> {
    folder.canonicalize().or_else(|error| {
        let path = std::path::absolute(folder)?;
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotConnected => {
                Ok(parent.canonicalize()?.join(name))
            }
            _ => Err(error),
        }
    })
}

/// Whether something is mounted at `folder`. Linux before 5.8 cannot tell; there only what is in it counts.
fn is_mount_point(folder: &Path) -> bool {
    statx(CWD, folder, AtFlags::NO_AUTOMOUNT, StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
