//! Hypervisors as clients see them.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::Problem;

/// A hypervisor that LivePC drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum HypervisorKind {
    /// QEMU.
    Qemu,
    /// VMware Workstation, Player or Fusion.
    Vmware,
}

impl HypervisorKind {
    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Qemu => "QEMU",
            Self::Vmware => "VMware",
        }
    }
}

/// A hypervisor of this computer: what was found of it, or why it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct HypervisorStatus {
    /// Which it is.
    pub kind: HypervisorKind,
    /// Its name for people: `VMware Workstation`.
    pub name: String,
    /// The program that runs machines; empty if it cannot be used.
    pub program: String,
    /// Its version; empty if it does not tell.
    pub version: String,
    /// What runs the guest's code: `kvm`, `hvf`, `whpx` or `tcg`; empty if it does not tell.
    pub accelerator: String,
    /// What it cannot do here, and what would help; empty if there is nothing.
    pub limits: Vec<String>,
    /// Why it cannot be used.
    pub problem: Option<Problem>,
}
