//! Starting the program, up to the point where its monitor answers.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::qmp::{Event, Qmp, QmpError};
use crate::HypervisorError;
use crate::messages::Messages;
use crate::os::{self, Leash, Monitor};

/// Events that wait for who reads them.
const EVENTS: usize = 64;

/// A QEMU whose monitor answers. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) child: Child,
    pub(super) leash: Leash,
    pub(super) qmp: Qmp,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) messages: Messages,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Failure {
    /// It ended; the last lines that it said, and the signal that ended it, if one did.
    Exited(Vec<String>, Option<i32>),
    /// It did not answer in time; the last lines that it said.
    Silent(Vec<String>),
    /// Something around it failed.
    Other(HypervisorError),
}

impl From<HypervisorError> for Failure {
    fn from(error: HypervisorError) -> Self {
        Self::Other(error)
    }
}

/// How it is started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    pub(super) program: &'a Path,
    /// The folder that it runs in.
    pub(super) run_dir: &'a Path,
    /// Where its messages go.
    pub(super) log: Option<&'a Path>,
    /// How long it has to answer.
    pub(super) time: Duration,
    /// What it finds in its environment besides what this process does.
    pub(super) environment: &'a [(&'a str, &'a str)],
}

/// Starts QEMU with the arguments that `arguments` makes for a monitor's backend, and connects to that monitor.
pub(super) async fn launch(
    start: Start<'_>,
    arguments: impl FnOnce(String) -> Result<Vec<String>, HypervisorError>,
) -> Result<Launched, Failure> {
    let Start {
        program,
        run_dir,
        log,
        time,
        environment,
    } = start;
    let monitor = Monitor::listen(run_dir)?;
    let mut command = Command::new(program);
    command
        .args(arguments(monitor.backend())?)
        .current_dir(run_dir)
        .envs(environment.iter().copied())
        .kill_on_drop(true);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    os::detach(&mut command);
    os::outlast(&mut command);
    let mut child = command
        .spawn()
        .map_err(HypervisorError::file("starting", program))?;
    let leash = Leash::on(&child).map_err(HypervisorError::file("guarding", program))?;
    let said = child.stderr.take().ok_or_else(|| no_pipe(program))?;
    let messages = Messages::read(said, log)?;

    let (sender, events) = mpsc::channel(EVENTS);
    let connect = async {
        let connection = monitor.accept().await?;
        Qmp::connect(connection, sender).await
    };
    let connected = tokio::select! {
        connected = timeout(time, connect) => connected,
        exit = child.wait() => return Err(ended(messages.at_end().await, signal_of(exit))),
    };
    match connected {
        Ok(Ok(qmp)) => Ok(Launched {
            child,
            leash,
            qmp,
            events,
            messages,
        }),
        // It ends: what for, it says on its standard error.
        Ok(Err(error)) => {
            let exit = timeout(Duration::from_secs(5), child.wait()).await;
            if exit.is_err() {
                tracing::warn!(%error, "QEMU does not end though its monitor has");
                let _ = child.start_kill();
            }
            let signal = exit.ok().and_then(signal_of);
            let mut lines = messages.at_end().await;
            if lines.is_empty() && !matches!(error, QmpError::Closed) {
                lines.push(error.to_string());
            }
            Err(ended(lines, signal))
        }
        Err(_) => {
            let _ = child.kill().await;
            Err(Failure::Silent(messages.at_end().await))
        }
    }
}

/// What a signal has ended may have said nothing else of it.
fn ended(mut lines: Vec<String>, signal: Option<i32>) -> Failure {
    if let Some(signal) = signal {
        lines.insert(0, format!("it was ended by {}", os::name_of_signal(signal)));
    }
    Failure::Exited(lines, signal)
}

fn signal_of(exit: std::io::Result<std::process::ExitStatus>) -> Option<i32> {
    exit.ok().as_ref().and_then(os::signal_of)
}

/// Impossible: the command asks for the pipe.
fn no_pipe(program: &Path) -> HypervisorError {
    HypervisorError::file("reading from", program)(std::io::ErrorKind::BrokenPipe.into())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named_if_nothing_else_was_said() {
        let lines =
            |said: &[&str], signal| match ended(said.iter().map(ToString::to_string).collect(), signal) {
                Failure::Exited(lines, _) => lines,
                other => panic!("{other:?}"),
            };
        let told = |lines: Vec<String>| {
            super::super::explain::failed_start(Path::new("/qemu"), &lines, 0).to_string()
        };
        let silent = told(lines(&[], Some(11)));
        assert!(silent.contains("ended by the signal SIGSEGV"), "{silent}");
        let asserted = told(lines(&["qemu: ../x.c:1: f: Assertion `y' failed."], Some(6)));
        assert!(asserted.contains("SIGABRT"), "{asserted}");
        let spoken = told(lines(&["qemu: cannot do that"], Some(6)));
        assert!(spoken.contains("cannot do that"), "{spoken}");
        let alone = told(lines(&[], None));
        assert!(alone.contains("without a word"), "{alone}");
    }
}
