//! Whoever asks the mounted folder is answered, and the next one too: an answer that panics is an error of that question
//! only. The thread that took it would end otherwise, and with the last of them the folder.

use std::{ffi::OsStr, io, time::SystemTime};

use fuser::{
    BsdFileFlags, FileHandle, Filesystem, INodeNo, KernelConfig, LockOwner, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::filesystem::Disks;

/// See the module.
pub(super) struct Kept(pub(super) Disks);

macro_rules! kept {
    ($($question:ident($($name:ident: $kind:ty),*);)*) => { $(
        fn $question(&self, $($name: $kind),*) {
            // It is in the log already; a reply that is dropped says EIO.
            let _ = livepc_panics::caught("Answering the kernel", || self.0.$question($($name),*));
        }
    )* };
}

impl Filesystem for Kept {
    fn init(&mut self, request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        self.0.init(request, config)
    }

    kept! {
        lookup(request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry);
        getattr(request: &Request, inode: INodeNo, file: Option<FileHandle>, reply: ReplyAttr);
        setattr(
            request: &Request, inode: INodeNo, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>, size: Option<u64>,
            accessed: Option<TimeOrNow>, modified: Option<TimeOrNow>, changed: Option<SystemTime>, file: Option<FileHandle>,
            created: Option<SystemTime>, checked: Option<SystemTime>, backed_up: Option<SystemTime>,
            flags: Option<BsdFileFlags>, reply: ReplyAttr
        );
        mkdir(request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry);
        unlink(request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty);
        rmdir(request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty);
        rename(
            request: &Request, parent: INodeNo, name: &OsStr, to: INodeNo, new_name: &OsStr, flags: RenameFlags,
            reply: ReplyEmpty
        );
        open(request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen);
        create(
            request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, flags: i32, reply: ReplyCreate
        );
        read(
            request: &Request, inode: INodeNo, file: FileHandle, offset: u64, len: u32, flags: OpenFlags,
            owner: Option<LockOwner>, reply: ReplyData
        );
        write(
            request: &Request, inode: INodeNo, file: FileHandle, offset: u64, data: &[u8], write: WriteFlags,
            flags: OpenFlags, owner: Option<LockOwner>, reply: ReplyWrite
        );
        flush(request: &Request, inode: INodeNo, file: FileHandle, owner: LockOwner, reply: ReplyEmpty);
        fsync(request: &Request, inode: INodeNo, file: FileHandle, data_only: bool, reply: ReplyEmpty);
        release(
            request: &Request, inode: INodeNo, file: FileHandle, flags: OpenFlags, owner: Option<LockOwner>, flush: bool,
            reply: ReplyEmpty
        );
        readdir(request: &Request, inode: INodeNo, file: FileHandle, after: u64, reply: ReplyDirectory);
        statfs(request: &Request, inode: INodeNo, reply: ReplyStatfs);
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use crate::mount::{MountOptions, linux::Mounted};

    /// One thread: it must be there for the next question.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_question_whose_answer_panics_fails_and_the_next_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let options = MountOptions { threads: 1 };
        let started = Mounted::start(&folder.path().join("disks"), Vec::new(), options).await;
        let (place, mounted) = started.unwrap();
        let asked = tokio::task::spawn_blocking(move || {
            for _ in 0..3 {
                let error = place
                    .join(super::super::filesystem::MISTAKE)
                    .metadata()
                    .unwrap_err();
                assert_eq!(error.raw_os_error(), Some(5), "EIO: {error}");
                let error = place.join("other").metadata().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotFound);
            }
            assert_eq!(place.read_dir().unwrap().count(), 0);
        });
        asked.await.unwrap();
        mounted.unmount().await.unwrap();
    }
}
