//! The running machine: what it tells, what it is asked, and what happens when its data is late.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use livepc_format::shown;
use livepc_hypervisor::{Control, End, Ended, MachineEvent, Running, StallCause};
use livepc_protocol::{Answer, Code, MachineState, Problem, Request, RunnerState};
use tokio::sync::Notify;

use super::{RunnerOptions, Told, state_of};
use crate::backend::AgentLink;
use crate::hypervisors::of_hypervisor;
use crate::locked::lock;
use crate::machine_folder::{MachineFolder, Suspension};
use crate::serve::Release;
use crate::server::{Answers, misplaced};
use crate::session_end;

/// Of the time that an ending session leaves: what its guest has to shut down in, and what its memory has to be written in
/// when it has not. What remains is for switching it off.
const BUTTON: Duration = Duration::from_secs(35);
const MEMORY: Duration = Duration::from_secs(15);

/// How long the last reports may take before the runner ends.
const FAREWELL: Duration = Duration::from_secs(2);

pub(super) struct Machine {
    options: RunnerOptions,
    control: Control,
    running: tokio::sync::Mutex<Running>,
    state: Mutex<RunnerState>,
    retry: Notify,
    /// Whether the session ends, and the machine with it.
    session_ends: AtomicBool,
    link: AgentLink,
    told: Told,
}

impl Machine {
    /// A machine whose guest executes.
    pub(super) fn new(options: &RunnerOptions, running: Running, told: Told, link: AgentLink) -> Arc<Self> {
        Arc::new(Self {
            options: options.clone(),
            control: running.control().clone(),
            running: tokio::sync::Mutex::new(running),
            state: Mutex::new(state_of(options, &told, MachineState::Running, None)),
            retry: Notify::new(),
            session_ends: AtomicBool::new(false),
            link,
            told,
        })
    }

    fn state(&self) -> MutexGuard<'_, RunnerState> {
        lock(&self.state)
    }

    /// Changes the state and tells the agent.
    async fn set(&self, state: MachineState, problem: Option<Problem>) {
        let now = state_of(&self.options, &self.told, state, problem);
        tracing::info!(state = ?now.state, problem = now.problem.as_ref().map(|p| &p.message), "the machine");
        *self.state() = now.clone();
        // An agent that is away asks for the state when it comes back.
        let told = self.link.call(Request::RunnerReport { state: now });
        let _ = tokio::time::timeout(FAREWELL, told).await;
    }

    /// Follows the machine until it ends.
    pub(super) async fn watch(&self, release: &Release) {
        let mut running = self.running.lock().await;
        let mut stalled = false;
        loop {
            let event = tokio::select! {
                event = running.next_event() => event,
                () = self.data_is_back(release), if stalled => {
                    stalled = false;
                    if let Err(error) = self.control.resume().await {
                        tracing::warn!("the machine does not go on: {error}");
                        stalled = true;
                    }
                    continue;
                }
            };
            match event {
                Some(MachineEvent::Stalled(stall)) => {
                    stalled = true;
                    let problem = match stall.cause {
                        StallCause::Read => release.trouble().unwrap_or_else(|| {
                            Problem::new(
                                Code::Network,
                                "The machine waits for data that has not arrived.",
                                "It goes on by itself when the data is here. Check the network.",
                            )
                        }),
                        StallCause::NoSpace => Problem::new(
                            Code::DiskFull,
                            "There is no space left for what the machine writes.",
                            "Free some space, then choose Retry: nothing is lost.",
                        ),
                        StallCause::Write => Problem::new(
                            Code::Failed,
                            format!("What the machine writes cannot be kept: {}.", stall.message),
                            "Look at the disk, then choose Retry.",
                        ),
                    };
                    self.set(MachineState::Stalled, Some(problem)).await;
                }
                Some(MachineEvent::Started | MachineEvent::Resumed) => {
                    stalled = false;
                    self.set(MachineState::Running, None).await;
                }
                Some(MachineEvent::PowerdownRequested) => {
                    // It is pressed again and again.
                    if self.state().state != MachineState::Stopping {
                        self.set(MachineState::Stopping, None).await;
                    }
                }
                Some(MachineEvent::Paused) => {}
                Some(MachineEvent::Ended(ended)) => {
                    let (state, problem) = match self.session_ends.load(Ordering::SeqCst) {
                        true => with_session(&ended),
                        false => how(&ended, self.told.installation.product),
                    };
                    self.set(state, problem).await;
                    return;
                }
                None => return,
            }
        }
    }

    /// Waits until a stalled machine may go on: its data is here, or somebody says so.
    async fn data_is_back(&self, release: &Release) {
        let waits_for_data = !matches!(
            self.control.status(),
            livepc_hypervisor::Status::Stalled(stall) if stall.cause != StallCause::Read
        );
        tokio::select! {
            () = self.retry.notified() => {}
            () = release.backend.caught_up(), if waits_for_data => {}
        }
    }

    async fn suspend(&self) -> Result<(), Problem> {
        let busy = |why: &str| Err(Problem::new(Code::Busy, why, "Try again when it runs."));
        match self.state().state {
            MachineState::Running => {}
            MachineState::Stalled => return busy("The machine is paused because its data has not arrived."),
            _ => return busy("The machine is not running."),
        }
        self.save().await
    }

    /// Writes the machine's memory to its folder, and ends it.
    async fn save(&self) -> Result<(), Problem> {
        let folder = self.options.home.machine(&self.options.id);
        let free = fs4::available_space(&folder).unwrap_or(u64::MAX);
        if free < self.told.memory {
            return Err(Problem::new(
                Code::DiskFull,
                format!(
                    "Its memory of {} has to be written to the disk, and only {} are free.",
                    shown::size(self.told.memory),
                    shown::size(free)
                ),
                "Free some space, then suspend it again: it goes on running.",
            ));
        }
        let own = MachineFolder::new(folder);
        let suspension = Suspension::of(
            &self.told.installation,
            self.options.release,
            self.told.cd.clone(),
            (self.options.clock)(),
        )
        .with_adapter(self.told.adapter);
        own.note_suspension(&suspension)?;
        self.set(MachineState::Stopping, None).await;
        match self.control.suspend().await {
            Ok(_) => Ok(()),
            Err(error) => {
                // The state is gone already, and without it the record means nothing.
                if self.state().state == MachineState::Stopping {
                    self.set(MachineState::Running, None).await;
                }
                Err(of_hypervisor(&error))
            }
        }
    }

    async fn stop(&self, force: bool, timeout: u64) -> Result<(), Problem> {
        if force {
            return self.control.quit().await.map(drop).map_err(|e| of_hypervisor(&e));
        }
        if self.state().state == MachineState::Stalled {
            return Err(Problem::new(
                Code::Busy,
                "The machine is paused because its data has not arrived, so its guest cannot shut down.",
                "Wait for the network, or stop it with --force: what it has not written is lost then.",
            ));
        }
        let limit = Duration::from_secs(timeout);
        let ended = self.control.shut_down(limit).await;
        if ended.map_err(|e| of_hypervisor(&e))?.is_some() {
            return Ok(());
        }
        // It goes on, as far as anybody can tell.
        if self.state().state == MachineState::Stopping {
            self.set(MachineState::Running, None).await;
        }
        Err(Problem::new(
            Code::Busy,
            format!("The guest has not shut down within {timeout} seconds."),
            "Stop it inside its window, or with --force: what it has not written is lost then.",
        ))
    }

    /// Ends the machine with the session: its guest shuts down, or is suspended if it does not do that in time.
    pub(super) async fn end_with_session(&self) {
        tracing::warn!("the session ends, and the machine with it");
        self.session_ends.store(true, Ordering::SeqCst);
        self.set(MachineState::Stopping, None).await;
        match self.control.shut_down(BUTTON).await {
            Ok(Some(_)) => return,
            Ok(None) => tracing::warn!("the guest has not shut down"),
            Err(error) => tracing::warn!("the guest cannot be shut down: {error}"),
        }
        match tokio::time::timeout(MEMORY, self.save()).await {
            Ok(Ok(())) => return,
            Ok(Err(problem)) => tracing::warn!("the machine cannot be suspended: {problem}"),
            Err(_) => tracing::warn!("the machine's memory cannot be written in time"),
        }
        if let Err(error) = self.control.quit().await {
            tracing::error!("the machine cannot be switched off: {error}");
        }
    }
}

impl Answers for Machine {
    async fn answer(self: Arc<Self>, request: Request) -> Result<Answer, Problem> {
        match request {
            Request::RunnerStatus => {}
            Request::RunnerStop { force, timeout } => self.stop(force, timeout).await?,
            Request::RunnerSuspend => self.suspend().await?,
            Request::RunnerRetry => {
                self.retry.notify_one();
                return Ok(Answer::Done);
            }
            _ => return Err(misplaced()),
        }
        let state = self.state().clone();
        Ok(Answer::Runner { state })
    }
}

/// How a machine ended with its session: never a failure.
fn with_session(ended: &Ended) -> (MachineState, Option<Problem>) {
    let (state, what) = match ended.end {
        End::Guest => (MachineState::Stopped, "the machine was shut down in order"),
        End::Suspended => (
            MachineState::Suspended,
            "the machine was suspended, and goes on where it was",
        ),
        End::Quit | End::Crashed => (
            MachineState::Stopped,
            "the guest had not shut down in time, and what it had not written is lost",
        ),
    };
    (state, Some(session_end::problem(what)))
}

fn how(ended: &Ended, product: &str) -> (MachineState, Option<Problem>) {
    match ended.end {
        End::Guest | End::Quit => (MachineState::Stopped, None),
        End::Suspended => (MachineState::Suspended, None),
        End::Crashed if ended.killed() => {
            let problem = Problem::new(
                Code::Hypervisor,
                format!("{product} was ended by another program or by the system, and the machine with it."),
                "Start the machine again. Systems end programs when memory runs out: close some, or stop another machine.",
            );
            (MachineState::Failed, Some(problem.of_this_computer()))
        }
        End::Crashed if ended.broke_sandbox() => {
            let problem = Problem::new(
                Code::Hypervisor,
                format!(
                    "{product} was ended by its sandbox: it, or what draws its window, did what the sandbox forbids."
                ),
                "Start the machine again: it gets a sandbox that allows this.",
            );
            (MachineState::Failed, Some(problem.of_this_computer()))
        }
        End::Crashed => {
            // An internal error is followed by all registers of the processor.
            let lines = &ended.last_lines;
            let said = lines
                .iter()
                .find(|line| line.contains("internal error"))
                .or(lines.last())
                .map(|line| format!(" It said: {line}"))
                .unwrap_or_default();
            let problem = Problem::new(
                Code::Hypervisor,
                format!("{product} ended unexpectedly.{said}"),
                "Start the machine again; “livepc logs” shows more.",
            );
            (MachineState::Failed, Some(problem))
        }
    }
}
