//! VMware Workstation, Player and Fusion: found, configured and controlled.
//!
//! A machine is a folder with a configuration (`machine.vmx`), which is written anew at each start, and left as it is when
//! the machine goes on from a saved state. `vmrun` starts, stops and suspends it; where that is missing, VMware Player only
//! shows it in its window.
//!
//! VMware cannot be installed where the tests run. What is assumed about it is listed in `VMWARE.md` of this crate; the
//! tests use stand-ins, which are as strict as these assumptions.

mod explain;
mod find;
mod left;
pub(crate) mod state;
mod vmdk;
mod vmplayer;
mod vmrun;
mod vmx;
mod watch;

use std::path::Path;
use std::time::Duration;

use livepc_format::machine::{Architecture, Controller, HypervisorKind, Machine};
use livepc_format::shown;

pub use find::{Found, Product, VmwareSearch};
pub(crate) use left::reap;

use self::left::Left;
use self::vmrun::{Failure, Vmrun};
use self::watch::{Place, force_off};
use crate::{
    Base, BoxFuture, Display, Hypervisor, HypervisorError, Installation, MachineSpec, Overlay, Result,
    Running, os,
};

/// What people call it.
const NAME: &str = "VMware";
/// The configuration, in the machine's folder.
const VMX_FILE: &str = "machine.vmx";
/// It is longer than this only if it is something else.
const VMX_BYTES: u64 = 1 << 20;
/// What VMware writes down about a machine, in the machine's folder.
const LOG_FILE: &str = "vmware.log";
/// How long a start may take, unless it is told otherwise.
const START: Duration = Duration::from_secs(120);
/// How long a machine whose start failed has to end.
const CLEAN: Duration = Duration::from_secs(30);

/// A VMware that was found.
#[derive(Clone, Debug)]
pub struct Vmware {
    /// Whether machines may start whose base is not complete. VMware has no proven way to wait for the network: a guest
    /// may see errors of its disk. Not at first.
    pub streaming: bool,
    /// How long a start may take until it counts as failed: two minutes at first.
    pub patience: Duration,
    found: Found,
}

impl Vmware {
    /// The VMware that `search` finds.
    ///
    /// # Errors
    /// When there is none ([`NotFound`](HypervisorError::NotFound)), or it does not work.
    pub async fn find(search: &VmwareSearch) -> Result<Self> {
        Ok(Self {
            streaming: false,
            patience: START,
            found: find::find(search).await?,
        })
    }

    /// What is there of it.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    fn limits(&self) -> Vec<String> {
        let mut limits = Vec::new();
        if self.found.vmrun.is_none() {
            limits.push(
                "Its program vmrun is missing, so machines can be stopped and suspended only inside their windows; VMware \
                 Workstation brings it."
                    .into(),
            );
        }
        if !self.streaming {
            limits.push("Machines start when their release is completely here.".into());
        }
        limits
    }

    async fn start_machine(&self, spec: MachineSpec<'_>) -> Result<Running> {
        self.check(&spec)?;
        os::make_private(spec.run_dir).map_err(HypervisorError::file("creating", spec.run_dir))?;
        let vmrun = self.found.vmrun.as_ref().map(|program| Vmrun {
            program: program.clone(),
            product: self.found.product,
            vmx: spec.folder.join(VMX_FILE),
        });
        if let Some(vmrun) = &vmrun
            && vmrun.runs().await?
        {
            return Err(HypervisorError::InUse {
                why: "VMware lists it as running".into(),
            });
        }
        let before = state::saved(spec.folder);
        if spec.resume {
            if before.is_none() {
                return Err(HypervisorError::BadSpec {
                    why: "VMware has no saved state of it; start it anew".into(),
                });
            }
        } else {
            state::discard(spec.folder)?;
        }
        prepare_disks(&spec)?;
        if !spec.resume {
            state::write(&spec.folder.join(VMX_FILE), &vmx::text(&spec)?)?;
        }
        forget_log(spec.folder)?;
        let place = Place {
            folder: spec.folder.to_owned(),
            before: before.filter(|_| spec.resume),
        };
        match (vmrun, &self.found.vmplayer) {
            (Some(vmrun), _) => self.start_with_vmrun(vmrun, place, &spec).await,
            (None, Some(vmplayer)) => {
                let memory = spec.machine.memory;
                vmplayer::start(vmplayer, place, spec.log, memory, self.patience).await
            }
            (None, None) => Err(HypervisorError::Ended),
        }
    }

    async fn start_with_vmrun(&self, vmrun: Vmrun, place: Place, spec: &MachineSpec<'_>) -> Result<Running> {
        Left::Vmrun {
            program: vmrun.program.clone(),
            product: vmrun.product.host_type().into(),
            vmx: vmrun.vmx.clone(),
        }
        .write(&place.folder)?;
        let started = vmrun.start(spec.display, self.patience).await;
        let said = match &started {
            Ok(said) | Err(Failure::Said(said)) => said.as_str(),
            Err(_) => "",
        };
        if spec.log != spec.folder.join(LOG_FILE) {
            std::fs::write(spec.log, said).map_err(HypervisorError::file("writing", spec.log))?;
        }
        let error = match started {
            Ok(_) => return Ok(watch::watch(vmrun, place)),
            Err(Failure::Said(said)) => explain::failed_start(&said, &vmrun.program, spec.machine.memory),
            Err(Failure::Late) => HypervisorError::NoAnswer {
                asked: "start",
                seconds: self.patience.as_secs(),
            },
            Err(Failure::Io(error)) => HypervisorError::file("starting", &vmrun.program)(error),
        };
        // A program that was killed may have started a machine nevertheless. It was listed by nobody before.
        match force_off(&vmrun, CLEAN).await {
            Ok(()) => left::clear(&place.folder),
            // The record stays, so that it is ended before the next start.
            Err(error) => tracing::warn!(%error, "a machine that did not start may be left"),
        }
        Err(error)
    }
}

/// The configuration of a machine that VMware opens without LivePC: its disks are descriptors beside the configuration,
/// which are given by what they are attached to and their file names, the first to boot from.
///
/// # Errors
/// When VMware has no such machine, or a name is more than the name of a file.
pub fn exported(name: &str, machine: &Machine, disks: &[(Controller, String)]) -> Result<String> {
    if machine.architecture != Architecture::X86_64 {
        return Err(HypervisorError::Unsupported {
            hypervisor: NAME,
            why: "only machines for 64-bit x86 can be started so far".into(),
        });
    }
    for (_, file) in disks {
        if Path::new(file).file_name() != Some(file.as_ref()) {
            return Err(HypervisorError::BadSpec {
                why: format!("{file} does not lie beside the configuration"),
            });
        }
    }
    vmx::exported(name, machine, disks)
}

/// The configuration that a machine would get.
#[cfg(any(test, fuzzing))]
pub(crate) fn vmx_text(spec: &MachineSpec<'_>) -> Result<String> {
    vmx::text(spec)
}

/// Makes the disks what the configuration says.
fn prepare_disks(spec: &MachineSpec<'_>) -> Result<()> {
    for disk in &spec.disks {
        match &disk.overlay {
            Overlay::Vmdk(path) => match &disk.base {
                Some(Base::Vmdk(base)) => vmdk::put_on(path, Some(base))?,
                _ => vmdk::put_on(path, None)?,
            },
            Overlay::Raw(path) => {
                vmdk::describe_raw(path, disk.size)?;
            }
            // Refused before.
            Overlay::Qcow2(_) => {}
        }
    }
    Ok(())
}

/// Removes the log of the last time, which would tell of that end.
fn forget_log(folder: &Path) -> Result<()> {
    let path = folder.join(LOG_FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(HypervisorError::file("removing", &path)(error))
        }
        _ => Ok(()),
    }
}

impl Hypervisor for Vmware {
    fn kind(&self) -> HypervisorKind {
        HypervisorKind::Vmware
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Installation>> {
        Box::pin(async {
            Ok(Installation {
                kind: self.kind(),
                product: self.found.product.name(),
                program: self.found.program().to_owned(),
                version: self.found.version.clone().unwrap_or_else(|| "unknown".into()),
                accelerator: None,
                rejected: Vec::new(),
                limits: self.limits(),
            })
        })
    }

    fn check(&self, spec: &MachineSpec<'_>) -> Result<()> {
        let unsupported = |why: String| {
            Err(HypervisorError::Unsupported {
                hypervisor: NAME,
                why,
            })
        };
        if spec.machine.architecture != Architecture::X86_64 {
            return unsupported("only machines for 64-bit x86 can be started so far".into());
        }
        if cfg!(all(target_os = "macos", target_arch = "aarch64")) {
            return unsupported(
                "VMware runs no machines for x86 on this computer; start it with QEMU".into(),
            );
        }
        spec.check()?;
        if self.found.vmrun.is_none() && spec.display == Display::None {
            return unsupported(
                "VMware Player shows each machine in its window; install VMware Workstation, or start it with a window"
                    .into(),
            );
        }
        let mut files = Vec::new();
        for disk in &spec.disks {
            match &disk.base {
                Some(Base::NbdUnix { .. } | Base::NbdTcp { .. }) => {
                    return unsupported(format!(
                        "its disk “{}” is read over a connection that VMware does not know; let LivePC mount the release, \
                         or start it with QEMU",
                        disk.role
                    ));
                }
                Some(Base::File(_)) => {
                    return unsupported(format!(
                        "its disk “{}” has a base without a VMware descriptor; start it with QEMU",
                        disk.role
                    ));
                }
                Some(Base::Vmdk(_)) | None => {}
            }
            if !disk.complete && !self.streaming {
                return unsupported(
                    "VMware has no proven way to wait for the network; download the release completely first"
                        .into(),
                );
            }
            let (Overlay::Qcow2(path) | Overlay::Vmdk(path) | Overlay::Raw(path)) = &disk.overlay;
            let file = match &disk.overlay {
                Overlay::Raw(path) => vmdk::descriptor_of_raw(path),
                _ => path.clone(),
            };
            let plain = |path: &Path| path.to_str().is_some_and(vmdk::is_plain);
            if !plain(path) || matches!(&disk.base, Some(Base::Vmdk(base)) if !plain(base)) {
                return unsupported(format!(
                    "{} cannot be told to VMware because of its quotes or control characters; move LivePC's folder",
                    shown::path(path)
                ));
            }
            if files.contains(&file) {
                return Err(HypervisorError::BadSpec {
                    why: format!("two of its disks would be {}", shown::path(&file)),
                });
            }
            files.push(file);
        }
        vmx::text(spec).map(drop)
    }

    fn create_overlay<'a>(&'a self, path: &'a Path, size: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { vmdk::create_overlay(path, size) })
    }

    fn start<'a>(&'a self, spec: MachineSpec<'a>) -> BoxFuture<'a, Result<Running>> {
        Box::pin(self.start_machine(spec))
    }
}
