//! What VMware writes beside a disk to lock it: folders `NAME.lck` with small files and folders in them, in memory.
//!
//! Everything is bounded, and nothing leaves its `.lck` folder, so that this is no place to keep data in.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    time::SystemTime,
};

use fuser::{Errno, RenameFlags};

/// The inode numbers from here on are those of locks; smaller ones are the disks' files and folders.
pub(super) const FIRST: u64 = 1 << 32;
/// The most folders.
pub(super) const FOLDERS: usize = 64;
/// The most files in a folder.
pub(super) const FILES: usize = 64;
/// The most bytes of a file.
pub(super) const FILE_BYTES: usize = 64 << 10;
/// The most bytes of a name, as elsewhere in Linux.
const NAME_BYTES: usize = 255;
/// The end of a lock folder's name.
const ENDING: &[u8] = b".lck";

/// Who owns something, and its permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u16,
}

/// A lock folder, or something in one.
#[derive(Debug)]
pub(super) struct Node {
    /// The inode of the folder that it is in; `None` once it was removed, while it is still open.
    parent: Option<u64>,
    pub(super) name: OsString,
    pub(super) access: Access,
    pub(super) modified: SystemTime,
    /// How often it is open.
    open: u32,
    /// A file's bytes; `None` for a folder.
    bytes: Option<Vec<u8>>,
}

impl Node {
    pub(super) fn is_folder(&self) -> bool {
        self.bytes.is_none()
    }

    /// A file's length in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }
}

/// All locks of a mount.
#[derive(Debug)]
pub(super) struct Locks {
    nodes: BTreeMap<u64, Node>,
    next: u64,
}

impl Locks {
    pub(super) fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            next: FIRST,
        }
    }

    pub(super) fn node(&self, inode: u64) -> Result<&Node, Errno> {
        self.nodes.get(&inode).ok_or(Errno::ENOENT)
    }

    /// What is in a folder, with growing inode numbers.
    pub(super) fn children(&self, parent: u64) -> impl Iterator<Item = (u64, &Node)> {
        let all = self.nodes.iter().map(|(inode, node)| (*inode, node));
        all.filter(move |(_, node)| node.parent == Some(parent))
    }

    pub(super) fn child(&self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.children(parent)
            .find(|(_, node)| node.name == name)
            .map(|(inode, _)| inode)
            .ok_or(Errno::ENOENT)
    }

    /// Makes a folder: a lock folder where the disks are, or one of any name within.
    pub(super) fn make_folder(&mut self, parent: u64, name: &OsStr, access: Access) -> Result<u64, Errno> {
        self.check_place(parent, name, true)?;
        if self.nodes.values().filter(|node| node.is_folder()).count() >= FOLDERS {
            return Err(Errno::ENOSPC);
        }
        self.add(parent, name, access, None)
    }

    /// Makes an empty file in a lock folder.
    pub(super) fn make_file(&mut self, parent: u64, name: &OsStr, access: Access) -> Result<u64, Errno> {
        self.check_place(parent, name, false)?;
        self.check_room(parent)?;
        // Those that were removed while they are open count too.
        if self.nodes.values().filter(|node| !node.is_folder()).count() >= FOLDERS * FILES {
            return Err(Errno::ENOSPC);
        }
        self.add(parent, name, access, Some(Vec::new()))
    }

    fn add(
        &mut self,
        parent: u64,
        name: &OsStr,
        access: Access,
        bytes: Option<Vec<u8>>,
    ) -> Result<u64, Errno> {
        if self.child(parent, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        let inode = self.next;
        self.next += 1;
        let node = Node {
            parent: Some(parent),
            name: name.to_owned(),
            access,
            modified: SystemTime::now(),
            open: 0,
            bytes,
        };
        self.nodes.insert(inode, node);
        Ok(inode)
    }

    /// Checks that something of that name may be in the folder `parent`.
    fn check_place(&self, parent: u64, name: &OsStr, folder: bool) -> Result<(), Errno> {
        if name.len() > NAME_BYTES {
            return Err(Errno::ENAMETOOLONG);
        }
        if parent >= FIRST {
            return match self.node(parent)?.is_folder() {
                true => Ok(()),
                false => Err(Errno::ENOTDIR),
            };
        }
        if folder && name.len() > ENDING.len() && name.as_bytes().ends_with(ENDING) {
            Ok(())
        } else {
            Err(Errno::EROFS)
        }
    }

    /// Checks that another file fits into a folder.
    fn check_room(&self, parent: u64) -> Result<(), Errno> {
        let files = self.children(parent).filter(|(_, node)| !node.is_folder());
        if files.count() >= FILES {
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        let inode = self.child(parent, name)?;
        if self.node(inode)?.is_folder() {
            return Err(Errno::EISDIR);
        }
        self.unlink(inode);
        Ok(())
    }

    pub(super) fn remove_folder(&mut self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        let inode = self.child(parent, name)?;
        if !self.node(inode)?.is_folder() {
            return Err(Errno::ENOTDIR);
        }
        if self.children(inode).next().is_some() {
            return Err(Errno::ENOTEMPTY);
        }
        self.nodes.remove(&inode);
        Ok(())
    }

    /// Takes a file out of its folder, and forgets it unless it is open.
    fn unlink(&mut self, inode: u64) {
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.parent = None;
            if node.open == 0 {
                self.nodes.remove(&inode);
            }
        }
    }

    /// Renames a file, within its folder or into another lock folder, or a folder within the one that it is in.
    pub(super) fn rename(
        &mut self,
        (parent, name): (u64, &OsStr),
        (to, new_name): (u64, &OsStr),
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        if !RenameFlags::RENAME_NOREPLACE.contains(flags) {
            return Err(Errno::EINVAL);
        }
        let inode = self.child(parent, name)?;
        let folder = self.node(inode)?.is_folder();
        self.check_place(to, new_name, folder)?;
        if folder && parent != to {
            return Err(Errno::EXDEV);
        }
        match self.child(to, new_name) {
            Ok(same) if same == inode => return Ok(()),
            Ok(_) if !flags.is_empty() => return Err(Errno::EEXIST),
            Ok(_) if folder => self.remove_folder(to, new_name)?,
            Ok(_) => self.remove_file(to, new_name)?,
            Err(_) if !folder && parent != to => self.check_room(to)?,
            Err(_) => {}
        }
        let node = self.nodes.get_mut(&inode).ok_or(Errno::ENOENT)?;
        node.parent = Some(to);
        node.name = new_name.to_owned();
        Ok(())
    }

    pub(super) fn open(&mut self, inode: u64) -> Result<(), Errno> {
        self.nodes.get_mut(&inode).ok_or(Errno::ENOENT)?.open += 1;
        Ok(())
    }

    pub(super) fn close(&mut self, inode: u64) {
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.open = node.open.saturating_sub(1);
            if node.open == 0 && node.parent.is_none() {
                self.nodes.remove(&inode);
            }
        }
    }

    pub(super) fn read(&self, inode: u64, offset: u64, len: u32) -> Result<&[u8], Errno> {
        let bytes = self.node(inode)?.bytes.as_deref().ok_or(Errno::EISDIR)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let to = from.saturating_add(len as usize).min(bytes.len());
        Ok(&bytes[from..to])
    }

    pub(super) fn write(&mut self, inode: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let end = offset.checked_add(data.len() as u64).ok_or(Errno::EFBIG)?;
        if end > self.node(inode)?.len() as u64 {
            self.resize(inode, end)?;
        }
        let (modified, bytes) = self.file_mut(inode)?;
        // Within the bound that `resize` has checked.
        bytes[offset as usize..end as usize].copy_from_slice(data);
        *modified = SystemTime::now();
        Ok(())
    }

    /// Cuts a file, or lengthens it with zeros.
    pub(super) fn resize(&mut self, inode: u64, len: u64) -> Result<(), Errno> {
        let len = usize::try_from(len)
            .ok()
            .filter(|len| *len <= FILE_BYTES)
            .ok_or(Errno::EFBIG)?;
        let (modified, bytes) = self.file_mut(inode)?;
        bytes.resize(len, 0);
        *modified = SystemTime::now();
        Ok(())
    }

    /// The time and the bytes of a file.
    fn file_mut(&mut self, inode: u64) -> Result<(&mut SystemTime, &mut Vec<u8>), Errno> {
        let node = self.nodes.get_mut(&inode).ok_or(Errno::ENOENT)?;
        let bytes = node.bytes.as_mut().ok_or(Errno::EISDIR)?;
        Ok((&mut node.modified, bytes))
    }

    /// Changes permissions and time; the kernel has checked who asks.
    pub(super) fn change(
        &mut self,
        inode: u64,
        mode: Option<u32>,
        modified: Option<SystemTime>,
    ) -> Result<(), Errno> {
        let node = self.nodes.get_mut(&inode).ok_or(Errno::ENOENT)?;
        if let Some(mode) = mode {
            node.access.mode = permissions(mode);
        }
        if let Some(modified) = modified {
            node.modified = modified;
        }
        Ok(())
    }
}

/// The permission bits of a mode, without those that act.
pub(super) fn permissions(mode: u32) -> u16 {
    (mode & 0o777) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: u64 = 1;
    const ACCESS: Access = Access {
        uid: 1,
        gid: 1,
        mode: 0o700,
    };

    fn name(name: &str) -> &OsStr {
        OsStr::new(name)
    }

    fn code<T: std::fmt::Debug>(answer: Result<T, Errno>) -> i32 {
        answer.unwrap_err().code()
    }

    #[test]
    fn only_lock_folders_can_be_made_beside_disks() {
        let mut locks = Locks::new();
        for wrong in ["a", ".lck", "a.lck.d"] {
            let answer = locks.make_folder(ROOT, name(wrong), ACCESS);
            assert_eq!(code(answer), Errno::EROFS.code(), "{wrong}");
        }
        let file = locks.make_file(ROOT, name("a.lck"), ACCESS);
        assert_eq!(code(file), Errno::EROFS.code(), "it is no folder");
        let lock = locks.make_folder(ROOT, name("a.lck"), ACCESS).unwrap();
        locks.make_folder(lock, name("D1"), ACCESS).unwrap();
        let file = locks.make_file(lock, name("E1"), ACCESS).unwrap();
        let out = locks.rename((lock, name("E1")), (ROOT, name("E1.lck")), RenameFlags::empty());
        assert_eq!(
            code(out),
            Errno::EROFS.code(),
            "no file gets out of a lock folder"
        );
        let below = locks.make_file(file, name("x"), ACCESS);
        assert_eq!(code(below), Errno::ENOTDIR.code());
    }

    #[test]
    fn everything_is_bounded() {
        let mut locks = Locks::new();
        let lock = locks.make_folder(ROOT, name("a.lck"), ACCESS).unwrap();
        for n in 1..FOLDERS {
            locks
                .make_folder(ROOT, name(&format!("{n}.lck")), ACCESS)
                .unwrap();
        }
        let more = locks.make_folder(lock, name("more"), ACCESS);
        assert_eq!(code(more), Errno::ENOSPC.code());
        for n in 0..FILES {
            locks.make_file(lock, name(&n.to_string()), ACCESS).unwrap();
        }
        let more = locks.make_file(lock, name("more"), ACCESS);
        assert_eq!(code(more), Errno::ENOSPC.code());
        let other = locks.child(ROOT, name("1.lck")).unwrap();
        locks.make_file(other, name("x"), ACCESS).unwrap();
        let into = locks.rename((other, name("x")), (lock, name("x")), RenameFlags::empty());
        assert_eq!(code(into), Errno::ENOSPC.code(), "nor by renaming");
        let file = locks.child(lock, name("0")).unwrap();
        locks.write(file, FILE_BYTES as u64 - 1, b"x").unwrap();
        assert_eq!(
            code(locks.write(file, FILE_BYTES as u64, b"x")),
            Errno::EFBIG.code()
        );
        assert_eq!(code(locks.write(file, u64::MAX, b"xy")), Errno::EFBIG.code());
        assert_eq!(code(locks.resize(file, u64::MAX)), Errno::EFBIG.code());
    }

    #[test]
    fn a_removed_file_is_there_while_it_is_open_and_counts_until_then() {
        let mut locks = Locks::new();
        let lock = locks.make_folder(ROOT, name("a.lck"), ACCESS).unwrap();
        for n in 0..FOLDERS * FILES {
            let file = locks.make_file(lock, name(&n.to_string()), ACCESS).unwrap();
            locks.open(file).unwrap();
            locks.write(file, 0, b"x").unwrap();
            locks.remove_file(lock, name(&n.to_string())).unwrap();
            assert_eq!(locks.read(file, 0, 10).unwrap(), b"x");
        }
        let more = locks.make_file(lock, name("more"), ACCESS);
        assert_eq!(code(more), Errno::ENOSPC.code());
        for file in FIRST + 1..locks.next {
            locks.close(file);
        }
        locks.make_file(lock, name("more"), ACCESS).unwrap();
        assert_eq!(locks.nodes.len(), 2, "nothing of them is left");
    }
}
