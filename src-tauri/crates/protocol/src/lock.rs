//! Being alive means holding a lock: it ends with the process, however that ends, and no process id is ever guessed.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::Problem;

/// An exclusive lock of the operating system on a file, held until it is dropped.
#[derive(Debug)]
pub struct ProcessLock {
    _file: File,
}

impl ProcessLock {
    /// Takes the lock; `None` if another process holds it.
    pub fn try_take(path: &Path) -> std::io::Result<Option<Self>> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for the lock.
    pub fn take(path: &Path) -> std::io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        file.lock()?;
        Ok(Self { _file: file })
    }

    /// Holds the lock until this process ends.
    pub fn until_exit(self) {
        std::mem::forget(self);
    }

    /// True if some process holds the lock.
    ///
    /// # Errors
    /// If that cannot be found out: who takes this for a no starts a second one of what there may be one of.
    pub fn is_held(path: &Path) -> Result<bool, Problem> {
        let failed =
            |error: std::io::Error| Problem::io(&format!("{} cannot be read", path.display()), &error);
        let file = match File::options().write(true).open(path) {
            Ok(file) => file,
            // Nobody has ever held it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/lock");
        assert!(!ProcessLock::is_held(&path).unwrap(), "nobody has it yet");
        let held = ProcessLock::try_take(&path).unwrap().expect("it is free");
        assert!(ProcessLock::try_take(&path).unwrap().is_none(), "it is held");
        assert!(ProcessLock::is_held(&path).unwrap());
        drop(held);
        assert!(
            ProcessLock::try_take(&path).unwrap().is_some(),
            "it is free again"
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_free() {
        let folder = tempfile::tempdir().unwrap();
        // Nobody can write to a folder, not even root.
        let problem = ProcessLock::is_held(folder.path()).unwrap_err();
        assert!(
            problem.message.contains(&folder.path().display().to_string()),
            "{problem}"
        );
    }
}
