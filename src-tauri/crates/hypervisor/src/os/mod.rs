//! What differs between operating systems: private folders, the monitor's connection, and how a hypervisor is kept from
//! outliving the process that serves its disks.
//!
//! Each system's module has the same items:
//! - `make_private(dir)` makes a folder that is only for the user;
//! - `detach(command)` keeps a terminal's signals and windows away from a child;
//! - `outlast(command)` keeps what ends all programs of a session from ending a child before its guest;
//! - `is_from_outside(signal)` and `is_of_sandbox(signal)` tell what a signal that ended a child means, `signal_of(status)`
//!   which it was, and `name_of_signal(signal)` what it is called;
//! - `Leash` ends a child with this process, where the system can;
//! - `reap(folder, grace)` ends what a dead process left, where the system could not;
//! - `Monitor` is where QEMU's monitor is connected;
//! - `StateChannel` is how a suspended machine's state gets into a file and out of it;
//! - `end_group(child, force)` ends a child, with all that it has started where the system can;
//! - `PlayerLock` is held by VMware Player and what it has started, so that they are found when their runner has died;
//! - `registered_folder(product)` is where the system's registry says that a product of VMware is, if it has one;
//! - `serial_backend(console)` is QEMU's option for a serial port that one can type into.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{
    Leash, Monitor, PlayerLock, StateChannel, detach, end_group, is_from_outside, is_of_sandbox,
    left_running, make_private, name_of_signal, outlast, reap, registered_folder, serial_backend, signal_of,
};
#[cfg(windows)]
pub(crate) use windows::{
    Leash, Monitor, PlayerLock, StateChannel, detach, end_group, is_from_outside, is_of_sandbox,
    left_running, make_private, name_of_signal, outlast, reap, registered_folder, serial_backend, signal_of,
};

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection to a monitor.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The file that QEMU keeps locked in its machine's folder while it lives, with its process id.
pub(crate) const LOCK_FILE: &str = "qemu.pid";

/// The file that VMware Player keeps locked in its machine's folder while it lives.
pub(crate) const PLAYER_LOCK_FILE: &str = "vmplayer.lock";

/// Escapes a path for QEMU's `key=value,…` options, where a comma ends a value and two stand for one.
pub(crate) fn escape_commas(path: &str) -> String {
    path.replace(',', ",,")
}
