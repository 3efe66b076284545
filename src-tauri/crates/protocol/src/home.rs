//! Where everything of one user lies.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};

use crate::{Code, Problem};

/// A LivePC home: state, store, machines, keys and logs. Two homes know nothing of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// The home in `root`; it is made, readable by the user alone, if it is not there.
    pub fn open(root: &Path) -> Result<Self, Problem> {
        private_folder(root)?;
        let root = std::fs::canonicalize(root)
            .map_err(|e| Problem::io(&format!("Cannot open the folder {}", root.display()), &e))?;
        Ok(Self { root })
    }

    /// The user's own home: `LIVEPC_HOME` if it is set, else `livepc` in the platform's folder for applications' data.
    pub fn default_for_user() -> Result<Self, Problem> {
        if let Some(root) = std::env::var_os("LIVEPC_HOME").filter(|v| !v.is_empty()) {
            return Self::open(Path::new(&root));
        }
        let base = etcetera::choose_base_strategy().map_err(|e| {
            Problem::new(
                Code::Failed,
                format!("Your home folder cannot be found: {e}."),
                "Set LIVEPC_HOME.",
            )
        })?;
        Self::open(&base.data_dir().join("livepc"))
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The state database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.root.join("state.db")
    }

    /// The name of the file with what a person has not been told yet of the state: that it was damaged, and made again. Who
    /// tells it removes it.
    pub const NOTICE: &str = "state-notice.txt";

    /// The log files.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The publisher's keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// Passwords for servers, where there is no keyring to keep them.
    #[must_use]
    pub fn passwords(&self) -> PathBuf {
        self.root.join("passwords.json")
    }

    /// Copies of the `livepc` program that agents and runners run from.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// What belongs to the machine of one LivePC: its overlay and own disks.
    #[must_use]
    pub fn machine(&self, id: &str) -> PathBuf {
        self.root.join("machines").join(id)
    }

    /// Where the bases of a machine's disks are files, for hypervisors that read nothing else: mounted while it runs, or
    /// copied. Nothing of it is the user's own.
    #[must_use]
    pub fn bases(&self, id: &str) -> PathBuf {
        self.root.join("bases").join(id)
    }

    /// The lock that the agent holds.
    #[must_use]
    pub fn agent_lock(&self) -> PathBuf {
        self.root.join("agent.lock")
    }

    /// The lock that a machine's runner holds.
    #[must_use]
    pub fn runner_lock(&self, id: &str) -> PathBuf {
        self.machine(id).join("runner.lock")
    }

    /// A short private folder for sockets, which may have paths of about 100 bytes only.
    pub fn sockets(&self) -> Result<PathBuf, Problem> {
        let base = socket_base();
        // It too: who owns a folder can put another one in the place of what is in it.
        private_folder(&base)?;
        let folder = base.join(self.tag());
        private_folder(&folder)?;
        Ok(folder)
    }

    /// The name of the agent's socket.
    pub fn agent_socket(&self) -> Result<PathBuf, Problem> {
        Ok(self.sockets()?.join("agent"))
    }

    /// The name of a runner's socket.
    pub fn runner_socket(&self, id: &str) -> Result<PathBuf, Problem> {
        Ok(self.machine_sockets(id)?.join("runner"))
    }

    /// A private folder for the sockets of one machine.
    pub fn machine_sockets(&self, id: &str) -> Result<PathBuf, Problem> {
        let tag = HEXLOWER.encode(&Sha256::digest(id.as_bytes())[..6]);
        let folder = self.sockets()?.join(tag);
        private_folder(&folder)?;
        Ok(folder)
    }

    /// Twelve digits that tell this home's sockets from another's.
    fn tag(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.root.as_os_str().as_encoded_bytes())[..6])
    }
}

#[cfg(unix)]
fn socket_base() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute());
    match runtime {
        Some(folder) if folder.as_os_str().len() < 50 => folder.join("livepc"),
        _ => PathBuf::from(format!("/tmp/livepc-{}", rustix::process::getuid().as_raw())),
    }
}

#[cfg(windows)]
fn socket_base() -> PathBuf {
    // Named pipes have a name space of their own; the folder only holds what needs a path.
    std::env::temp_dir().join("livepc")
}

/// Makes a folder that only the user can enter, if it is not there, and refuses one that is somebody else's.
pub fn private_folder(folder: &Path) -> Result<(), Problem> {
    make_private(folder).map_err(|e| {
        Problem::io(
            &format!("Cannot make the private folder {}", folder.display()),
            &e,
        )
    })
}

/// Makes a folder that only the user can enter, and refuses one that belongs to somebody else.
#[cfg(unix)]
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let found = std::fs::metadata(folder)?;
    if found.uid() != rustix::process::getuid().as_raw() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::PermissionDenied,
            "it belongs to another user; remove it or choose another home",
        ));
    }
    if found.mode() & 0o077 != 0 {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The user's own folders are private by inheritance on Windows.
#[cfg(windows)]
fn make_private(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}
