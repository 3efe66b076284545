//! VMware's program for starting, stopping and suspending machines. Each call has a time limit.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::explain::complaint;
use super::find::Product;
use crate::{Display, HypervisorError, Result, os};

/// Bytes of what a program says that are read; the rest is thrown away.
const SAID: u64 = 64 << 10;
/// How long the list of machines may take.
const LIST: Duration = Duration::from_secs(20);

/// Why a call did not do what it should.
#[derive(Debug)]
pub(super) enum Failure {
    /// It ended with an error, having said this.
    Said(String),
    /// It did not end in time, and was killed.
    Late,
    /// It could not be started or read.
    Io(io::Error),
}

/// Runs a program and gives what it says.
pub(super) async fn ask(program: &Path, arguments: &[&str], limit: Duration) -> Result<String, Failure> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    os::detach(&mut command);
    let mut child = command.spawn().map_err(Failure::Io)?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let asked = async {
        // What it starts may hold its outputs for as long as a machine runs: its own end is what counts.
        let reading = tokio::spawn(async move {
            let (output, errors) = tokio::join!(read(output), read(errors));
            output + &errors
        });
        let status = child.wait().await?;
        let said = timeout(Duration::from_secs(1), reading).await;
        let said = said.map_or_else(|_| String::new(), Result::unwrap_or_default);
        Ok::<_, io::Error>((said, status))
    };
    match timeout(limit, asked).await {
        Ok(Ok((said, status))) if status.success() => Ok(said),
        Ok(Ok((said, _))) => Err(Failure::Said(said)),
        Ok(Err(error)) => Err(Failure::Io(error)),
        Err(_) => {
            let _ = child.kill().await;
            Err(Failure::Late)
        }
    }
}

async fn read(source: Option<impl AsyncRead + Unpin>) -> String {
    let mut said = Vec::new();
    if let Some(mut source) = source {
        let _ = (&mut source).take(SAID).read_to_end(&mut said).await;
        let _ = tokio::io::copy(&mut source, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// `vmrun` for one machine.
#[derive(Clone, Debug)]
pub(super) struct Vmrun {
    pub(super) program: PathBuf,
    pub(super) product: Product,
    /// The machine's configuration.
    pub(super) vmx: PathBuf,
}

impl Vmrun {
    async fn run(&self, verb: &str, option: &str, limit: Duration) -> Result<String, Failure> {
        let vmx = self.vmx.to_string_lossy();
        let arguments = ["-T", self.product.host_type(), verb, &vmx, option];
        tracing::debug!(verb, option, "vmrun");
        ask(&self.program, &arguments, limit).await
    }

    /// Returns when the guest executes.
    pub(super) async fn start(&self, display: Display, limit: Duration) -> Result<String, Failure> {
        let window = match display {
            Display::Window => "gui",
            Display::None => "nogui",
        };
        self.run("start", window, limit).await
    }

    /// Returns when the guest has shut down.
    pub(super) async fn shut_down(&self, limit: Duration) -> Result<(), HypervisorError> {
        let done = self.run("stop", "soft", limit).await;
        self.told("shut down", limit, done)
    }

    /// Switches the machine off.
    pub(super) async fn switch_off(&self, limit: Duration) -> Result<(), HypervisorError> {
        let done = self.run("stop", "hard", limit).await;
        self.told("switch off", limit, done)
    }

    /// Returns when the state is saved. Hard: a soft one runs scripts in the guest, which takes its network away.
    pub(super) async fn suspend(&self, limit: Duration) -> Result<(), HypervisorError> {
        let done = self.run("suspend", "hard", limit).await;
        self.told("suspend", limit, done)
    }

    /// Whether the machine runs.
    pub(super) async fn runs(&self) -> Result<bool, HypervisorError> {
        let asked = ask(&self.program, &["-T", self.product.host_type(), "list"], LIST).await;
        match asked {
            Ok(said) => Ok(is_listed(&said, &self.vmx)),
            Err(failure) => self.told("list", LIST, Err(failure)).map(|()| false),
        }
    }

    fn told(
        &self,
        asked: &'static str,
        limit: Duration,
        done: Result<String, Failure>,
    ) -> Result<(), HypervisorError> {
        match done {
            Ok(_) => Ok(()),
            Err(Failure::Said(said)) if is_off(&said) => Err(HypervisorError::Ended),
            Err(Failure::Said(said)) => {
                let why = complaint(&said);
                let hint = if said.to_lowercase().contains("tools") {
                    "; shut the guest down inside its window, or install open-vm-tools in it"
                } else {
                    ""
                };
                Err(HypervisorError::Refused {
                    asked,
                    why: format!("{why}{hint}"),
                })
            }
            Err(Failure::Late) => Err(HypervisorError::NoAnswer {
                asked,
                seconds: limit.as_secs(),
            }),
            Err(Failure::Io(error)) => Err(HypervisorError::file("starting", &self.program)(error)),
        }
    }
}

/// Whether a message says that there is nothing to do it to.
fn is_off(said: &str) -> bool {
    said.to_lowercase().contains("is not powered on")
}

/// Whether `vmrun list` names a configuration: after a line with a count, one path on each line.
fn is_listed(said: &str, vmx: &Path) -> bool {
    let same = |line: &str| {
        let listed = Path::new(line.trim());
        let known = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        known(listed) == known(vmx)
            || (cfg!(windows) && line.trim().eq_ignore_ascii_case(&vmx.to_string_lossy()))
    };
    said.lines()
        .filter(|line| !line.starts_with("Total running VMs"))
        .any(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_a_machine_or_not() {
        let list = "Total running VMs: 2\n/a/machine.vmx\n/b/machine.vmx\n";
        assert!(is_listed(list, Path::new("/b/machine.vmx")));
        assert!(!is_listed(list, Path::new("/c/machine.vmx")));
        assert!(!is_listed("Total running VMs: 0\n", Path::new("/a/machine.vmx")));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_program_that_does_not_end_is_killed_and_one_that_fails_is_heard() {
        let sh = Path::new("/bin/sh");
        let late = ask(sh, &["-c", "exec sleep 1000"], Duration::from_millis(100)).await;
        assert!(matches!(late, Err(Failure::Late)), "{late:?}");
        let said = ask(sh, &["-c", "echo 'Error: no'; exit 255"], Duration::from_secs(10)).await;
        assert!(
            matches!(&said, Err(Failure::Said(said)) if said == "Error: no\n"),
            "{said:?}"
        );
        let gone = ask(Path::new("/nowhere/vmrun"), &[], Duration::from_secs(10)).await;
        assert!(matches!(gone, Err(Failure::Io(_))), "{gone:?}");
    }
}
