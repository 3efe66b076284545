//! What a release says about the computer that it wants to be. It is data: each hypervisor driver writes its own
//! configuration from it, out of a closed set of settings.

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{FormatError, Result};
use crate::text::check_line;

const WHAT: &str = "the manifest";

/// The machine of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// The family of the guest's operating system.
    #[serde(default)]
    pub guest_os: GuestOs,
    /// Its name and version, for people: `Debian 12`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub guest_os_name: String,
    /// The processor's architecture.
    #[serde(default)]
    pub architecture: Architecture,
    /// Virtual CPUs: 1 to 64.
    pub cpus: u32,
    /// Memory in bytes: 16 MiB to 1 TiB, a multiple of 1 MiB.
    pub memory: u64,
    /// BIOS or UEFI.
    #[serde(default)]
    pub firmware: Firmware,
    /// What the guest reaches.
    #[serde(default)]
    pub network: Network,
    /// The network adapter.
    #[serde(default)]
    pub nic: Nic,
    /// Whether there is a sound card.
    #[serde(default)]
    pub sound: bool,
    /// Whether there is a USB controller, with a tablet for the pointer.
    #[serde(default)]
    pub usb: bool,
    /// Hypervisors that the publisher tried, the best first; those that this version does not know are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "known")]
    pub hypervisors: Vec<HypervisorKind>,
}

/// Reads a list, and leaves out what a later version added to the set: it is advice.
fn known<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<HypervisorKind>, D::Error> {
    let names = Vec::<String>::deserialize(list)?;
    let kind = |name: String| HypervisorKind::deserialize(name.into_deserializer());
    let read = |name| kind(name).map_err(|_: serde::de::value::Error| ());
    Ok(names.into_iter().filter_map(|name| read(name).ok()).collect())
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            guest_os: GuestOs::default(),
            guest_os_name: String::new(),
            architecture: Architecture::default(),
            cpus: 1,
            memory: 512 << 20,
            firmware: Firmware::default(),
            network: Network::default(),
            nic: Nic::default(),
            sound: false,
            usb: false,
            hypervisors: Vec::new(),
        }
    }
}

impl Machine {
    pub(crate) fn check(&self) -> Result<()> {
        let malformed = |why: String| Err(FormatError::malformed(WHAT, why));
        if !(1..=64).contains(&self.cpus) {
            return malformed(format!("a machine has 1 to 64 CPUs, not {}", self.cpus));
        }
        let mib = 1 << 20;
        if !(16 * mib..=1 << 40).contains(&self.memory) || !self.memory.is_multiple_of(mib) {
            return malformed(format!(
                "memory is 16 MiB to 1 TiB in whole MiB, not {} bytes",
                self.memory
            ));
        }
        if !self.guest_os_name.is_empty() {
            check_line(WHAT, "guest-os-name", &self.guest_os_name, 80)?;
        }
        if self.hypervisors.len() > 8 {
            return malformed("it names too many hypervisors".into());
        }
        Ok(())
    }
}

macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident { $(#[$first_doc:meta])* $first:ident, $($(#[$variant_doc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $(#[$first_doc])*
            #[default]
            $first,
            $($(#[$variant_doc])* $variant,)*
        }
    };
}

closed_set!(
    /// A family of operating systems.
    GuestOs {
        /// Linux.
        Linux,
        /// Microsoft Windows.
        Windows,
        /// FreeBSD, NetBSD, OpenBSD and their kin.
        Bsd,
        /// Any other, and what a later version may add.
        #[serde(other)]
        Other,
    }
);

impl GuestOs {
    /// Its name, as in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows => "windows",
            Self::Bsd => "bsd",
            Self::Other => "other",
        }
    }
}

closed_set!(
    /// An architecture of processors.
    #[allow(non_camel_case_types)]
    Architecture {
        /// 64-bit x86.
        #[serde(rename = "x86_64")]
        X86_64,
        /// 64-bit Arm.
        #[serde(rename = "aarch64")]
        Aarch64,
    }
);

closed_set!(
    /// What starts the guest.
    Firmware {
        /// PC BIOS.
        Bios,
        /// UEFI without Secure Boot.
        Uefi,
    }
);

closed_set!(
    /// What the guest reaches.
    Network {
        /// Nothing.
        None,
        /// The host's networks, behind address translation; nothing reaches the guest.
        Nat,
    }
);

closed_set!(
    /// A model of network adapter.
    Nic {
        /// virtio-net.
        Virtio,
        /// Intel 82545EM.
        E1000,
        /// Intel 82574L.
        E1000e,
        /// VMware's paravirtual adapter.
        Vmxnet3,
        /// Realtek 8139.
        Rtl8139,
    }
);

closed_set!(
    /// What a disk is attached to.
    Controller {
        /// virtio-blk.
        Virtio,
        /// AHCI.
        Sata,
        /// Parallel ATA.
        Ide,
        /// A SCSI adapter: the driver takes the model that its guests know best.
        Scsi,
        /// NVM Express.
        Nvme,
    }
);

closed_set!(
    /// A hypervisor that LivePC drives.
    HypervisorKind {
        /// QEMU.
        Qemu,
        /// VMware Workstation, Player or Fusion.
        Vmware,
    }
);
