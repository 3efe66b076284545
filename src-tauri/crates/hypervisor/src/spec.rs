//! What a driver is told about a machine that it shall start.

use std::path::{Path, PathBuf};

use livepc_format::limits::{DISKS, SECTOR};
use livepc_format::machine::{Controller, Machine};
use livepc_format::shown;

use crate::{HypervisorError, Result};

/// Characters of a window's title at the most.
const TITLE: usize = 80;

/// A machine to start. Paths are absolute.
#[derive(Clone, Debug)]
pub struct MachineSpec<'a> {
    /// What the window is called. It may say anything: what could mean something to a hypervisor is left out of it.
    pub name: &'a str,
    /// The computer that the release wants to be.
    pub machine: &'a Machine,
    /// Its disks; the first is the one that it boots from.
    pub disks: Vec<DiskSpec>,
    /// Where its screen is shown.
    pub display: Display,
    /// Its first serial port; `None` if it has none.
    pub serial: Option<Serial>,
    /// An image of a CD that is in the machine's drive; `None` if it has no drive.
    pub cd: Option<&'a Path>,
    /// What tells its network adapter from those of others: the last three bytes of its address, behind what the hypervisor
    /// begins addresses with. `None`: the hypervisor's choice, which QEMU makes the same for every machine.
    pub adapter: Option<[u8; 3]>,
    /// Whether the machine goes on from where [`Control::suspend`](crate::Control::suspend) left it. Everything else must
    /// be as it was then.
    pub resume: bool,
    /// The machine's own folder: the driver keeps its configuration and a suspended machine's state in it.
    pub folder: &'a Path,
    /// Where UEFI keeps its variables: made when absent. A machine with a BIOS has no such file.
    pub uefi_variables: &'a Path,
    /// A folder for sockets and locks, of this machine alone; made when absent, and private to the user. A short path:
    /// sockets allow about 90 bytes.
    pub run_dir: &'a Path,
    /// Where the hypervisor's messages go, up to 1 MiB; written anew.
    pub log: &'a Path,
}

/// A disk of a machine.
#[derive(Clone, Debug)]
pub struct DiskSpec {
    /// What it is for, as events name it.
    pub role: String,
    /// What it is attached to.
    pub controller: Controller,
    /// Bytes; a multiple of 512.
    pub size: u64,
    /// What is under the overlay. Required unless the overlay is [`Overlay::Raw`] or holds the whole disk.
    pub base: Option<Base>,
    /// Where writes go.
    pub overlay: Overlay,
    /// Whether everything of the base is local, so that no read waits for the network.
    pub complete: bool,
}

/// What a disk's content is read from. It is never written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// An NBD export at a Unix socket.
    NbdUnix {
        /// The socket.
        socket: PathBuf,
        /// The export's name.
        export: String,
    },
    /// An NBD export at a port.
    NbdTcp {
        /// The server, normally `127.0.0.1`.
        host: String,
        /// Its port.
        port: u16,
        /// The export's name.
        export: String,
    },
    /// A file of raw content.
    File(PathBuf),
    /// The descriptor of a VMDK whose content is a flat file beside it.
    Vmdk(PathBuf),
}

/// Where the guest's writes to a disk go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// To a file over the base that [`create_overlay`](crate::Hypervisor::create_overlay) made.
    Qcow2(PathBuf),
    /// The same in VMware's format.
    Vmdk(PathBuf),
    /// To a file of raw content that is the whole disk: a user disk. It has no base.
    Raw(PathBuf),
}

/// Where the screen is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Display {
    /// In a window of the hypervisor.
    #[default]
    Window,
    /// Nowhere.
    None,
}

/// What a machine's first serial port is connected to, besides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serial {
    /// A file that what the guest sends is appended to. The guest decides how large it gets, so it is for tests and for
    /// finding faults.
    pub log: Option<PathBuf>,
    /// A Unix socket, or on Windows a named pipe (`\\.\pipe\…`), to read from and type into. On Windows the machine
    /// starts when somebody has opened it.
    pub console: Option<PathBuf>,
}

impl MachineSpec<'_> {
    /// What the window is called: of the name, letters and digits of all languages, and a few signs that no option uses.
    pub(crate) fn title(&self) -> String {
        let harmless = |c: char| {
            if c.is_alphanumeric() || "-_.()".contains(c) {
                c
            } else {
                ' '
            }
        };
        let words: String = self.name.chars().map(harmless).collect();
        let words: Vec<_> = words.split_whitespace().collect();
        let title: String = words.join(" ").chars().take(TITLE).collect();
        if title.is_empty() { "LivePC".into() } else { title }
    }

    /// Checks what is the same for all hypervisors.
    pub(crate) fn check(&self) -> Result<()> {
        if self.disks.is_empty() || self.disks.len() > DISKS {
            return bad(format!(
                "it has {} disks, and 1 to {DISKS} are possible",
                self.disks.len()
            ));
        }
        absolute(self.run_dir)?;
        absolute(self.folder)?;
        self.cd.into_iter().try_for_each(absolute)?;
        absolute(self.log)?;
        absolute(self.uefi_variables)?;
        if let Some(serial) = &self.serial {
            serial
                .log
                .iter()
                .chain(&serial.console)
                .try_for_each(|path| absolute(path))?;
        }
        self.disks.iter().try_for_each(DiskSpec::check)
    }
}

#[cfg(test)]
impl<'a> MachineSpec<'a> {
    /// A machine that needs nothing of the computer, for tests of what drivers make of it.
    pub(crate) fn for_tests(machine: &'a Machine, disks: Vec<DiskSpec>) -> Self {
        Self {
            name: "Net lab",
            machine,
            disks,
            display: Display::None,
            serial: None,
            cd: None,
            adapter: Some([0xa1, 0xb2, 0xc3]),
            resume: false,
            folder: Path::new("/machine"),
            uefi_variables: Path::new("/machine/uefi.fd"),
            run_dir: Path::new("/run/machine"),
            log: Path::new("/machine/hypervisor.log"),
        }
    }
}

impl DiskSpec {
    /// Checks what is the same for all hypervisors.
    fn check(&self) -> Result<()> {
        if self.size == 0 || !self.size.is_multiple_of(SECTOR) {
            return bad(format!(
                "disk “{}” has {} bytes, not a multiple of {SECTOR}",
                self.role, self.size
            ));
        }
        match &self.base {
            Some(Base::File(path) | Base::Vmdk(path) | Base::NbdUnix { socket: path, .. }) => absolute(path)?,
            Some(Base::NbdTcp { .. }) | None => {}
        }
        match &self.overlay {
            Overlay::Raw(_) if self.base.is_some() => {
                bad(format!("disk “{}” is a raw file, which has no base", self.role))
            }
            Overlay::Raw(path) | Overlay::Qcow2(path) | Overlay::Vmdk(path) => absolute(path),
        }
    }
}

/// Hypervisors run elsewhere, and give relative names meanings of their own.
pub(crate) fn absolute(path: &Path) -> Result<()> {
    if !path.is_absolute() {
        return bad(format!("{} is not an absolute path", shown::path(path)));
    }
    if path.to_str().is_none_or(|path| path.contains('\0')) {
        return bad(format!(
            "{} cannot be told to a hypervisor: it is not Unicode; move LivePC's folder",
            shown::path(path)
        ));
    }
    Ok(())
}

fn bad<T>(why: String) -> Result<T> {
    Err(HypervisorError::BadSpec { why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> DiskSpec {
        DiskSpec {
            role: "system".into(),
            controller: Controller::Virtio,
            size: 1 << 20,
            base: None,
            overlay: Overlay::Qcow2(std::env::temp_dir().join("o")),
            complete: true,
        }
    }

    fn title(name: &str) -> String {
        let machine = Machine::default();
        MachineSpec {
            name,
            ..MachineSpec::for_tests(&machine, Vec::new())
        }
        .title()
    }

    #[test]
    fn a_title_is_harmless_and_still_readable() {
        assert_eq!(
            title("Netzwerk-Labor 2.0 (für Kurse)"),
            "Netzwerk-Labor 2.0 (für Kurse)"
        );
        assert_eq!(title("a,debug-threads=on"), "a debug-threads on");
        assert_eq!(title("\u{202e}x\n\t$(y)"), "x (y)");
        assert_eq!(title("\"'%"), "LivePC");
        assert_eq!(title(&"long ".repeat(100)).chars().count(), TITLE);
    }

    proptest::proptest! {
        #[test]
        fn a_title_has_no_sign_of_an_option(name in proptest::prelude::any::<String>()) {
            let title = title(&name);
            proptest::prop_assert!(!title.is_empty());
            proptest::prop_assert!(
                !title.contains([',', '=', '"', '\'', '\\', '\n', '%', '$', '`', ';', '/', '|', '&', '<', '>', '#'])
            );
        }
    }

    #[test]
    fn a_disk_is_whole_sectors_and_a_raw_file_has_no_base() {
        assert!(disk().check().is_ok(), "the disk that the others differ from");
        assert!(
            DiskSpec { size: 1000, ..disk() }.check().is_err(),
            "half a sector"
        );
        assert!(DiskSpec { size: 0, ..disk() }.check().is_err(), "nothing at all");
        let base = Some(Base::File(std::env::temp_dir().join("b")));
        let overlay = Overlay::Raw(std::env::temp_dir().join("o"));
        assert!(
            DiskSpec {
                base,
                overlay,
                ..disk()
            }
            .check()
            .is_err(),
            "raw over a base"
        );
    }

    #[test]
    fn a_relative_path_is_refused_because_it_could_mean_a_protocol() {
        for path in ["nbd:localhost:10809", "json:{}", "overlay", ""] {
            let overlay = Overlay::Qcow2(path.into());
            assert!(
                DiskSpec { overlay, ..disk() }.check().is_err(),
                "{path:?} is not absolute"
            );
            let base = Some(Base::File(path.into()));
            assert!(
                DiskSpec { base, ..disk() }.check().is_err(),
                "{path:?} is not absolute"
            );
        }
    }
}
