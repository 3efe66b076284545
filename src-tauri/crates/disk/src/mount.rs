//! Disks as a folder of files, for hypervisors that read nothing else: VMware takes a base disk only from a file.
//!
//! # Content
//! Each disk is two files, in the mounted folder itself or in a folder of its own there: [`DESCRIPTOR`], the VMDK
//! descriptor, and [`FLAT`], the device's bytes. Both are read-only. VMware locks a disk by a folder `NAME.lck` beside it,
//! so such folders can be made; what is in them is small, lives in memory only, and goes with the mount.
//!
//! # Reads
//! Data that is not there yet is waited for as long as the mount lives: [`ReadError::Waited`](crate::block::ReadError::Waited)
//! is repeated and never becomes an error of a guest's disk, because nobody could pause the machine here. The end of the
//! mount fails the reads that wait.
//!
//! # Systems
//! On Linux this is FUSE. For macOS an NFS server on the loopback interface is to come, and WinFsp for Windows; until then
//! [`Mount::start`] answers [`MountError::Unsupported`] there, and a complete flat file is used instead.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

use std::{
    collections::BTreeSet,
    fmt, io,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
};

use livepc_format::shown;

#[cfg(target_os = "linux")]
use self::linux as os;
#[cfg(not(target_os = "linux"))]
use self::other as os;
use crate::{block::BlockDevice, vmdk::SECTOR};

/// The name of a disk's VMDK descriptor.
pub const DESCRIPTOR: &str = "disk.vmdk";
/// The name of the file with a disk's bytes.
pub const FLAT: &str = "disk-flat.vmdk";

/// A disk to mount.
#[derive(Clone)]
pub struct MountedDisk {
    /// The folder that its files are in, named as roles are; `None` for the mounted folder itself.
    pub folder: Option<String>,
    /// Its content. Its size must be a multiple of 512 bytes, and not 0.
    pub device: Arc<dyn BlockDevice>,
    /// A digest of its content, which the descriptor's content ID is made of.
    pub identity: [u8; 32],
}

impl fmt::Debug for MountedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountedDisk")
            .field("folder", &self.folder)
            .field("size", &self.device.size())
            .finish_non_exhaustive()
    }
}

impl MountedDisk {
    /// Its sectors, if its size is a number of them.
    fn sectors(&self) -> Option<NonZeroU64> {
        let size = self.device.size();
        size.is_multiple_of(SECTOR)
            .then(|| NonZeroU64::new(size / SECTOR))
            .flatten()
    }
}

/// How to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountOptions {
    /// Threads that take requests from the kernel, 1 to 16. Reads do not occupy one while they wait.
    pub threads: usize,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self { threads: 4 }
    }
}

/// Whether others than the user who mounts can be let in, such as a hypervisor's service that runs as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowOther {
    /// Yes: this process is root's.
    Root,
    /// Yes: the system's administrator allows it.
    Allowed,
    /// No: only the user who mounts can read.
    Denied,
}

/// Whether a mount that this process makes can be read by others. It then always is.
#[must_use]
pub fn allow_other() -> AllowOther {
    os::allow_other()
}

/// Checks that this computer can mount at all, without doing it.
///
/// # Errors
/// What is missing: [`MountError::NoFuse`], [`MountError::NoHelper`] or [`MountError::Unsupported`].
pub fn check() -> Result<(), MountError> {
    os::check()
}

/// Takes away what a process that was killed has left mounted at `folder`. Returns whether there was something.
///
/// # Errors
/// [`MountError::Unmount`] if the system does not do it.
pub fn take_away_dead(folder: &Path) -> Result<bool, MountError> {
    os::take_away_dead(folder)
}

/// Disks that can be read as files. Dropping it unmounts them too.
#[derive(Debug)]
pub struct Mount {
    folder: PathBuf,
    mounted: os::Mounted,
}

impl Mount {
    /// Mounts `disks` at `folder`, which is made if it is not there. When this returns, they can be read. Must be called
    /// within a tokio runtime, which runs the reads for as long as the mount lives.
    ///
    /// What a killed process has left mounted there is taken away first. A folder with something in it is left alone.
    ///
    /// # Errors
    /// What is wrong with the disks, the folder or the system.
    pub async fn start(
        folder: &Path,
        disks: Vec<MountedDisk>,
        options: MountOptions,
    ) -> Result<Self, MountError> {
        check_disks(&disks)?;
        let (folder, mounted) = os::Mounted::start(folder, disks, options).await?;
        Ok(Self { folder, mounted })
    }

    /// The mounted folder, as an absolute path.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until somebody else has unmounted it.
    pub async fn ended(&mut self) {
        self.mounted.ended().await;
    }

    /// Unmounts. The folder is empty afterwards, also if files in it are still open; reads of those fail from then on.
    ///
    /// # Errors
    /// [`MountError::Unmount`] if the system does not do it.
    pub async fn unmount(self) -> Result<(), MountError> {
        self.mounted.unmount().await
    }
}

/// Checks what could be wrong with the disks on any system.
fn check_disks(disks: &[MountedDisk]) -> Result<(), MountError> {
    let mut folders = BTreeSet::new();
    for disk in disks {
        if let Some(name) = &disk.folder
            && livepc_format::text::check_name("mount", "folder", name).is_err()
        {
            return Err(MountError::Name { name: name.clone() });
        }
        if !folders.insert(&disk.folder) {
            return Err(MountError::Twice {
                name: disk.folder.clone().unwrap_or_default(),
            });
        }
        if disk.sectors().is_none() {
            return Err(MountError::Size {
                size: disk.device.size(),
            });
        }
    }
    Ok(())
}

/// Why disks could not be mounted, or not unmounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// There is no way to do it on this system yet.
    #[error(
        "disks cannot be mounted as files on this system yet; download the release and use a complete flat file instead (“livepc export”)"
    )]
    Unsupported,
    /// The folder has something in it.
    #[error("{} is not empty; choose an empty folder, or one that does not exist yet", shown::path(.folder))]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder is no folder.
    #[error("{} is not a folder; choose an empty folder, or one that does not exist yet", shown::path(.folder))]
    NotAFolder {
        /// The path.
        folder: PathBuf,
    },
    /// Something is mounted there.
    #[error("something is mounted at {} already; unmount it, or choose another folder", shown::path(.folder))]
    Mounted {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder cannot be used.
    #[error("the folder {} cannot be used ({source}); choose one that you may write to", shown::path(.folder))]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A disk's folder has a name that is no role's.
    #[error("a disk's folder cannot be called “{}”; use a role's name of a–z, 0–9 and single hyphens", livepc_format::text::line(.name, 60))]
    Name {
        /// The name.
        name: String,
    },
    /// Two disks have the same folder.
    #[error("two disks would be in the same folder “{name}”; give each a folder of its own")]
    Twice {
        /// Its name; empty for the mounted folder itself.
        name: String,
    },
    /// A disk whose size VMDK cannot say.
    #[error("a disk of {size} bytes cannot be mounted; its size must be a multiple of 512 and not 0")]
    Size {
        /// Its size in bytes.
        size: u64,
    },
    /// The kernel's part is missing.
    #[error(
        "/dev/fuse cannot be used ({source}); load the kernel's module with “modprobe fuse”, or ask who runs this computer or container for it"
    )]
    NoFuse {
        /// What the system says.
        source: io::Error,
    },
    /// The program by which a user may mount is missing.
    #[error(
        "“fusermount3” cannot be started ({source}); install it: on Debian and Ubuntu “apt install fuse3”"
    )]
    NoHelper {
        /// What the system says.
        source: io::Error,
    },
    /// The system does not mount it.
    #[error("{} could not be mounted ({why}); look at the folder's permissions, and at “livepc doctor”", shown::path(.folder))]
    Refused {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The session with the kernel could not begin.
    #[error("the FUSE session could not be started ({source}); try again")]
    Session {
        /// What the system says.
        source: io::Error,
    },
    /// The system does not unmount it.
    #[error("{} could not be unmounted ({why}); unmount it with “fusermount3 -u -z”", shown::path(.folder))]
    Unmount {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        why: String,
    },
}
