//! A D-Bus that nobody else is on.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt as _;
use tempfile::TempDir;

/// How long a service may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// It ends when it is dropped.
#[derive(Debug)]
pub struct Bus {
    address: String,
    _work: TempDir,
    _daemon: Ended,
}

impl Bus {
    /// Starts one, on which everybody may have every name.
    #[must_use]
    pub fn new() -> Self {
        let work = tempfile::tempdir().expect("a folder for the bus");
        // Without folders of services nothing is started that is not a part of the test.
        let config = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen>
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
            work.path().join("bus").display()
        );
        let file = work.path().join("bus.conf");
        std::fs::write(&file, config).expect("the bus's configuration is written");
        let (daemon, address) = first_line(
            Command::new("dbus-daemon")
                .arg(format!("--config-file={}", file.display()))
                .args(["--nofork", "--nopidfile", "--print-address=1"]),
            "dbus",
        );
        Self {
            address,
            _work: work,
            _daemon: daemon,
        }
    }

    /// Waits until a service has this name.
    pub fn wait_for(&self, name: &'static str) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let waiting = async {
            let bus = zbus::connection::Builder::address(self.address.as_str())?
                .build()
                .await?;
            let bus = zbus::fdo::DBusProxy::new(&bus).await?;
            // Before it is looked for, so that nothing comes in between.
            let mut changes = bus.receive_name_owner_changed_with_args(&[(0, name)]).await?;
            if !bus.name_has_owner(name.try_into()?).await? {
                changes.next().await;
            }
            zbus::Result::Ok(())
        };
        let waiting = runtime.block_on(async { tokio::time::timeout(PATIENCE, waiting).await });
        waiting
            .unwrap_or_else(|_| panic!("nobody is {name} after {PATIENCE:?}"))
            .expect("the bus answers");
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}

/// A process that is ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program that prints one line when it is ready.
pub(crate) fn first_line(command: &mut Command, package: &str) -> (Ended, String) {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut process = Ended(child.unwrap_or_else(|e| panic!("{name}: {e}; install the package {package}")));
    let mut line = String::new();
    let output = process.0.stdout.take().expect("its output is a pipe");
    let read = BufReader::new(output).read_line(&mut line);
    assert!(read.is_ok_and(|n| n > 0), "{name} ended before it was ready");
    (process, line.trim().to_owned())
}
