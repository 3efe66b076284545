//! The runners, seen from the agent: it starts them, hears of their state, and finds again those that outlived it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use livepc_protocol::{
    Answer, Client, Code, Display, MachineState, Problem, ProcessLock, Request, RunnerState, Until,
};

use super::core::{Core, lock};
use crate::subscription::{self, Subscription};

/// The machines that have a runner, or had one.
#[derive(Default)]
pub(super) struct Machines {
    runners: Mutex<HashMap<String, Runner>>,
    /// One start or stop of a machine at a time.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
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

    fn client(&self, id: &str) -> Option<Client> {
        lock(&self.runners)
            .get(id)
            .and_then(|runner| runner.client.clone())
    }

    fn turn(&self, id: &str) -> Arc<tokio::sync::Mutex<()>> {
        lock(&self.turns).entry(id.to_owned()).or_default().clone()
    }

    fn set(&self, state: RunnerState, client: Option<Client>) {
        let mut runners = lock(&self.runners);
        let client = client.or_else(|| runners.get(&state.id).and_then(|runner| runner.client.clone()));
        runners.insert(state.id.clone(), Runner { client, state });
    }

    pub(super) fn forget(&self, id: &str) {
        lock(&self.runners).remove(id);
    }
}

/// What a start asks for.
pub(super) struct Start {
    pub(super) display: Display,
    pub(super) serial: Option<String>,
    pub(super) fill: bool,
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
        let turn = self.machines.turn(&id);
        let _turn = turn.lock().await;
        if self
            .machines
            .state(&id)
            .is_some_and(|state| state.state.is_live())
        {
            return Ok(());
        }
        if ProcessLock::is_held(&self.home.runner_lock(&id)) {
            return match self.adopt_runner(&id).await {
                Ok(()) => Ok(()),
                Err(_) => Err(Problem::new(
                    Code::Busy,
                    "The machine is still ending.",
                    "Try again in a moment.",
                )),
            };
        }
        let sequence = self.next_release(subscription)?;
        self.open_release(subscription, Some(sequence)).await?;
        if start.fill {
            self.queue_download(subscription, sequence, Until::Complete)?;
        }
        let state = |state, problem| RunnerState {
            id: id.clone(),
            release: sequence,
            state,
            problem,
        };
        self.machines.set(state(MachineState::Starting, None), None);
        self.touch();
        match self.launch(&id, sequence, start).await {
            Ok(()) => {
                subscription::used(&self.database, &id, sequence, (self.now)())?;
                self.adopt_runner(&id).await
            }
            Err(problem) => {
                subscription::ended(&self.database, &id, Some(&problem))?;
                self.machines
                    .set(state(MachineState::Failed, Some(problem.clone())), None);
                self.touch();
                Err(problem)
            }
        }
    }

    async fn launch(&self, id: &str, sequence: u64, start: Start) -> Result<(), Problem> {
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
        let line = Self::blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            launcher.start(&home, &args)
        })
        .await??;
        if line == "ready" {
            return Ok(());
        }
        Err(serde_json::from_str(&line).unwrap_or_else(|_| {
            Problem::new(
                Code::Failed,
                "The machine's runner failed.",
                "“livepc logs” shows why.",
            )
        }))
    }

    /// Connects to a machine's runner and follows it.
    async fn adopt_runner(self: &Arc<Self>, id: &str) -> Result<(), Problem> {
        let client = Client::connect(&self.home.runner_socket(id)?, "agent", false).await?;
        let Answer::Runner { state } = client.call(Request::RunnerStatus).await? else {
            return Err(crate::server::misplaced());
        };
        self.machines.set(state, Some(client.clone()));
        self.touch();
        let (core, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            client.closed().await;
            core.runner_gone(&id);
        });
        Ok(())
    }

    /// A runner's connection has ended: if it did not say how its machine ended, that is a failure.
    fn runner_gone(self: &Arc<Self>, id: &str) {
        let Some(mut state) = self.machines.state(id) else {
            return;
        };
        let died = state.state.is_live();
        if died {
            state.state = MachineState::Failed;
            state.problem = Some(Problem::new(
                Code::Hypervisor,
                "The machine's runner ended unexpectedly, and with it the machine.",
                "Start it again. What the guest had not written to a disk of its own is lost.",
            ));
        }
        if let Err(problem) = subscription::ended(&self.database, id, state.problem.as_ref()) {
            tracing::warn!("{problem}");
        }
        let mut runners = lock(&self.machines.runners);
        runners.insert(id.to_owned(), Runner { client: None, state });
        drop(runners);
        if died {
            self.end_what_it_left(id);
        }
        self.touch();
    }

    /// Ends the hypervisor of a runner that died; a start that comes meanwhile waits for that.
    fn end_what_it_left(self: &Arc<Self>, id: &str) {
        let (core, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            let turn = core.machines.turn(&id);
            let _turn = turn.lock().await;
            // A start that came first has seen to it.
            if core.machines.client(&id).is_some() {
                return;
            }
            // The end of a process that is not a child of ours makes no event that every system has.
            let lock = core.home.runner_lock(&id);
            while ProcessLock::is_held(&lock) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            if let Err(problem) = crate::runner::reap(&core.home, &id).await {
                tracing::warn!(id, "{problem}");
            }
        });
    }

    /// A runner tells how its machine is.
    pub(super) fn runner_reported(&self, state: RunnerState) {
        self.machines.set(state, None);
        self.touch();
    }

    /// Finds the runners that outlived the last agent, and ends what those left that did not.
    pub(super) async fn find_runners(self: &Arc<Self>) -> Result<(), Problem> {
        for Subscription { id, .. } in subscription::all(&self.database)? {
            let found = if ProcessLock::is_held(&self.home.runner_lock(&id)) {
                self.adopt_runner(&id).await
            } else {
                crate::runner::reap(&self.home, &id).await
            };
            if let Err(problem) = found {
                tracing::warn!(id, "the last agent's runner: {problem}");
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
        let Some(client) = self.machines.client(id) else {
            return Ok(());
        };
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

    /// The release that the next cold start uses: the newest, unless the one in use is further along here.
    pub(super) fn next_release(&self, subscription: &Subscription) -> Result<u64, Problem> {
        let Some(newest) = subscription.newest().map(|release| release.sequence) else {
            return subscription
                .in_use
                .map_or_else(|| subscription.release(None).map(|r| r.sequence), Ok);
        };
        let Some(in_use) = subscription.in_use else {
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
}
