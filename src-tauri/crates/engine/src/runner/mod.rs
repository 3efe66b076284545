//! The runner: the process of one running machine.
//!
//! It holds the machine's lock, serves the release's disks, starts the hypervisor and watches it. It reads what is here by
//! itself and asks the agent for the rest; agents and clients come and go meanwhile. What data is late pauses the machine,
//! and the machine goes on by itself when the data is here.

mod disks;
mod machine;

use std::path::PathBuf;
use std::sync::Arc;

use livepc_hypervisor::{Hypervisor, HypervisorError, Installation, Qemu, Search};
use livepc_protocol::{
    Answer, Code, Display, Home, Launcher, Listener, MachineState, Problem, ProcessLock, Request, RunnerState,
};

pub(crate) use self::disks::{base, unguessable};
use self::machine::Machine;
use crate::agent::Clock;
use crate::backend::{AgentLink, ReadBy};
use crate::config;
use crate::machine_folder::MachineFolder;
use crate::serve::Release;
use crate::server::{Guests, serve};

/// What a runner is given.
#[derive(Clone, Debug)]
pub struct RunnerOptions {
    /// The home.
    pub home: Home,
    /// How it starts an agent, should its agent die.
    pub launcher: Launcher,
    /// The LivePC's id.
    pub id: String,
    /// The release to run.
    pub release: u64,
    /// Whether the machine has a window.
    pub display: Display,
    /// A file that gets what the guest writes to its first serial port.
    pub serial: Option<PathBuf>,
    /// Whether what was changed on the system disk is still wanted.
    pub keep: bool,
    /// Whether the machine goes on from where it was suspended.
    pub resume: bool,
    /// Tells the time.
    pub clock: Clock,
}

/// Runs a machine until it ends; calls `ready` when its guest executes.
///
/// # Errors
/// What keeps it from starting. How it ends is told to the agent.
pub async fn run(options: RunnerOptions, ready: impl FnOnce()) -> Result<(), Problem> {
    let RunnerOptions {
        home, launcher, id, ..
    } = &options;
    let folder = home.machine(id);
    std::fs::create_dir_all(&folder).map_err(|e| Problem::io("The machine's folder cannot be made", &e))?;
    let lock = ProcessLock::try_take(&home.runner_lock(id))
        .map_err(|e| Problem::io("The machine's lock cannot be taken", &e))?;
    let Some(_lock) = lock else {
        return Err(Problem::new(
            Code::Busy,
            "The machine runs already.",
            "Stop it first.",
        ));
    };
    let link = AgentLink::new(home.clone(), launcher.clone(), format!("runner of {id}"));
    let release = Release::open_with(home, link.clone(), id, Some(options.release), ReadBy::Guest).await?;
    let hypervisor: Arc<dyn Hypervisor> = Arc::new(find_qemu(&link, &release).await?);
    let installation = hypervisor.inspect().await.map_err(|e| of_hypervisor(&e))?;
    let own = MachineFolder::new(folder.clone());
    if options.resume {
        check_resume(&own, options.release, &installation)?;
    }
    reap(home, id).await?;
    let run_dir = run_dir(home, id)?;
    let served = disks::serve(home, id, &release).await?;
    let keep = options.keep || options.resume;
    let specs = disks::attach(&*hypervisor, &folder, &release, &served, keep).await?;
    let machine = Machine::start(
        &options,
        &*hypervisor,
        installation,
        &release,
        specs,
        run_dir,
        link,
    )
    .await?;
    let listener = Listener::bind(&home.runner_socket(id)?)
        .map_err(|e| Problem::io("The runner's socket cannot be opened", &e))?;
    let guests = Guests::default();
    tokio::spawn(serve(listener, machine.clone(), guests));
    ready();
    machine.watch(&release).await;
    served.server.shutdown().await;
    Ok(())
}

/// Refuses to go on with what cannot understand the saved state.
fn check_resume(folder: &MachineFolder, release: u64, installation: &Installation) -> Result<(), Problem> {
    match folder.suspension() {
        Some(suspension) if suspension.release == release => suspension.check_fits(installation),
        _ => Err(Problem::new(
            Code::NotFound,
            "The machine is not suspended.",
            "Start it again.",
        )),
    }
}

/// The run-time folder of a machine's hypervisor.
fn run_dir(home: &Home, id: &str) -> Result<PathBuf, Problem> {
    Ok(home.machine_sockets(id)?.join("q"))
}

/// Ends the hypervisor that a runner left when it died, if there is one. To be called by who holds the machine's lock, or
/// knows that no runner starts meanwhile.
pub(crate) async fn reap(home: &Home, id: &str) -> Result<(), Problem> {
    let left = livepc_hypervisor::reap(&run_dir(home, id)?).await;
    if left.map_err(|e| of_hypervisor(&e))? {
        tracing::warn!(id, "a hypervisor that a dead runner had left was ended");
    }
    Ok(())
}

async fn find_qemu(link: &AgentLink, release: &Release) -> Result<Qemu, Problem> {
    let request = Request::ConfigGet {
        name: config::QEMU.to_owned(),
    };
    let chosen = match link.call(request).await? {
        Answer::Setting { value, .. } if !value.is_empty() => Some(PathBuf::from(value)),
        _ => None,
    };
    let search = Search::of_system(chosen);
    Qemu::find(&search, release.manifest.machine.architecture)
        .await
        .map_err(|e| of_hypervisor(&e))
}

/// What went wrong with a hypervisor.
pub(crate) fn of_hypervisor(error: &HypervisorError) -> Problem {
    Problem::new(
        Code::Hypervisor,
        format!("{error}."),
        "“livepc doctor” shows which hypervisors were found; on Debian and Ubuntu, “apt install qemu-system-x86” brings one.",
    )
}

fn state_of(options: &RunnerOptions, state: MachineState, problem: Option<Problem>) -> RunnerState {
    RunnerState {
        id: options.id.clone(),
        release: options.release,
        state,
        problem,
    }
}
