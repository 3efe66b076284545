//! The agent: the one process of a home that asks servers, writes the store and the state, and starts runners.
//!
//! It is elected by an operating system's lock, started by whichever client comes first, and ends by itself when it has
//! neither clients nor work nor machines.

mod answer;
mod block_map;
mod core;
mod download;
mod export;
mod follow;
mod hanging;
mod jobs;
mod lifecycle;
mod machines;
mod own_start;
mod poll;
mod progress;
mod release;
mod schedule;
mod sign_in;
mod snapshot;
mod space;
mod speed;
#[cfg(test)]
mod tests;
mod tidy;
mod verify;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use livepc_durable::Readers;
use livepc_panics::kept_up;
use livepc_protocol::{
    Code, Home, Launcher, Listener, Problem, ProcessLock, Snapshot, private_folder, remove_superseded,
};
use livepc_store::Store;
use livepc_transfer::{Client, Config, Fetcher, Limits};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub use self::core::Clock;
use self::core::Core;
pub(crate) use self::core::sink;
pub(crate) use self::machines::Owner;
use crate::database::Database;
use crate::logins::Logins;
use crate::problems::{of_store, of_transfer};
use crate::server::{Guests, serve};
use crate::session_end::{self, SessionEnd};
use crate::{config, store_move, subscription};

/// How long an agent without clients, work and machines stays.
const LINGER: Duration = Duration::from_secs(5);
/// How often it is looked whether the copy of the state is old.
const COPY_IS_LOOKED_AT: Duration = Duration::from_secs(60 * 60);
/// How often it is looked whether the home is still there; so it is also whenever somebody asks for something.
const HOME_IS_LOOKED_AT: Duration = Duration::from_secs(2);
/// How long runners have to say that they have been told of the session's end too.
const TOLD: Duration = Duration::from_secs(1);
/// How long one that ends waits for those who have just connected.
const LAST_GUESTS: Duration = Duration::from_millis(50);

/// What an agent is given.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The home that it serves.
    pub home: Home,
    /// How it starts runners.
    pub launcher: Launcher,
    /// What tells it the time.
    pub clock: Clock,
}

/// Runs the agent of a home until it is no longer needed; calls `ready` once it listens. Returns at once if another
/// process is the home's agent.
///
/// # Errors
/// What keeps it from starting: a state or store of a newer version, a disk that cannot be written.
pub async fn run(options: AgentOptions, ready: impl FnOnce()) -> Result<(), Problem> {
    let AgentOptions {
        home,
        launcher,
        clock,
    } = options;
    let lock = ProcessLock::try_take(&home.agent_lock())
        .map_err(|e| Problem::io("The agent's lock cannot be taken", &e))?;
    let Some(lock) = lock else {
        ready();
        return Ok(());
    };
    let lock = Arc::new(lock);
    // Whoever takes it next opens the store, which tasks of this one may hold as long as the process lives.
    lock.until_exit();
    let core = Arc::new(open(home, lock, launcher, clock)?);
    core.apply_settings()?;
    core.pause_as_before()?;
    let listener = Listener::of_agent(&core.home, &core.lock)?;
    core.find_runners().await?;
    // Before anybody asks: what is here is shown as being here, with or without a network.
    core.reopen_all().await;
    // What the last agent could not remove, because it was killed or the disk failed.
    core.tidy_store().await;
    core.forget_superseded_programs().await;
    core.resume_jobs()?;
    core.publish_snapshot().await;
    let guests = core.guests.clone();
    core.keep_up();
    let serving = {
        let (core, guests) = (core.clone(), guests.clone());
        tokio::spawn(async move { kept_up("Serving clients", || serve(&listener, &core, &guests)).await })
    };
    let mut session = SessionEnd::listen()?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), home = %core.home.root().display(), "the agent is ready");
    ready();
    tokio::select! {
        () = core.until_idle(&guests) => {}
        () = session.told() => {
            core.until_machines_have_ended().await;
            tracing::info!("the agent ends: the session does");
            return Ok(());
        }
        () = core.until_home_is_gone() => {
            tracing::error!("the agent ends: {}", core.home.gone());
            core.give_up_jobs();
            core.publish_snapshot().await;
            let told = async {
                while guests.count() > 0 {
                    guests.changed().await;
                }
            };
            let _ = tokio::time::timeout(TOLD, told).await;
            return Ok(());
        }
    }
    // Who connects from now on is refused, and starts another agent; who came just before is still answered.
    serving.abort();
    // It ends at its next pause; whoever it has let in until then is a guest already.
    let _ = serving.await;
    core.asked_to_stop.cancel();
    tokio::time::sleep(LAST_GUESTS).await;
    core.until_idle(&guests).await;
    core.keep_copy(true).await;
    tracing::info!("the agent ends: nobody needs it");
    Ok(())
}

fn open(home: Home, lock: Arc<ProcessLock>, launcher: Launcher, now: Clock) -> Result<Core, Problem> {
    make_folders(&home)?;
    crate::leftovers::remove(&home);
    let database = Database::open(&home.database())?;
    store_move::settle(&home)?;
    let store = Arc::new(Store::open(home.store()).map_err(|e| of_store(&e))?);
    let reader = store.reader();
    let logins = Arc::new(Logins::read(&database, home.passwords())?);
    let config = Config {
        logins: logins.clone(),
        ..Config::default()
    };
    let client = Client::new(config).map_err(|e| of_transfer(&e))?;
    let writes = Arc::new(AtomicU64::new(0));
    let fetcher = Fetcher::new(
        client.clone(),
        self::core::counting_sink(&store, &writes),
        Limits::default(),
    );
    let (snapshots, _) = watch::channel(Snapshot::default());
    Ok(Core {
        home,
        lock,
        home_is_gone: CancellationToken::new(),
        launcher,
        now,
        database,
        logins,
        store,
        reader,
        client,
        fetcher,
        releases: Mutex::new(HashMap::new()),
        handed_out: Mutex::new(HashMap::new()),
        openings: self::core::Turns::default(),
        fetches: self::core::Turns::default(),
        counted: Mutex::new(HashMap::new()),
        jobs: jobs::Jobs::new(),
        machines: machines::Machines::default(),
        polling: poll::Polling::new(),
        paused: AtomicBool::new(false),
        guests: Guests::default(),
        asked_to_stop: CancellationToken::new(),
        library_revision: AtomicU64::new(0),
        writes,
        usage: Mutex::default(),
        room: tokio::sync::Mutex::default(),
        changed: Notify::new(),
        snapshots,
        publishing: tokio::sync::Mutex::default(),
    })
}

/// Makes what holds the user's data before anything else makes it for everybody: the home itself may let others look in.
fn make_folders(home: &Home) -> Result<(), Problem> {
    for folder in ["machines", "bases"] {
        private_folder(&home.root().join(folder))?;
    }
    // One that was lost is made from its copy, and not taken for a new one.
    let state = [home.database(), home.database().with_extension("db.copy")];
    if state
        .iter()
        .all(|file| file.try_exists().is_ok_and(|exists| !exists))
    {
        livepc_durable::write(&home.database(), Readers::User, b"")
            .map_err(|e| Problem::io("The state cannot be written", &e))?;
    }
    if !home.own_store().exists() && home.store() == home.own_store() {
        private_folder(&home.own_store())?;
    }
    Ok(())
}

impl Core {
    /// Waits until the home is not where it was.
    async fn until_home_is_gone(&self) {
        let mut look = tokio::time::interval(HOME_IS_LOOKED_AT);
        loop {
            tokio::select! {
                () = self.home_is_gone.cancelled() => return,
                // Nobody tells on every system and file system.
                _ = look.tick() => drop(self.check_home()),
            }
        }
    }

    /// Keeps a copy of the state that is never older than a day.
    async fn keep_copies(self: Arc<Self>) {
        let mut look = tokio::time::interval(COPY_IS_LOOKED_AT);
        loop {
            look.tick().await;
            self.keep_copy(false).await;
        }
    }

    async fn keep_copy(self: &Arc<Self>, ending: bool) {
        let core = self.clone();
        if let Err(problem) = Self::blocking(move || core.database.keep_copy(ending)).await {
            tracing::warn!("{problem}");
        }
    }

    /// Begins what goes on as long as the agent: an agent that did not poll or publish any more would look alive.
    fn keep_up(self: &Arc<Self>) {
        self.keep_up_one("Publishing snapshots", Self::publish_snapshots);
        self.keep_up_one("Polling", Self::poll);
        self.keep_up_one("Copying the state", Self::keep_copies);
    }

    fn keep_up_one<F>(self: &Arc<Self>, what: &'static str, begin: fn(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let core = self.clone();
        tokio::spawn(async move { kept_up(what, || begin(core.clone())).await });
    }

    /// Gives the settings to the parts that they are for.
    fn apply_settings(&self) -> Result<(), Problem> {
        let rate = |name| Ok::<u64, Problem>(config::get(&self.database, name)?.parse().unwrap_or(0));
        let running = match self.machines.any_live() {
            true => rate(config::MAX_RATE_RUNNING)?,
            false => 0,
        };
        let rate = if running > 0 {
            running
        } else {
            rate(config::MAX_RATE)?
        };
        self.fetcher.set_max_bytes_per_second((rate > 0).then_some(rate));
        Ok(())
    }

    /// Who paused all downloads finds them paused, also if it was another agent's.
    fn pause_as_before(&self) -> Result<(), Problem> {
        let paused = self.database.setting(config::PAUSED)?.as_deref() == Some("true");
        self.pause(paused);
        Ok(())
    }

    /// Holds back all downloads, or lets them go on.
    fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::SeqCst);
        self.fetcher.pause(paused);
    }

    /// A machine has begun to run, or ended: there may be another limit.
    fn machines_changed(&self) {
        self.machines.changed();
        if let Err(problem) = self.apply_settings() {
            tracing::warn!("the limit of the download speed is as before: {problem}");
        }
        self.touch();
    }

    /// Opens the releases that are here, so that what is here can be counted and shown.
    async fn reopen_all(self: &Arc<Self>) {
        for subscription in subscription::all(&self.database).unwrap_or_default() {
            for release in subscription.releases() {
                let sequence = release.sequence;
                if let Err(problem) = self.reopen(&subscription, sequence).await {
                    tracing::warn!(id = subscription.id, sequence, "{problem}");
                }
                self.touch();
            }
        }
    }

    /// Removes copies of the program that an update has made superfluous.
    async fn forget_superseded_programs(&self) {
        let home = self.home.clone();
        if let Ok(Err(problem)) = Self::blocking(move || remove_superseded(&home)).await {
            tracing::warn!("{problem}");
        }
    }

    /// True if the agent should not end.
    fn is_needed(&self) -> bool {
        self.jobs.at_work() || self.machines.any_live()
    }

    /// Stays for machines that end with the session: their guests may read what is still to be fetched, and how they ended is
    /// to be noted. Those that go on have runners that do without an agent.
    async fn until_machines_have_ended(&self) {
        if self.machines.any_live() {
            let told = self.machines.until(machines::Machines::any_ending);
            let _ = tokio::time::timeout(TOLD, told).await;
        }
        let ended = self.machines.until(|machines| !machines.any_ending());
        let _ = tokio::time::timeout(session_end::IN_ORDER, ended).await;
    }

    /// Waits until nobody has needed the agent for a while, or somebody asked it to end.
    async fn until_idle(&self, guests: &Guests) {
        loop {
            let asked = self.asked_to_stop.is_cancelled();
            let idle = |guests: &Guests| guests.count() == 0 && !self.is_needed();
            let was_idle = idle(guests);
            if was_idle && asked {
                return;
            }
            // A job or machine may end without any client's doing, so this looks again now and then.
            let changed = async {
                tokio::select! {
                    () = guests.changed() => {}
                    () = self.asked_to_stop.cancelled(), if !asked => {}
                }
            };
            let changed = tokio::time::timeout(LINGER, changed).await;
            if was_idle && changed.is_err() && idle(guests) {
                return;
            }
        }
    }

    /// Ends the agent on request, once who asked has its answer, unless it is needed.
    fn stop_if_idle(&self) -> Result<(), Problem> {
        if self.is_needed() {
            return Err(Problem::new(
                Code::Busy,
                "The agent is at work, or serves a machine.",
                "Stop the machines and pause the downloads first.",
            ));
        }
        if self.guests.count() > 0 {
            return Err(Problem::new(
                Code::Busy,
                "Another program of LivePC uses the agent.",
                "Close the app, and end “livepc serve” and what else still runs.",
            ));
        }
        self.asked_to_stop.cancel();
        Ok(())
    }
}
