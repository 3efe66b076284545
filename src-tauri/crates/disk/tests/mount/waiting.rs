//! A network that brings nothing for a while is no broken disk.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use livepc_disk::block::{BlockDevice, DeviceFuture, Piece, ReadError, Run, RunKind};
use rustix::io::Errno;
use tokio::sync::watch;

use crate::support::*;

/// A disk of sevens whose reads fail at first, or never end.
struct Late {
    /// How many reads are still told that nothing arrived.
    late: AtomicUsize,
    begun: watch::Sender<usize>,
}

impl Late {
    /// Reads from here on never end.
    const NEVER: u64 = 1 << 20;
    /// Reads from here on fail.
    const BROKEN: u64 = 2 << 20;
    /// Reads from here on panic at once, and from there on later.
    const MISTAKEN: u64 = 3 << 20;
    const MISTAKEN_LATER: u64 = Self::MISTAKEN + (512 << 10);
    const SIZE: u64 = 4 << 20;

    fn new(late: usize) -> Arc<Self> {
        Arc::new(Self {
            late: AtomicUsize::new(late),
            begun: watch::Sender::new(0),
        })
    }

    async fn begun(&self) {
        let mut begun = self.begun.subscribe();
        tokio::time::timeout(PATIENCE, begun.wait_for(|begun| *begun > 0))
            .await
            .expect("a read arrives")
            .unwrap();
    }
}

impl BlockDevice for Late {
    fn size(&self) -> u64 {
        Self::SIZE
    }

    fn read(&self, offset: u64, len: u32) -> DeviceFuture<'_, Vec<Piece>> {
        Box::pin(async move {
            self.begun.send_modify(|begun| *begun += 1);
            match offset {
                Self::MISTAKEN_LATER.. => {
                    tokio::task::yield_now().await;
                    panic!("a later mistake")
                }
                Self::MISTAKEN.. => panic!("a mistake"),
                Self::BROKEN.. => return Err(std::io::Error::other("the store is broken").into()),
                Self::NEVER.. => std::future::pending().await,
                _ => {}
            }
            let one_less = |left: usize| left.checked_sub(1);
            if self
                .late
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                .is_ok()
            {
                return Err(ReadError::Waited {
                    limit: Duration::from_secs(10),
                });
            }
            Ok(vec![Piece::Data(vec![7; len as usize].into())])
        })
    }

    fn runs(&self, _: u64, len: u64) -> DeviceFuture<'_, Vec<Run>> {
        let kind = RunKind::Data;
        Box::pin(async move { Ok(vec![Run { len, kind }]) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_comes_late_comes_and_what_is_broken_is_told() {
    let work = work();
    let device = Late::new(5);
    let mount = mount(&work.path().join("disks"), device.clone()).await;
    let flat = File::open(mount.folder().join("disk-flat.vmdk")).unwrap();
    blocking(move || {
        let mut bytes = [0; 4096];
        flat.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [7; 4096]);
        assert_eq!(errno(flat.read_exact_at(&mut bytes, Late::BROKEN)), Errno::IO);
        for mistaken in [Late::MISTAKEN, Late::MISTAKEN_LATER] {
            assert_eq!(errno(flat.read_exact_at(&mut bytes, mistaken)), Errno::IO);
        }
        flat.read_exact_at(&mut bytes, 8192).expect("the mount goes on");
    })
    .await;
    assert_eq!(device.late.load(Ordering::SeqCst), 0, "it was late five times");
    mount.unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_mount_ends_reads_that_wait() {
    let work = work();
    let device = Late::new(0);
    let mount = mount(&work.path().join("disks"), device.clone()).await;
    let folder = mount.folder().to_owned();
    let flat = File::open(folder.join("disk-flat.vmdk")).unwrap();
    let read = blocking(move || errno(flat.read_exact_at(&mut [0; 512], Late::NEVER)));
    let unmount = async {
        device.begun().await;
        mount.unmount().await.unwrap();
        assert!(names(&folder).is_empty(), "also while a file is open");
    };
    let (error, ()) = tokio::join!(read, unmount);
    assert_eq!(error, Errno::IO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_can_be_killed() {
    let work = work();
    let device = Late::new(0);
    let mount = mount(&work.path().join("disks"), device.clone()).await;
    let folder = mount.folder().to_owned();
    let mut reader = Command::new("tail")
        .args(["-c", &(Late::SIZE - Late::NEVER).to_string()])
        .arg(folder.join("disk-flat.vmdk"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    device.begun().await;
    reader.kill().unwrap();
    let ended = blocking(move || reader.wait().unwrap()).await;
    assert!(!ended.success());
    // The rest goes on: others are not held up by the read that nobody waits for.
    let flat = folder.join("disk-flat.vmdk");
    let start = blocking(move || {
        let mut bytes = [0; 512];
        File::open(flat).unwrap().read_exact_at(&mut bytes, 0).unwrap();
        bytes
    });
    assert_eq!(start.await, [7; 512]);
    mount.unmount().await.unwrap();
    assert!(fs::read_dir(folder).unwrap().next().is_none());
}
