//! A machine's disk that is the subscriber's own: made at the first start from what the manifest says, attached to every
//! release from then on, and only ever made larger.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use fatfs::{FatType, FormatVolumeOptions};
use livepc_durable::Readers;
use livepc_format::FileSystem;
use livepc_format::limits::{DISK_SIZE, SECTOR};
use livepc_format::manifest::{Content, Disk};
use livepc_format::shown;
use livepc_protocol::{Code, Problem};

use crate::problems::not_found;

/// Characters of a FAT label; a shorter one is filled up with spaces.
const FAT_LABEL: usize = 11;

/// A disk of the subscriber's own, whether it is made already or not.
#[derive(Debug)]
pub(crate) struct UserDisk<'a> {
    path: PathBuf,
    label: Option<&'a str>,
    file_system: Option<FileSystem>,
}

impl<'a> UserDisk<'a> {
    /// The own disk that `disk` of a manifest describes, in the machine's `folder`.
    ///
    /// # Errors
    /// [`Code::NotFound`] if the disk is a published one.
    pub(crate) fn of(folder: &Path, disk: &'a Disk) -> Result<Self, Problem> {
        // A role is a checked name: safe in a path.
        Self::at(folder.join(format!("{}.raw", disk.role)), disk)
    }

    /// The own disk that `disk` of a manifest describes, as the file `path`.
    ///
    /// # Errors
    /// [`Code::NotFound`] if the disk is a published one.
    pub(crate) fn at(path: PathBuf, disk: &'a Disk) -> Result<Self, Problem> {
        match &disk.content {
            Content::User { label, file_system } => Ok(Self {
                path,
                label: label.as_deref(),
                file_system: *file_system,
            }),
            Content::Published { .. } => Err(not_found(
                format!("The disk “{}” is not the subscriber's own.", disk.role),
                "It is published, and its size is the publisher's choice.",
            )),
        }
    }

    /// Its file: raw content.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes; `None` if it is not made yet.
    ///
    /// # Errors
    /// What the system says of its file.
    pub(crate) fn size(&self) -> Result<Option<u64>, Problem> {
        match self.path.symlink_metadata() {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Err(Problem::new(
                Code::Failed,
                format!("{} is not a file.", self.path.display()),
                "Put the disk back where that is, or take it away: a new one is made then.",
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Problem::io("The machine's own disk cannot be read", &error)),
        }
    }

    /// Makes it with `least` bytes if it is not there, and makes it larger if it has fewer. Gives its bytes: whole sectors.
    ///
    /// # Errors
    /// What keeps its file from being written; what was there before is as it was then.
    pub(crate) fn make(&self, least: u64) -> Result<u64, Problem> {
        let failed = |e: io::Error| {
            let folder = shown::path(livepc_durable::folder_of(&self.path));
            let doing = format!("The own disk cannot be made in {folder}");
            Problem::io(&doing, &e)
        };
        let Some(size) = self.size()? else {
            self.make_new(least).map_err(failed)?;
            return Ok(least);
        };
        // Somebody else may have put a file there that ends inside a sector.
        let wanted = size.max(least).next_multiple_of(SECTOR);
        if wanted > size {
            let file = OpenOptions::new().write(true).open(&self.path);
            file.and_then(|file| file.set_len(wanted).and_then(|()| file.sync_all()))
                .map_err(failed)?;
        }
        Ok(wanted)
    }

    /// Makes it larger, so that it has `size` bytes; if it is not there yet, it is made so. `published` is what the
    /// manifest says of its bytes.
    ///
    /// # Errors
    /// [`Code::Usage`] if there can be no such disk, or it has more bytes already.
    pub(crate) fn grow(&self, size: u64, published: u64) -> Result<(), Problem> {
        if !size.is_multiple_of(SECTOR) || size > DISK_SIZE {
            return Err(Problem::new(
                Code::Usage,
                format!("A disk cannot have {size} bytes."),
                "Disks have up to 16 TiB in whole sectors of 512 bytes, as in 20G.",
            ));
        }
        let made = self.size()?;
        let now = made.unwrap_or(published);
        if size < now {
            return Err(Problem::new(
                Code::Usage,
                format!(
                    "The disk has {}: it can be made larger, not smaller.",
                    shown::size(now)
                ),
                "Give a larger size.",
            ));
        }
        let why_not = self.file_system.and_then(|fs| fs.why_not(size, self.label));
        if let (None, Some(why)) = (made, why_not) {
            return Err(Problem::new(
                Code::Usage,
                format!("The disk is not made yet, and cannot be made so: {why}."),
                "Give another size, or start the machine once, and make it larger afterwards.",
            ));
        }
        self.make(size).map(drop)
    }

    /// The file appears whole or not at all.
    fn make_new(&self, size: u64) -> io::Result<()> {
        let unfinished = livepc_durable::unfinished(&self.path, Readers::User)?;
        let file = unfinished.as_file();
        file.set_len(size)?;
        match self.file_system {
            Some(FileSystem::Fat32) => format_fat32(file, self.label)?,
            None => {}
        }
        livepc_durable::put_new(unfinished, &self.path).map(drop)
    }
}

/// Makes an empty FAT32 on all of a file that has nothing but zeros.
fn format_fat32(file: &File, label: Option<&str>) -> io::Result<()> {
    let mut id = [0; 4];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    let mut options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .volume_id(u32::from_le_bytes(id));
    if let Some(label) = label {
        let mut filled = [b' '; FAT_LABEL];
        // It was checked to fit when the manifest was read.
        filled
            .iter_mut()
            .zip(label.bytes())
            .for_each(|(at, byte)| *at = byte);
        options = options.volume_label(filled);
    }
    fatfs::format_volume(file, options)
}

#[cfg(test)]
mod tests {
    use livepc_format::machine::Controller;

    use super::*;

    fn described(content: Content) -> Disk {
        Disk {
            role: "user".into(),
            size: 64 << 20,
            controller: Controller::Virtio,
            content,
        }
    }

    fn blank() -> Disk {
        described(Content::User {
            label: Some("livepc-user".into()),
            file_system: None,
        })
    }

    fn fat32(label: Option<&str>) -> Disk {
        described(Content::User {
            label: label.map(str::to_owned),
            file_system: Some(FileSystem::Fat32),
        })
    }

    #[test]
    fn a_blank_disk_is_made_once_and_keeps_its_content() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), blank());
        let own = UserDisk::of(dir.path(), &disk).unwrap();
        assert_eq!(own.size().unwrap(), None);
        assert_eq!(own.make(64 << 20).unwrap(), 64 << 20);
        assert!(std::fs::read(own.path()).unwrap().iter().all(|&byte| byte == 0));
        std::fs::write(own.path(), vec![7; 1 << 20]).unwrap();
        assert_eq!(own.make(1 << 20).unwrap(), 1 << 20);
        assert_eq!(own.make(512).unwrap(), 1 << 20, "it never shrinks");
        assert_eq!(
            own.make((1 << 20) + 512).unwrap(),
            (1 << 20) + 512,
            "a release asks for more"
        );
        let bytes = std::fs::read(own.path()).unwrap();
        assert_eq!(bytes.len(), (1 << 20) + 512);
        assert!(
            bytes[..1 << 20].iter().all(|&byte| byte == 7),
            "the content stays"
        );
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_file_that_ends_inside_a_sector_is_filled_up() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), blank());
        let own = UserDisk::of(dir.path(), &disk).unwrap();
        std::fs::write(own.path(), vec![7; 1000]).unwrap();
        assert_eq!(own.make(512).unwrap(), 1024);
        assert_eq!(own.size().unwrap(), Some(1024));
    }

    #[test]
    fn a_new_disk_has_the_file_system_and_label_of_the_manifest() {
        for (size, label) in [
            (64_u64 << 20, Some("livepc-user")),
            (1 << 30, Some("Data")),
            (9 << 30, None),
        ] {
            let (dir, disk) = (tempfile::tempdir().unwrap(), fat32(label));
            let own = UserDisk::of(dir.path(), &disk).unwrap();
            assert_eq!(own.make(size).unwrap(), size);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(own.path())
                .unwrap();
            let volume = fatfs::FileSystem::new(file, fatfs::FsOptions::new()).unwrap();
            assert_eq!(volume.fat_type(), FatType::Fat32, "{size}");
            let in_root = volume.read_volume_label_from_root_dir().unwrap();
            assert_eq!(
                in_root.as_deref().map(str::trim_end),
                label,
                "where systems look for it"
            );
            assert_eq!(volume.volume_label().trim_end(), label.unwrap_or("NO NAME"));
            let free = u64::from(volume.stats().unwrap().free_clusters());
            let bytes = free * u64::from(volume.cluster_size());
            assert!(bytes > size / 100 * 98, "{bytes} of {size} can be used");
        }
    }

    #[test]
    fn a_disk_grows_and_never_shrinks() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), fat32(None));
        let own = UserDisk::of(dir.path(), &disk).unwrap();
        let refused = |size| own.grow(size, disk.size).unwrap_err();
        assert_eq!(refused(32 << 20).code, Code::Usage, "smaller than published");
        assert_eq!(refused((128 << 20) + 1).code, Code::Usage, "half a sector");
        assert_eq!(
            refused((16 << 40) + 512).code,
            Code::Usage,
            "more than a disk can have"
        );
        assert!(refused(2 << 40).message.contains("not made yet"), "no such FAT32");
        assert_eq!(own.size().unwrap(), None, "nothing is made by what is refused");
        own.grow(128 << 20, disk.size).unwrap();
        assert_eq!(
            own.size().unwrap(),
            Some(128 << 20),
            "made as large as it is wanted"
        );
        own.grow(256 << 20, disk.size).unwrap();
        assert_eq!(own.size().unwrap(), Some(256 << 20));
        assert_eq!(refused(128 << 20).code, Code::Usage, "smaller than it is");
        assert_eq!(
            own.make(disk.size).unwrap(),
            256 << 20,
            "the next start finds it so"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_followed_and_a_published_disk_is_not_ones_own() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), blank());
        let own = UserDisk::of(dir.path(), &disk).unwrap();
        let elsewhere = dir.path().join("elsewhere");
        std::fs::write(&elsewhere, "x").unwrap();
        std::os::unix::fs::symlink(&elsewhere, own.path()).unwrap();
        assert!(own.make(1 << 20).is_err());
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"x");
        let object = livepc_format::index::ObjectRef {
            digest: livepc_format::Digest::of(b""),
            stored: 1,
            size: 1,
        };
        let published = described(Content::Published {
            regions: Vec::new(),
            index: object,
            stored: 0,
        });
        assert!(UserDisk::of(dir.path(), &published).is_err());
    }
}
