//! VMware Player without `vmrun`: a process that shows a machine in a window, and ends with it. It takes no orders.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::left::{self, Left};
use super::watch::{Asked, Place, end_of_log};
use super::{VMX_FILE, explain};
use crate::messages::Messages;
use crate::os::{self, Leash, PlayerLock};
use crate::running::Driver;
use crate::{BoxFuture, HypervisorError, MachineEvent, Result, Running, Status};

/// How often VMware's log is looked into for the guest's first step: it makes no event.
const LOOK: Duration = Duration::from_millis(200);
/// How long the program has to end when it is asked to, before it is forced.
const GRACE: Duration = Duration::from_secs(10);
/// VMware's log has lines of the guest's first processor as soon as it executes.
const EXECUTES: &str = "vcpu-0";

/// Starts the machine in `place`, and returns when its guest executes. `log` takes what the program says; `memory`: bytes
/// of the machine's.
pub(super) async fn start(
    program: &Path,
    place: Place,
    log: &Path,
    memory: u64,
    limit: Duration,
) -> Result<Running> {
    let lock = PlayerLock::take(&place.folder)?;
    let mut command = Command::new(program);
    command
        .arg(place.folder.join(VMX_FILE))
        .current_dir(&place.folder)
        .stdin(lock.into_stdin())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    os::detach(&mut command);
    let starting = HypervisorError::file("starting", program);
    let mut child = command.spawn().map_err(starting)?;
    // It holds a handle to what the child holds.
    drop(command);
    let leash = Leash::on(&child).map_err(HypervisorError::file("guarding", program))?;
    let running = async {
        Left::Vmplayer {
            pid: child.id().unwrap_or_default(),
        }
        .write(&place.folder)?;
        let said = child.stderr.take();
        let said = said.ok_or_else(|| {
            HypervisorError::file("reading from", program)(std::io::ErrorKind::BrokenPipe.into())
        })?;
        let messages = Messages::read(said, Some(log))?;
        tokio::select! {
            executes = timeout(limit, executes(&place.folder)) => match executes {
                Ok(()) => Ok(messages),
                Err(_) => Err(HypervisorError::NoAnswer { asked: "start", seconds: limit.as_secs() }),
            },
            _ = child.wait() => {
                let said = messages.at_end().await.join("\n");
                let all = if said.is_empty() { end_of_log(&place.folder) } else { said };
                Err(explain::failed_start(&all, program, memory))
            }
        }
    };
    let messages = match running.await {
        Ok(messages) => messages,
        Err(error) => {
            end(&mut child).await;
            let_go(leash);
            left::clear(&place.folder);
            return Err(error);
        }
    };
    Ok(watch(child, leash, messages, place))
}

async fn executes(folder: &Path) {
    while !end_of_log(folder).contains(EXECUTES) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Ends the program and all that it has started.
async fn end(child: &mut Child) {
    os::end_group(child, false);
    if timeout(GRACE, child.wait()).await.is_err() {
        os::end_group(child, true);
        let _ = child.kill().await;
    }
}

/// What is still there of what the program has started ends now, where the system can do that.
fn let_go(_leash: Leash) {}

fn watch(mut child: Child, leash: Leash, messages: Messages, place: Place) -> Running {
    let (events, receiver) = mpsc::unbounded_channel();
    let (status, watched) = watch::channel(Status::Running);
    let _ = events.send(MachineEvent::Started);
    let shared = Arc::new(Handle {
        status: watched.clone(),
        asked: Asked::default(),
        quit: Notify::new(),
    });
    let handle = shared.clone();
    tokio::spawn(async move {
        let exit_code = tokio::select! {
            exit = child.wait() => exit.ok().and_then(|exit| exit.code()),
            () = shared.quit.notified() => {
                end(&mut child).await;
                None
            }
        };
        let_go(leash);
        let mut ended = place.ended(&shared.asked, exit_code);
        ended.last_lines.extend(messages.at_end().await);
        tracing::info!(?ended, "VMware Player has ended");
        left::clear(&place.folder);
        status.send_replace(Status::Ended(ended.clone()));
        let _ = events.send(MachineEvent::Ended(ended));
    });
    Running::new(handle, receiver, watched)
}

/// What a [`Control`](crate::Control) reaches.
#[derive(Debug)]
struct Handle {
    status: watch::Receiver<Status>,
    asked: Asked,
    quit: Notify,
}

impl Handle {
    fn check_runs(&self) -> Result<()> {
        match *self.status.borrow() {
            Status::Ended(_) => Err(HypervisorError::Ended),
            _ => Ok(()),
        }
    }

    fn refuse(&self, asked: &'static str, instead: &'static str) -> Result<()> {
        self.check_runs()?;
        Err(HypervisorError::NoSuchOrder {
            asked,
            why: format!("VMware Player takes no orders from other programs; {instead}"),
        })
    }
}

impl Driver for Handle {
    fn powerdown(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.refuse("shut down", "shut the guest down inside its window") })
    }

    fn resume(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.check_runs() })
    }

    fn suspend(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.refuse("suspend", "suspend it or shut the guest down inside its window") })
    }

    fn quit(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.check_runs()?;
            self.asked.quit.store(true, Ordering::SeqCst);
            self.quit.notify_one();
            let mut status = self.status.clone();
            let _ = status.wait_for(|status| matches!(status, Status::Ended(_))).await;
            Ok(())
        })
    }
}
