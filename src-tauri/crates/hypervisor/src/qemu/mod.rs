//! QEMU: found, tried out, configured and controlled.
//!
//! What the guest reaches with [`Network::Nat`](livepc_format::machine::Network::Nat) includes what listens on the host's
//! loopback, at 10.0.2.2: QEMU's user-mode network has no switch that closes only that.

pub(crate) mod command_line;
pub(crate) mod confinement;
mod convert;
mod disks;
mod explain;
mod find;
mod firmware;
mod launch;
mod overlay;
mod probe;
mod qmp;
pub(crate) mod state;
mod supervise;

use std::path::{Path, PathBuf};
use std::time::Duration;

use livepc_format::machine::{self, Architecture, HypervisorKind};
use livepc_format::shown;
use tokio::sync::OnceCell;

pub use convert::{ImageFormat, ImageTool, Layers};
pub use find::Search;

use self::command_line::Host;
use self::confinement::Confinement;
use self::find::Programs;
use self::firmware::Firmware;
#[cfg(any(test, fuzzing))]
use self::firmware::{Format, Image};
use self::launch::{Failure, Launched, Start, launch};
use self::probe::{Acceleration, Tried};
use self::supervise::Folders;
use crate::{
    Accelerator, BoxFuture, Display, Hypervisor, HypervisorError, Installation, MachineSpec, Result, Running,
    os,
};

/// How long QEMU has until its monitor answers. It reads the first sectors of each disk before.
const START: Duration = Duration::from_secs(60);

/// A QEMU that works, for one architecture. What was found out about it is kept as long as the value.
#[derive(Clone, Debug)]
pub struct Qemu {
    programs: Programs,
    scratch: Option<PathBuf>,
    architecture: Architecture,
    acceleration: OnceCell<Acceleration>,
    window: OnceCell<&'static str>,
    audio: OnceCell<&'static str>,
}

impl Qemu {
    /// The first QEMU for `architecture` that `search` finds and that tells its version.
    ///
    /// # Errors
    /// When there is none ([`NotFound`](HypervisorError::NotFound)), or none works.
    pub async fn find(search: &Search, architecture: Architecture) -> Result<Self> {
        Ok(Self {
            programs: find::find(search, architecture).await?,
            scratch: search.scratch.clone(),
            architecture,
            acceleration: OnceCell::new(),
            window: OnceCell::new(),
            audio: OnceCell::new(),
        })
    }

    /// Its version: `7.2.22`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.programs.version
    }

    /// The program that runs machines.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.programs.system
    }

    /// What runs a guest's code. The first call tries, which takes up to ten seconds.
    ///
    /// # Errors
    /// When nothing does.
    pub async fn accelerator(&self) -> Result<Accelerator> {
        Ok(self.acceleration().await?.accelerator)
    }

    async fn acceleration(&self) -> Result<&Acceleration> {
        self.acceleration
            .get_or_try_init(|| probe::acceleration(self.tried()))
            .await
    }

    fn tried(&self) -> Tried<'_> {
        Tried {
            program: &self.programs.system,
            scratch: self.scratch.as_deref(),
        }
    }

    async fn window(&self) -> Result<&'static str> {
        let window = || probe::window(&self.programs.system);
        self.window.get_or_try_init(window).await.copied()
    }

    /// Opens a window for a moment, as machines have it. Gives what is worth knowing about it: that it works only with a
    /// weaker sandbox.
    ///
    /// # Errors
    /// What keeps windows from being shown.
    pub async fn try_window(&self) -> Result<Option<&'static str>> {
        let display = self.window().await?;
        let Acceleration {
            accelerator,
            confinement,
            ..
        } = *self.acceleration().await?;
        let works = probe::opens_window(self.tried(), display, accelerator, confinement).await?;
        Ok(works.limit())
    }

    async fn start_machine(&self, spec: MachineSpec<'_>) -> Result<Running> {
        self.check(&spec)?;
        os::make_private(spec.run_dir).map_err(HypervisorError::file("creating", spec.run_dir))?;
        let program = &self.programs.system;
        let firmware = match spec.machine.firmware {
            machine::Firmware::Bios => None,
            machine::Firmware::Uefi => {
                let board = disks::Disks::plan(&spec)?.board;
                let firmware = Firmware::find(program, board, spec.uefi_variables)?;
                firmware
                    .make_variables(&self.programs.img, spec.uefi_variables)
                    .await?;
                Some(firmware)
            }
        };
        let display = match spec.display {
            Display::None => "none",
            Display::Window => self.window().await?,
        };
        let audio = match spec.display {
            Display::Window if spec.machine.sound => {
                self.audio.get_or_try_init(|| probe::audio(self.tried())).await?
            }
            _ => "none",
        };
        let acceleration = self.acceleration().await?;
        for no in &acceleration.rejected {
            tracing::warn!(
                accelerator = no.accelerator.name(),
                why = no.why,
                "this machine runs slower than it could"
            );
        }
        let host = Host {
            accelerator: acceleration.accelerator,
            sandbox: None,
            display,
            audio,
            firmware: firmware.as_ref().map(|firmware| &firmware.code),
            monitor: String::new(),
        };
        let launched = self
            .launch_confined(&spec, &host, acceleration.confinement)
            .await?;
        let folders = Folders {
            run: spec.run_dir.to_owned(),
            own: spec.folder.to_owned(),
        };
        let roles = spec.disks.into_iter().map(|disk| disk.role).collect();
        supervise::supervise(launched, roles, folders, self.version().to_owned(), spec.resume).await
    }

    /// Starts QEMU with as much of its sandbox as its window bears.
    async fn launch_confined(
        &self,
        spec: &MachineSpec<'_>,
        host: &Host<'_>,
        strongest: Confinement,
    ) -> Result<Launched> {
        let mut confinement = match (strongest, spec.display) {
            (Confinement::Strict, Display::Window) => Confinement::of_machine(spec.folder, self.version()),
            (strongest, _) => strongest,
        };
        let start = Start {
            program: &self.programs.system,
            run_dir: spec.run_dir,
            log: Some(spec.log),
            time: START,
            environment: match spec.display {
                Display::Window => confinement::environment(),
                Display::None => &[],
            },
        };
        loop {
            let arguments = |monitor| {
                let host = Host {
                    sandbox: confinement.option(),
                    monitor,
                    ..host.clone()
                };
                command_line::arguments(spec, &host)
            };
            let (lines, signal) = match launch(start, arguments).await {
                Ok(launched) => return Ok(launched),
                Err(Failure::Exited(lines, signal)) => (lines, signal),
                Err(Failure::Silent(_)) => {
                    return Err(HypervisorError::NoAnswer {
                        asked: "start",
                        seconds: START.as_secs(),
                    });
                }
                Err(Failure::Other(error)) => return Err(error),
            };
            if !signal.is_some_and(os::is_of_sandbox) {
                return Err(explain::failed_start(
                    &self.programs.system,
                    &lines,
                    spec.machine.memory,
                ));
            }
            // Its guest has not begun, so nothing has happened that a second start would do twice.
            let Some(weaker) = confinement.weaker().filter(|_| spec.display == Display::Window) else {
                return Err(HypervisorError::Sandboxed);
            };
            confinement = weaker;
            tracing::warn!(
                limit = confinement.limit(),
                "QEMU was ended by its sandbox, and is started anew"
            );
        }
    }
}

/// The arguments that a machine would get on a host with everything.
#[cfg(any(test, fuzzing))]
pub(crate) fn arguments_for(spec: &MachineSpec<'_>, accelerator: Accelerator) -> Result<Vec<String>> {
    let code = Image {
        path: "/firmware/code.fd".into(),
        format: Format::Raw,
    };
    let host = Host {
        accelerator,
        sandbox: Confinement::Strict.option(),
        display: "gtk,window-close=off",
        audio: "none",
        firmware: Some(&code),
        monitor: "socket,path=/run/monitor".into(),
    };
    command_line::arguments(spec, &host)
}

impl Hypervisor for Qemu {
    fn kind(&self) -> HypervisorKind {
        HypervisorKind::Qemu
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Installation>> {
        Box::pin(async {
            let acceleration = self.acceleration().await?;
            Ok(Installation {
                kind: self.kind(),
                product: "QEMU",
                program: self.programs.system.clone(),
                version: self.programs.version.clone(),
                accelerator: Some(acceleration.accelerator),
                rejected: acceleration.rejected.clone(),
                limits: Vec::new(),
            })
        })
    }

    fn check(&self, spec: &MachineSpec<'_>) -> Result<()> {
        let unsupported = |why: String| {
            Err(HypervisorError::Unsupported {
                hypervisor: "QEMU",
                why,
            })
        };
        let wanted = spec.machine.architecture;
        if wanted != Architecture::X86_64 {
            return unsupported("only machines for 64-bit x86 can be started so far".into());
        }
        if wanted != self.architecture {
            return unsupported(format!(
                "{} is for other processors",
                shown::path(&self.programs.system)
            ));
        }
        spec.check()?;
        disks::Disks::plan(spec).map(drop)
    }

    fn create_overlay<'a>(&'a self, path: &'a Path, size: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(overlay::create(&self.programs.img, path, size))
    }

    fn start<'a>(&'a self, spec: MachineSpec<'a>) -> BoxFuture<'a, Result<Running>> {
        Box::pin(self.start_machine(spec))
    }
}
