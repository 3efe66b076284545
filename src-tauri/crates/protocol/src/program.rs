//! Copies of the `livepc` program in the home, one for each version: agents and runners run from them, so that an update can
//! replace the original meanwhile.
//!
//! A copy is known by its name, but believed only after it was compared with the original; whoever runs from one holds a lock
//! on it, and what nobody holds any more is removed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use livepc_durable::{Readers, UNFINISHED};
use sha2::{Digest, Sha256};

use crate::folder::make_private;
use crate::{Home, Problem, ProcessLock};

/// How often somebody may remove a copy just when it is about to be used.
const TRIES: usize = 5;
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;
/// A copy that is not finished for so long was left by somebody who was killed.
const ABANDONED: Duration = Duration::from_secs(600);

/// A copy that is not removed as long as this lives.
#[derive(Debug)]
pub(crate) struct Copy {
    path: PathBuf,
    _in_use: File,
}

impl Copy {
    /// The copy of a program in a home; it is made if it is not there, or not what it should be.
    ///
    /// # Errors
    /// What the system says, as without space. Then nothing is left of it.
    pub(crate) fn of(program: &Path, home: &Home) -> io::Result<Self> {
        let folder = home.programs().join(digest(program)?);
        let path = folder.join(format!("livepc{}", std::env::consts::EXE_SUFFIX));
        for _ in 0..TRIES {
            if !same(program, &path) {
                make(program, &path)?;
            }
            if let Some(_in_use) = use_it(&path) {
                return Ok(Self { path, _in_use });
            }
        }
        Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "the copy of the program is removed again and again",
        ))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a whole copy, durably, or none.
fn make(program: &Path, path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    make_private(folder)?;
    let mut copy = livepc_durable::unfinished(path, Readers::User)?;
    io::copy(&mut File::open(program)?, copy.as_file_mut())?;
    os::make_executable(copy.as_file())?;
    livepc_durable::put(copy, path).map(drop)
}

/// Takes note that a copy is in use; `None` if it was removed.
fn use_it(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    // Without locks nothing is ever removed, so it is safe without one.
    let _ = file.try_lock_shared();
    livepc_durable::is_at(&file, path)
        .is_ok_and(|is_at| is_at)
        .then_some(file)
}

/// Keeps the copy that this process runs from, if it does, until it ends.
pub fn stay_in_use(home: &Home) {
    let program = std::env::current_exe().unwrap_or_default();
    if program.starts_with(home.programs())
        && let Some(file) = use_it(&program)
    {
        std::mem::forget(file);
    }
}

/// Removes the copies that nobody runs from, and what was left of unfinished ones. Only for the agent: it knows that no agent
/// of a version runs that took no such notes.
///
/// # Errors
/// What the system says.
pub fn remove_superseded(home: &Home) -> Result<(), Problem> {
    let failed = |e: io::Error| Problem::io("Programs that nobody needs cannot be removed", &e);
    let folders = match std::fs::read_dir(home.programs()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        folders => folders.map_err(failed)?,
    };
    if runs_a_version_without_notes(home) {
        return Ok(());
    }
    for folder in folders.flatten().filter(|folder| folder.path().is_dir()) {
        let had_unfinished = remove_unfinished(&folder.path());
        let program = folder
            .path()
            .join(format!("livepc{}", std::env::consts::EXE_SUFFIX));
        let removed = remove_unless_used(&program);
        if removed {
            tracing::info!(program = %program.display(), "no longer needed");
        }
        if removed || had_unfinished {
            // Somebody may be making it anew.
            let _ = std::fs::remove_dir(folder.path());
        }
    }
    Ok(())
}

/// True if it was removed: nobody had taken note that it is in use.
fn remove_unless_used(program: &Path) -> bool {
    let Ok(file) = File::open(program) else {
        return false;
    };
    // Over a network such a lock may take the right to write; then nothing is removed.
    file.try_lock().is_ok() && std::fs::remove_file(program).is_ok()
}

/// Runners of earlier versions outlive their agent, and say neither where they are nor what they run from.
fn runs_a_version_without_notes(home: &Home) -> bool {
    let machines = std::fs::read_dir(home.root().join("machines"));
    machines.into_iter().flatten().flatten().any(|machine| {
        let id = machine.file_name().to_string_lossy().into_owned();
        ProcessLock::is_held(&home.runner_lock(&id)).unwrap_or(true)
            && !home.runner_whereabouts(&id).is_told()
    })
}

/// Gives whether there were any.
fn remove_unfinished(folder: &Path) -> bool {
    let is_abandoned = |entry: &std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let age = entry
            .metadata()
            .and_then(|found| found.modified())
            .ok()
            .and_then(|then| SystemTime::now().duration_since(then).ok());
        (name.starts_with(UNFINISHED) || name.ends_with(".new")) && age.is_some_and(|age| age > ABANDONED)
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = false;
    for entry in entries.filter(is_abandoned) {
        found = true;
        // Another time.
        let _ = std::fs::remove_file(entry.path());
    }
    found
}

/// True if two files have the same bytes.
fn same(a: &Path, b: &Path) -> bool {
    let compared = || {
        let (mut a, mut b) = (File::open(a)?, File::open(b)?);
        if a.metadata()?.len() != b.metadata()?.len() {
            return Ok(false);
        }
        let (mut of_a, mut of_b) = (vec![0; PIECE], vec![0; PIECE]);
        loop {
            let n = a.read(&mut of_a)?;
            if n == 0 {
                return Ok::<_, io::Error>(true);
            }
            b.read_exact(&mut of_b[..n])?;
            if of_a[..n] != of_b[..n] {
                return Ok(false);
            }
        }
    };
    compared().unwrap_or(false)
}

fn digest(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; PIECE];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(HEXLOWER.encode(&hash.finalize()[..8])),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(unix)]
mod os {
    use std::fs::{File, Permissions};
    use std::io;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    pub(super) fn make_executable(file: &File) -> io::Result<()> {
        match file.set_permissions(Permissions::from_mode(0o700)) {
            // Where nothing has a mode of its own, it is executable or it is not.
            Err(error) if file.metadata()?.mode() & 0o100 == 0 => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(windows)]
mod os {
    use std::fs::File;
    use std::io;

    #[allow(clippy::unnecessary_wraps)] // Its twin can fail.
    pub(super) fn make_executable(_file: &File) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home")).unwrap();
        let program = folder.path().join("program");
        std::fs::write(&program, vec![7; 3 << 20]).unwrap();
        (folder, home, program)
    }

    #[test]
    fn a_copy_that_is_not_what_it_should_be_is_made_anew() {
        let (_folder, home, program) = home();
        let whole = std::fs::read(&program).unwrap();
        let path = Copy::of(&program, &home).unwrap().path().to_owned();
        let mut changed = whole.clone();
        changed[2 << 20] ^= 1;
        // As a power cut leaves it, as a full disk does, and as a failing one.
        for bad in [&[][..], &whole[..1 << 20], &vec![0; whole.len()], &changed] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(Copy::of(&program, &home).unwrap().path(), path);
            assert!(std::fs::read(&path).unwrap() == whole, "{} bytes", bad.len());
        }
    }

    #[test]
    fn a_copy_that_fails_leaves_nothing() {
        let (_folder, home, _) = home();
        let path = home.programs().join("x/livepc");
        assert!(make(Path::new("/nonexistent"), &path).is_err());
        assert_eq!(std::fs::read_dir(home.programs().join("x")).unwrap().count(), 0);
    }

    #[test]
    fn superseded_copies_go_unless_they_are_in_use() {
        let (_folder, home, program) = home();
        let first = Copy::of(&program, &home).unwrap();
        std::fs::write(&program, "a newer version").unwrap();
        let second = Copy::of(&program, &home).unwrap();
        let paths = [first.path().to_owned(), second.path().to_owned()];
        remove_superseded(&home).unwrap();
        assert!(paths.iter().all(|path| path.is_file()), "both are in use");
        drop(first);
        remove_superseded(&home).unwrap();
        assert!(!paths[0].parent().unwrap().exists() && paths[1].is_file());
        drop(second);
        remove_superseded(&home).unwrap();
        assert!(!paths[1].exists());
        let again = Copy::of(&program, &home).unwrap();
        assert!(again.path().is_file(), "it is made anew");
    }

    #[test]
    fn unfinished_copies_go_unless_somebody_may_be_making_them() {
        let (_folder, home, program) = home();
        let used = Copy::of(&program, &home).unwrap();
        let beside = used.path().parent().unwrap().to_owned();
        let alone = home.programs().join("alone");
        std::fs::create_dir(&alone).unwrap();
        let unfinished = |folder: &Path, name: &str, age: Duration| {
            let path = folder.join(name);
            let file = File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let (old, new) = (2 * ABANDONED, ABANDONED / 2);
        let ours = format!("{UNFINISHED}1");
        let gone = [
            unfinished(&beside, &ours, old),
            // As earlier versions named them.
            unfinished(&beside, "livepc.new", old),
            unfinished(&alone, &ours, old),
        ];
        let stays = unfinished(&beside, &format!("{UNFINISHED}2"), new);
        remove_superseded(&home).unwrap();
        assert_eq!(gone.each_ref().map(|path| path.exists()), [false; 3]);
        assert!(!alone.exists(), "nor what it was alone in");
        assert!(stays.is_file() && used.path().is_file());
    }

    #[test]
    fn what_an_earlier_version_may_run_from_stays() {
        let (_folder, home, program) = home();
        let path = Copy::of(&program, &home).unwrap().path().to_owned();
        std::fs::create_dir_all(home.machine("lab")).unwrap();
        let runner = ProcessLock::try_take(&home.runner_lock("lab")).unwrap();
        remove_superseded(&home).unwrap();
        assert!(path.is_file(), "a runner runs that has not said from what");
        drop(runner);
        remove_superseded(&home).unwrap();
        assert!(!path.exists());
    }
}
