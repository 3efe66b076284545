//! Where the files of a store lie, and which version of that layout it has.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use livepc_format::{Digest, PackId};
use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};

/// The version of the layout that this program makes, and the newest that it knows.
const VERSION: u64 = 1;
/// `store.json` is longer than this only if it is something else.
const VERSION_BYTES: u64 = 4096;
/// How temporary files begin. Nothing else does, so that what a crash leaves behind can be told and removed.
pub(crate) const TEMPORARY: &str = ".new-";
/// How a local pack file ends.
pub(crate) const PAGES: &str = ".pages";
/// How a file that was damaged and moved aside ends.
pub(crate) const DAMAGED: &str = ".damaged";

#[derive(Serialize, Deserialize)]
struct Version {
    version: u64,
}

/// The paths of a store.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn packs(&self) -> PathBuf {
        self.0.join("packs")
    }

    pub(crate) fn pack(&self, id: PackId) -> PathBuf {
        let name = id.to_string();
        self.0.join("packs").join(&name[..2]).join(name + PAGES)
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.0.join("objects")
    }

    pub(crate) fn object(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.0.join("objects").join(&name[..2]).join(name)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("store.lock")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("store.db")
    }

    pub(crate) fn leases(&self) -> PathBuf {
        self.0.join("leases")
    }

    pub(crate) fn leases_lock(&self) -> PathBuf {
        self.0.join("leases.lock")
    }

    pub(crate) fn version(&self) -> PathBuf {
        self.0.join("store.json")
    }

    /// Where a version goes that cannot be read.
    pub(crate) fn damaged_version(&self) -> PathBuf {
        self.0.join("store.json.damaged")
    }

    /// Checks that this program knows the store's version; false if the folder has none yet.
    pub(crate) fn check_version(&self) -> Result<bool> {
        let path = self.version();
        let damaged = |why: String| StoreError::Damaged {
            path: path.clone(),
            why,
        };
        let bytes = match read_bounded(&path, VERSION_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(damaged("it is too long".into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        let Version { version } =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if version > VERSION {
            return Err(StoreError::Newer {
                path: self.0.clone(),
                found: version,
                known: VERSION,
            });
        }
        Ok(true)
    }

    /// Makes the folders and writes the version, if they are not there. The version is written anew if it cannot be read: the
    /// database has it too, and nothing else depends on the file.
    pub(crate) fn create(&self) -> Result<()> {
        for folder in [self.packs(), self.objects(), self.leases()] {
            create_folder(&folder)?;
        }
        let is_there = match self.check_version() {
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::warn!("{error}: it is written anew");
                // For whoever wants to know what it was.
                let _ = fs::rename(self.version(), self.damaged_version());
                false
            }
            checked => checked?,
        };
        if !is_there {
            let mut text = serde_json::to_string_pretty(&Version { version: VERSION })
                .map_err(|error| StoreError::Invalid(error.to_string()))?;
            text.push('\n');
            write_durably(&self.version(), text.as_bytes())?;
        }
        Ok(())
    }
}

/// Reads a file of at most `max` bytes; `None` if it is longer.
pub(crate) fn read_bounded(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    match livepc_durable::read(path, max) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(None),
        read => read.map(Some),
    }
}

/// Makes a folder, and those above it, durably.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    livepc_durable::create_folder(folder).map_err(|error| StoreError::io("created", folder, error))
}

/// Puts a whole file at `path`, durably: at no time is there a part of it.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    place_durably(path, |file| file.write_all(bytes)).map(drop)
}

/// Puts the file that `fill` writes at `path`, durably: at no time is there a part of it.
pub(crate) fn place_durably(
    path: &Path,
    fill: impl FnOnce(&mut fs::File) -> io::Result<()>,
) -> Result<fs::File> {
    let failed = |error| StoreError::io("written", path, error);
    // Every path here is a name inside a folder of the store.
    let folder = path.parent().unwrap_or(path);
    // In the store's own folder everything is made anew; a store that was moved away or removed is not.
    match livepc_durable::create_folder_inside(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            livepc_durable::create_folder_inside(livepc_durable::folder_of(folder))
                .and_then(|()| livepc_durable::create_folder_inside(folder))
        }
        made => made,
    }
    .map_err(failed)?;
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(folder)
        .map_err(failed)?;
    fill(file.as_file_mut()).map_err(failed)?;
    livepc_durable::put(file, path).map_err(failed)
}
