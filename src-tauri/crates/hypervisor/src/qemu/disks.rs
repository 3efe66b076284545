//! Which devices a machine's disks are.

use livepc_format::machine::{Controller, GuestOs};
use serde_json::{Value, json};

use crate::{Base, DiskSpec, HypervisorError, MachineSpec, Overlay, Result};

/// The mainboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Board {
    /// With PCI Express and AHCI.
    Q35,
    /// Of 1996: the one with a parallel ATA controller.
    Pc,
}

/// Devices and what is behind them, as options with JSON values.
#[derive(Debug)]
pub(super) struct Disks {
    pub(super) board: Board,
    pub(super) options: Vec<(&'static str, Value)>,
}

/// Disks on the parallel ATA controller: two channels with two disks each.
const IDE_DISKS: usize = 4;
/// Disks on an AHCI controller.
const SATA_PORTS: usize = 6;

/// The name of a controller that cannot hold a read back until the machine is stopped.
///
/// NVMe reports every error to its guest. Parallel ATA shows, between the failure of a read without DMA and the stop, a
/// drive that is neither busy nor has data: a BIOS that looks in that moment takes it for a failure. On both SCSI adapters a
/// BIOS whose read was held back once finds no boot disk afterwards. (All seen with QEMU 7.2 and SeaBIOS 1.16.)
fn impatient(controller: Controller) -> Option<&'static str> {
    match controller {
        Controller::Nvme => Some("NVMe"),
        Controller::Ide => Some("IDE"),
        Controller::Scsi => Some("SCSI"),
        Controller::Virtio | Controller::Sata => None,
    }
}

/// A SCSI adapter that both QEMU and VMware have, so that a machine made with one starts with the other, and that the
/// guest's system brings a driver for. Linux has one for VMware's PVSCSI, and its initial RAM disks know it when they were
/// made under VMware. Windows and the BSDs know LSI's SAS 1068 from the start. (QEMU's usual LSI 53C895A is unknown to
/// VMware, and to Windows since Vista.)
fn scsi_adapter(guest_os: GuestOs) -> &'static str {
    match guest_os {
        GuestOs::Linux => "pvscsi",
        GuestOs::Windows | GuestOs::Bsd | GuestOs::Other => "mptsas1068",
    }
}

/// The address of the first SAS disk, of those that anybody may assign. Without one, guests find no disk.
const SAS_ADDRESS: u64 = 0x3000_0000_0000_0001;

impl Disks {
    pub(super) fn plan(spec: &MachineSpec<'_>) -> Result<Self> {
        let (disks, guest_os) = (&spec.disks, spec.machine.guest_os);
        let has_ide = disks.iter().any(|disk| disk.controller == Controller::Ide);
        let mut plan = Self {
            board: if has_ide { Board::Pc } else { Board::Q35 },
            options: Vec::new(),
        };
        let (mut ide, mut sata, mut scsi) = (0, 0, 0);
        for (number, disk) in disks.iter().enumerate() {
            if let Some(name) = impatient(disk.controller)
                && !disk.complete
                && !matches!(disk.overlay, Overlay::Raw(_))
            {
                return unsupported(format!(
                    "its disk “{}” is {name}, which cannot wait for the network; download the release completely first",
                    disk.role
                ));
            }
            plan.options.push(("-blockdev", content(number, disk)));
            let device = match disk.controller {
                Controller::Virtio => json!({ "driver": "virtio-blk-pci" }),
                Controller::Nvme => json!({ "driver": "nvme" }),
                Controller::Ide if ide == IDE_DISKS => {
                    return unsupported(format!("it has more than {IDE_DISKS} IDE disks"));
                }
                Controller::Ide => {
                    ide += 1;
                    let (channel, unit) = ((ide - 1) / 2, (ide - 1) % 2);
                    json!({ "driver": "ide-hd", "bus": format!("ide.{channel}"), "unit": unit })
                }
                Controller::Sata => {
                    sata += 1;
                    json!({ "driver": "ide-hd", "bus": plan.sata_port(sata - 1) })
                }
                Controller::Scsi => {
                    if scsi == 0 {
                        plan.options.push((
                            "-device",
                            json!({ "driver": scsi_adapter(guest_os), "id": "scsi" }),
                        ));
                    }
                    scsi += 1;
                    json!({
                        "driver": "scsi-hd",
                        "bus": "scsi.0",
                        "scsi-id": scsi - 1,
                        "wwn": SAS_ADDRESS + number as u64,
                    })
                }
            };
            plan.options
                .push(("-device", with_disk(device, number, disk.controller)));
        }
        if let Some(image) = spec.cd {
            let drive = json!({
                "driver": "raw",
                "node-name": "cd",
                "read-only": true,
                "file": { "driver": "file", "filename": image },
            });
            let bus = plan.sata_port(sata);
            plan.options.push(("-blockdev", drive));
            // After the system disk: it starts a machine only when that has no system yet.
            let device = json!({ "driver": "ide-cd", "bus": bus, "drive": "cd", "bootindex": 1 });
            plan.options.push(("-device", device));
        }
        Ok(plan)
    }

    /// The bus of the AHCI port `number`, with a controller to it where the board has none.
    fn sata_port(&mut self, number: usize) -> String {
        let (controller, port) = (number / SATA_PORTS, number % SATA_PORTS);
        if controller == 0 && self.board == Board::Q35 {
            return format!("ide.{port}");
        }
        if port == 0 {
            let id = format!("sata{controller}");
            self.options
                .push(("-device", json!({ "driver": "ich9-ahci", "id": id })));
        }
        format!("sata{controller}.{port}")
    }
}

/// The name of the block node of disk `number`: what events call it.
pub(super) fn node(number: usize) -> String {
    format!("disk{number}")
}

fn with_disk(mut device: Value, number: usize, controller: Controller) -> Value {
    device["drive"] = node(number).into();
    device["serial"] = format!("livepc{number}").into();
    if number == 0 {
        device["bootindex"] = 0.into();
    }
    // Instead of an I/O error in the guest; NVMe has no such choice.
    if controller != Controller::Nvme {
        device["rerror"] = "stop".into();
        device["werror"] = "stop".into();
    }
    device
}

fn content(number: usize, disk: &DiskSpec) -> Value {
    let (driver, path) = match &disk.overlay {
        Overlay::Qcow2(path) => ("qcow2", path),
        Overlay::Vmdk(path) => ("vmdk", path),
        Overlay::Raw(path) => ("raw", path),
    };
    let mut content = json!({
        "driver": driver,
        "node-name": node(number),
        "discard": "unmap",
        "file": { "driver": "file", "filename": path },
    });
    if driver != "raw" {
        content["backing"] = disk.base.as_ref().map_or(Value::Null, base);
    }
    content
}

/// What is under an overlay, as a block device of its own.
pub(super) fn base(base: &Base) -> Value {
    match base {
        Base::File(path) => json!({
            "driver": "raw",
            "read-only": true,
            "file": { "driver": "file", "filename": path },
        }),
        Base::Vmdk(path) => json!({
            "driver": "vmdk",
            "read-only": true,
            "file": { "driver": "file", "filename": path },
        }),
        Base::NbdUnix { socket, export } => json!({
            "driver": "nbd",
            "read-only": true,
            "server": { "type": "unix", "path": socket },
            "export": export,
        }),
        Base::NbdTcp { host, port, export } => json!({
            "driver": "nbd",
            "read-only": true,
            "server": { "type": "inet", "host": host, "port": port.to_string() },
            "export": export,
        }),
    }
}

fn unsupported<T>(why: String) -> Result<T> {
    Err(HypervisorError::Unsupported {
        hypervisor: "QEMU",
        why,
    })
}
