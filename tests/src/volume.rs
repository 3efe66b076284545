//! A file system of its own in a file, mounted. It takes root.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// See the module.
#[derive(Debug)]
pub struct Volume {
    folder: TempDir,
    device: Option<String>,
}

impl Volume {
    /// A file system that the kernel knows, of 2 GiB, made by `mkfs` with `options`.
    #[must_use]
    pub fn new(mkfs: &str, options: &[&str]) -> Self {
        Self::made(mkfs, options, 2 << 30, |device, mount| {
            let mut command = Command::new("mount");
            command.arg(device).arg(mount);
            command
        })
    }

    /// An exFAT as FUSE has it: without links, modes and sockets.
    #[must_use]
    pub fn exfat() -> Self {
        Self::made("mkfs.exfat", &[], 1 << 30, |device, mount| {
            let mut command = Command::new("mount.exfat-fuse");
            command.arg(device).arg(mount);
            command
        })
    }

    /// An NTFS as FUSE has it: everything is everybody's.
    #[must_use]
    pub fn ntfs() -> Self {
        Self::made("mkntfs", &["-q", "-F"], 1 << 30, |device, mount| {
            let mut command = Command::new("ntfs-3g");
            command.arg(device).arg(mount);
            command
        })
    }

    fn made(mkfs: &str, options: &[&str], size: u64, mount: impl Fn(&str, &Path) -> Command) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (image, place) = (folder.path().join("image"), folder.path().join("mount"));
        std::fs::create_dir(&place).expect("a folder");
        let file = std::fs::File::create(&image).expect("a file");
        file.set_len(size).expect("it is sparse");
        run(Command::new(mkfs)
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .args(options)
            .arg(&image));
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&image));
        let device = device.trim().to_owned();
        let volume = Self {
            folder,
            device: Some(device.clone()),
        };
        run(mount(&device, &place).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin"));
        volume
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    /// Bytes that are used, when all that was written has its place.
    #[must_use]
    pub fn used(&self) -> u64 {
        run(Command::new("sync").arg("-f").arg(self.path()));
        let text = run(Command::new("df").args(["-B1", "--output=used"]).arg(self.path()));
        let used = text.lines().nth(1).and_then(|line| line.trim().parse().ok());
        used.expect("a number")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Whoever still has a file open there does not keep it.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if let Some(device) = &self.device {
            let _ = Command::new("losetup").arg("--detach").arg(device).status();
        }
    }
}

/// Runs a command, which must succeed; gives what it says.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
