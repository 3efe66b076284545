//! A running QEMU: its events become the machine's, and the machine's requests its commands.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::confinement::Confinement;
use super::disks::node;
use super::launch::Launched;
use super::qmp::{Event, Qmp, QmpError};
use super::state::{self, Progress};
use crate::running::Driver;
use crate::{
    BoxFuture, End, Ended, HypervisorError, MachineEvent, Result, Running, Stall, StallCause, Status, os,
};

/// How long QEMU has for a command. While it stops it answers nothing until all reads have ended, which takes as long as
/// its disks wait for the network.
const ANSWER: Duration = Duration::from_secs(60);
/// How long QEMU has to end when asked, before it is killed.
const QUIT: Duration = Duration::from_secs(5);
/// How long the rest of the events may take when QEMU has ended.
const REST: Duration = Duration::from_secs(1);

/// Where a machine's files are.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    /// Its run-time folder.
    pub(super) run: PathBuf,
    /// Its own folder.
    pub(super) own: PathBuf,
}

/// Lets the guest execute, and watches over it from then on; `resume` gives it the state of a suspended machine first.
/// `roles` are those of its disks, in order.
pub(super) async fn supervise(
    launched: Launched,
    roles: Vec<String>,
    folders: Folders,
    version: String,
    resume: bool,
) -> Result<Running> {
    let (migration, progress) = watch::channel(String::new());
    let mut launched = launched;
    state::prepare(&launched.qmp).await?;
    if resume {
        load(&mut launched, &migration, &folders).await?;
    }
    if resume {
        // From here on the guest writes to its disks: the state fits to them no more.
        state::spend(&folders.own)?;
    }
    if let Err(error) = ask(&launched.qmp, "cont").await {
        if resume {
            state::unspend(&folders.own)?;
        }
        return Err(error);
    }
    if resume {
        state::discard(&folders.own)?;
    }
    // Each event follows a request of ours or a stall, and a stall lasts until our next request: no reader can be
    // flooded by a guest, and none can hold up the end of a machine.
    let (events, receiver) = mpsc::unbounded_channel();
    let (status, watched) = watch::channel(Status::Running);
    let (halted, is_halted) = watch::channel(false);
    let kill = Arc::new(Notify::new());
    let (saving, suspended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let driver = Arc::new(Handle {
        qmp: launched.qmp.clone(),
        progress,
        saving: saving.clone(),
        suspended: suspended.clone(),
        folders: folders.clone(),
        halted: is_halted,
        status: watched.clone(),
        kill: kill.clone(),
    });
    let _ = events.send(MachineEvent::Started);
    let supervisor = Supervisor {
        roles,
        folders,
        version,
        events,
        status,
        halted,
        migration,
        saving,
        suspended,
        pending: None,
        end: None,
    };
    tokio::spawn(supervisor.run(launched, kill));
    Ok(Running::new(driver, receiver, watched))
}

struct Supervisor {
    roles: Vec<String>,
    folders: Folders,
    version: String,
    events: mpsc::UnboundedSender<MachineEvent>,
    status: watch::Sender<Status>,
    /// Whether QEMU has stopped the guest.
    halted: watch::Sender<bool>,
    /// How the transfer of the machine's state stands.
    migration: watch::Sender<String>,
    /// Whether the guest was stopped to save its state, and not by the user.
    saving: Arc<AtomicBool>,
    /// Whether the state is saved, so that QEMU's end is no end of the machine.
    suspended: Arc<AtomicBool>,
    /// What has failed while the guest was not stopped yet, or not any more.
    pending: Option<Stall>,
    /// What ended the machine, as far as QEMU has told.
    end: Option<End>,
}

impl Supervisor {
    async fn run(mut self, launched: Launched, kill: Arc<Notify>) {
        let Launched {
            mut child,
            leash: _leash,
            qmp,
            events: mut told,
            messages,
        } = launched;
        let (looked, mut states) = mpsc::channel(1);
        let exit = loop {
            tokio::select! {
                Some(event) = told.recv() => {
                    self.hear(&event);
                    if event.name == "STOP" {
                        tokio::spawn(look(qmp.clone(), looked.clone()));
                    }
                }
                Some(state) = states.recv() => {
                    if self.is_broken(&state) {
                        tracing::error!(%state, "the guest cannot go on");
                        self.end = Some(End::Crashed);
                        let _ = child.start_kill();
                    }
                }
                exit = child.wait() => break exit,
                () = kill.notified() => {
                    self.end.get_or_insert(End::Quit);
                    let _ = child.start_kill();
                }
            }
        };
        let rest = async {
            while let Some(event) = told.recv().await {
                self.hear(&event);
            }
        };
        let _ = timeout(REST, rest).await;
        let exit_code = exit.as_ref().ok().and_then(std::process::ExitStatus::code);
        let end = match self.end {
            _ if self.suspended.load(Ordering::SeqCst) => End::Suspended,
            Some(End::Guest) if exit_code != Some(0) => End::Crashed,
            Some(end) => end,
            None => End::Crashed,
        };
        let ended = Ended {
            end,
            exit_code,
            signal: exit.as_ref().ok().and_then(os::signal_of),
            last_lines: messages.at_end().await,
        };
        tracing::info!(?ended, "QEMU has ended");
        if ended.broke_sandbox() {
            Confinement::note(&self.folders.own, &self.version);
        }
        self.tell(MachineEvent::Ended(ended.clone()), Status::Ended(ended));
    }

    /// Takes in what QEMU tells.
    fn hear(&mut self, event: &Event) {
        let data = &event.data;
        match event.name.as_str() {
            "BLOCK_IO_ERROR" => self.hear_io_error(data),
            "STOP" => {
                self.halted.send_replace(true);
                if let Some(stall) = self.pending.take()
                    && self.is_running()
                {
                    self.stalled(stall);
                }
            }
            "RESUME" => {
                self.halted.send_replace(false);
                self.pending = None;
                if !self.is_running() {
                    self.tell(MachineEvent::Resumed, Status::Running);
                }
            }
            "MIGRATION" => {
                let status = data["status"].as_str().unwrap_or_default();
                self.migration.send_replace(status.to_owned());
            }
            "POWERDOWN" => {
                let _ = self.events.send(MachineEvent::PowerdownRequested);
            }
            "SHUTDOWN" => {
                self.end = Some(match data["reason"].as_str() {
                    Some("guest-shutdown") => End::Guest,
                    Some("host-qmp-quit" | "host-signal" | "host-ui") => End::Quit,
                    _ => End::Crashed,
                });
            }
            _ => {}
        }
    }

    /// Takes in why the guest was stopped. Returns whether it is past help.
    fn is_broken(&self, state: &str) -> bool {
        match state {
            // Newer versions hold back such events for up to a second: it is still to come.
            "io-error" => false,
            "internal-error" | "guest-panicked" => true,
            "paused" if self.saving.load(Ordering::SeqCst) => false,
            // It may have been taken for a stall, because of an error from before.
            "paused" if *self.halted.borrow() && *self.status.borrow() != Status::Paused => {
                self.tell(MachineEvent::Paused, Status::Paused);
                false
            }
            _ => false,
        }
    }

    fn is_running(&self) -> bool {
        matches!(*self.status.borrow(), Status::Running)
    }

    /// Since QEMU 10 only the first of these events comes at once, and the next up to a second late: when the guest was
    /// stopped, or when it goes on again. So only one that comes together with a stop tells of a stall.
    fn hear_io_error(&mut self, data: &Value) {
        if data["action"] != "stop" {
            tracing::warn!(%data, "the guest sees an I/O error");
        } else if self.is_running() {
            // Every request that was on its way fails; the first tells it all.
            let stall = self.stall(data);
            if *self.halted.borrow() {
                self.stalled(stall);
            } else {
                self.pending.get_or_insert(stall);
            }
        }
    }

    fn stalled(&self, stall: Stall) {
        self.tell(MachineEvent::Stalled(stall.clone()), Status::Stalled(stall));
    }

    fn stall(&self, data: &Value) -> Stall {
        let is_of = |number: &usize| data["node-name"].as_str() == Some(node(*number).as_str());
        let number = (0..self.roles.len()).find(is_of);
        let cause = if data["nospace"] == true {
            StallCause::NoSpace
        } else if data["operation"] == "read" {
            StallCause::Read
        } else {
            StallCause::Write
        };
        Stall {
            role: number.map_or_else(String::new, |number| self.roles[number].clone()),
            cause,
            message: data["reason"].as_str().unwrap_or("I/O error").into(),
        }
    }

    fn tell(&self, event: MachineEvent, status: Status) {
        self.status.send_replace(status);
        let _ = self.events.send(event);
    }
}

/// Loads the state of a suspended machine. Events are heard meanwhile for how far it is.
async fn load(launched: &mut Launched, migration: &watch::Sender<String>, folders: &Folders) -> Result<()> {
    let loading = state::load(&launched.qmp, migration.subscribe(), &folders.run, &folders.own);
    tokio::pin!(loading);
    loop {
        tokio::select! {
            loaded = &mut loading => return loaded,
            event = launched.events.recv() => match event {
                Some(event) if event.name == "MIGRATION" => {
                    let status = event.data["status"].as_str().unwrap_or_default();
                    migration.send_replace(status.to_owned());
                }
                Some(_) => {}
                None => return Err(HypervisorError::Ended),
            },
        }
    }
}

/// Finds out in which state QEMU has stopped the guest.
async fn look(qmp: Qmp, looked: mpsc::Sender<String>) {
    if let Ok(Ok(answer)) = timeout(ANSWER, qmp.execute("query-status", Value::Null)).await
        && let Some(state) = answer["status"].as_str()
    {
        let _ = looked.send(state.into()).await;
    }
}

/// What a [`Control`](crate::Control) reaches.
#[derive(Debug)]
struct Handle {
    qmp: Qmp,
    progress: Progress,
    saving: Arc<AtomicBool>,
    suspended: Arc<AtomicBool>,
    folders: Folders,
    halted: watch::Receiver<bool>,
    status: watch::Receiver<Status>,
    kill: Arc<Notify>,
}

impl Handle {
    async fn suspend_machine(&self) -> Result<()> {
        match *self.status.borrow() {
            Status::Running | Status::Paused => {}
            Status::Ended(_) => return Err(HypervisorError::Ended),
            Status::Stalled(_) => {
                return Err(HypervisorError::Refused {
                    asked: "suspend",
                    why: "it waits for data that has not arrived; suspend it when it goes on".into(),
                });
            }
        }
        let was_running = *self.status.borrow() == Status::Running;
        self.saving.store(true, Ordering::SeqCst);
        if let Err(error) = ask(&self.qmp, "stop").await {
            self.saving.store(false, Ordering::SeqCst);
            return Err(error);
        }
        let saved = state::save(
            &self.qmp,
            self.progress.clone(),
            &self.folders.run,
            &self.folders.own,
        );
        if let Err(error) = saved.await {
            let goes_on = if was_running {
                ask(&self.qmp, "cont").await
            } else {
                Ok(())
            };
            self.saving.store(false, Ordering::SeqCst);
            goes_on?;
            return Err(error);
        }
        self.suspended.store(true, Ordering::SeqCst);
        self.quit().await
    }
}

impl Driver for Handle {
    fn powerdown(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(ask(&self.qmp, "system_powerdown"))
    }

    fn resume(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            match *self.status.borrow() {
                Status::Running => return Ok(()),
                Status::Ended(_) => return Err(HypervisorError::Ended),
                Status::Stalled(_) | Status::Paused => {}
            }
            // A `cont` between the failure and the stop would cancel the stop, and the failed request would be lost.
            let mut halted = self.halted.clone();
            let stopped = async { halted.wait_for(|halted| *halted).await.map(drop) };
            match timeout(ANSWER, stopped).await {
                Ok(Ok(())) => ask(&self.qmp, "cont").await,
                Ok(Err(_)) => Err(HypervisorError::Ended),
                Err(_) => Err(no_answer("cont")),
            }
        })
    }

    fn suspend(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.suspend_machine())
    }

    fn quit(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let mut status = self.status.clone();
            let asked = async {
                // It may be gone before it answers.
                let _ = self.qmp.execute("quit", Value::Null).await;
                let _ = status.wait_for(|status| matches!(status, Status::Ended(_))).await;
            };
            if timeout(QUIT, asked).await.is_err() {
                tracing::warn!("QEMU does not end when asked: it is killed");
                self.kill.notify_one();
            }
            Ok(())
        })
    }
}

async fn ask(qmp: &Qmp, command: &'static str) -> Result<()> {
    match timeout(ANSWER, qmp.execute(command, Value::Null)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(QmpError::Closed)) => Err(HypervisorError::Ended),
        Ok(Err(error)) => Err(HypervisorError::Refused {
            asked: command,
            why: error.to_string(),
        }),
        Err(_) => Err(no_answer(command)),
    }
}

fn no_answer(asked: &'static str) -> HypervisorError {
    HypervisorError::NoAnswer {
        asked,
        seconds: ANSWER.as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn supervisor() -> (Supervisor, mpsc::UnboundedReceiver<MachineEvent>) {
        let (events, told) = mpsc::unbounded_channel();
        let supervisor = Supervisor {
            roles: vec!["system".into()],
            folders: Folders {
                run: PathBuf::new(),
                own: PathBuf::new(),
            },
            version: "7.2".into(),
            events,
            status: watch::channel(Status::Running).0,
            halted: watch::channel(false).0,
            migration: watch::channel(String::new()).0,
            saving: Arc::default(),
            suspended: Arc::default(),
            pending: None,
            end: None,
        };
        (supervisor, told)
    }

    fn error(reason: &str) -> Event {
        Event {
            name: "BLOCK_IO_ERROR".into(),
            data: json!({"node-name": node(0), "operation": "read", "action": "stop", "reason": reason}),
        }
    }

    fn plain(name: &str) -> Event {
        Event {
            name: name.into(),
            data: Value::Null,
        }
    }

    fn stall(message: &str) -> MachineEvent {
        MachineEvent::Stalled(Stall {
            role: "system".into(),
            cause: StallCause::Read,
            message: message.into(),
        })
    }

    #[test]
    fn an_error_and_a_stop_are_one_stall_in_either_order() {
        for events in [[error("EIO"), plain("STOP")], [plain("STOP"), error("EIO")]] {
            let (mut supervisor, mut told) = supervisor();
            supervisor.hear(&events[0]);
            assert!(told.try_recv().is_err(), "not by {} alone", events[0].name);
            supervisor.hear(&events[1]);
            assert_eq!(told.try_recv(), Ok(stall("EIO")));
            supervisor.hear(&error("another"));
            assert!(told.try_recv().is_err(), "the first tells it all");
            supervisor.hear(&plain("RESUME"));
            assert_eq!(told.try_recv(), Ok(MachineEvent::Resumed));
            assert!(supervisor.is_running());
        }
    }

    #[test]
    fn an_error_that_is_told_after_the_machine_went_on_stalls_nothing() {
        let (mut supervisor, mut told) = supervisor();
        for event in [error("EIO"), plain("STOP"), plain("RESUME"), error("late")] {
            supervisor.hear(&event);
        }
        assert_eq!(told.try_recv(), Ok(stall("EIO")));
        assert_eq!(told.try_recv(), Ok(MachineEvent::Resumed));
        assert!(told.try_recv().is_err());
        assert!(supervisor.is_running());
    }

    #[test]
    fn a_pause_after_a_late_error_is_a_pause_in_the_end() {
        let (mut supervisor, _told) = supervisor();
        supervisor.hear(&error("late"));
        supervisor.hear(&plain("STOP"));
        assert!(!supervisor.is_broken("paused"));
        assert_eq!(*supervisor.status.borrow(), Status::Paused);
        supervisor.hear(&error("later"));
        assert_eq!(*supervisor.status.borrow(), Status::Paused);
    }
}
