//! QEMU's command line for a machine.
//!
//! What anybody else has written — names of exports, paths, roles — stands in JSON documents only, where it cannot end
//! and become an option. Everything in QEMU's older `key=value` form is made of constants and numbers, save the paths of
//! the serial port's files, whose commas are escaped, and the window's title, which keeps only what is harmless.

use std::path::Path;

use livepc_format::machine::{Firmware, GuestOs, Network, Nic};
use serde_json::{Value, json};

use super::disks::{Board, Disks};
use super::firmware::{Format, Image};
use crate::os::{self, LOCK_FILE};
use crate::{Accelerator, MachineSpec, Result, Serial};

/// What depends on the host, and not on the machine.
#[derive(Clone, Debug)]
pub(super) struct Host<'a> {
    pub(super) accelerator: Accelerator,
    /// The value of `-sandbox`, if QEMU can give up system calls.
    pub(super) sandbox: Option<&'static str>,
    /// The value of `-display`.
    pub(super) display: &'static str,
    /// The driver of the sound card's other end.
    pub(super) audio: &'static str,
    /// UEFI's code, if the machine wants it.
    pub(super) firmware: Option<&'a Image>,
    /// The monitor's `-chardev`, without an id.
    pub(super) monitor: String,
}

/// A command line in the making.
#[derive(Debug, Default)]
pub(super) struct CommandLine(Vec<String>);

impl CommandLine {
    pub(super) fn flag(&mut self, option: &'static str) {
        self.0.push(option.into());
    }

    /// An option of constants and numbers.
    pub(super) fn plain(&mut self, option: &'static str, value: impl Into<String>) {
        self.0.extend([option.into(), value.into()]);
    }

    pub(super) fn json(&mut self, option: &'static str, value: &Value) {
        self.0.extend([option.into(), value.to_string()]);
    }

    pub(super) fn device(&mut self, device: &Value) {
        self.json("-device", device);
    }

    pub(super) fn accelerator(&mut self, accelerator: Accelerator) {
        match accelerator {
            // Everything that the host's processor can do.
            Accelerator::Kvm | Accelerator::Hvf => {
                self.plain("-accel", accelerator.name());
                self.plain("-cpu", "host");
            }
            // Its own interrupt controller loses interrupts; it gives the guest the host's features by itself.
            Accelerator::Whpx => self.plain("-accel", "whpx,kernel-irqchip=off"),
            // The default model lacks what many systems of today require (x86-64-v2).
            Accelerator::Tcg => {
                self.plain("-accel", "tcg");
                self.plain("-cpu", "max");
            }
        }
    }

    pub(super) fn monitor(&mut self, backend: &str) {
        self.plain("-chardev", format!("{backend},id=monitor"));
        self.plain("-mon", "chardev=monitor,mode=control");
    }

    pub(super) fn sound(&mut self, driver: &'static str) {
        self.json("-audiodev", &json!({ "driver": driver, "id": "audio" }));
        self.device(&json!({ "driver": "intel-hda", "id": "hda" }));
        // Without a microphone: nobody has asked the user for it.
        self.device(&json!({ "driver": "hda-output", "bus": "hda.0", "audiodev": "audio" }));
    }

    pub(super) fn into_args(self) -> Vec<String> {
        self.0
    }
}

/// The arguments that make QEMU the machine `spec`, stopped before its first instruction.
///
/// # Errors
/// When QEMU has no such machine.
pub(super) fn arguments(spec: &MachineSpec<'_>, host: &Host<'_>) -> Result<Vec<String>> {
    let machine = spec.machine;
    let disks = Disks::plan(spec)?;
    let mut line = CommandLine::default();
    line.flag("-nodefaults");
    line.flag("-no-user-config");
    line.flag("-S");
    if spec.resume {
        // Its state is loaded once the monitor answers.
        line.plain("-incoming", "defer");
    }
    line.plain("-name", format!("guest={}", spec.title()));
    if let Some(sandbox) = host.sandbox {
        line.plain("-sandbox", sandbox);
    }
    line.plain("-pidfile", spec.folder.join(LOCK_FILE).to_string_lossy());
    line.monitor(&host.monitor);

    let board = match disks.board {
        Board::Q35 => "q35",
        Board::Pc => "pc",
    };
    match (machine.firmware, host.firmware) {
        (Firmware::Uefi, Some(code)) => {
            line.json("-blockdev", &flash("uefi-code", code.format, &code.path, true));
            let variables = spec.uefi_variables;
            line.json(
                "-blockdev",
                &flash("uefi-variables", Format::Raw, variables, false),
            );
            line.plain(
                "-machine",
                format!("{board},pflash0=uefi-code,pflash1=uefi-variables"),
            );
        }
        _ => line.plain("-machine", board),
    }
    line.accelerator(host.accelerator);
    // One socket: desktop editions of Windows use no more than two.
    line.plain(
        "-smp",
        format!("cpus={0},sockets=1,cores={0},threads=1", machine.cpus),
    );
    line.plain("-m", format!("size={}M", machine.memory >> 20));
    let clock = if machine.guest_os == GuestOs::Windows {
        "localtime"
    } else {
        "utc"
    };
    line.plain("-rtc", format!("base={clock}"));
    line.plain("-boot", "strict=on");
    // A guest that sleeps looks dead, and one that hibernates would wake on a system disk that is clean again.
    for state in ["disable_s3", "disable_s4"] {
        let chip = match disks.board {
            Board::Q35 => "ICH9-LPC",
            Board::Pc => "PIIX4_PM",
        };
        line.plain("-global", format!("{chip}.{state}=1"));
    }

    line.plain("-display", host.display);
    line.device(&json!({ "driver": "VGA" }));
    if let Some(serial) = &spec.serial {
        line.plain("-chardev", serial_port(serial));
        line.device(&json!({ "driver": "isa-serial", "chardev": "serial" }));
    }
    for (option, value) in &disks.options {
        line.json(option, value);
    }
    if machine.network == Network::Nat {
        line.plain("-netdev", "user,id=net");
        let mut adapter = json!({ "driver": nic(machine.nic), "netdev": "net", "romfile": "" });
        if let Some([first, second, third]) = spec.adapter {
            adapter["mac"] = format!("52:54:00:{first:02x}:{second:02x}:{third:02x}").into();
        }
        line.device(&adapter);
    }
    if machine.sound {
        line.sound(host.audio);
    }
    if machine.usb {
        line.device(&json!({ "driver": "qemu-xhci", "id": "usb" }));
        line.device(&json!({ "driver": "usb-tablet", "bus": "usb.0" }));
    }
    Ok(line.into_args())
}

fn flash(node: &str, format: Format, path: &Path, read_only: bool) -> Value {
    json!({
        "driver": format.driver(),
        "node-name": node,
        "read-only": read_only,
        "file": { "driver": "file", "filename": path },
    })
}

fn nic(nic: Nic) -> &'static str {
    match nic {
        Nic::Virtio => "virtio-net-pci",
        Nic::E1000 => "e1000-82545em",
        Nic::E1000e => "e1000e",
        Nic::Vmxnet3 => "vmxnet3",
        Nic::Rtl8139 => "rtl8139",
    }
}

fn serial_port(serial: &Serial) -> String {
    // Checked to be Unicode before.
    let text = |path: &Path| os::escape_commas(&path.to_string_lossy());
    match (&serial.console, &serial.log) {
        (Some(console), log) => {
            let mut value = format!("{},id=serial", os::serial_backend(&console.to_string_lossy()));
            if let Some(log) = log {
                value += &format!(",logfile={},logappend=on", text(log));
            }
            value
        }
        (None, Some(log)) => format!("file,id=serial,path={},append=on", text(log)),
        (None, None) => "null,id=serial".into(),
    }
}

#[cfg(test)]
mod tests;
