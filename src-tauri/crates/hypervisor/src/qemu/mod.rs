//! QEMU: found, tried out, configured and controlled.
//!
//! What the guest reaches with [`Network::Nat`](livepc_format::machine::Network::Nat) includes what listens on the host's
//! loopback, at 10.0.2.2: QEMU's user-mode network has no switch that closes only that.

pub(crate) mod command_line;
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

use std::path::Path;
use std::time::Duration;

use livepc_format::machine::{self, Architecture, HypervisorKind};
use tokio::sync::OnceCell;

pub use convert::{ImageFormat, ImageTool, Layers};
pub use find::Search;

use self::command_line::Host;
use self::find::Programs;
use self::firmware::Firmware;
use self::launch::{Failure, launch};
use self::probe::Acceleration;
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
            .get_or_try_init(|| probe::acceleration(&self.programs.system))
            .await
    }

    async fn start_machine(&self, spec: MachineSpec<'_>) -> Result<Running> {
        self.check(&spec)?;
        os::make_private(spec.run_dir).map_err(HypervisorError::file("creating", spec.run_dir))?;
        let program = &self.programs.system;
        let firmware = match spec.machine.firmware {
            machine::Firmware::Bios => None,
            machine::Firmware::Uefi => Some(Firmware::find(program)?),
        };
        if let Some(firmware) = &firmware {
            firmware.make_variables(spec.uefi_variables)?;
        }
        let display = match spec.display {
            Display::None => "none",
            Display::Window => self.window.get_or_try_init(|| probe::window(program)).await?,
        };
        let audio = match spec.display {
            Display::Window if spec.machine.sound => {
                self.audio.get_or_try_init(|| probe::audio(program)).await?
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
        let arguments = |monitor| {
            let host = Host {
                accelerator: acceleration.accelerator,
                sandbox: acceleration.sandbox,
                display,
                audio,
                firmware: firmware.as_ref().map(|firmware| firmware.code.as_path()),
                monitor,
            };
            command_line::arguments(&spec, &host)
        };
        let launched = launch(program, spec.run_dir, Some(spec.log), START, arguments).await;
        let launched = launched.map_err(|failure| match failure {
            Failure::Exited(lines) => explain::failed_start(&lines, spec.machine.memory),
            Failure::Silent(_) => HypervisorError::NoAnswer {
                asked: "start",
                seconds: START.as_secs(),
            },
            Failure::Other(error) => error,
        })?;
        let folders = Folders {
            run: spec.run_dir.to_owned(),
            own: spec.folder.to_owned(),
        };
        let roles = spec.disks.into_iter().map(|disk| disk.role).collect();
        supervise::supervise(launched, roles, folders, spec.resume).await
    }
}

/// The arguments that a machine would get on a host with everything.
#[cfg(any(test, fuzzing))]
pub(crate) fn arguments_for(spec: &MachineSpec<'_>, accelerator: Accelerator) -> Result<Vec<String>> {
    let host = Host {
        accelerator,
        sandbox: true,
        display: "gtk,window-close=off",
        audio: "none",
        firmware: Some(Path::new("/firmware/code.fd")),
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
                self.programs.system.display()
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
