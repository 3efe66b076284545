//! A keyring (GNOME's Secret Service) on a bus of its own, with passwords that go away with it.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::bus::Bus;

/// It ends when it is dropped.
#[derive(Debug)]
pub struct Keyring {
    daemon: Child,
    _work: TempDir,
    bus: Bus,
}

impl Keyring {
    /// Starts one that is unlocked.
    #[must_use]
    pub fn new() -> Self {
        let (bus, work) = (Bus::new(), tempfile::tempdir().expect("a folder for the keyring"));
        let mut daemon = Command::new("gnome-keyring-daemon")
            .args(["--foreground", "--unlock", "--components=secrets"])
            .env("DBUS_SESSION_BUS_ADDRESS", bus.address())
            .env("HOME", work.path())
            .env("XDG_DATA_HOME", work.path())
            .env("XDG_RUNTIME_DIR", work.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the keyring starts: install the package gnome-keyring");
        // The end of the input is the end of the password.
        let mut password = daemon.stdin.take().expect("its input is a pipe");
        password.write_all(b"unlocked").expect("the keyring reads");
        drop(password);
        let keyring = Self {
            daemon,
            _work: work,
            bus,
        };
        keyring.bus.wait_for("org.freedesktop.secrets");
        keyring
    }

    /// The address of its bus.
    #[must_use]
    pub fn address(&self) -> &str {
        self.bus.address()
    }
}

impl Default for Keyring {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
