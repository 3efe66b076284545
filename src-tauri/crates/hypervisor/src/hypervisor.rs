//! What every hypervisor can do.

use std::path::{Path, PathBuf};
use std::pin::Pin;

use livepc_format::machine::HypervisorKind;

use crate::{MachineSpec, Rejected, Result, Running};

/// A future of a trait's method, so that hypervisors can be used without knowing which.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A hypervisor that is installed.
pub trait Hypervisor: Send + Sync + std::fmt::Debug {
    /// Which it is.
    fn kind(&self) -> HypervisorKind;

    /// What is installed, and how fast it can run a machine. The first call tries the accelerators, which takes up to
    /// ten seconds; later ones answer at once.
    ///
    /// # Errors
    /// When it cannot start any machine at all.
    fn inspect(&self) -> BoxFuture<'_, Result<Installation>>;

    /// Says whether it can run the machine: [`start`](Self::start) refuses for the same reasons, and for those that only
    /// a start can tell.
    ///
    /// # Errors
    /// The first thing that it cannot do.
    fn check(&self, spec: &MachineSpec<'_>) -> Result<()>;

    /// Makes a new overlay for a disk of `size` bytes at `path`, an absolute path where nothing is yet. It names no
    /// base: [`start`](Self::start) puts it on top of one.
    ///
    /// # Errors
    /// When something is there already, or it cannot be written.
    fn create_overlay<'a>(&'a self, path: &'a Path, size: u64) -> BoxFuture<'a, Result<()>>;

    /// Starts a machine, and returns when its guest executes.
    ///
    /// # Errors
    /// When it does not; nothing of it is left running then.
    fn start<'a>(&'a self, spec: MachineSpec<'a>) -> BoxFuture<'a, Result<Running>>;
}

/// A hypervisor as people are told about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Which it is.
    pub kind: HypervisorKind,
    /// Its name for people: `VMware Workstation`.
    pub product: &'static str,
    /// The program that runs machines.
    pub program: PathBuf,
    /// Its version: `7.2.22`; `unknown` if it does not tell.
    pub version: String,
    /// What runs the guest's code; `None` if the hypervisor does not tell.
    pub accelerator: Option<Accelerator>,
    /// Faster accelerators that were tried in vain.
    pub rejected: Vec<Rejected>,
    /// What it cannot do as it is installed, and what would help: sentences for people.
    pub limits: Vec<String>,
}

/// What runs a guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accelerator {
    /// Linux's KVM.
    Kvm,
    /// macOS's Hypervisor.framework.
    Hvf,
    /// Windows Hypervisor Platform.
    Whpx,
    /// QEMU's translation of code: works everywhere, about ten times slower.
    Tcg,
}

impl Accelerator {
    /// Its name, as QEMU and people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Hvf => "hvf",
            Self::Whpx => "whpx",
            Self::Tcg => "tcg",
        }
    }
}
