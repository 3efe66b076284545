//! Leases: a process that uses a release holds a shared lock on that release's lease file.
//!
//! A lock ends with its process, however that ends, so no lease outlives its holder. All lease files together are guarded
//! by `leases.lock`: shared while one is taken, exclusive while the store is pruned. So a lease file can be removed
//! without somebody having just opened it, and a lease is taken either before pruning begins or after it ended.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::error::{Result, StoreError};
use crate::folder::Folder;
use crate::release_key::ReleaseKey;

/// How a lease file's name begins, so that no release's key makes it a name with a meaning of its own.
const PREFIX: &str = "release-";

/// Protects what a release needs from pruning until it is dropped.
#[derive(Debug)]
pub struct Lease {
    release: ReleaseKey,
    _locked: File,
}

impl Lease {
    /// The release that it protects.
    #[must_use]
    pub fn release(&self) -> &ReleaseKey {
        &self.release
    }
}

/// Takes a lease; waits while the store is being pruned.
pub(crate) fn take(folder: &Folder, release: &ReleaseKey) -> Result<Lease> {
    let leases = folder.leases();
    livepc_durable::create_folder_inside(&leases)
        .map_err(|error| StoreError::io("created", &leases, error))?;
    let gate_path = folder.leases_lock();
    let gate = lock_file(&gate_path)?;
    gate.lock_shared()
        .map_err(|error| StoreError::io("locked", &gate_path, error))?;
    let path = folder.leases().join(format!("{PREFIX}{release}"));
    let file = lock_file(&path)?;
    file.lock_shared()
        .map_err(|error| StoreError::io("locked", &path, error))?;
    Ok(Lease {
        release: release.clone(),
        _locked: file,
    })
}

/// All leases, while none can be taken or looked at by anybody else.
pub(crate) struct Leases {
    _gate: File,
    folder: Folder,
}

impl Leases {
    /// Waits for those who are just taking one.
    pub(crate) fn hold(folder: &Folder) -> Result<Self> {
        let path = folder.leases_lock();
        let gate = lock_file(&path)?;
        gate.lock()
            .map_err(|error| StoreError::io("locked", &path, error))?;
        Ok(Self {
            _gate: gate,
            folder: folder.clone(),
        })
    }

    /// The releases that are in use. With `remove`, the lease files of those that are not are removed.
    pub(crate) fn in_use(&self, remove: bool) -> Result<Vec<ReleaseKey>> {
        let mut files = BTreeMap::new();
        let folder = self.folder.leases();
        let failed = |error| StoreError::io("read", &folder, error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let key = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if let Some(key) = key.and_then(|key| ReleaseKey::new(key).ok()) {
                files.insert(key, entry.path());
            }
        }
        let mut in_use = Vec::new();
        for (key, path) in files {
            let file = lock_file(&path)?;
            match try_lock(&file) {
                Ok(()) if remove => {
                    drop(file);
                    fs::remove_file(&path).map_err(|error| StoreError::io("removed", &path, error))?;
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => in_use.push(key),
                Err(TryLockError::Error(error)) => return Err(StoreError::io("locked", &path, error)),
            }
        }
        Ok(in_use)
    }
}

/// Takes a lock that nobody holds.
///
/// A process that is just being started holds copies of its parent's files, and with them its locks, for the moment until
/// it begins to be another program; so a lock that was given back is waited for a little.
pub(crate) fn try_lock(file: &File) -> std::result::Result<(), TryLockError> {
    for _ in 0..20 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(std::time::Duration::from_millis(10)),
            taken => return taken,
        }
    }
    file.try_lock()
}

/// Opens a file that is there to be locked.
pub(crate) fn lock_file(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| StoreError::io("opened", path, error))
}
