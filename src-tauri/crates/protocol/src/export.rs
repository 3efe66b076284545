//! Disks as files for other programs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What an export is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum ExportFormat {
    /// One disk's bytes; zeros become holes.
    Raw,
    /// One disk in QEMU's format.
    Qcow2,
    /// A folder with all disks and a configuration, which VMware opens.
    Vmx,
}

/// What is exported of a release or a machine, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Export {
    /// As what.
    pub format: ExportFormat,
    /// The role of the only disk; the system disk if not given. A folder always has all.
    pub disk: Option<String>,
    /// Whether the disks are exported as their machine left them, not as they were published.
    pub changes: bool,
    /// Where to: a file, or a folder. An absolute path.
    pub place: PathBuf,
    /// Whether an export that is there already is replaced.
    pub force: bool,
}

impl Export {
    /// The name of the configuration in a folder that VMware opens.
    pub const VMX: &str = "machine.vmx";

    /// The file to open.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        match self.format {
            ExportFormat::Vmx => self.place.join(Self::VMX),
            ExportFormat::Raw | ExportFormat::Qcow2 => self.place.clone(),
        }
    }
}
