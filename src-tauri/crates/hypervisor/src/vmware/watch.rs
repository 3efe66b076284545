//! How a machine of VMware ended, and watching one that `vmrun` started.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::time::timeout;

use super::state::{self, Saved};
use super::vmrun::Vmrun;
use super::{LOG_FILE, left};
use crate::running::Driver;
use crate::{BoxFuture, End, Ended, HypervisorError, MachineEvent, Result, Running, Status};

/// How often VMware is asked whether a machine runs: it makes no event of an end.
const LOOK: Duration = Duration::from_secs(1);
/// How long `vmrun stop … soft` may wait for a guest to shut down.
const SHUT_DOWN: Duration = Duration::from_secs(30 * 60);
/// How long it has to refuse, if it does not know how to tell the guest.
const REFUSE: Duration = Duration::from_secs(5);
/// How long saving a machine's state may take: its memory is written to a disk that may be busy.
const SUSPEND: Duration = Duration::from_secs(30 * 60);
/// How long switching a machine off may take.
const SWITCH_OFF: Duration = Duration::from_secs(60);
/// Bytes at the end of VMware's log that tell how a machine ended.
const LOG_END: u64 = 64 << 10;
/// Lines of it that are told.
const LINES: usize = 20;

/// VMware's log says so when the guest switches its machine off by ACPI.
const BY_GUEST: &str = "PM Soft Off";
/// VMware's log has one of these when VMware failed, in small letters.
const FAILED: [&str; 3] = ["unrecoverable error", "panic:", "exiting because of failed"];
/// VMware's log has one of these when a machine was switched off in order, in small letters.
const IN_ORDER: [&str; 2] = ["vmx exit (0)", "vmx has left the building: 0"];

/// Where a machine is, and what was there when it started.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// The state that it went on from, which is not one that it has saved.
    pub(super) before: Option<Saved>,
}

/// What was asked of a machine, by which its end is told from others.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// It shall be switched off.
    pub(super) quit: AtomicBool,
    /// VMware has said that the guest shut down.
    pub(super) shut_down: AtomicBool,
}

impl Place {
    /// How the machine ended.
    pub(super) fn ended(&self, asked: &Asked, exit_code: Option<i32>) -> Ended {
        let log = end_of_log(&self.folder);
        let suspended = state::saved(&self.folder).is_some_and(|saved| Some(saved) != self.before);
        let end = if suspended {
            End::Suspended
        } else {
            told_by(&log, asked)
        };
        let lines: Vec<_> = log
            .lines()
            .map(|line| line.chars().filter(|c| !c.is_control()).take(500).collect())
            .filter(|line: &String| !line.is_empty())
            .collect();
        Ended {
            end,
            exit_code,
            signal: None,
            last_lines: lines[lines.len().saturating_sub(LINES)..].to_vec(),
        }
    }
}

/// What VMware's log tells of an end, and what was asked.
fn told_by(log: &str, asked: &Asked) -> End {
    let small = log.to_lowercase();
    let has = |signs: &[&str]| signs.iter().any(|sign| small.contains(sign));
    if log.contains(BY_GUEST) {
        End::Guest
    } else if has(&FAILED) {
        End::Crashed
    } else if asked.shut_down.load(Ordering::SeqCst) {
        End::Guest
    } else if asked.quit.load(Ordering::SeqCst) || has(&IN_ORDER) {
        End::Quit
    } else {
        End::Crashed
    }
}

/// The end of VMware's log in a machine's folder; nothing if there is none.
pub(super) fn end_of_log(folder: &Path) -> String {
    let read = || {
        let mut file = File::open(folder.join(LOG_FILE))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_END)))?;
        let mut end = Vec::new();
        file.take(LOG_END).read_to_end(&mut end)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&end).into_owned())
    };
    read().unwrap_or_default()
}

/// Watches a machine that `vmrun` has started.
pub(super) fn watch(vmrun: Vmrun, place: Place) -> Running {
    let (events, receiver) = mpsc::unbounded_channel();
    let (status, watched) = watch::channel(Status::Running);
    let _ = events.send(MachineEvent::Started);
    let shared = Arc::new(Shared {
        vmrun,
        events: events.downgrade(),
        status: watched.clone(),
        asked: Asked::default(),
        pressing: AtomicBool::new(false),
        busy: Mutex::new(()),
        look: Notify::new(),
    });
    tokio::spawn(look(shared.clone(), place, status, events));
    Running::new(Arc::new(Handle(shared)), receiver, watched)
}

#[derive(Debug)]
struct Shared {
    vmrun: Vmrun,
    /// The events end with the task that watches the machine, and not with who may ask it for things.
    events: mpsc::WeakUnboundedSender<MachineEvent>,
    status: watch::Receiver<Status>,
    asked: Asked,
    /// VMware has been told to press the power button, and waits for the guest.
    pressing: AtomicBool,
    /// Held while something is under way that ends the machine: how it ended is told afterwards.
    busy: Mutex<()>,
    /// Something has ended the machine: there is no need to wait for the next look.
    look: Notify,
}

async fn look(
    shared: Arc<Shared>,
    place: Place,
    status: watch::Sender<Status>,
    events: mpsc::UnboundedSender<MachineEvent>,
) {
    let mut answers = true;
    loop {
        let _ = timeout(LOOK, shared.look.notified()).await;
        match shared.vmrun.runs().await {
            Ok(true) => answers = true,
            Ok(false) => {
                let _over = shared.busy.lock().await;
                if matches!(shared.vmrun.runs().await, Ok(false)) {
                    break;
                }
            }
            Err(error) => {
                // Nobody knows then, and a machine that runs must not be taken for one that does not.
                if std::mem::take(&mut answers) {
                    tracing::warn!(%error, "VMware does not tell whether the machine runs");
                }
            }
        }
    }
    let ended = place.ended(&shared.asked, None);
    tracing::info!(?ended, "the VMware machine has ended");
    left::clear(&place.folder);
    status.send_replace(Status::Ended(ended.clone()));
    let _ = events.send(MachineEvent::Ended(ended));
}

/// What a [`Control`](crate::Control) reaches.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Handle {
    fn check_runs(&self) -> Result<()> {
        match *self.0.status.borrow() {
            Status::Ended(_) => Err(HypervisorError::Ended),
            _ => Ok(()),
        }
    }

    /// Waits until the end is told.
    async fn ended(&self) {
        self.0.look.notify_one();
        let mut status = self.0.status.clone();
        let _ = status.wait_for(|status| matches!(status, Status::Ended(_))).await;
    }
}

impl Driver for Handle {
    fn powerdown(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.check_runs()?;
            // The end is told after the request, however fast the guest is.
            let _busy = self.0.busy.lock().await;
            // The one before waits for the guest still: another would be refused.
            if self.0.pressing.swap(true, Ordering::SeqCst) {
                return Ok(());
            }
            let shared = self.0.clone();
            let mut asking = tokio::spawn(async move {
                let done = shared.vmrun.shut_down(SHUT_DOWN).await;
                shared.pressing.store(false, Ordering::SeqCst);
                if done.is_ok() {
                    shared.asked.shut_down.store(true, Ordering::SeqCst);
                    shared.look.notify_one();
                }
                done
            });
            // It returns when the guest is off; only a refusal comes at once.
            match timeout(REFUSE, &mut asking).await {
                Ok(Ok(Err(error))) => return Err(error),
                Ok(Err(_)) => return Err(HypervisorError::Ended),
                Ok(Ok(Ok(()))) | Err(_) => {}
            }
            if let Some(events) = self.0.events.upgrade() {
                let _ = events.send(MachineEvent::PowerdownRequested);
            }
            Ok(())
        })
    }

    /// VMware stops no machine in place of an I/O error, and tells of no pause.
    fn resume(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.check_runs() })
    }

    fn suspend(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.check_runs()?;
            let busy = self.0.busy.lock().await;
            self.0.vmrun.suspend(SUSPEND).await?;
            drop(busy);
            self.ended().await;
            Ok(())
        })
    }

    fn quit(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.check_runs()?;
            self.0.asked.quit.store(true, Ordering::SeqCst);
            let busy = self.0.busy.lock().await;
            force_off(&self.0.vmrun, SWITCH_OFF).await?;
            drop(busy);
            self.ended().await;
            Ok(())
        })
    }
}

/// Switches a machine off, and waits until VMware does not list it any more.
pub(super) async fn force_off(vmrun: &Vmrun, limit: Duration) -> Result<()> {
    match vmrun.switch_off(limit).await {
        Ok(()) | Err(HypervisorError::Ended) => {}
        Err(error) => {
            // It may have ended by itself in that moment.
            if !matches!(vmrun.runs().await, Ok(false)) {
                return Err(error);
            }
        }
    }
    let gone = async {
        while !matches!(vmrun.runs().await, Ok(false)) {
            // VMware makes no event of an end.
            tokio::time::sleep(LOOK / 4).await;
        }
    };
    timeout(limit, gone).await.map_err(|_| HypervisorError::NoAnswer {
        asked: "switch off",
        seconds: limit.as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_an_end_of_the_guest_from_a_crash_and_from_a_switch() {
        let nothing = Asked::default();
        let quit = Asked {
            quit: true.into(),
            ..Asked::default()
        };
        let by_guest = "vcpu-0| PIIX4: PM Soft Off.  Good-bye.\nvmx| VMX exit (0).";
        assert_eq!(told_by(by_guest, &nothing), End::Guest);
        assert_eq!(told_by(by_guest, &quit), End::Guest, "it was faster");
        assert_eq!(
            told_by("vmx| VMX exit (0).", &nothing),
            End::Quit,
            "in the window"
        );
        assert_eq!(told_by("", &quit), End::Quit);
        assert_eq!(told_by("", &nothing), End::Crashed, "it is gone without a word");
        let crashed = "vcpu-0| VMware Workstation unrecoverable error: (vcpu-0)";
        assert_eq!(told_by(crashed, &quit), End::Crashed);
        let shut_down = Asked {
            shut_down: true.into(),
            ..Asked::default()
        };
        assert_eq!(told_by("", &shut_down), End::Guest);
    }
}
