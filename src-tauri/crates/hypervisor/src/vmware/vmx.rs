//! The configuration of a machine, as VMware reads it: a `.vmx` file.
//!
//! Keys are made of constants and numbers only. Values are constants, numbers, paths of LivePC, and a title that keeps only
//! what is harmless; each is escaped, so that none ends early and becomes a setting of its own.
//!
//! VMware has no virtio. A virtio disk becomes a SATA disk: SATA is what the initial RAM disks and the boot loaders of all
//! systems know, while PVSCSI, the obvious counterpart, has to be in the guest's initial RAM disk already. A virtio network
//! adapter becomes an e1000, and so does a Realtek 8139, which VMware does not have either.

use std::path::Path;

use livepc_format::machine::{Controller, Firmware, GuestOs, Machine, Network, Nic};

use super::vmdk;
use crate::{DiskSpec, Display, HypervisorError, MachineSpec, Overlay, Result, Serial};

/// The version of the virtual hardware: what Workstation 14, Player 14 and Fusion 10 and all later ones run.
const HARDWARE: u32 = 14;
/// Virtual CPUs of that hardware at the most.
const CPUS: u32 = 16;
/// Bytes of memory of that hardware at the most.
const MEMORY: u64 = 64 << 30;
/// VMware's own file of the firmware's variables, beside the configuration.
const NVRAM: &str = "machine.nvram";

/// What is the same for every machine.
const CONSTANTS: [(&str, &str); 49] = [
    (".encoding", "UTF-8"),
    ("config.version", "8"),
    // Slots for what PCI Express devices are plugged into.
    ("pciBridge0.present", "TRUE"),
    ("pciBridge4.present", "TRUE"),
    ("pciBridge4.virtualDev", "pcieRootPort"),
    ("pciBridge4.functions", "8"),
    ("pciBridge5.present", "TRUE"),
    ("pciBridge5.virtualDev", "pcieRootPort"),
    ("pciBridge5.functions", "8"),
    ("pciBridge6.present", "TRUE"),
    ("pciBridge6.virtualDev", "pcieRootPort"),
    ("pciBridge6.functions", "8"),
    ("pciBridge7.present", "TRUE"),
    ("pciBridge7.virtualDev", "pcieRootPort"),
    ("pciBridge7.functions", "8"),
    ("hpet0.present", "TRUE"),
    ("svga.present", "TRUE"),
    ("svga.autodetect", "TRUE"),
    // What the guest draws is not given to the host's graphics driver.
    ("mks.enable3d", "FALSE"),
    ("floppy0.present", "FALSE"),
    ("parallel0.present", "FALSE"),
    // No way between the guest and the host but those that the release asks for.
    ("vmci0.present", "FALSE"),
    ("isolation.tools.hgfs.disable", "TRUE"),
    ("isolation.tools.hgfsServerSet.disable", "TRUE"),
    ("isolation.tools.dnd.disable", "TRUE"),
    ("isolation.tools.copy.disable", "TRUE"),
    ("isolation.tools.paste.disable", "TRUE"),
    ("isolation.tools.unity.disable", "TRUE"),
    ("isolation.tools.diskShrink.disable", "TRUE"),
    ("isolation.tools.diskWiper.disable", "TRUE"),
    ("sharedFolder.maxNum", "0"),
    ("usb.restrictions.defaultAllow", "FALSE"),
    ("tools.upgrade.policy", "manual"),
    ("tools.syncTime", "FALSE"),
    // A snapshot would move the overlay away from where LivePC looks for it.
    ("snapshot.disabled", "TRUE"),
    ("snapshot.maxSnapshots", "0"),
    // The base lies in a folder that nothing can be written to, not even a lock.
    ("disk.locking", "FALSE"),
    // A machine that was moved or copied stays the same machine, and nobody is asked about it.
    ("uuid.action", "keep"),
    ("msg.autoAnswer", "TRUE"),
    ("gui.exitOnCLIHLT", "TRUE"),
    ("gui.exitAtPowerOff", "TRUE"),
    ("powerType.powerOff", "soft"),
    ("powerType.suspend", "hard"),
    ("powerType.powerOn", "hard"),
    ("logging", "TRUE"),
    ("log.keepOld", "1"),
    ("log.rotateSize", "1048576"),
    ("nvram", NVRAM),
    ("bios.bootOrder", "hdd,cdrom"),
];

/// What holds only while LivePC runs the machine: who opens an exported one may take snapshots, and is asked.
const UNDER_LIVEPC: [&str; 7] = [
    "snapshot.disabled",
    "snapshot.maxSnapshots",
    "disk.locking",
    "uuid.action",
    "msg.autoAnswer",
    "gui.exitOnCLIHLT",
    "gui.exitAtPowerOff",
];

/// A configuration in the making.
#[derive(Debug, Default)]
struct Vmx {
    text: String,
    scsi: u32,
    sata: u32,
    ide: u32,
    nvme: u32,
}

/// A place on a controller that is on a bus of `kind`.
#[derive(Debug)]
struct Place {
    kind: &'static str,
    bus: u32,
    unit: u32,
}

impl Place {
    fn key(&self, setting: &'static str) -> String {
        format!("{}{}:{}.{setting}", self.kind, self.bus, self.unit)
    }
}

/// The configuration of the machine `spec`.
///
/// # Errors
/// When VMware has no such machine.
pub(super) fn text(spec: &MachineSpec<'_>) -> Result<String> {
    write(spec, &CONSTANTS)
}

/// The configuration of a machine that LivePC does not run, with disks that lie beside it.
///
/// # Errors
/// When VMware has no such machine.
pub(super) fn exported(name: &str, machine: &Machine, disks: &[(Controller, String)]) -> Result<String> {
    let disk = |(controller, file): &(Controller, String)| DiskSpec {
        role: file.clone(),
        controller: *controller,
        size: 0,
        base: None,
        overlay: Overlay::Vmdk(file.into()),
        complete: true,
    };
    let beside = Path::new("");
    let spec = MachineSpec {
        name,
        machine,
        disks: disks.iter().map(disk).collect(),
        display: Display::Window,
        serial: None,
        cd: None,
        adapter: None,
        resume: false,
        folder: beside,
        uefi_variables: beside,
        run_dir: beside,
        log: beside,
    };
    let kept = |(key, _): &(&str, &str)| !UNDER_LIVEPC.contains(key);
    let constants: Vec<_> = CONSTANTS.into_iter().filter(kept).collect();
    write(&spec, &constants)
}

fn write(spec: &MachineSpec<'_>, constants: &[(&str, &str)]) -> Result<String> {
    let machine = spec.machine;
    if machine.cpus > CPUS {
        return unsupported(format!(
            "it has {} CPUs, and {CPUS} are possible; start it with QEMU",
            machine.cpus
        ));
    }
    if machine.memory > MEMORY {
        return unsupported(format!(
            "it has {} MiB of memory, and {} are possible; start it with QEMU",
            machine.memory >> 20,
            MEMORY >> 20
        ));
    }
    let mut vmx = Vmx::default();
    for (key, value) in constants {
        vmx.set(key, value);
    }
    vmx.set("virtualHW.version", &HARDWARE.to_string());
    vmx.set("displayName", &spec.title());
    vmx.set("guestOS", guest_os(machine.guest_os));
    vmx.set(
        "firmware",
        match machine.firmware {
            Firmware::Bios => "bios",
            Firmware::Uefi => "efi",
        },
    );
    // VMware takes only multiples of 4 MiB.
    let memory = (machine.memory >> 20).next_multiple_of(4);
    vmx.set("memsize", &memory.to_string());
    // One socket: desktop editions of Windows use no more than two.
    vmx.set("numvcpus", &machine.cpus.to_string());
    vmx.set("cpuid.coresPerSocket", &machine.cpus.to_string());

    for (number, disk) in spec.disks.iter().enumerate() {
        vmx.disk(disk, number == 0, machine.guest_os)?;
    }
    if let Some(image) = spec.cd {
        let place = vmx.place_of_cd();
        vmx.set(place.key("present"), "TRUE");
        vmx.set(place.key("deviceType"), "cdrom-image");
        vmx.set(place.key("fileName"), &path_text(image));
        vmx.set(place.key("startConnected"), "TRUE");
    }
    if machine.network == Network::Nat {
        vmx.set("ethernet0.present", "TRUE");
        vmx.set("ethernet0.virtualDev", nic(machine.nic));
        vmx.set("ethernet0.connectionType", "nat");
        match spec.adapter {
            Some([first, second, third]) => {
                vmx.set("ethernet0.addressType", "static");
                // Others that begin like this are VMware's own.
                let first = first & 0x3f;
                let address = format!("00:50:56:{first:02x}:{second:02x}:{third:02x}");
                vmx.set("ethernet0.address", &address);
            }
            None => vmx.set("ethernet0.addressType", "generated"),
        }
        vmx.set("ethernet0.startConnected", "TRUE");
        vmx.set("ethernet0.wakeOnPcktRcv", "FALSE");
    }
    // Without a window nobody would know where the sound comes from.
    if machine.sound && spec.display == Display::Window {
        vmx.set("sound.present", "TRUE");
        vmx.set("sound.virtualDev", "hdaudio");
        vmx.set("sound.fileName", "-1");
        vmx.set("sound.autoDetect", "TRUE");
    }
    if machine.usb {
        // The tablet for the pointer comes with it.
        for key in ["usb.present", "ehci.present", "usb_xhci.present"] {
            vmx.set(key, "TRUE");
        }
    }
    match &spec.serial {
        Some(serial) => vmx.serial(serial),
        None => vmx.set("serial0.present", "FALSE"),
    }
    Ok(vmx.text)
}

impl Vmx {
    fn set(&mut self, key: impl AsRef<str>, value: &str) {
        self.text.extend([key.as_ref(), " = \"", &escape(value), "\"\n"]);
    }

    fn disk(&mut self, disk: &DiskSpec, boots: bool, guest_os: GuestOs) -> Result<()> {
        let place = match disk.controller {
            Controller::Virtio | Controller::Sata => self.sata(),
            Controller::Ide => self.ide()?,
            Controller::Scsi => self.scsi(guest_os),
            Controller::Nvme => self.nvme(),
        };
        let file = match &disk.overlay {
            Overlay::Vmdk(path) => path.clone(),
            Overlay::Raw(path) => vmdk::descriptor_of_raw(path),
            Overlay::Qcow2(_) => {
                return unsupported(format!(
                    "what was written to its disk “{}” is in QEMU's format; revert the machine, or start it with QEMU",
                    disk.role
                ));
            }
        };
        self.set(place.key("present"), "TRUE");
        self.set(place.key("deviceType"), "disk");
        self.set(place.key("fileName"), &path_text(&file));
        self.set(place.key("mode"), "persistent");
        if boots {
            let order = format!("{}{}:{}", place.kind, place.bus, place.unit);
            self.set("bios.hddOrder", &order);
        }
        Ok(())
    }

    fn sata(&mut self) -> Place {
        /// Ports of an AHCI controller.
        const PORTS: u32 = 30;
        let (bus, unit) = (self.sata / PORTS, self.sata % PORTS);
        if unit == 0 {
            self.set(format!("sata{bus}.present"), "TRUE");
        }
        self.sata += 1;
        Place {
            kind: "sata",
            bus,
            unit,
        }
    }

    fn ide(&mut self) -> Result<Place> {
        if self.ide == 4 {
            return unsupported("it has more than 4 IDE disks".into());
        }
        let (bus, unit) = (self.ide / 2, self.ide % 2);
        self.ide += 1;
        Ok(Place {
            kind: "ide",
            bus,
            unit,
        })
    }

    fn scsi(&mut self, guest_os: GuestOs) -> Place {
        if self.scsi == 0 {
            self.set("scsi0.present", "TRUE");
            // As with QEMU, so that a guest that starts with one starts with the other.
            let adapter = match guest_os {
                GuestOs::Linux => "pvscsi",
                GuestOs::Windows | GuestOs::Bsd | GuestOs::Other => "lsisas1068",
            };
            self.set("scsi0.virtualDev", adapter);
        }
        // Seven is the adapter itself.
        let unit = if self.scsi < 7 { self.scsi } else { self.scsi + 1 };
        self.scsi += 1;
        Place {
            kind: "scsi",
            bus: 0,
            unit,
        }
    }

    fn nvme(&mut self) -> Place {
        if self.nvme == 0 {
            self.set("nvme0.present", "TRUE");
        }
        self.nvme += 1;
        Place {
            kind: "nvme",
            bus: 0,
            unit: self.nvme - 1,
        }
    }

    /// An old guest that has IDE disks finds its CD there too, if there is room.
    fn place_of_cd(&mut self) -> Place {
        let has_ide = (1..4).contains(&self.ide) && self.sata == 0;
        match has_ide.then(|| self.ide()) {
            Some(Ok(place)) => place,
            _ => self.sata(),
        }
    }

    /// VMware's port is a file or a pipe, not both: a console is worth more than its record.
    fn serial(&mut self, serial: &Serial) {
        let (kind, file) = match (&serial.console, &serial.log) {
            (Some(console), _) => ("pipe", console),
            (None, Some(log)) => ("file", log),
            (None, None) => return self.set("serial0.present", "FALSE"),
        };
        self.set("serial0.present", "TRUE");
        self.set("serial0.fileType", kind);
        self.set("serial0.fileName", &path_text(file));
        self.set("serial0.startConnected", "TRUE");
        self.set("serial0.yieldOnMsrRead", "TRUE");
        if kind == "pipe" {
            self.set("serial0.pipe.endPoint", "server");
            // The other end is a program, not a machine: what it does not take is dropped, and the guest goes on.
            self.set("serial0.tryNoRxLoss", "TRUE");
        }
    }
}

/// The identifier of a guest system. Only such as every version since hardware 14 knows: an unknown one makes VMware ask.
fn guest_os(guest_os: GuestOs) -> &'static str {
    match guest_os {
        GuestOs::Linux => "otherlinux-64",
        GuestOs::Windows => "windows9-64",
        GuestOs::Bsd => "freebsd-64",
        GuestOs::Other => "other-64",
    }
}

fn nic(nic: Nic) -> &'static str {
    match nic {
        Nic::Vmxnet3 => "vmxnet3",
        Nic::E1000e => "e1000e",
        Nic::E1000 | Nic::Virtio | Nic::Rtl8139 => "e1000",
    }
}

/// Checked to be Unicode before.
fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// As VMware writes values: quotes, bars and control characters become `|` and two hexadecimal digits.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '|' | '\0'..='\u{1f}' | '\u{7f}' => escaped += &format!("|{:02X}", u32::from(c)),
            // Line ends of Unicode, which no path needs and some reader might take for one.
            '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

fn unsupported<T>(why: String) -> Result<T> {
    Err(HypervisorError::Unsupported {
        hypervisor: super::NAME,
        why,
    })
}

#[cfg(test)]
mod tests;
