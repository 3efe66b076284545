//! Where the holder of a lock listens: it writes that down in the home, beside the lock. It counts as long as the lock is
//! held.

use std::io;
use std::path::{Path, PathBuf};

use livepc_durable::Readers;
use serde::{Deserialize, Serialize};

use crate::process;
use crate::socket::{self, Stream};
use crate::{Home, Problem};

/// The file is longer than this only if it is something else.
const MOST: u64 = 4096;

/// Where an agent or a runner is found.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    home: Home,
    /// The machine, if it is a runner.
    id: Option<String>,
}

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    /// The socket's path, which begins in the home if it lies there; on Windows the pipe's name.
    address: String,
    /// The computer; several may have the home at once, over a network.
    computer: String,
    /// The process, for people who look for it.
    process: u32,
    /// Its version of LivePC.
    version: String,
}

impl Home {
    /// Where the agent is found.
    #[must_use]
    pub fn agent_whereabouts(&self) -> Whereabouts {
        Whereabouts {
            home: self.clone(),
            id: None,
        }
    }

    /// Where the runner of a machine is found.
    #[must_use]
    pub fn runner_whereabouts(&self, id: &str) -> Whereabouts {
        Whereabouts {
            home: self.clone(),
            id: Some(id.to_owned()),
        }
    }
}

impl Whereabouts {
    /// Connects to who is there.
    ///
    /// # Errors
    /// What the system says; also if another user is there.
    pub async fn connect(&self) -> io::Result<Stream> {
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for address in self.addresses() {
            match socket::connect(&address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// What the holder of the lock wrote about itself: its process, its version, and the computer if that is another one.
    #[must_use]
    pub fn of_whom(&self) -> Option<String> {
        let written = self.read()?;
        let process = format!("process {} of LivePC {}", written.process, written.version);
        Some(match written.computer == computer() {
            true => process,
            false => format!("{process} on the computer “{}”", written.computer),
        })
    }

    /// Ends its process at once. Only for who knows that it holds its lock: else the number may be of another process by now.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::NotFound`] if it has not said which process it is, or is on another computer or in
    /// a container, which has numbers of its own.
    pub async fn end_process(&self) -> io::Result<()> {
        let elsewhere = || io::Error::from(io::ErrorKind::NotFound);
        let written = self.read().filter(|written| written.computer == computer());
        let process = written.ok_or_else(elsewhere)?.process;
        // Who listens is connected to also if it hangs.
        match socket::process_of(&self.connect().await?)? {
            Some(listens) if listens != process => Err(elsewhere()),
            _ => process::end(process),
        }
    }

    /// True if somebody has written down where it is.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.read().is_some()
    }

    /// Where it may be: where it said, and where one of an earlier version is.
    fn addresses(&self) -> Vec<PathBuf> {
        let told = self.read().map(|written| self.home.root().join(written.address));
        let earlier = match &self.id {
            None => self.home.earlier_sockets().map(|folder| folder.join("agent")),
            Some(id) => self
                .home
                .earlier_machine_sockets(id)
                .map(|folder| folder.join("runner")),
        };
        told.into_iter().chain(earlier).collect()
    }

    fn read(&self) -> Option<Written> {
        let bytes = livepc_durable::read(&self.file(), MOST).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// An address for a socket that it opens now.
    pub(crate) fn new_address(&self) -> Result<PathBuf, Problem> {
        let wanted = match &self.id {
            None => self.home.sockets()?.join("agent"),
            Some(id) => self.home.machine_sockets(id)?.join("runner"),
        };
        socket::address(wanted).map_err(|e| Problem::io("A name for the socket cannot be made", &e))
    }

    /// Writes down where the holder of the lock listens.
    pub(crate) fn write(&self, address: &Path) -> Result<(), Problem> {
        let failed = |e| Problem::io(&format!("{} cannot be written", self.file().display()), &e);
        let written = Written {
            address: self.told(address),
            computer: computer(),
            process: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
        };
        let bytes = serde_json::to_vec(&written).map_err(|e| failed(e.into()))?;
        livepc_durable::write(&self.file(), Readers::User, &bytes).map_err(failed)
    }

    /// Sees to it that it is written that the holder of the lock listens there. False if that cannot be.
    pub(crate) fn say(&self, address: &Path) -> bool {
        let told = self.told(address);
        self.read().is_some_and(|written| written.address == told) || self.write(address).is_ok()
    }

    /// Takes back what was written, unless somebody else has written since.
    pub(crate) fn forget(&self, address: &Path) {
        if self
            .read()
            .is_some_and(|written| written.address == self.told(address))
        {
            // Without a lock it says nothing.
            let _ = std::fs::remove_file(self.file());
        }
    }

    /// A home may be seen under several names, as from inside of a container.
    fn told(&self, address: &Path) -> String {
        let inside = address.strip_prefix(self.home.root()).unwrap_or(address);
        inside.to_string_lossy().into_owned()
    }

    fn file(&self) -> PathBuf {
        let lock = match &self.id {
            None => self.home.agent_lock(),
            Some(id) => self.home.runner_lock(id),
        };
        lock.with_extension("at")
    }
}

#[cfg(unix)]
fn computer() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(windows)]
fn computer() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}
