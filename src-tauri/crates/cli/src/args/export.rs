//! What is exported, and where to.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  livepc export net-lab net-lab.raw
  livepc export net-lab net-lab.qcow2 --format qcow2 --changes
  livepc export net-lab mine.raw --disk user
  livepc export net-lab ~/vmware/net-lab --format vmx")]
pub(crate) struct Export {
    /// The LivePC
    pub(crate) id: String,
    /// The file, or for vmx the folder
    pub(crate) place: PathBuf,
    /// What is written
    #[arg(long, default_value = "raw")]
    pub(crate) format: ExportFormat,
    /// Which disk goes into the file; one of your own is exported as it is [default: system]
    #[arg(long, value_name = "ROLE")]
    pub(crate) disk: Option<String>,
    /// The release [default: the newest accepted one]
    #[arg(long, value_name = "N", conflicts_with = "changes")]
    pub(crate) release: Option<u64>,
    /// As the machine left its disks, with the release that its changes belong to; it must not be running or suspended
    #[arg(long)]
    pub(crate) changes: bool,
    /// Replace an export that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One disk's bytes
    Raw,
    /// One disk in QEMU's format
    Qcow2,
    /// A folder for VMware, with all disks
    Vmx,
}

impl From<ExportFormat> for livepc_protocol::ExportFormat {
    fn from(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Raw => Self::Raw,
            ExportFormat::Qcow2 => Self::Qcow2,
            ExportFormat::Vmx => Self::Vmx,
        }
    }
}
