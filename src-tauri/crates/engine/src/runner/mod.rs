//! The runner: the process of one running machine.
//!
//! It holds the machine's lock, chooses a hypervisor (`choose`), makes the release's disks readable for it (`bases`), starts
//! it and watches it (`machine`). It reads what is here by itself and asks the agent for the rest; agents and clients come
//! and go meanwhile. What data is late pauses the machine, and the machine goes on by itself when the data is here.

pub(crate) mod bases;
mod choose;
mod disks;
pub(crate) mod flat;
mod machine;
mod own_start;
mod room;
mod shared;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use livepc_disk::release::Trace;
use livepc_format::machine::HypervisorKind;
use livepc_hypervisor::{DiskSpec, Installation, MachineSpec, Serial};
use livepc_panics::kept_up;
use livepc_protocol::{
    Code, Display, Home, Launcher, Listener, MachineState, Problem, ProcessLock, RunnerState, private_folder,
};

use self::bases::{Bases, mount_folder};
use self::choose::{Wish, choose};
use self::machine::Machine;
use self::own_start::StartRecorder;
use crate::adapter;
use crate::agent::Clock;
use crate::backend::{AgentLink, ReadBy};
use crate::hypervisors::{HypervisorSettings, for_clients, of_clients, of_hypervisor};
use crate::machine_folder::{MachineFolder, Suspension};
use crate::own_start::OwnStart;
use crate::serve::Release;
use crate::server::{Guests, serve};
use crate::session_end::{self, SessionEnd};

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
    /// The hypervisor, and no other.
    pub hypervisor: Option<livepc_protocol::HypervisorKind>,
    /// An image of a CD for the machine's drive.
    pub cd: Option<PathBuf>,
    /// Whether less free memory than the machine has will do.
    pub overcommit: bool,
    /// Whether what was changed on the system disk is still wanted.
    pub keep: bool,
    /// Whether the machine goes on from where it was suspended.
    pub resume: bool,
    /// Tells the time.
    pub clock: Clock,
}

/// Runs a machine until it ends; calls `ready` when its guest executes. When the session ends, the machine does, in order.
///
/// # Errors
/// What keeps it from starting. How it ends is told to the agent.
pub async fn run(options: RunnerOptions, ready: impl FnOnce()) -> Result<(), Problem> {
    let mut session = SessionEnd::listen()?;
    let started = tokio::select! {
        started = start(&options) => started?,
        // What was begun ends with its futures.
        () = session.told() => return Err(session_end::problem("the machine was still starting")),
    };
    let Started {
        // The last that is let go.
        lock,
        machine,
        release,
        own,
        recorder,
        bases,
    } = started;
    let listener = Listener::of_runner(&options.home, &options.id, &lock)?;
    let guests = Guests::default();
    let answers = machine.clone();
    tokio::spawn(async move { kept_up("Serving clients", || serve(&listener, &answers, &guests)).await });
    ready();
    tokio::select! {
        () = machine.watch(&release) => note_start(&own, &recorder.take()),
        never = async {
            note_start(&own, &recorder.wait().await);
            std::future::pending::<std::convert::Infallible>().await
        } => match never {},
        never = async {
            session.told().await;
            machine.end_with_session().await;
            std::future::pending::<std::convert::Infallible>().await
        } => match never {},
    }
    bases.close().await;
    Ok(())
}

/// A machine whose guest executes, and what it needs for as long.
struct Started {
    machine: Arc<Machine>,
    release: Release,
    own: MachineFolder,
    recorder: Arc<StartRecorder>,
    bases: Bases,
    lock: Arc<ProcessLock>,
}

async fn start(options: &RunnerOptions) -> Result<Started, Problem> {
    let RunnerOptions {
        home, launcher, id, ..
    } = options;
    let folder = home.machine(id);
    private_folder(&folder)?;
    let lock = ProcessLock::try_take(&home.runner_lock(id))
        .map_err(|e| Problem::io("The machine's lock cannot be taken", &e))?;
    let Some(lock) = lock else {
        return Err(Problem::new(
            Code::Busy,
            "The machine runs already.",
            "Stop it first.",
        ));
    };
    let link = AgentLink::new(home.clone(), launcher.clone(), format!("runner of {id}"));
    let release = Release::open_with(home, link.clone(), id, Some(options.release), ReadBy::Guest).await?;
    let own = MachineFolder::new(folder.clone());
    let suspension = options.resume.then(|| suspension(&own, options)).transpose()?;
    let files = Files::of(options, suspension.as_ref())?;
    let manifest = &release.manifest;
    let wish = Wish {
        asked: options.hypervisor.map(of_clients),
        bound: match &suspension {
            Some(suspension) => suspension.hypervisor(),
            None if options.keep => own.overlay_record()?.and_then(|record| record.hypervisor()),
            None => None,
        },
    };
    let settings = HypervisorSettings::ask(&link).await?.in_home(home);
    let plan = |kind| disks::plan(kind, &folder, manifest, release.opened.complete);
    let chosen = choose(&settings, wish, &manifest.machine, |hypervisor| {
        hypervisor.check(&files.spec(options, &release, hypervisor.kind(), plan(hypervisor.kind())))
    })
    .await?;
    if let Some(suspension) = &suspension {
        suspension.check_fits(&chosen.installation)?;
    }
    let kind = chosen.hypervisor.kind();
    reap(home, id).await?;
    room::check(&folder, manifest.machine.memory, options.overcommit)?;
    let recorder = Arc::new(StartRecorder::new());
    let trace: Option<Arc<dyn Trace>> = match options.resume {
        true => None,
        false => Some(recorder.clone()),
    };
    let (bases, base_of) = Bases::open(kind, home, id, &release, trace).await?;
    let keep = options.keep || options.resume;
    let disks = disks::prepare(&*chosen.hypervisor, &folder, manifest, keep, plan(kind), base_of);
    let spec = files.spec(options, &release, kind, disks.await?);
    let started = chosen.hypervisor.start(spec).await;
    let running = started.map_err(|e| of_hypervisor(&e))?;
    let told = Told {
        installation: chosen.installation,
        passed_over: chosen.passed_over,
        cd: files.cd.clone(),
        adapter: files.adapter,
        memory: manifest.machine.memory,
    };
    Ok(Started {
        machine: Machine::new(options, running, told, link),
        release,
        own,
        recorder,
        bases,
        lock: Arc::new(lock),
    })
}

/// Notes what a start has read. One that was stopped early has read too little to take the place of another.
fn note_start(folder: &MachineFolder, start: &OwnStart) {
    let before = folder.own_start().unwrap_or_default();
    if start.stretches.len() <= before.stretches.len() / 2 {
        return;
    }
    if let Err(problem) = folder.note_own_start(start) {
        tracing::warn!("what the start has read is not noted: {problem}");
    }
}

/// What is known of a machine once it runs.
#[derive(Debug)]
struct Told {
    /// What it would be suspended with.
    installation: Installation,
    /// Why another hypervisor does not run it.
    passed_over: Option<String>,
    /// The image in its CD drive.
    cd: Option<PathBuf>,
    /// What its network adapter is told by.
    adapter: Option<[u8; 3]>,
    /// Bytes of its memory.
    memory: u64,
}

/// The files of a machine that are no disks.
#[derive(Debug)]
struct Files {
    folder: PathBuf,
    run_dir: PathBuf,
    uefi_variables: PathBuf,
    log: PathBuf,
    serial: Option<PathBuf>,
    console: Option<PathBuf>,
    cd: Option<PathBuf>,
    adapter: Option<[u8; 3]>,
}

impl Files {
    fn of(options: &RunnerOptions, suspension: Option<&Suspension>) -> Result<Self, Problem> {
        let folder = options.home.machine(&options.id);
        let run_dir = run_dir(&options.home, &options.id)?;
        let serial = options.serial.as_ref().map(std::path::absolute).transpose();
        // A machine that goes on has the drive that it had.
        let cd = suspension.map_or(&options.cd, |suspension| &suspension.cd);
        if let Some(cd) = cd.as_ref().filter(|cd| !cd.is_file()) {
            return Err(Problem::new(
                Code::Usage,
                format!(
                    "The image of a CD is not there: {}.",
                    livepc_format::text::line(&cd.to_string_lossy(), 300)
                ),
                match suspension {
                    Some(_) => {
                        "Put it back, or revert the machine: it was in its drive when it was suspended."
                    }
                    None => "Name a file that is there.",
                },
            ));
        }
        let cd = cd.as_ref().map(std::path::absolute).transpose();
        let adapter = match suspension {
            Some(suspension) => suspension.adapter,
            None => Some(adapter::of(&folder)?),
        };
        Ok(Self {
            uefi_variables: folder.join("uefi.vars"),
            log: folder.join("hypervisor.log"),
            console: console(&run_dir),
            serial: serial.map_err(|e| Problem::io("The serial port's file cannot be used", &e))?,
            cd: cd.map_err(|e| Problem::io("The image of a CD cannot be used", &e))?,
            adapter,
            folder,
            run_dir,
        })
    }

    fn spec<'a>(
        &'a self,
        options: &RunnerOptions,
        release: &'a Release,
        kind: HypervisorKind,
        disks: Vec<DiskSpec>,
    ) -> MachineSpec<'a> {
        let serial = match kind {
            HypervisorKind::Qemu => Some(Serial {
                log: self.serial.clone(),
                console: self.console.clone(),
            }),
            // It has a file or a pipe, and nothing that nobody has asked for.
            HypervisorKind::Vmware => self.serial.clone().map(|log| Serial {
                log: Some(log),
                console: None,
            }),
        };
        MachineSpec {
            name: &release.manifest.title,
            machine: &release.manifest.machine,
            disks,
            display: match options.display {
                Display::Window => livepc_hypervisor::Display::Window,
                Display::None => livepc_hypervisor::Display::None,
            },
            serial,
            cd: self.cd.as_deref(),
            adapter: self.adapter,
            resume: options.resume,
            folder: &self.folder,
            uefi_variables: &self.uefi_variables,
            run_dir: &self.run_dir,
            log: &self.log,
        }
    }
}

/// What the machine was suspended with.
fn suspension(folder: &MachineFolder, options: &RunnerOptions) -> Result<Suspension, Problem> {
    let suspension = folder.suspension()?;
    let of_release = suspension.filter(|suspension| suspension.release == options.release);
    of_release.ok_or_else(|| Problem::new(Code::NotFound, "The machine is not suspended.", "Start it again."))
}

/// The run-time folder of a machine's hypervisor.
pub(crate) fn run_dir(home: &Home, id: &str) -> Result<PathBuf, Problem> {
    Ok(home.machine_sockets(id)?.join("q"))
}

/// Where the guest's serial port can be typed into, for tests and for those who look for faults.
#[cfg(unix)]
fn console(run_dir: &Path) -> Option<PathBuf> {
    Some(run_dir.with_file_name("console"))
}

/// A pipe would keep the machine from starting until somebody opens it.
#[cfg(windows)]
fn console(_: &Path) -> Option<PathBuf> {
    None
}

/// Ends the hypervisor that a runner left when it died, if there is one, and takes away what it had mounted. To be called by
/// who holds the machine's lock, or knows that no runner starts meanwhile.
pub(crate) async fn reap(home: &Home, id: &str) -> Result<(), Problem> {
    // What tells of it lies in the machine's folder; versions that looked by their environment had it beside their sockets.
    let earlier = home.earlier_machine_sockets(id).map(|folder| folder.join("q"));
    for folder in [home.machine(id)].into_iter().chain(earlier) {
        let left = livepc_hypervisor::reap(&folder).await;
        if left.map_err(|e| of_hypervisor(&e))? {
            tracing::warn!(id, "a hypervisor that a dead runner had left was ended");
        }
    }
    let folder = mount_folder(home, id);
    let taken = livepc_panics::blocking("Looking for what is mounted", move || {
        livepc_disk::mount::take_away_dead(&folder)
    });
    let taken = taken.await;
    match taken {
        Ok(Ok(false)) => {}
        Ok(Ok(true)) => tracing::warn!(id, "what a dead runner had mounted was taken away"),
        Ok(Err(error)) => return Err(crate::serve::of_mount(&error)),
        Err(panicked) => return Err(Problem::of_panic(panicked)),
    }
    Ok(())
}

fn state_of(
    options: &RunnerOptions,
    told: &Told,
    state: MachineState,
    problem: Option<Problem>,
) -> RunnerState {
    RunnerState {
        id: options.id.clone(),
        release: options.release,
        state,
        problem,
        hypervisor: Some(for_clients(told.installation.kind)),
        passed_over: told.passed_over.clone(),
    }
}
