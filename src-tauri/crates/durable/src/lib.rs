//! Files that a power cut leaves as they were or as they are meant to be, and names that are still there afterwards.
//!
//! Terms:
//! - *durable*: on the disk, not only in the system's memory. A file's bytes are durable after they were flushed, a name in a
//!   folder after the folder was.
//! - *whole*: a file that is there under its name has all of its bytes. That takes three steps in this order: the bytes are
//!   flushed under another name, the file is renamed, the folder is flushed.
//!
//! Everything that a person was told is done, and everything that is trusted because its name is there, is written through
//! this crate. What is a cache, and checked before it is used, need not be.
//!
//! What is read back through it is a file of a bounded length: whatever else has its name keeps nobody waiting.
//!
//! ```
//! # let home = tempfile::tempdir()?;
//! use livepc_durable::{Readers, write};
//! let place = home.path().join("machines/lab/overlay.json");
//! livepc_durable::create_folder(place.parent().expect("it has one"))?;
//! write(&place, Readers::User, br#"{"release":3}"#)?;
//! assert_eq!(livepc_durable::read(&place, 4096)?, br#"{"release":3}"#);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

#[cfg_attr(unix, path = "os/unix.rs")]
#[cfg_attr(windows, path = "os/windows.rs")]
mod os;

/// What unfinished files are called until they have their name: with this before some random letters. One that a crash left
/// behind may be removed.
pub const UNFINISHED: &str = ".livepc-";

/// Opens a file to read it, and nothing else that may have its name: a pipe, over which one would wait for ever for somebody
/// to write, a device, which never ends, a folder.
///
/// # Errors
/// What the system says; [`io::ErrorKind::IsADirectory`] and [`io::ErrorKind::InvalidInput`] for what is not a file.
pub fn open(path: &Path) -> io::Result<File> {
    let file = os::open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    Ok(file)
}

/// Reads a whole file of at most `most` bytes.
///
/// # Errors
/// As [`open`]; [`io::ErrorKind::FileTooLarge`] if it is longer.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let why = format!("it is longer than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// Reads a whole file of text in UTF-8, of at most `most` bytes.
///
/// # Errors
/// As [`read`]; [`io::ErrorKind::InvalidData`] if it is no such text.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8"))
}

/// Whether an open file is the one that has this name: it is not once it was removed or renamed, or a folder above it was.
///
/// # Errors
/// What the system says; that nothing has the name is no error.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match os::is_at(file, path) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(false)
        }
        found => found,
    }
}

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// The user alone.
    User,
    /// Everybody whom the user's own settings allow (the umask), such as a web server.
    All,
}

/// Puts a file with these bytes at `path`, in place of what is there.
///
/// # Errors
/// What the system says. What was at `path` is there as before then, unless it was the last step that failed: flushing the
/// folder.
pub fn write(path: &Path, readers: Readers, bytes: &[u8]) -> io::Result<()> {
    replace(path, readers, |file| file.write_all(bytes)).map(drop)
}

/// Puts the file that `fill` writes at `path`, in place of what is there. The file that it gives is that file, open.
///
/// # Errors
/// As [`write`].
pub fn replace(
    path: &Path,
    readers: Readers,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<File> {
    let mut file = unfinished(path, readers)?;
    fill(file.as_file_mut())?;
    put(file, path)
}

/// A file beside `path` that has no part in anything until it is [`put`] or [`put_new`], and is removed if it never is.
///
/// # Errors
/// What the system says.
pub fn unfinished(path: &Path, readers: Readers) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    if readers == Readers::All {
        os::readable_by_all(&mut builder);
    }
    builder.tempfile_in(folder_of(path))
}

/// Gives an unfinished file its name, in place of what is there.
///
/// # Errors
/// As [`write`].
pub fn put(file: NamedTempFile, path: &Path) -> io::Result<File> {
    file.as_file().sync_all()?;
    let file = file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder_of(path))?;
    Ok(file)
}

/// Gives an unfinished file its name, unless something has it.
///
/// # Errors
/// As [`write`]; [`io::ErrorKind::AlreadyExists`] if there is something.
pub fn put_new(file: NamedTempFile, path: &Path) -> io::Result<File> {
    file.as_file().sync_all()?;
    let file = name_new(file, path)?;
    sync_folder(folder_of(path))?;
    Ok(file)
}

/// As [`put_new`], for who flushes many files and then their folder: nothing is flushed.
///
/// # Errors
/// As [`put_new`].
pub fn name_new(file: NamedTempFile, path: &Path) -> io::Result<File> {
    match file.persist_noclobber(path) {
        // exFAT, SMB and FUSE have neither hard links nor a rename that replaces nothing: one at a time may do it there.
        Err(refused) if os::has_no_such_rename(&refused.error) && !path.try_exists()? => {
            refused.file.persist(path).map_err(|error| error.error)
        }
        placed => placed.map_err(|error| error.error),
    }
}

/// Renames a file or a folder whose content is durable. `to` is replaced if it is a file.
///
/// # Errors
/// What the system says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(folder_of(to))?;
    if folder_of(from) != folder_of(to) {
        sync_folder(folder_of(from))?;
    }
    Ok(())
}

/// Removes a file for good; that there is none is no error.
///
/// # Errors
/// What the system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(folder_of(path)),
    }
}

/// Makes a folder, and those above it that are missing.
///
/// # Errors
/// What the system says.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    create(folder, &|folder| fs::create_dir(folder))
}

/// Makes a folder that only the user can enter, and those above it that are missing, which are so, too. One that is there
/// is left as it is.
///
/// # Errors
/// What the system says.
pub fn create_private_folder(folder: &Path) -> io::Result<()> {
    create(folder, &os::create_private)
}

/// Makes a folder in one that is there, and nothing above it: where a folder of this program was moved away or removed, no
/// part of it comes to be again.
///
/// # Errors
/// What the system says; [`io::ErrorKind::NotFound`] if the folder that it is to be in is not there.
pub fn create_folder_inside(folder: &Path) -> io::Result<()> {
    create_one(folder, &|folder| fs::create_dir(folder))
}

/// As [`create_folder_inside`], one that only the user can enter.
///
/// # Errors
/// As there.
pub fn create_private_folder_inside(folder: &Path) -> io::Result<()> {
    create_one(folder, &os::create_private)
}

fn create(folder: &Path, make: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    if above != folder {
        create(above, make)?;
    }
    create_one(folder, make)
}

fn create_one(folder: &Path, make: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    match make(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(folder_of(folder)),
    }
}

/// Flushes a file that somebody else wrote, and its name.
///
/// # Errors
/// What the system says.
pub fn sync_file(path: &Path) -> io::Result<()> {
    os::open_to_flush(path)?.sync_all()?;
    sync_folder(folder_of(path))
}

/// Flushes the names in a folder.
///
/// # Errors
/// What the system says.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    os::sync_folder(folder)
}

/// The folder that a path is in.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        // A root is in itself.
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in a folder.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_or_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        write(&path, Readers::User, b"one").unwrap();
        write(&path, Readers::User, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let failed = replace(&path, Readers::User, |file| {
            file.write_all(b"thr")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["record.json"], "nothing is left beside it");
    }

    #[test]
    fn what_is_new_takes_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "there").unwrap();
        let mut file = unfinished(&path, Readers::User).unwrap();
        file.write_all(b"new").unwrap();
        let refused = put_new(file, &path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(
            (fs::read(&path).unwrap(), names(folder.path()).len()),
            (b"there".to_vec(), 1)
        );
    }

    #[test]
    fn folders_are_made_with_those_above() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        create_folder(&deep).unwrap();
        create_folder(&deep).expect("it is there");
        assert!(deep.is_dir());
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(create_folder(&file).is_err(), "a file is no folder");
    }

    #[test]
    fn in_a_folder_that_was_moved_away_nothing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let (home, moved) = (folder.path().join("home"), folder.path().join("moved"));
        create_folder(&home).unwrap();
        create_folder_inside(&home.join("packs")).unwrap();
        create_folder_inside(&home.join("packs")).expect("it is there");
        fs::rename(&home, &moved).unwrap();
        for made in [create_folder_inside, create_private_folder_inside] {
            let refused = made(&home.join("packs")).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        }
        assert_eq!(names(folder.path()), ["moved"]);
    }

    #[test]
    fn an_open_file_is_known_by_what_it_is_and_not_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        fs::write(&path, "").unwrap();
        let file = open(&path).unwrap();
        assert!(is_at(&file, &path).unwrap());
        fs::rename(&path, folder.path().join("other")).unwrap();
        assert!(!is_at(&file, &path).unwrap(), "nothing has its name");
        fs::write(&path, "").unwrap();
        assert!(!is_at(&file, &path).unwrap(), "another file has its name");
        assert!(is_at(&file, &folder.path().join("other")).unwrap());
        assert!(!is_at(&file, &folder.path().join("other/lock")).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn a_private_folder_is_for_the_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        create_private_folder(&folder.path().join("a/b")).unwrap();
        for made in ["a", "a/b"] {
            let mode = fs::metadata(folder.path().join(made))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700, "{made}");
        }
    }

    #[test]
    fn to_remove_nothing_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone");
        write(&path, Readers::All, b"").unwrap();
        let moved = folder.path().join("moved");
        rename(&path, &moved).unwrap();
        sync_file(&moved).unwrap();
        remove(&moved).unwrap();
        remove(&moved).unwrap();
        assert_eq!(names(folder.path()).len(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn who_may_read_it_is_said() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        for (readers, others) in [(Readers::User, 0), (Readers::All, 0o004)] {
            let path = folder.path().join("file");
            write(&path, readers, b"").unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(
                mode & 0o004,
                others,
                "{readers:?}: {mode:o}, where the umask is 022"
            );
        }
    }

    #[test]
    fn what_is_read_is_a_file_of_a_bounded_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(read(&path, 3).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, "abc").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"abc");
        assert_eq!(read(&path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        fs::write(&path, b"\xff").unwrap();
        assert_eq!(
            read_text(&path, 3).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert_eq!(
            read(dir.path(), 3).unwrap_err().kind(),
            io::ErrorKind::IsADirectory
        );
    }

    /// Nobody ever writes into the pipe, and the device has no end.
    #[cfg(unix)]
    #[test]
    fn what_is_no_file_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for path in [&pipe, Path::new("/dev/zero")] {
            assert_eq!(open(path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert_eq!(read(path, 10).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
