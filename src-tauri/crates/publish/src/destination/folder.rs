//! A folder as a destination.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use livepc_format::Digest;
use livepc_format::shown;

use super::{Destination, Lock, Put};
use crate::error::{Context as _, PublishError, Result};
use crate::os;

/// The file whose lock keeps two publishers apart. It stays, empty: taking it away would let a third one in.
const LOCK: &str = ".livepc-publish.lock";
/// How the names of files begin that are being written; the holder of the lock removes what a crash left of them.
const PARTIAL: &str = ".livepc-partial-";
/// Folders that files are put into.
const FOLDERS: [&str; 4] = ["", "packs", "index", "manifests"];

/// A folder, local or mounted, that a web server serves.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Folders with names that may not be durable yet.
    unsynced: Mutex<BTreeSet<PathBuf>>,
    /// The lock's file, once it was taken.
    locked: Mutex<Option<File>>,
}

impl Folder {
    /// The folder at `root`; it is made when the first file is put into it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            unsynced: Mutex::default(),
            locked: Mutex::default(),
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn open(&self, path: &str) -> Result<Option<File>> {
        match livepc_durable::open(&self.path(path)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| format!("opening {}", shown::path(&self.path(path)))),
        }
    }

    /// Writes the bytes beside the place where they belong, and makes them durable.
    fn partial(&self, target: &Path, bytes: &[u8]) -> Result<tempfile::NamedTempFile> {
        let folder = target.parent().unwrap_or(&self.root);
        let what = || format!("writing {}", shown::path(target));
        self.check_place().context(what)?;
        if !folder.is_dir() {
            livepc_durable::create_folder(folder).context(what)?;
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(PARTIAL);
        os::public_file(&mut builder);
        let mut partial = builder.tempfile_in(folder).context(what)?;
        partial.write_all(bytes).context(what)?;
        partial.as_file().sync_all().context(what)?;
        self.unsynced().insert(folder.to_owned());
        Ok(partial)
    }

    /// A folder that was removed since it was locked is not made again: a part of a publication would look like a whole one.
    fn check_place(&self) -> io::Result<()> {
        let locked = self
            .locked
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*locked {
            Some(file) if !livepc_durable::is_at(file, &self.path(LOCK)).unwrap_or(true) => {
                Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "the folder was moved or removed while LivePC published to it",
                ))
            }
            _ => Ok(()),
        }
    }

    fn unsynced(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.unsynced
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn sync(&self) -> Result<()> {
        let folders = std::mem::take(&mut *self.unsynced());
        for folder in folders.iter().filter(|folder| !folder.as_os_str().is_empty()) {
            livepc_durable::sync_folder(folder)
                .context(|| format!("making the files in {} durable", shown::path(folder)))?;
        }
        Ok(())
    }

    /// True if the file has these bytes, read piece by piece.
    fn has(&self, path: &str, bytes: &[u8]) -> Result<Option<bool>> {
        let Some(mut file) = self.open(path)? else {
            return Ok(None);
        };
        let what = || format!("reading {}", shown::path(&self.path(path)));
        if file.metadata().context(what)?.len() != bytes.len() as u64 {
            return Ok(Some(false));
        }
        let mut piece = vec![0; bytes.len().min(1 << 20)];
        for expected in bytes.chunks(1 << 20) {
            let piece = &mut piece[..expected.len()];
            file.read_exact(piece).context(what)?;
            if piece != expected {
                return Ok(Some(false));
            }
        }
        Ok(Some(true))
    }

    fn remove_partials(&self) {
        for folder in FOLDERS {
            let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PARTIAL)) {
                if let Err(error) = fs::remove_file(entry.path()) {
                    tracing::warn!(path = %entry.path().display(), %error, "a partial file of an earlier publication stays");
                }
            }
        }
    }
}

impl Destination for Folder {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn place(&self) -> String {
        let place = fs::canonicalize(&self.root).or_else(|_| std::path::absolute(&self.root));
        place.unwrap_or_else(|_| self.root.clone()).display().to_string()
    }

    fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open(path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .context(|| format!("reading {}", shown::path(&self.path(path))))?;
        if bytes.len() as u64 > limit {
            return Err(PublishError::TooLong {
                place: self.name(),
                path: path.to_owned(),
                limit,
            });
        }
        Ok(Some(bytes))
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        match fs::metadata(self.path(path)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| format!("looking at {}", shown::path(&self.path(path)))),
        }
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> Result<Put> {
        let immutable = || PublishError::Immutable {
            place: self.name(),
            path: path.to_owned(),
        };
        let target = self.path(path);
        // Who made it may have been stopped before its name was durable.
        let present = || {
            let folder = target.parent().unwrap_or(&self.root).to_owned();
            self.unsynced().extend([folder, self.root.clone()]);
            Put::Present
        };
        match self.has(path, bytes)? {
            Some(true) => return Ok(present()),
            Some(false) => return Err(immutable()),
            None => {}
        }
        match livepc_durable::name_new(self.partial(&target, bytes)?, &target) {
            Ok(_) => Ok(Put::Written),
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match self.has(path, bytes)? {
                Some(true) => Ok(present()),
                _ => Err(immutable()),
            },
            Err(error) => Err(error).context(|| format!("writing {}", shown::path(&target))),
        }
    }

    fn replace(&self, path: &str, bytes: &[u8], expected: Option<Digest>) -> Result<()> {
        let target = self.path(path);
        self.check_place()
            .context(|| format!("writing {}", shown::path(&target)))?;
        self.sync()?;
        let partial = self.partial(&target, bytes)?;
        let there = match self.open(path)? {
            Some(mut file) => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)
                    .context(|| format!("reading {}", shown::path(&target)))?;
                Some(Digest::of(&bytes))
            }
            None => None,
        };
        if there != expected {
            return Err(PublishError::Overtaken {
                place: self.name(),
                path: path.to_owned(),
            });
        }
        partial
            .persist(&target)
            .map_err(|error| error.error)
            .context(|| format!("writing {}", shown::path(&target)))?;
        self.sync()
    }

    fn lock(&self) -> Result<Lock> {
        let what = || format!("locking {}", shown::path(&self.root));
        livepc_durable::create_folder(&self.root).context(what)?;
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path(LOCK))
            .context(what)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PublishError::DestinationBusy(self.name())),
            Err(TryLockError::Error(error)) => return Err(error).context(what),
        }
        let locked = livepc_durable::open(&self.path(LOCK)).context(what)?;
        // Where a file has another number each time that it is looked up, that tells nothing.
        if livepc_durable::is_at(&locked, &self.path(LOCK)).is_ok_and(|is_at| is_at) {
            *self
                .locked
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(locked);
        }
        self.remove_partials();
        Ok(Lock::new(file))
    }
}

#[cfg(test)]
mod tests {
    use super::super::open_destination;
    use super::*;

    #[test]
    fn a_folder_that_is_removed_meanwhile_gets_no_part_of_a_publication() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("site");
        let folder = Folder::new(&root);
        let lock = folder.lock().unwrap();
        folder.put_new("packs/a", b"one").unwrap();
        if fs::remove_dir_all(&root).is_err() {
            // As systems refuse that remove nothing that is open.
            return;
        }
        for again in [false, true] {
            let put = folder.put_new("packs/b", b"two").unwrap_err();
            assert!(put.to_string().contains("moved or removed"), "{put}");
            // It would be the first, so nothing is missed in its place.
            let replaced = folder.replace("head.json", b"{}", None).unwrap_err();
            assert!(replaced.to_string().contains("moved or removed"), "{replaced}");
            assert_eq!(root.exists(), again);
            // Another one at its place is not the one that was begun in.
            livepc_durable::create_folder(&root).unwrap();
        }
        drop(lock);
    }

    #[test]
    fn immutable_files_do_not_change() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("site"));
        assert_eq!(folder.put_new("packs/a", b"one").unwrap(), Put::Written);
        assert_eq!(
            folder.put_new("packs/a", b"one").unwrap(),
            Put::Present,
            "the same again is nothing new"
        );
        for other in [b"two".as_slice(), b"longer", b""] {
            assert!(
                matches!(
                    folder.put_new("packs/a", other),
                    Err(PublishError::Immutable { .. })
                ),
                "other bytes are refused"
            );
        }
        assert_eq!(
            folder.read("packs/a", 3).unwrap().unwrap(),
            b"one",
            "and nothing was written"
        );
        assert_eq!(folder.size("packs/a").unwrap(), Some(3));
        assert_eq!(folder.size("packs/b").unwrap(), None);
        assert!(
            matches!(folder.read("packs/a", 2), Err(PublishError::TooLong { .. })),
            "reading is bounded"
        );
    }

    #[test]
    fn what_an_interrupted_publication_left_becomes_durable_too() {
        let dir = tempfile::tempdir().unwrap();
        Folder::new(dir.path()).put_new("packs/a", b"one").unwrap();
        let next = Folder::new(dir.path());
        assert_eq!(next.put_new("packs/a", b"one").unwrap(), Put::Present);
        let folders: Vec<_> = next.unsynced().iter().cloned().collect();
        assert_eq!(folders, [dir.path().to_owned(), dir.path().join("packs")]);
        next.replace("head.json", b"1", None).unwrap();
        assert!(next.unsynced().is_empty(), "it is, before a head can name it");
    }

    #[test]
    fn a_file_is_replaced_only_by_who_knows_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        folder.replace("head.json", b"1", None).unwrap();
        let overtaken = |expected| {
            matches!(
                folder.replace("head.json", b"2", expected),
                Err(PublishError::Overtaken { .. })
            )
        };
        assert!(overtaken(None), "it is there by now");
        assert!(overtaken(Some(Digest::of(b"0"))), "it is another one");
        assert_eq!(folder.read("head.json", 9).unwrap().unwrap(), b"1");
        folder.replace("head.json", b"2", Some(Digest::of(b"1"))).unwrap();
        assert_eq!(folder.read("head.json", 9).unwrap().unwrap(), b"2");
    }

    #[test]
    fn one_publisher_at_a_time_and_the_next_cleans_up() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        fs::create_dir(dir.path().join("packs")).unwrap();
        let partial = dir.path().join("packs").join(format!("{PARTIAL}xyz"));
        fs::write(&partial, b"half").unwrap();
        let lock = folder.lock().unwrap();
        assert!(!partial.exists(), "what a crash left goes away");
        let other = Folder::new(dir.path());
        assert!(matches!(other.lock(), Err(PublishError::DestinationBusy(_))));
        drop(lock);
        other.lock().expect("the lock was given back");
    }

    #[cfg(unix)]
    #[test]
    fn a_web_server_can_read_what_is_published() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        folder.put_new("a", b"1").unwrap();
        let plain = dir.path().join("plain");
        fs::write(&plain, b"1").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&dir.path().join("a")), mode(&plain), "as any other new file");
    }

    #[test]
    fn folders_and_file_urls_are_destinations() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a b");
        let url = url::Url::from_file_path(&path).unwrap();
        assert_eq!(open_destination(url.as_str()).unwrap().root(), path);
        assert_eq!(open_destination(path.to_str().unwrap()).unwrap().root(), path);
        for other in ["https://example.org/", "s3://bucket/x", "file://host/share", ""] {
            if cfg!(windows) && other.starts_with("file") {
                continue; // There it is a network share.
            }
            assert!(
                matches!(open_destination(other), Err(PublishError::DestinationKind(_))),
                "{other:?} is no folder"
            );
        }
    }
}
