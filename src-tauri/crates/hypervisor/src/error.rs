//! What can go wrong between LivePC and a hypervisor.

use std::io;
use std::path::{Path, PathBuf};

use crate::Accelerator;
use livepc_format::shown;

/// The result of asking a hypervisor for something.
pub type Result<T, E = HypervisorError> = std::result::Result<T, E>;

/// Why a hypervisor did not do what was asked. Each says what a person can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HypervisorError {
    /// A program of the hypervisor is nowhere.
    #[error("{program} was not found; {hint}")]
    NotFound {
        /// The program's name, or the path that the user chose.
        program: String,
        /// How to get it.
        hint: &'static str,
    },
    /// A program of the hypervisor is there, but does not work.
    #[error("{} does not work: {why}; {hint}", shown::path(program))]
    Broken {
        /// The program.
        program: PathBuf,
        /// What it did instead.
        why: String,
        /// How to get one that works.
        hint: &'static str,
    },
    /// The hypervisor lacks what LivePC needs.
    #[error(
        "{} is version {version}, but {least} or newer is needed; update it",
        shown::path(program)
    )]
    TooOld {
        /// The program.
        program: PathBuf,
        /// Its version.
        version: String,
        /// The oldest version that will do.
        least: &'static str,
    },
    /// No accelerator starts, not even emulation.
    #[error("QEMU starts no machine: {why}; install QEMU again, or choose another in the settings")]
    NoAccelerator {
        /// What each accelerator said.
        why: String,
    },
    /// The machine asks for what the hypervisor cannot give.
    #[error("this machine does not run with {hypervisor}: {why}")]
    Unsupported {
        /// The hypervisor.
        hypervisor: &'static str,
        /// What it cannot do, and what can be done instead.
        why: String,
    },
    /// The machine is described in a way that no hypervisor can use: a mistake of the caller.
    #[error("the machine cannot be started: {why}")]
    BadSpec {
        /// What is wrong.
        why: String,
    },
    /// A part of the hypervisor is missing that is installed by itself.
    #[error("{} is here, but {missing} is missing; {hint}", shown::path(program))]
    Incomplete {
        /// The program that is here.
        program: PathBuf,
        /// What is not.
        missing: String,
        /// How to get it.
        hint: &'static str,
    },
    /// The system ended the hypervisor, because it did what it had given up the right to.
    #[error(
        "QEMU was ended by its own sandbox (signal SIGSYS, “bad system call”) before the machine started; install another \
         version of QEMU, or start the machine without a window"
    )]
    Sandboxed,
    /// UEFI is asked for, and its firmware is nowhere.
    #[error(
        "this machine starts with UEFI, and QEMU's UEFI firmware was not found; install it (Debian and Ubuntu: ovmf, \
         Fedora: edk2-ovmf)"
    )]
    NoFirmware,
    /// There is no way to show the machine's screen.
    #[error("the machine's window cannot be shown: {why}")]
    NoWindow {
        /// What is missing, and what can be done.
        why: String,
    },
    /// A disk or the machine's folder is in use.
    #[error("the machine is already running, or another program uses its disks: {why}; stop that first")]
    InUse {
        /// What the hypervisor said.
        why: String,
    },
    /// The host has too little memory.
    #[error(
        "there is not enough free memory for a machine of {} MiB: {why}; close programs or stop another machine",
        memory >> 20
    )]
    NoMemory {
        /// Bytes of the machine's memory.
        memory: u64,
        /// What the hypervisor said.
        why: String,
    },
    /// A disk's base is not being served.
    #[error("a disk of the machine cannot be read: {why}; start the machine again")]
    NoBase {
        /// What the hypervisor said.
        why: String,
    },
    /// The hypervisor refused to start, for a reason that LivePC does not know.
    #[error("{hypervisor} did not start the machine: {why}")]
    NotStarted {
        /// The hypervisor.
        hypervisor: &'static str,
        /// The last lines that it said.
        why: String,
    },
    /// A file of the machine could not be used.
    #[error(
        "{doing} {} failed: {source}; check the folder's permissions and the free space",
        shown::path(path)
    )]
    File {
        /// What was being done: `creating`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An overlay is never written over.
    #[error(
        "{} exists already and is kept; revert the machine to begin a new one",
        shown::path(path)
    )]
    OverlayExists {
        /// The overlay.
        path: PathBuf,
    },
    /// The hypervisor did not make the overlay.
    #[error(
        "{} could not be made: {why}; check the folder's permissions and the free space",
        shown::path(path)
    )]
    NoOverlay {
        /// The overlay.
        path: PathBuf,
        /// What the hypervisor said.
        why: String,
    },
    /// A disk was not written in another format.
    #[error("the disk could not be converted: {why}; check the free space, then try again")]
    NotConverted {
        /// What the program said.
        why: String,
    },
    /// The machine has ended, so that nothing can be asked of it.
    #[error("the machine has ended; start it again")]
    Ended,
    /// The hypervisor did not do in time what was asked.
    #[error("the machine did not answer “{asked}” within {seconds} s; try again, or stop it by force")]
    NoAnswer {
        /// What it was asked.
        asked: &'static str,
        /// How long it had.
        seconds: u64,
    },
    /// The hypervisor said no.
    #[error("the machine refused “{asked}”: {why}")]
    Refused {
        /// What it was asked.
        asked: &'static str,
        /// What it said.
        why: String,
    },
    /// The hypervisor has no way to be told.
    #[error("the machine cannot be told to “{asked}”: {why}")]
    NoSuchOrder {
        /// What it was asked.
        asked: &'static str,
        /// Why not, and what can be done instead.
        why: String,
    },
    /// A process that an earlier runner left could not be ended.
    #[error("a machine that was left running (process {pid}) does not end; end that process, then try again")]
    Stray {
        /// The process.
        pid: u32,
    },
}

impl HypervisorError {
    /// True if something on this computer is missing or in the way, so that no hypervisor has begun with the machine:
    /// what is on its disks is not the cause.
    #[must_use]
    pub fn is_of_this_computer(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Broken { .. }
                | Self::TooOld { .. }
                | Self::NoAccelerator { .. }
                | Self::Unsupported { .. }
                | Self::Incomplete { .. }
                | Self::Sandboxed
                | Self::NoFirmware
                | Self::NoWindow { .. }
                | Self::InUse { .. }
                | Self::NoMemory { .. }
                | Self::File { .. }
                | Self::NoOverlay { .. }
                | Self::Stray { .. }
        )
    }

    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }
}

/// Why an accelerator is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The accelerator.
    pub accelerator: Accelerator,
    /// What it did when it was tried, and what a person can do.
    pub why: String,
}
