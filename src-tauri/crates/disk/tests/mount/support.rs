//! Disks to mount, and what tests do with mounted ones.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
    time::Duration,
};

use livepc_disk::{
    block::BlockDevice,
    mount::{Mount, MountOptions, MountedDisk},
    raw_file::RawFile,
};
use tempfile::TempDir;
use tokio::process::Command;

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The size of a disk in bytes: whole sectors, but no whole pages.
pub(crate) const SIZE: u64 = (9 << 20) + 3 * 512;
pub(crate) const IDENTITY: [u8; 32] = [0xc1; 32];

/// Numbers that look random and are the same each time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A disk in a file, a folder to mount it at, and the mount.
pub(crate) struct Mounted {
    pub(crate) work: TempDir,
    pub(crate) mount: Mount,
}

impl Mounted {
    pub(crate) async fn new() -> Self {
        let work = work();
        let device = RawFile::open(source(work.path())).unwrap();
        let mount = mount(&work.path().join("disks"), Arc::new(device)).await;
        Self { work, mount }
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.work.path().join("source.raw")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.mount.folder().join(name)
    }

    pub(crate) async fn end(self) {
        self.mount.unmount().await.unwrap();
    }
}

/// A folder that every user can get into.
pub(crate) fn work() -> TempDir {
    let work = tempfile::tempdir().unwrap();
    std::fs::set_permissions(work.path(), PermissionsExt::from_mode(0o755)).unwrap();
    work
}

/// A raw disk in `folder`: random content with holes.
pub(crate) fn source(folder: &Path) -> PathBuf {
    let path = folder.join("source.raw");
    let file = File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for part in (0..SIZE).step_by(1 << 20) {
        let len = if part == 9 << 20 { 3 * 512 } else { 700_000 };
        let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        file.write_all_at(&bytes, part).unwrap();
    }
    (&file).flush().unwrap();
    path
}

/// Mounts one disk.
pub(crate) async fn mount(folder: &Path, device: Arc<dyn BlockDevice>) -> Mount {
    let disk = MountedDisk {
        folder: None,
        device,
        identity: IDENTITY,
    };
    Mount::start(folder, vec![disk], MountOptions::default())
        .await
        .unwrap()
}

/// Does what blocks where it holds nothing up: the disk that it waits for is served by this very runtime.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work);
    match tokio::time::timeout(PATIENCE, done).await {
        Ok(done) => done.unwrap(),
        Err(_) => panic!("it takes too long"),
    }
}

pub(crate) async fn output(tool: &str, arguments: &[&str]) -> Output {
    let ran = Command::new(tool).args(arguments).kill_on_drop(true).output();
    let ran = tokio::time::timeout(PATIENCE, ran)
        .await
        .expect("the tool ends in time");
    ran.unwrap_or_else(|error| panic!("{tool} must be installed for this test: {error}"))
}

pub(crate) async fn run(tool: &str, arguments: &[&str]) -> String {
    let output = output(tool, arguments).await;
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {words}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What the system said.
#[track_caller]
pub(crate) fn errno<T>(done: std::io::Result<T>) -> rustix::io::Errno {
    let error = done.map(drop).expect_err("it must fail");
    rustix::io::Errno::from_io_error(&error).unwrap()
}
