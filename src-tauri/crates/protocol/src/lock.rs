//! Being alive means holding a lock: it ends with the process, however that ends, and no process id is ever guessed.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::Problem;

/// How often the lock is tried again, and the pause before: who only looks whether it is held has it for a moment, and no
/// event tells of the end of that.
const TRIES: u32 = 25;
const AGAIN: Duration = Duration::from_millis(4);

/// An exclusive lock of the operating system on a file, held until it is dropped.
#[derive(Debug)]
pub struct ProcessLock {
    file: File,
    path: PathBuf,
    /// False where a file system gives a file a number of its own each time that it is looked at.
    tells_place: bool,
}

impl ProcessLock {
    /// Takes the lock; `None` if another process holds it.
    ///
    /// # Errors
    /// What the system says, as on a file system without locks.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self::held(file, path))),
                Err(TryLockError::WouldBlock) if is_held_by(open(path)?)? => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(AGAIN),
                Err(TryLockError::Error(error)) => return Err(explained(error)),
            }
        }
        Ok(None)
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// As [`try_take`](Self::try_take).
    pub fn take(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        file.lock().map_err(explained)?;
        Ok(Self::held(file, path))
    }

    fn held(file: File, path: &Path) -> Self {
        Self {
            tells_place: livepc_durable::is_at(&file, path).is_ok_and(|is_at| is_at),
            path: path.to_owned(),
            file,
        }
    }

    /// True if the lock's file is where it was taken. Once it is not, its folder was renamed, moved or removed: what is at its
    /// place is somebody else's. What cannot be found out is taken for a yes.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        !self.tells_place || livepc_durable::is_at(&self.file, &self.path).unwrap_or(true)
    }

    /// Holds the lock until this process ends.
    pub fn until_exit(self: &Arc<Self>) {
        std::mem::forget(self.clone());
    }

    /// True if some process holds the lock.
    ///
    /// # Errors
    /// If that cannot be found out: who takes this for a no starts a second one of what there may be one of.
    pub fn is_held(path: &Path) -> Result<bool, Problem> {
        let failed = |error: io::Error| Problem::io(&format!("{} cannot be read", path.display()), &error);
        // Reading suffices to look, and works where a file cannot be written.
        let file = match livepc_durable::open(path) {
            Ok(file) => file,
            // Nobody has ever held it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        is_held_by(file).map_err(|error| failed(explained(error)))
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

/// Whether another one holds the lock on a file, and does not only look as this does: those who look share it, until they
/// close the file.
fn is_held_by(file: File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Says what it means that there are no locks.
fn explained(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::Unsupported || os::is_without_locks(&error) {
        let why = "its file system has no locks, which keep two processes from writing at once";
        return io::Error::new(io::ErrorKind::Unsupported, why);
    }
    error
}

#[cfg(unix)]
mod os {
    use rustix::io::Errno;

    pub(super) fn is_without_locks(error: &std::io::Error) -> bool {
        let without = [Errno::NOLCK, Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL];
        Errno::from_io_error(error).is_some_and(|error| without.contains(&error))
    }
}

#[cfg(windows)]
mod os {
    pub(super) fn is_without_locks(_error: &std::io::Error) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert!(!ProcessLock::is_held(&path).unwrap(), "nobody has it yet");
        drop(ProcessLock::try_take(&path).unwrap());
        assert!(!ProcessLock::is_held(&path).unwrap(), "nobody has it any more");
        let held = ProcessLock::try_take(&path).unwrap().expect("it is free");
        assert!(ProcessLock::try_take(&path).unwrap().is_none(), "it is held");
        for _ in 0..3 {
            assert!(
                ProcessLock::is_held(&path).unwrap(),
                "who looks takes nothing away"
            );
        }
        drop(held);
        assert!(
            ProcessLock::try_take(&path).unwrap().is_some(),
            "it is free again"
        );
    }

    #[test]
    fn a_folder_that_is_moved_away_takes_its_lock_along() {
        let folder = tempfile::tempdir().unwrap();
        let (home, moved) = (folder.path().join("home"), folder.path().join("moved"));
        std::fs::create_dir(&home).unwrap();
        let held = ProcessLock::try_take(&home.join("agent.lock")).unwrap().unwrap();
        assert!(held.is_in_place());
        // As systems refuse that rename nothing with open files in it.
        if std::fs::rename(&home, &moved).is_err() {
            return;
        }
        assert!(!held.is_in_place(), "nothing is there");
        assert!(ProcessLock::try_take(&home.join("agent.lock")).is_err());
        assert!(!home.exists(), "nothing is made there again");
        std::fs::create_dir(&home).unwrap();
        let other = ProcessLock::try_take(&home.join("agent.lock")).unwrap().unwrap();
        assert!(!held.is_in_place() && other.is_in_place(), "it is another one's");
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

    #[test]
    fn those_who_look_are_not_taken_for_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        drop(ProcessLock::try_take(&path).unwrap());
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        let _ = ProcessLock::is_held(&path);
                        std::thread::sleep(Duration::from_micros(300));
                    }
                });
            }
            let taken = (0..200)
                .filter(|_| ProcessLock::try_take(&path).unwrap().is_some())
                .count();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(taken, 200, "nobody had it");
        });
    }
}
