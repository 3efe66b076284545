//! The files and folders that are there from the beginning to the end: the disks.

use std::{
    ffi::OsStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use fuser::{FileAttr, FileType, INodeNo};
use rustix::process::{getegid, geteuid};

use super::locks::Node;
use crate::{
    block::BlockDevice,
    mount::{DESCRIPTOR, FLAT, MountedDisk},
    vmdk,
};

/// The inode number of the mounted folder.
const ROOT: u64 = 1;
/// How long the kernel may rely on what it was told of a disk: nothing of it changes.
pub(super) const FOR_LONG: Duration = Duration::from_secs(24 * 60 * 60);
/// What file systems report as their block size where they have no better one.
const BLOCK: u32 = 4096;

/// A file or folder of a disk. Its inode number is one more than its place among all.
struct Entry {
    parent: u64,
    name: String,
    content: Content,
}

/// What an entry is.
pub(super) enum Content {
    Folder,
    Text(String),
    Disk(Arc<dyn BlockDevice>),
}

impl Content {
    pub(super) fn kind(&self) -> FileType {
        match self {
            Self::Folder => FileType::Directory,
            Self::Text(_) | Self::Disk(_) => FileType::RegularFile,
        }
    }

    /// The length in bytes.
    fn size(&self) -> u64 {
        match self {
            Self::Folder => 0,
            Self::Text(text) => text.len() as u64,
            Self::Disk(device) => device.size(),
        }
    }
}

/// All of them.
pub(super) struct Tree {
    entries: Vec<Entry>,
    uid: u32,
    gid: u32,
}

impl Tree {
    /// The files of the disks, which have been checked. The same disks get the same inode numbers.
    pub(super) fn new(disks: Vec<MountedDisk>) -> Self {
        let mut tree = Self {
            entries: Vec::new(),
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
        };
        tree.add(ROOT, String::new(), Content::Folder);
        for disk in disks {
            let Some(sectors) = disk.sectors() else { continue };
            let parent = match disk.folder {
                Some(name) => tree.add(ROOT, name, Content::Folder),
                None => ROOT,
            };
            let text = vmdk::flat_descriptor(FLAT, sectors, &disk.identity);
            tree.add(parent, DESCRIPTOR.into(), Content::Text(text));
            tree.add(parent, FLAT.into(), Content::Disk(disk.device));
        }
        tree
    }

    fn add(&mut self, parent: u64, name: String, content: Content) -> u64 {
        self.entries.push(Entry {
            parent,
            name,
            content,
        });
        self.entries.len() as u64
    }

    fn entry(&self, inode: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(inode.checked_sub(1)?).ok()?)
    }

    pub(super) fn get(&self, inode: u64) -> Option<&Content> {
        self.entry(inode).map(|entry| &entry.content)
    }

    /// The folder that `inode` is in; the mounted folder is in itself.
    pub(super) fn parent(&self, inode: u64) -> u64 {
        self.entry(inode).map_or(ROOT, |entry| entry.parent)
    }

    /// What is in a folder, with growing inode numbers.
    pub(super) fn children(&self, parent: u64) -> impl Iterator<Item = (u64, &str, FileType)> {
        let all = (1..).zip(&self.entries).skip(1);
        all.filter(move |(_, entry)| entry.parent == parent)
            .map(|(inode, entry)| (inode, entry.name.as_str(), entry.content.kind()))
    }

    pub(super) fn child(&self, parent: u64, name: &OsStr) -> Option<u64> {
        self.children(parent)
            .find(|(_, found, _)| *found == name)
            .map(|(inode, ..)| inode)
    }

    pub(super) fn attributes(&self, inode: u64) -> Option<FileAttr> {
        let content = self.get(inode)?;
        // Locks are made in the folders, by the user who mounts.
        let perm = match content {
            Content::Folder => 0o755,
            _ => 0o444,
        };
        let attributes = base(inode, content.kind(), content.size(), SystemTime::UNIX_EPOCH);
        Some(FileAttr {
            perm,
            uid: self.uid,
            gid: self.gid,
            ..attributes
        })
    }

    /// The bytes of all disks.
    pub(super) fn bytes(&self) -> u64 {
        let sizes = self.entries.iter().map(|entry| entry.content.size());
        sizes.fold(0, u64::saturating_add)
    }
}

/// The attributes of a lock.
pub(super) fn of_lock(inode: u64, node: &Node) -> FileAttr {
    let kind = if node.is_folder() {
        FileType::Directory
    } else {
        FileType::RegularFile
    };
    FileAttr {
        perm: node.access.mode,
        uid: node.access.uid,
        gid: node.access.gid,
        ..base(inode, kind, node.len() as u64, node.modified)
    }
}

fn base(inode: u64, kind: FileType, size: u64, time: SystemTime) -> FileAttr {
    FileAttr {
        ino: INodeNo(inode),
        size,
        blocks: size.div_ceil(vmdk::SECTOR),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: 0,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}
