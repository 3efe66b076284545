//! Hypervisors behind one trait.
//!
//! # Overview
//!
//! A driver turns a [`MachineSpec`] — data about a machine — into a configuration of its own, out of a closed set of
//! settings: nothing that a publisher writes is ever part of an option or a path. [`Qemu`] is the driver that every
//! system has, and [`Vmware`] the one for VMware Workstation, Player and Fusion, with its assumptions in `VMWARE.md` beside
//! this crate's manifest; each kind of hypervisor ([`HypervisorKind`](livepc_format::machine::HypervisorKind)) is one type
//! that implements [`Hypervisor`].
//!
//! What runs is a [`Running`]: a stream of [`MachineEvent`]s, and a [`Control`] to ask it for things. A guest never sees
//! an I/O error: when its disk fails, it is stopped and [`MachineEvent::Stalled`] tells so; [`Control::resume`] tries
//! again, and the guest goes on as if nothing had been.
//!
//! # Lifetime
//!
//! A machine must not outlive the process that serves its disks. On Windows the system ends both together; elsewhere a
//! hypervisor that was left holds a lock in its machine's folder, by which [`reap`] finds and ends it. VMware's machines
//! outlive who starts them on every system: a record in that folder names them.

#[cfg(any(test, fuzzing))]
pub mod closed_set;
mod error;
mod hypervisor;
mod messages;
mod os;
mod programs;
pub mod qemu;
mod running;
mod spec;
pub mod vmware;

pub use error::{HypervisorError, Rejected, Result};
pub use hypervisor::{Accelerator, BoxFuture, Hypervisor, Installation};
pub use qemu::{ImageFormat, ImageTool, Layers, Qemu, Search};
pub use running::{Control, End, Ended, MachineEvent, Running, Stall, StallCause, Status};
pub use spec::{Base, DiskSpec, Display, MachineSpec, Overlay, Serial};
pub use vmware::{Vmware, VmwareSearch};

use std::path::Path;
use std::time::Duration;

/// How long a hypervisor that was left running has to end, before and after it is forced to.
const GRACE: Duration = Duration::from_secs(5);

/// Removes the state of a suspended machine from its folder, whichever hypervisor wrote it: the machine starts anew then.
///
/// # Errors
/// When it cannot be removed.
pub fn discard_saved_state(folder: &Path) -> Result<()> {
    qemu::state::discard(folder)?;
    vmware::state::discard(folder)
}

/// Bytes of the state of a suspended machine in its folder; 0 if it is not suspended.
///
/// # Errors
/// If that cannot be found out.
pub fn saved_state_bytes(folder: &Path) -> Result<u64> {
    Ok(qemu::state::bytes(folder)? + vmware::state::bytes(folder)?)
}

/// Ends the hypervisor that was left running with this machine's folder, because the process that had started it died.
/// Returns whether there was one. To be called before disks are touched that it may still write to.
///
/// # Errors
/// When there is one and it does not end.
pub async fn reap(folder: &Path) -> Result<bool> {
    let qemu = os::reap(folder, GRACE).await?;
    let vmware = vmware::reap(folder, GRACE).await?;
    Ok(qemu || vmware)
}

/// The process of a hypervisor that still runs with this run-time folder, if there is one: [`reap`] would end it.
#[must_use]
pub fn left_running(run_dir: &Path) -> Option<u32> {
    os::left_running(run_dir)
}
