//! What the kernel asks of a mounted folder, and the answers.

use std::{
    ffi::OsStr,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{
    locks::{self, Access, Locks},
    tree::{Content, FOR_LONG, Tree, of_lock},
};
use crate::{
    block::{BlockDevice, ReadError},
    mount::MountedDisk,
};

/// The most reads ahead that the kernel has under way at a time.
const READS_AHEAD: u16 = 64;
/// Between two tries of a read that the network did not bring. A device normally waits itself before it says so, and tells
/// nothing by which a better time would be known.
const PAUSE: Duration = Duration::from_millis(100);

/// A name that tests cannot be told of without a panic.
#[cfg(test)]
pub(super) const MISTAKE: &str = "mistake";

/// The disks as the kernel sees them.
pub(super) struct Disks {
    tree: Tree,
    locks: Mutex<Locks>,
    runtime: Handle,
    end: CancellationToken,
}

impl Disks {
    /// Reads run on `runtime`, and fail once `end` is cancelled.
    pub(super) fn new(disks: Vec<MountedDisk>, runtime: Handle, end: CancellationToken) -> Self {
        Self {
            tree: Tree::new(disks),
            locks: Mutex::new(Locks::new()),
            runtime,
            end,
        }
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The locks, if `inode` is one of theirs; what is not cannot be written.
    fn locks_of(&self, inode: INodeNo) -> Result<MutexGuard<'_, Locks>, Errno> {
        if inode.0 < locks::FIRST {
            return Err(Errno::EROFS);
        }
        Ok(self.locks())
    }

    /// The attributes of anything, and how long they hold.
    fn attributes(&self, inode: u64) -> Result<(FileAttr, Duration), Errno> {
        if let Some(attributes) = self.tree.attributes(inode) {
            return Ok((attributes, FOR_LONG));
        }
        let locks = self.locks();
        Ok((of_lock(inode, locks.node(inode)?), Duration::ZERO))
    }

    fn find(&self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        match self.tree.child(parent, name) {
            Some(inode) => Ok(inode),
            None => self.locks().child(parent, name),
        }
    }

    /// Refuses what would change or hide a disk's files.
    fn spare(&self, parent: INodeNo, name: &OsStr, or_else: Errno) -> Result<(), Errno> {
        match self.tree.child(parent.0, name) {
            Some(_) => Err(or_else),
            None => Ok(()),
        }
    }

    fn entry(&self, inode: Result<u64, Errno>, reply: ReplyEntry) {
        match inode.and_then(|inode| self.attributes(inode)) {
            Ok((attributes, hold)) => reply.entry(&hold, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    /// What is in a folder: inode, name and kind, with growing inode numbers.
    fn list(&self, inode: u64) -> Vec<(u64, std::ffi::OsString, FileType)> {
        let disks = self.tree.children(inode);
        let mut all: Vec<_> = disks
            .map(|(inode, name, kind)| (inode, name.into(), kind))
            .collect();
        let locks = self.locks();
        all.extend(
            locks
                .children(inode)
                .map(|(inode, node)| (inode, node.name.clone(), of_lock(inode, node).kind)),
        );
        all
    }
}

/// The access that a new lock gets from who makes it.
fn access(request: &Request, mode: u32) -> Access {
    Access {
        uid: request.uid(),
        gid: request.gid(),
        mode: locks::permissions(mode),
    }
}

fn answer(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

/// Reads up to `len` bytes, fewer only at the end, for as long as it takes.
async fn read(device: &dyn BlockDevice, offset: u64, len: u32) -> Result<Bytes, Errno> {
    let left = device.size().saturating_sub(offset);
    let len = u32::try_from(left).unwrap_or(u32::MAX).min(len);
    if len == 0 {
        return Ok(Bytes::new());
    }
    loop {
        match device.read_at(offset, len).await {
            Ok(data) if data.len() == len as usize => return Ok(data),
            Ok(_) => return Err(Errno::EIO),
            Err(error @ ReadError::Waited { .. }) => {
                tracing::debug!(offset, len, %error, "a mounted disk's read waits on");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(offset, len, %error, "a mounted disk's read failed");
                return Err(Errno::EIO);
            }
        }
    }
}

impl Filesystem for Disks {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // What the kernel does not take it replaces by what it likes better.
        let _ = config.set_max_background(READS_AHEAD);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        #[cfg(test)]
        assert!(name != MISTAKE, "a mistake of ours");
        self.entry(self.find(parent.0, name), reply);
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode.0) {
            Ok((attributes, hold)) => reply.attr(&hold, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let modified = modified.map(|time| match time {
            TimeOrNow::SpecificTime(time) => time,
            TimeOrNow::Now => SystemTime::now(),
        });
        let changed = self.locks_of(inode).and_then(|mut locks| {
            if uid.is_some() || gid.is_some() {
                return Err(Errno::EPERM);
            }
            if let Some(size) = size {
                locks.resize(inode.0, size)?;
            }
            locks.change(inode.0, mode, modified)?;
            Ok(of_lock(inode.0, locks.node(inode.0)?))
        });
        match changed {
            Ok(attributes) => reply.attr(&Duration::ZERO, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let access = access(request, mode);
        let made = self
            .spare(parent, name, Errno::EEXIST)
            .and_then(|()| self.locks().make_folder(parent.0, name, access));
        self.entry(made, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self
            .spare(parent, name, Errno::EROFS)
            .and_then(|()| self.locks().remove_file(parent.0, name));
        answer(done, reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self
            .spare(parent, name, Errno::EROFS)
            .and_then(|()| self.locks().remove_folder(parent.0, name));
        answer(done, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let done = self
            .spare(parent, name, Errno::EROFS)
            .and_then(|()| self.spare(to, new_name, Errno::EROFS))
            .and_then(|()| self.locks().rename((parent.0, name), (to.0, new_name), flags));
        answer(done, reply);
    }

    fn open(&self, _: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if self.tree.get(inode.0).is_some() {
            if flags.acc_mode() == OpenAccMode::O_RDONLY {
                // What the kernel has read stays right.
                reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
            } else {
                reply.error(Errno::EROFS);
            }
            return;
        }
        match self.locks().open(inode.0) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let access = access(request, mode);
        let made = self.spare(parent, name, Errno::EEXIST).and_then(|()| {
            let mut locks = self.locks();
            let inode = locks.make_file(parent.0, name, access)?;
            locks.open(inode)?;
            Ok(of_lock(inode, locks.node(inode)?))
        });
        match made {
            Ok(attributes) => reply.created(
                &Duration::ZERO,
                &attributes,
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        len: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.tree.get(inode.0) {
            Some(Content::Disk(device)) => {
                let (device, end) = (Arc::clone(device), self.end.clone());
                let mut answer: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                    match end.run_until_cancelled(read(&*device, offset, len)).await {
                        Some(Ok(data)) => reply.data(&data),
                        Some(Err(error)) => reply.error(error),
                        None => reply.error(Errno::EIO),
                    }
                });
                // What is in memory is here at once: to hand it to another thread would take longer than to read it.
                let _runtime = self.runtime.enter();
                let mut context = Context::from_waker(Waker::noop());
                // Should it panic, here or there, it is in the log already, and the reply that is dropped says EIO.
                if answer.as_mut().poll(&mut context).is_pending() {
                    self.runtime.spawn(answer);
                }
            }
            Some(Content::Text(text)) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
                let to = from.saturating_add(len as usize).min(text.len());
                reply.data(&text.as_bytes()[from..to]);
            }
            Some(Content::Folder) => reply.error(Errno::EISDIR),
            None => match self.locks().read(inode.0, offset, len) {
                Ok(data) => reply.data(data),
                Err(error) => reply.error(error),
            },
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self
            .locks_of(inode)
            .and_then(|mut locks| locks.write(inode.0, offset, data));
        match written {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        if let Ok(mut locks) = self.locks_of(inode) {
            locks.close(inode.0);
        }
        reply.ok();
    }

    fn readdir(&self, _: &Request, inode: INodeNo, _: FileHandle, after: u64, mut reply: ReplyDirectory) {
        // Where to go on is told by inode numbers, which stay right when locks come and go meanwhile.
        const DOT: u64 = 1;
        const DOT_DOT: u64 = 2;
        let dots = [
            (DOT, inode.0, ".".into(), FileType::Directory),
            (
                DOT_DOT,
                self.tree.parent(inode.0),
                "..".into(),
                FileType::Directory,
            ),
        ];
        let listed = self.list(inode.0).into_iter();
        let listed = listed.map(|(inode, name, kind)| (DOT_DOT + inode, inode, name, kind));
        for (place, inode, name, kind) in dots.into_iter().chain(listed) {
            if place > after && reply.add(INodeNo(inode), place, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        const BLOCK: u32 = 4096;
        let room = (locks::FOLDERS * locks::FILES * locks::FILE_BYTES) as u64 / u64::from(BLOCK);
        let used = self.tree.bytes().div_ceil(BLOCK.into());
        let files = (locks::FOLDERS * locks::FILES) as u64;
        reply.statfs(used + room, room, room, files, files, BLOCK, 255, BLOCK);
    }
}
