//! How a machine is started: by a person, and by the agent.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  livepc start net-lab
  livepc start net-lab --hypervisor qemu --display none --serial serial.log
  livepc start net-lab --cd rescue.iso")]
pub(crate) struct Start {
    /// The LivePC
    pub(crate) id: String,
    /// Do not fetch the rest in the background
    #[arg(long)]
    pub(crate) no_fill: bool,
    #[command(flatten)]
    pub(crate) how: How,
}

/// The process of a running machine.
#[derive(Debug, Args)]
pub(crate) struct Runner {
    pub(crate) id: String,
    #[arg(long)]
    pub(crate) release: u64,
    #[arg(long)]
    pub(crate) keep: bool,
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) how: How,
}

/// What a start may be told, by whomever.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Whether it gets a window
    #[arg(long, default_value = "window")]
    pub(crate) display: Display,
    /// Run it in this, and in nothing else [default: the first that is here and can]
    #[arg(long)]
    pub(crate) hypervisor: Option<Hypervisor>,
    /// Write what the guest says on its first serial port to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) serial: Option<PathBuf>,
    /// Give it a CD drive with this image in it
    #[arg(long, value_name = "ISO")]
    pub(crate) cd: Option<PathBuf>,
    /// Start it also if less memory is free than it has
    #[arg(long)]
    pub(crate) overcommit: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Display {
    /// A window of the hypervisor's
    Window,
    /// None
    None,
}

impl From<Display> for livepc_protocol::Display {
    fn from(display: Display) -> Self {
        match display {
            Display::Window => Self::Window,
            Display::None => Self::None,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Hypervisor {
    /// QEMU
    Qemu,
    /// VMware Workstation, Player or Fusion
    Vmware,
}

impl From<Hypervisor> for livepc_protocol::HypervisorKind {
    fn from(hypervisor: Hypervisor) -> Self {
        match hypervisor {
            Hypervisor::Qemu => Self::Qemu,
            Hypervisor::Vmware => Self::Vmware,
        }
    }
}
