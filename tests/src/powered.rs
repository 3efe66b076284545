//! A file system in a file, mounted, whose power can be cut. It takes root.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::home::{kill_at_once, processes_about};

/// See the module.
#[derive(Debug)]
pub struct PoweredVolume {
    folder: TempDir,
    options: &'static str,
    /// How often it was restored: each time it is another file.
    copies: AtomicU32,
}

/// How long processes that were killed may keep a file system busy.
const LEAVING: Duration = Duration::from_secs(20);

impl PoweredVolume {
    /// A file system that `mkfs` makes in a file of `bytes`, which takes only what is written to it; `options` are those of
    /// the mount, beside `loop`.
    #[must_use]
    pub fn new(mkfs: &str, arguments: &[&str], bytes: u64, options: &'static str) -> Self {
        // Where there is memory for it, a flush takes no time.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let volume = Self {
            folder: folder.expect("a folder"),
            options,
            copies: AtomicU32::new(0),
        };
        std::fs::create_dir(volume.path()).expect("a folder");
        let file = File::create(volume.image()).expect("a file");
        file.set_len(bytes).expect("it is sparse");
        run(Command::new(mkfs)
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .args(arguments)
            .arg(volume.image()));
        volume.mount();
        volume
    }

    fn image(&self) -> PathBuf {
        let copies = self.copies.load(Ordering::Relaxed);
        self.folder.path().join(format!("image-{copies}"))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    fn mount(&self) {
        let options = format!(
            "loop{}{}",
            if self.options.is_empty() { "" } else { "," },
            self.options
        );
        run(Command::new("mount")
            .args(["-o", &options])
            .arg(self.image())
            .arg(self.path()));
    }

    /// Writes all that is in memory only.
    pub fn sync(&self) {
        run(Command::new("sync").arg("-f").arg(self.path()));
    }

    /// The power goes: nothing that is in memory only gets to the disk any more, nothing can be read or written, and whoever
    /// works there is killed.
    #[cfg(target_os = "linux")]
    pub fn cut(&self) {
        shutdown(&File::open(self.path()).expect("the mount")).expect("the file system is shut down");
        let until = Instant::now() + LEAVING;
        loop {
            let all = processes_about(&self.path());
            if all.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "they live on: {all:?}");
            kill_at_once(&all);
        }
    }

    /// The power is back. Nobody may have a file open on it, or is about to be gone.
    pub fn restore(&self) {
        let until = Instant::now() + LEAVING;
        loop {
            let output = Command::new("umount")
                .arg(self.path())
                .output()
                .expect("umount runs");
            if output.status.success() {
                break;
            }
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(Instant::now() < until, "it stays busy: {said}");
            // A process that was killed makes no event when it is gone.
            std::thread::sleep(Duration::from_millis(10));
        }
        // A copy: another test's mount name space may still have the mount, and would lend the file system that has been shut
        // down to who mounts the same file again.
        let before = self.image();
        self.copies.fetch_add(1, Ordering::Relaxed);
        run(Command::new("cp")
            .arg("--sparse=always")
            .arg(&before)
            .arg(self.image()));
        std::fs::remove_file(before).expect("it was there");
        self.mount();
    }
}

impl Drop for PoweredVolume {
    fn drop(&mut self) {
        // Whoever still has a file open there does not keep it.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// Shuts a file system down, ext4 or XFS, without flushing even its journal.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn shutdown(mount: &File) -> std::io::Result<()> {
    use rustix::ioctl::{Setter, ioctl, opcode};
    // `EXT4_IOC_SHUTDOWN`, and `XFS_IOC_GOINGDOWN`, which is the same; the kernel's headers have it as reading.
    const SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
    const NO_LOG_FLUSH: u32 = 2;
    // SAFETY: the request reads a number of 32 bits and writes nothing to this process.
    Ok(unsafe { ioctl(mount, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }?)
}

fn run(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
