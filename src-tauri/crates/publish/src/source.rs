//! A raw disk image, opened for publishing.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use livepc_format::limits::{DISK_SIZE, SECTOR};
use livepc_format::shown;

use crate::error::{Context as _, PublishError, Result};
use crate::kind::{self, FileKind};
use crate::os;

/// What an image is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenFor {
    /// The disk that a machine starts from.
    SystemDisk,
    /// A disk with data: an image of a CD is one.
    DataDisk,
    /// A raw disk, whatever it looks like: its publisher insists.
    RawDisk,
}

impl TakenFor {
    fn allows(self, kind: FileKind) -> bool {
        match self {
            Self::SystemDisk => false,
            Self::DataDisk => kind == FileKind::Cd,
            Self::RawDisk => true,
        }
    }
}

/// A raw disk image. A disk without partitions is a disk; what is known to be something else is none.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    file: File,
    len: u64,
    modified: Option<SystemTime>,
}

impl Source {
    /// Opens the image (or the disk device) at `path` and checks that it can be a disk: 512 bytes to 16 TiB, in whole
    /// sectors, and not something that would have to be converted or unpacked first.
    ///
    /// # Errors
    /// One of the `Source…` errors for each way in which it cannot.
    pub fn open(path: &Path, taken_for: TakenFor) -> Result<Self> {
        let owned = || path.to_owned();
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PublishError::SourceMissing(owned()));
            }
            metadata => metadata.context(|| format!("looking at {}", shown::path(path)))?,
        };
        if metadata.is_dir() {
            return Err(PublishError::SourceIsDirectory(owned()));
        }
        if !metadata.is_file() && !os::is_disk_device(&metadata) {
            return Err(PublishError::SourceKind(owned()));
        }
        let mut file = File::open(path).context(|| format!("opening {}", shown::path(path)))?;
        // A device's metadata does not tell its size.
        let len = file
            .seek(SeekFrom::End(0))
            .context(|| format!("finding the size of {}", shown::path(path)))?;
        if len == 0 {
            return Err(PublishError::SourceEmpty(owned()));
        }
        if taken_for != TakenFor::RawDisk
            && let Some(kind) = kind_of(&file, len).context(|| format!("reading {}", path.display()))?
            && !taken_for.allows(kind)
        {
            return Err(PublishError::SourceFormat { path: owned(), kind });
        }
        if !len.is_multiple_of(SECTOR) {
            return Err(PublishError::SourceLength { path: owned(), len });
        }
        if len > DISK_SIZE {
            return Err(PublishError::SourceTooLarge { path: owned(), len });
        }
        Ok(Self {
            path: owned(),
            file,
            len,
            modified: metadata.modified().ok(),
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes: a multiple of 512.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a source is never empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buffer` from byte `offset` on.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        match os::read_at(&self.file, buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.changed()),
            result => result.context(|| format!("reading {}", shown::path(&self.path))),
        }
    }

    /// The first stretch in `range` that is not a hole; what lies before it is zero.
    pub(crate) fn data(&self, range: Range<u64>) -> Result<Option<Range<u64>>> {
        let what = || format!("looking for holes in {}", shown::path(&self.path));
        let Some(start) = os::next_data(&self.file, range.start).context(what)? else {
            return Ok(None);
        };
        if start >= range.end {
            return Ok(None);
        }
        let end = os::next_hole(&self.file, start).context(what)?;
        Ok(Some(start..end.clamp(start + 1, range.end)))
    }

    /// Checks that nobody wrote to the image since it was opened, as far as the file system tells.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let metadata = self
            .file
            .metadata()
            .context(|| format!("looking at {}", shown::path(&self.path)))?;
        let same_len = !metadata.is_file() || metadata.len() == self.len;
        if same_len && metadata.modified().ok() == self.modified {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    pub(crate) fn changed(&self) -> PublishError {
        PublishError::SourceChanged(self.path.clone())
    }
}

/// What a file of `len` bytes is, if it is no raw disk.
fn kind_of(file: &File, len: u64) -> io::Result<Option<FileKind>> {
    let mut head = vec![0; kind::HEAD.min(usize::try_from(len).unwrap_or(usize::MAX))];
    os::read_at(file, &mut head, 0)?;
    let behind = SECTOR.min(len);
    let mut tail = vec![0; behind as usize];
    os::read_at(file, &mut tail, len - behind)?;
    Ok(FileKind::of(&head, &tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_that_is_no_disk_has_its_own_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("good"), [1; 512]).unwrap();
        fs::write(path("empty"), []).unwrap();
        fs::write(path("odd"), [1; 513]).unwrap();
        File::create(path("huge")).unwrap().set_len(DISK_SIZE + 512).ok();

        let good = Source::open(&path("good"), TakenFor::SystemDisk).expect("one sector is a disk");
        assert_eq!(good.len(), 512);
        let error = |name: &str| Source::open(&path(name), TakenFor::SystemDisk).unwrap_err();
        assert!(matches!(error("none"), PublishError::SourceMissing(_)));
        assert!(matches!(error("."), PublishError::SourceIsDirectory(_)));
        assert!(matches!(error("empty"), PublishError::SourceEmpty(_)));
        assert!(matches!(
            error("odd"),
            PublishError::SourceLength { len: 513, .. }
        ));
        // Not every file system can hold so large a file.
        if fs::metadata(path("huge")).unwrap().len() > DISK_SIZE {
            assert!(matches!(error("huge"), PublishError::SourceTooLarge { .. }));
        }
    }

    #[test]
    fn data_and_a_change_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let size = 64_u64 << 20;
        let file = File::create(&path).unwrap();
        file.set_len(size).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut f| {
                f.seek(SeekFrom::Start(32 << 20))?;
                io::Write::write_all(&mut f, b"data")
            })
            .unwrap();
        let source = Source::open(&path, TakenFor::SystemDisk).unwrap();
        let found = source.data(0..size).unwrap().expect("there is data");
        assert!(
            found.contains(&(32 << 20)),
            "the data is found, whatever the file system rounds to: {found:?}"
        );
        source.check_unchanged().expect("nothing was written");
        file.set_len(size * 2).unwrap();
        assert!(matches!(
            source.check_unchanged(),
            Err(PublishError::SourceChanged(_))
        ));
    }
}
