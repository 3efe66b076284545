//! Stand-ins for VMware's programs, for machines that VMware cannot be installed on. THEY ARE NOT VMWARE.
//!
//! They are as strict as what is known about VMware: a configuration with a key that is unknown, twice or malformed is
//! refused, and so is a chain of disks whose identifiers do not fit. What a configuration names is then really run, in
//! QEMU: each disk through QEMU's driver for VMDK, the memory, the CPUs, the firmware, the network adapter, the serial port.
//!
//! What real VMware may do differently:
//! - it takes keys that it does not know, and may ignore ones that these take;
//! - it wants VMware Tools in the guest for a soft stop; these press the power button;
//! - its log is longer, its messages may be worded otherwise, and its window may ask questions;
//! - its virtual hardware is its own: a guest that starts here need not start there;
//! - it writes settings of its own into the configuration; these write only `checkpoint.vmState`.
//!
//! Told by the environment: `LIVEPC_STANDIN_DIR` is a folder for sockets and the list of machines; `LIVEPC_STANDIN_SICK` is
//! how they shall fail: `locked`, `licence`, `hang`, `exit1`, `vanish` or `notools`.

mod disks;
mod machine;
mod orders;
pub mod programs;
mod qmp;
mod settings;

use std::path::{Path, PathBuf};

pub use orders::vmrun;

/// Shows a machine until it is off.
///
/// # Errors
/// When it does not start, in words like VMware's.
pub fn vmplayer(vmx: &Path) -> Result<(), String> {
    fall_ill()?;
    machine::run(vmx, || ())
}

/// What is wrong, in words like VMware's.
type Failure = String;

/// How the stand-in shall fail, if it shall.
fn sick() -> String {
    std::env::var("LIVEPC_STANDIN_SICK").unwrap_or_default()
}

/// Fails in the ways that happen before a machine starts.
///
/// # Errors
/// If it shall.
fn fall_ill() -> Result<(), Failure> {
    match sick().as_str() {
        "locked" => Err("The file is already in use".into()),
        "licence" => Err("A valid license key was not found, or the trial period has ended".into()),
        "exit1" => Err("Unknown error".into()),
        "hang" => loop {
            std::thread::park();
        },
        _ => Ok(()),
    }
}

/// The folder for sockets and the list of machines.
fn state_dir() -> Result<PathBuf, Failure> {
    std::env::var_os("LIVEPC_STANDIN_DIR")
        .map(PathBuf::from)
        .ok_or_else(|| "LIVEPC_STANDIN_DIR is not set".into())
}
