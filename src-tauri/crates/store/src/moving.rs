//! Moving a store to another folder, which may be on another drive.
//!
//! At every moment one of the two folders has the whole store: where the folder cannot be renamed, the version file, without
//! which it is no store, is written to the new one last.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::error::{Result, StoreError};
use crate::folder::{Folder, TEMPORARY, create_folder, read_bounded, write_durably};
use crate::lease::Leases;
use crate::os;
use crate::store::Store;
use crate::usage::{allocated, entries};

/// Bytes that are copied at once.
const COPY_AT_ONCE: usize = 1 << 20;
/// What is all zeros in a file in pieces of this size takes no room in the copy.
const HOLE: usize = 4096;

impl Store {
    /// Moves the store to `to`, an empty folder or none, and closes it; what was copied from stays. True if it was renamed
    /// instead. `progress` is told how many bytes of how many were copied.
    ///
    /// # Errors
    /// [`StoreError::BeingRead`] if somebody has a lease, and what the system says; then `to` has no store.
    pub fn move_to(self, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<bool> {
        let total = self.usage()?;
        let Self {
            folder,
            reader,
            database,
            writers,
            lock: _lock,
            ..
        } = self;
        // Nobody takes a lease from here on.
        let leases = Leases::hold(&folder)?;
        if !leases.in_use(true)?.is_empty() {
            return Err(StoreError::BeingRead(folder.path().to_owned()));
        }
        writers.close_all();
        // The last one that closes the database writes its log into it.
        drop((database, writers, reader));
        let renamed = rename(folder.path(), to);
        if !renamed {
            let mut done = 0;
            let mut copied = |bytes: u64| {
                done += bytes;
                progress(done.min(total), total);
            };
            copy_store(&folder, to, &mut copied)?;
        }
        for path in [to, folder.path()] {
            sync_names(path);
        }
        Ok(renamed)
    }
}

/// Makes the names of a folder and of those above it durable.
fn sync_names(path: &Path) {
    for above in path.ancestors().skip(1) {
        // Those that were there before may be closed to this user.
        let _ = livepc_durable::sync_folder(above);
    }
}

/// Removes the store in a folder, or a part of one, and the folder if there is nothing else in it. Nobody may use it.
///
/// # Errors
/// What the system says.
pub fn remove_store(path: &Path) -> Result<()> {
    let folder = Folder::new(path);
    // First, so that what is left is no store.
    remove(&folder.version(), fs::remove_file(folder.version()))?;
    for inner in [folder.packs(), folder.objects(), folder.leases()] {
        remove(&inner, fs::remove_dir_all(&inner))?;
    }
    if path.is_dir() {
        for file in top_files(&folder)?.into_iter().chain(unfinished(&folder)?) {
            remove(&file, fs::remove_file(&file))?;
        }
        for file in [folder.lock(), folder.leases_lock()] {
            remove(&file, fs::remove_file(&file))?;
        }
    }
    // Something else may be in it, or a drive mounted at it.
    let _ = fs::remove_dir(path);
    Ok(())
}

fn remove(path: &Path, done: io::Result<()>) -> Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("removed", path, error)),
        _ => Ok(()),
    }
}

/// Gives the folder its new name, in the place of an empty one, if that can be done.
fn rename(from: &Path, to: &Path) -> bool {
    let before = fs::metadata(to).map(|found| found.permissions());
    match fs::rename(from, to) {
        Ok(()) => {
            // Who may enter the folder whose place it took is for its owner to say.
            if let Ok(permissions) = before
                && let Err(error) = fs::set_permissions(to, permissions)
            {
                tracing::warn!(%error, "the store's folder is for its owner alone");
            }
            true
        }
        Err(error) => {
            // It is on another drive, or the system renames neither folders with open files nor over others.
            tracing::info!(%error, "the store cannot be renamed; it is copied");
            false
        }
    }
}

fn copy_store(folder: &Folder, to: &Path, copied: &mut dyn FnMut(u64)) -> Result<()> {
    let new = Folder::new(to);
    create_folder(to)?;
    for (from, to) in [(folder.packs(), new.packs()), (folder.objects(), new.objects())] {
        create_folder(&to)?;
        for inner in entries(&from)? {
            if !inner.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let to = to.join(inner.file_name());
            create_folder(&to)?;
            for entry in entries(&inner.path())? {
                copy(&entry.path(), &to.join(entry.file_name()), copied)?;
            }
            livepc_durable::sync_folder(&to).map_err(|error| StoreError::io("written", &to, error))?;
        }
        livepc_durable::sync_folder(&to).map_err(|error| StoreError::io("written", &to, error))?;
    }
    for file in top_files(folder)? {
        if let Some(name) = file.file_name() {
            copy(&file, &to.join(name), copied)?;
        }
    }
    livepc_durable::sync_folder(to).map_err(|error| StoreError::io("written", to, error))?;
    let version = folder.version();
    let bytes =
        read_bounded(&version, HOLE as u64).map_err(|error| StoreError::io("read", &version, error))?;
    write_durably(&new.version(), &bytes.unwrap_or_default())
}

/// What a process that was killed had begun to write, and a version that could not be read.
fn unfinished(folder: &Folder) -> Result<Vec<PathBuf>> {
    let version = folder.damaged_version();
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        *path == version || name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
    };
    let files = entries(folder.path())?.into_iter().map(|entry| entry.path());
    Ok(files.filter(is_it).collect())
}

/// The database and what was once moved aside of it.
fn top_files(folder: &Folder) -> Result<Vec<PathBuf>> {
    let files = entries(folder.path())?.into_iter().filter(|entry| {
        let name = entry.file_name();
        let is_database = name.to_str().is_some_and(|name| name.starts_with("store.db"));
        is_database && entry.file_type().is_ok_and(|kind| kind.is_file())
    });
    Ok(files.map(|entry| entry.path()).collect())
}

/// Copies a file durably, without what is all zeros in it, and compares the lengths.
fn copy(from: &Path, to: &Path, copied: &mut dyn FnMut(u64)) -> Result<()> {
    let read_failed = |error| StoreError::io("read", from, error);
    let failed = |error| StoreError::io("written", to, error);
    let mut source = File::open(from).map_err(read_failed)?;
    let file = File::create(to).map_err(failed)?;
    os::make_sparse(&file);
    let mut buffer = vec![0; COPY_AT_ONCE];
    let mut at = 0;
    loop {
        let read = source.read(&mut buffer).map_err(read_failed)?;
        if read == 0 {
            break;
        }
        let mut offset = at;
        for piece in buffer[..read].chunks(HOLE) {
            if piece.iter().any(|byte| *byte != 0) {
                os::write_all_at(&file, piece, offset).map_err(failed)?;
            }
            offset += piece.len() as u64;
        }
        at = offset;
    }
    file.set_len(at).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let lengths = (
        fs::metadata(from).map_err(read_failed)?.len(),
        fs::metadata(to).map_err(failed)?.len(),
    );
    if lengths.0 != lengths.1 || lengths.0 != at {
        let error = io::Error::other(format!("{} bytes of {} are there", lengths.1, lengths.0));
        return Err(failed(error));
    }
    copied(allocated(from));
    Ok(())
}
