//! The runners, seen from the agent: it starts them, hears of their state, and finds again those that outlived it.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use livepc_durable::Readers;
use livepc_format::LivePcId;
use livepc_panics::kept_up;
use livepc_protocol::{
    Answer, Client, Code, Desktop, Display, HypervisorKind, MachineState, Problem, ProcessLock, Request,
    RunnerState, Until, private_folder,
};
use tokio::sync::Notify;

use super::core::{Core, Turns};
use super::lifecycle::kept_changes;
use crate::locked::lock;
use crate::machine_folder::MachineRecords;
use crate::problems::not_found;
use crate::session_end;
use crate::subscription::{self, Subscription};

/// The file in a machine's folder that names its LivePC.
const OWNER: &str = "livepc";
/// It is longer than this only if it is something else.
const OWNER_BYTES: u64 = 4096;
/// How long a runner may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a runner may take until it listens, or until it has ended.
const CHANGING: Duration = Duration::from_secs(90);
/// The pause before looking again whether it does.
pub(super) const AGAIN: Duration = Duration::from_millis(20);

/// The machines that have a runner, or had one.
#[derive(Default)]
pub(super) struct Machines {
    runners: Mutex<HashMap<String, Runner>>,
    /// Those whose disks are exported.
    exported: Mutex<HashSet<String>>,
    news: Notify,
    /// One start, stop or end of a subscription at a time, by id.
    pub(super) turns: Turns,
}

#[derive(Clone)]
struct Runner {
    client: Option<Client>,
    state: RunnerState,
}

impl Machines {
    /// What is known of a machine's runner.
    pub(super) fn state(&self, id: &str) -> Option<RunnerState> {
        lock(&self.runners).get(id).map(|runner| runner.state.clone())
    }

    /// True if any machine is live.
    pub(super) fn any_live(&self) -> bool {
        lock(&self.runners)
            .values()
            .any(|runner| runner.state.state.is_live())
    }

    /// True if any machine is about to end, or has ended and that is not noted yet.
    pub(super) fn any_ending(&self) -> bool {
        lock(&self.runners).values().any(|runner| {
            let state = runner.state.state;
            state == MachineState::Stopping || (runner.client.is_some() && !state.is_live())
        })
    }

    /// Tells those who wait that something has changed.
    pub(super) fn changed(&self) {
        self.news.notify_waiters();
    }

    /// Waits until something is true of the machines.
    pub(super) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let news = self.news.notified();
            if is_so(self) {
                return;
            }
            news.await;
        }
    }

    pub(super) fn client(&self, id: &str) -> Option<Client> {
        lock(&self.runners)
            .get(id)
            .and_then(|runner| runner.client.clone())
    }

    fn set(&self, state: RunnerState, client: Option<Client>) {
        let mut runners = lock(&self.runners);
        let client = client.or_else(|| runners.get(&state.id).and_then(|runner| runner.client.clone()));
        runners.insert(state.id.clone(), Runner { client, state });
    }

    /// A machine that somebody has ended by force has not failed.
    pub(super) fn stopped(&self, id: &str) {
        if let Some(runner) = lock(&self.runners).get_mut(id) {
            runner.state.state = MachineState::Stopped;
            runner.state.problem = None;
        }
    }

    pub(super) fn forget(&self, id: &str) {
        lock(&self.runners).remove(id);
    }

    /// Notes whether a machine's disks are exported, which keeps it from being started.
    pub(super) fn set_exported(&self, id: &str, exported: bool) {
        let mut all = lock(&self.exported);
        if exported {
            all.insert(id.to_owned());
        } else {
            all.remove(id);
        }
    }
}

/// Whose data a machine's folder has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// There is no folder.
    Nobody,
    /// There is one, and it does not say.
    Unknown,
    /// A LivePC's.
    LivePc(LivePcId),
}

/// What a start asks for.
pub(super) struct Start {
    pub(super) display: Display,
    pub(super) serial: Option<String>,
    pub(super) fill: bool,
    pub(super) hypervisor: Option<HypervisorKind>,
    pub(super) cd: Option<String>,
    pub(super) overcommit: bool,
    pub(super) desktop: Option<Desktop>,
}

impl Core {
    /// Starts a machine on the release that its next start uses; returns when the guest executes. A machine that runs
    /// is left alone.
    pub(super) async fn start_machine(
        self: &Arc<Self>,
        subscription: &Subscription,
        start: Start,
    ) -> Result<(), Problem> {
        let id = subscription.id.clone();
        let _turn = self.machines.turns.of(&id).lock_owned().await;
        if self.is_live(&id).await? {
            return Ok(());
        }
        let records = self.machine_folder(&id).records();
        let sequence = self.next_release(subscription, &records)?;
        let keep = kept_changes(subscription, &records)?.is_some();
        let resume = records.suspension?.is_some();
        let opened = self.open_release(subscription, Some(sequence)).await?;
        // What a start reads is on its way before it is asked for; without a record of it that would be all there is.
        if start.fill {
            self.queue_download(subscription, sequence, Until::Complete)?;
        } else if opened.boot_map.is_some() && !self.local_of(&opened).boot_ready {
            self.queue_download(subscription, sequence, Until::BootReady)?;
        }
        let state = |state, problem| RunnerState {
            id: id.clone(),
            release: sequence,
            state,
            problem,
            hypervisor: None,
            passed_over: None,
        };
        self.make_machine_folder(subscription)?;
        let before = self.machines.state(&id);
        self.machines.set(state(MachineState::Starting, None), None);
        self.machines_changed();
        #[cfg(test)]
        super::tests::fail_to_start();
        match self.launch(&id, sequence, start, resume, keep).await {
            Ok(()) => {
                let adopted = self.adopt_runner(&id).await;
                if adopted.is_err() {
                    self.runner_gone(&id);
                }
                adopted
            }
            Err(problem) if problem.of_this_computer && !session_end::is_of_it(&problem) => {
                // No hypervisor has begun with it: nothing has failed but this request.
                match before {
                    Some(before) => self.machines.set(before, None),
                    None => self.machines.forget(&id),
                }
                self.machines_changed();
                Err(problem)
            }
            Err(problem) => {
                subscription::ended(&self.database, &id, sequence, Some(&problem), false)?;
                let ended = match session_end::is_of_it(&problem) {
                    true => MachineState::Stopped,
                    false => MachineState::Failed,
                };
                self.machines.set(state(ended, Some(problem.clone())), None);
                self.machines_changed();
                Err(problem)
            }
        }
    }

    /// A start ended without saying how: the machine is not one that starts.
    pub(super) fn start_failed(self: &Arc<Self>, id: &str, problem: &Problem) {
        let started = self.machines.client(id).is_some();
        if let Some(state) = self.machines.state(id)
            && state.state == MachineState::Starting
            && !started
        {
            let failed = RunnerState {
                state: MachineState::Failed,
                problem: Some(problem.clone()),
                ..state
            };
            self.machines.set(failed, None);
            self.machines_changed();
        }
    }

    /// Makes the folder of a machine, and writes down whose it is; gives the folder.
    pub(super) fn make_machine_folder(&self, subscription: &Subscription) -> Result<PathBuf, Problem> {
        let folder = self.home.machine(&subscription.id);
        let (owner, text) = (folder.join(OWNER), subscription.livepc.to_string());
        if livepc_durable::read(&owner, OWNER_BYTES).is_ok_and(|found| found == text.as_bytes()) {
            return Ok(folder);
        }
        private_folder(&folder)?;
        livepc_durable::write(&owner, Readers::User, text.as_bytes())
            .map_err(|e| Problem::io("The machine's folder cannot be made", &e))?;
        Ok(folder)
    }

    /// Whose data a machine's folder has.
    ///
    /// # Errors
    /// If that cannot be read: then nobody can have the folder.
    pub(super) fn owner_of_machine(&self, id: &str) -> Result<Owner, Problem> {
        let folder = self.home.machine(id);
        let file = folder.join(OWNER);
        let text = match livepc_durable::read_text(&file, OWNER_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let exists = folder.try_exists();
                let exists = exists.map_err(|e| Problem::io("The machines' folder cannot be read", &e))?;
                // A folder without a name belongs to something else.
                return Ok(if exists { Owner::Unknown } else { Owner::Nobody });
            }
            Err(error) => return Err(Problem::io(&format!("{} cannot be read", file.display()), &error)),
        };
        text.trim().parse().map(|digest| Owner::LivePc(LivePcId(digest))).map_err(|_| {
            Problem::new(
                Code::Failed,
                format!("{} does not say whose data this folder has: it is damaged.", file.display()),
                "Move the folder away, and subscribe: what is in it stays, and its disks can be put into the new one.",
            )
        })
    }

    async fn launch(
        &self,
        id: &str,
        sequence: u64,
        start: Start,
        resume: bool,
        keep: bool,
    ) -> Result<(), Problem> {
        let (home, launcher) = (self.home.clone(), self.launcher.clone());
        let mut args = vec![
            "runner".to_owned(),
            id.to_owned(),
            "--release".into(),
            sequence.to_string(),
        ];
        args.extend(["--display".into(), crate::words::word(&start.display)]);
        if let Some(file) = start.serial {
            args.extend(["--serial".into(), file]);
        }
        if let Some(kind) = start.hypervisor {
            args.extend(["--hypervisor".into(), crate::words::word(&kind)]);
        }
        if let Some(image) = start.cd {
            args.extend(["--cd".into(), image]);
        }
        for (wanted, flag) in [
            (resume, "--resume"),
            (keep, "--keep"),
            (start.overcommit, "--overcommit"),
        ] {
            if wanted {
                args.push(flag.into());
            }
        }
        Self::blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            launcher.start(&home, &args, start.desktop.as_ref())
        })
        .await?
    }

    /// Connects to a machine's runner and follows it.
    async fn adopt_runner(self: &Arc<Self>, id: &str) -> Result<(), Problem> {
        let runner = self.home.runner_whereabouts(id);
        let asked = async {
            let client = Client::connect(&runner, "agent", false).await?;
            match client.call(Request::RunnerStatus).await? {
                Answer::Runner { state } => Ok((client, state)),
                _ => Err(crate::server::misplaced()),
            }
        };
        let (client, state) = tokio::time::timeout(ANSWER, asked)
            .await
            .map_err(|_| still_busy())??;
        subscription::used(&self.database, id, state.release, (self.now)())?;
        self.machines.set(state, Some(client.clone()));
        self.machines_changed();
        let (core, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            kept_up("Following a machine", || async {
                client.closed().await;
                core.runner_gone(&id);
            })
            .await;
        });
        Ok(())
    }

    /// Whether a runner has the machine, and is connected. A runner that does not listen yet or is about to end is waited
    /// for: neither makes an event that its agent could have missed.
    ///
    /// # Errors
    /// [`Code::Busy`] if the machine's disks are exported.
    pub(super) async fn is_live(self: &Arc<Self>, id: &str) -> Result<bool, Problem> {
        let until = tokio::time::Instant::now() + CHANGING;
        let mut hangs = false;
        loop {
            let connected = self.machines.client(id).is_some();
            let live = self.machines.state(id).is_some_and(|state| state.state.is_live());
            if connected && live {
                return Ok(true);
            }
            if !ProcessLock::is_held(&self.home.runner_lock(id))? {
                return Ok(false);
            }
            if lock(&self.machines.exported).contains(id) {
                return Err(Problem::new(
                    Code::Busy,
                    "The machine's disks are being exported.",
                    "Wait until that is done, or cancel it.",
                ));
            }
            if tokio::time::Instant::now() > until {
                return Err(if hangs { self.hangs(id) } else { still_busy() });
            }
            if connected {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            let began = tokio::time::Instant::now();
            if self.adopt_runner(id).await.is_err() {
                // One that is starting or ending refuses at once.
                hangs = began.elapsed() >= ANSWER;
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Follows a runner that this agent has not started, as soon as it can be.
    fn follow_runner(self: &Arc<Self>, id: &str) {
        let (core, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            let _turn = core.machines.turns.of(&id).lock_owned().await;
            if let Err(problem) = core.is_live(&id).await {
                tracing::warn!(id, "a runner does not answer: {problem}");
            }
        });
    }

    /// A runner's connection has ended: if it did not say how its machine ended, that is a failure.
    pub(super) fn runner_gone(self: &Arc<Self>, id: &str) {
        let Some(mut state) = self.machines.state(id) else {
            return;
        };
        if !state.state.is_live() && self.machines.client(id).is_none() {
            // Who stopped it and who followed it both see its end, and it has only one.
            return;
        }
        let died = state.state.is_live();
        if died {
            state.state = MachineState::Failed;
            let problem = Problem::new(
                Code::Hypervisor,
                "The machine's runner ended unexpectedly, and with it the machine.",
                "Start it again. What the guest had not written to a disk of its own is lost.",
            );
            // Whatever ended it, it was not what its guest runs.
            state.problem = Some(problem.of_this_computer());
        }
        let ended = subscription::ended(&self.database, id, state.release, state.problem.as_ref(), !died);
        if let Err(problem) = ended {
            tracing::warn!("{problem}");
        }
        let mut runners = lock(&self.machines.runners);
        runners.insert(id.to_owned(), Runner { client: None, state });
        drop(runners);
        if died {
            self.end_what_it_left(id);
        } else {
            // A release that has run makes one before it dispensable.
            let core = self.clone();
            tokio::spawn(async move { core.forget_what_is_replaced().await });
        }
        self.machines_changed();
    }

    /// Ends the hypervisor of a runner that died; a start that comes meanwhile waits for that.
    fn end_what_it_left(self: &Arc<Self>, id: &str) {
        let (core, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            let _turn = core.machines.turns.of(&id).lock_owned().await;
            // A start that came first has seen to it.
            if core.machines.client(&id).is_some() {
                return;
            }
            // The end of a process that is not a child of ours makes no event that every system has.
            let lock = core.home.runner_lock(&id);
            loop {
                match ProcessLock::is_held(&lock) {
                    Ok(true) => tokio::time::sleep(AGAIN).await,
                    Ok(false) => break,
                    Err(problem) => {
                        tracing::warn!(id, "what a dead runner left stays: {problem}");
                        return;
                    }
                }
            }
            if let Err(problem) = crate::runner::reap(&core.home, &id).await {
                tracing::warn!(id, "{problem}");
            }
        });
    }

    /// A runner tells how its machine is.
    pub(super) fn runner_reported(self: &Arc<Self>, state: RunnerState) {
        if state.state.is_live() && self.machines.client(&state.id).is_none() {
            self.follow_runner(&state.id);
        }
        self.machines.set(state, None);
        self.machines_changed();
    }

    /// Finds the runners that outlived the last agent, and ends what those left that did not.
    pub(super) async fn find_runners(self: &Arc<Self>) -> Result<(), Problem> {
        for Subscription { id, .. } in subscription::all(&self.database)? {
            let held = ProcessLock::is_held(&self.home.runner_lock(&id)).unwrap_or_else(|problem| {
                tracing::warn!(id, "{problem}");
                // Whoever has it is not harmed by being looked for.
                true
            });
            if !held {
                if let Err(problem) = crate::runner::reap(&self.home, &id).await {
                    tracing::warn!(id, "what the last agent's runner left: {problem}");
                }
            } else if !matches!(tokio::time::timeout(ANSWER, self.is_live(&id)).await, Ok(Ok(_))) {
                // Whose socket was removed makes another within this time: until it is heard, its machine seems stopped.
                self.follow_runner(&id);
            }
        }
        Ok(())
    }

    /// Stops a machine; returns when it has ended. One that does not run is left alone.
    pub(super) async fn stop_machine(
        self: &Arc<Self>,
        id: &str,
        force: bool,
        timeout: u64,
    ) -> Result<(), Problem> {
        if force && self.end_hanging_runner(id).await? {
            return Ok(());
        }
        let client = {
            // A start that is under way ends first. The turn is not kept: a second stop may be of another kind.
            let _turn = self.machines.turns.of(id).lock_owned().await;
            if !self.is_live(id).await? {
                return Ok(());
            }
            self.machines.client(id)
        };
        let Some(client) = client else { return Ok(()) };
        self.check_answers(id, &client).await?;
        match client.call(Request::RunnerStop { force, timeout }).await {
            Ok(_) => {}
            // It has ended meanwhile.
            Err(problem) if problem.code == Code::AgentGone => {}
            Err(problem) => return Err(problem),
        }
        client.closed().await;
        self.runner_gone(id);
        Ok(())
    }

    /// Tells a stalled machine to go on now.
    pub(super) async fn retry_machine(&self, id: &str) -> Result<(), Problem> {
        match self.machines.client(id) {
            Some(client) => client.call(Request::RunnerRetry).await.map(drop),
            None => Ok(()),
        }
    }

    /// The release that the next start uses: what a suspended machine or kept changes belong to, or somebody has chosen;
    /// else the newest, unless the current one is further along here. One that its publisher has taken back for a fault is
    /// used only by who has chosen it, or is bound to it.
    pub(super) fn next_release(
        &self,
        subscription: &Subscription,
        records: &MachineRecords,
    ) -> Result<u64, Problem> {
        let suspension = records.suspension.clone()?;
        let kept = kept_changes(subscription, records)?;
        let bound = suspension.map(|suspension| suspension.release).or(kept);
        if let Some(sequence) = bound.or(subscription.pinned) {
            return Ok(sequence);
        }
        let Some(newest) = subscription.newest().map(|release| release.sequence) else {
            return match subscription.in_use {
                Some(in_use) if subscription.is_yanked(in_use) => Err(taken_back(subscription, in_use)),
                Some(in_use) => Ok(in_use),
                None => subscription.release(None).map(|release| release.sequence),
            };
        };
        let current = self.current_release(subscription);
        let Some(in_use) = current.filter(|sequence| !subscription.is_yanked(*sequence)) else {
            return Ok(newest);
        };
        if in_use == newest || subscription.head.release(in_use).is_none() {
            return Ok(newest);
        }
        let (old, new) = (
            self.local_of_release(subscription, in_use),
            self.local_of_release(subscription, newest),
        );
        let further =
            (old.complete && !new.complete && !new.boot_ready) || (old.boot_ready && !new.boot_ready);
        Ok(if further { in_use } else { newest })
    }

    /// The release in use; before the first start, the newest of those that could be started without the network.
    pub(super) fn current_release(&self, subscription: &Subscription) -> Option<u64> {
        let usable = |sequence: &u64| {
            self.local_of_release(subscription, *sequence).boot_ready && !subscription.is_yanked(*sequence)
        };
        let releases = subscription.head.releases.iter().map(|release| release.sequence);
        subscription.in_use.or_else(|| releases.filter(usable).max())
    }
}

fn taken_back(subscription: &Subscription, sequence: u64) -> Problem {
    not_found(
        format!(
            "The publisher of “{}” has taken back release {sequence} for a fault, and there is no other.",
            subscription.title
        ),
        format!(
            "Wait for the next one. “livepc pin {} --release {sequence}” goes on with this one all the same.",
            subscription.id
        ),
    )
}

fn still_busy() -> Problem {
    Problem::new(
        Code::Busy,
        "The machine is still starting or ending, or it is being exported.",
        "Try again in a moment.",
    )
}
