//! Being alive means holding a lock: it ends with the process, however that ends, and no process id is ever guessed.

use std::fs::{File, TryLockError};
use std::path::Path;

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
    #[must_use]
    pub fn is_held(path: &Path) -> bool {
        let Ok(file) = File::options().write(true).open(path) else {
            return false;
        };
        matches!(file.try_lock(), Err(TryLockError::WouldBlock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/lock");
        assert!(!ProcessLock::is_held(&path), "nobody has it yet");
        let held = ProcessLock::try_take(&path).unwrap().expect("it is free");
        assert!(ProcessLock::try_take(&path).unwrap().is_none(), "it is held");
        assert!(ProcessLock::is_held(&path));
        drop(held);
        assert!(
            ProcessLock::try_take(&path).unwrap().is_some(),
            "it is free again"
        );
    }
}
