//! What QEMU gives up before a guest runs in it, so that a guest that breaks out of it gets nowhere.
//!
//! Most of it is the right to start other programs. Toolkits that draw windows do that, by whatever the distribution has made
//! of them: GTK starts a session bus where there is none, and loads pictures in programs of their own on some. The kernel
//! ends QEMU at that. Where there is no bus, QEMU is told so, and nothing has to be started; where it is ended nevertheless,
//! it is started with the right to do it, and keeps giving up the rest.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use livepc_durable::{Readers, write};

/// The whole sandbox.
pub(crate) const STRICT: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
/// The sandbox of a QEMU whose window needs other programs.
const WITH_HELPERS: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=allow,resourcecontrol=deny";

/// The file in a machine's folder that says which QEMU its window was ended in by the sandbox, though it had started.
const RECORD: &str = "qemu.sandbox";
/// Bytes of it at the most.
const RECORD_BYTES: u64 = 256;

/// How much QEMU gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confinement {
    /// Everything that it does not need.
    Strict,
    /// All but starting other programs.
    WithHelpers,
    /// Nothing: this QEMU or this system cannot, or its window bears none of it.
    None,
}

impl Confinement {
    /// The value of `-sandbox`.
    pub(super) fn option(self) -> Option<&'static str> {
        match self {
            Self::Strict => Some(STRICT),
            Self::WithHelpers => Some(WITH_HELPERS),
            Self::None => None,
        }
    }

    /// The next weaker one.
    pub(super) fn weaker(self) -> Option<Self> {
        match self {
            Self::Strict => Some(Self::WithHelpers),
            Self::WithHelpers => Some(Self::None),
            Self::None => None,
        }
    }

    /// What is told of one that is not [`Strict`](Self::Strict).
    pub(super) fn limit(self) -> Option<&'static str> {
        match self {
            Self::Strict => None,
            Self::WithHelpers => Some(
                "What draws QEMU's window starts other programs, so its sandbox allows that: a guest that breaks out of \
                 QEMU could too.",
            ),
            Self::None => Some("QEMU's window does not work in any sandbox, so it runs without one."),
        }
    }

    /// The one that the last window of a machine was ended in by its sandbox asks for, if it was the same QEMU.
    pub(super) fn of_machine(folder: &Path, version: &str) -> Self {
        let file = record(folder);
        match livepc_durable::read_text(&file, RECORD_BYTES) {
            Ok(ended) if ended.trim() == version => Self::WithHelpers,
            _ => Self::Strict,
        }
    }

    /// Notes that a machine's window was ended by its sandbox in this QEMU.
    pub(super) fn note(folder: &Path, version: &str) {
        if let Err(error) = write(&record(folder), Readers::User, version.as_bytes()) {
            tracing::warn!(%error, "that the sandbox was too strict is not noted");
        }
    }
}

fn record(folder: &Path) -> PathBuf {
    folder.join(RECORD)
}

/// What QEMU finds in its environment so that its window starts nothing that it does not need.
pub(super) fn environment() -> &'static [(&'static str, &'static str)] {
    if has_session_bus() {
        return &[];
    }
    // An address of a kind that does not exist: libraries look for no other then, and start none.
    &[("DBUS_SESSION_BUS_ADDRESS", "disabled:")]
}

fn has_session_bus() -> bool {
    if cfg!(not(target_os = "linux")) {
        return true;
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    match set("DBUS_SESSION_BUS_ADDRESS") {
        Some(address) => names_bus(&address),
        None => set("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).join("bus").exists()),
    }
}

/// Whether an address is one of a bus that is there, and not the order to start one.
fn names_bus(address: &OsStr) -> bool {
    !address.as_encoded_bytes().starts_with(b"autolaunch:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_to_start_a_bus_is_no_bus() {
        assert!(names_bus(OsStr::new("unix:path=/run/user/1000/bus")));
        assert!(!names_bus(OsStr::new("autolaunch:")));
        assert!(!names_bus(OsStr::new("autolaunch:scope=*user")));
    }

    #[test]
    fn a_sandbox_gets_weaker_step_by_step_and_says_so() {
        let mut now = Confinement::Strict;
        assert!(now.limit().is_none());
        while let Some(weaker) = now.weaker() {
            now = weaker;
            assert!(now.limit().is_some(), "{now:?}");
        }
        assert_eq!(now.option(), None);
        let given_up = |option: &str| option.matches("=deny").count();
        assert_eq!(
            given_up(WITH_HELPERS) + 1,
            given_up(STRICT),
            "only one right is given back"
        );
    }

    #[test]
    fn a_machine_whose_window_was_ended_gets_the_weaker_one_from_that_qemu() {
        let folder = tempfile::tempdir().unwrap();
        let now = |version| Confinement::of_machine(folder.path(), version);
        assert_eq!(now("7.2.22"), Confinement::Strict);
        Confinement::note(folder.path(), "7.2.22");
        assert_eq!(now("7.2.22"), Confinement::WithHelpers);
        assert_eq!(now("8.0.0"), Confinement::Strict, "another may do without");
    }
}
