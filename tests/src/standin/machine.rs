//! A machine that runs: the part of VMware's `vmware-vmx`.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::qmp::Qmp;
use super::settings::Settings;
use super::{Failure, disks, sick, state_dir};

/// How long QEMU and its helpers have to start.
const START: Duration = Duration::from_secs(60);
/// How long a state may take to be written or read.
pub(super) const TRANSFER: Duration = Duration::from_secs(120);
/// UEFI for QEMU, as Debian has it.
const UEFI: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const UEFI_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// Where a machine's sockets and its entry in the list are.
#[derive(Debug)]
pub(super) struct Entry {
    stem: PathBuf,
}

impl Entry {
    pub(super) fn of(vmx: &Path) -> Result<Self, Failure> {
        let mut hasher = DefaultHasher::new();
        vmx.hash(&mut hasher);
        let stem = state_dir()?.join(format!("{:016x}", hasher.finish()));
        Ok(Self { stem })
    }

    /// For what is asked of the machine.
    pub(super) fn orders(&self) -> PathBuf {
        self.stem.with_extension("orders")
    }

    fn events(&self) -> PathBuf {
        self.stem.with_extension("events")
    }

    /// Whether the machine runs.
    pub(super) fn is_listed(&self) -> bool {
        listed(&self.listed()).is_some()
    }

    fn listed(&self) -> PathBuf {
        self.stem.with_extension("listed")
    }

    fn disk(&self, number: usize) -> PathBuf {
        self.stem.with_extension(format!("disk{number}"))
    }
}

/// The configuration that an entry of the list names, if its machine runs.
pub(super) fn listed(entry: &Path) -> Option<String> {
    let text = std::fs::read_to_string(entry).ok()?;
    let (process, vmx) = text.split_once('\n')?;
    let lives = Command::new("kill")
        .args(["-0", process])
        .stderr(Stdio::null())
        .status();
    lives.is_ok_and(|status| status.success()).then(|| vmx.to_owned())
}

/// Runs a machine until it is off. `started` is called when its guest executes.
///
/// # Errors
/// When it does not start.
pub(super) fn run(vmx: &Path, started: impl FnOnce()) -> Result<(), Failure> {
    let settings = Settings::read(vmx)?;
    let entry = Entry::of(vmx)?;
    let folder = vmx.parent().unwrap_or(vmx);
    let mut log = Log::open(folder)?;
    let mut helpers = Helpers::default();
    let state = settings
        .get("checkpoint.vmstate")
        .filter(|state| !state.is_empty());
    let arguments = arguments(&settings, &entry, folder, state, &mut helpers)?;
    log.say("vmx", "Log for VMware Workstation (stand-in) version=17.5.0");

    for socket in [entry.orders(), entry.events()] {
        let _ = std::fs::remove_file(socket);
    }
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("QEMU, which this stand-in needs, cannot be started: {error}"))?;
    let begun = begin(&entry, vmx, state, folder, &mut log);
    let mut events = match begun {
        Ok(events) => events,
        Err(why) => {
            let _ = qemu.kill();
            let _ = qemu.wait();
            return Err(why);
        }
    };
    started();
    if sick() == "vanish" {
        std::thread::sleep(Duration::from_secs(2));
        let _ = qemu.kill();
        let _ = qemu.wait();
        let _ = std::fs::remove_file(entry.listed());
        return Ok(());
    }
    while let Some(event) = events.next_event() {
        if event["event"] == "SHUTDOWN" && event["data"]["reason"] == "guest-shutdown" {
            log.say("vcpu-0", "PIIX4: PM Soft Off.  Good-bye.");
        }
    }
    let ended = qemu.wait().map_err(|error| error.to_string())?;
    // Not before the disks are closed.
    drop(helpers);
    if ended.success() {
        log.say("vmx", "VMX exit (0).");
    } else {
        log.say("vmx", "VMware Workstation unrecoverable error: (vmx)");
    }
    let _ = std::fs::remove_file(entry.listed());
    Ok(())
}

/// Lets the guest execute, from its saved state if there is one.
fn begin(
    entry: &Entry,
    vmx: &Path,
    state: Option<&str>,
    folder: &Path,
    log: &mut Log,
) -> Result<Qmp, Failure> {
    let mut events = Qmp::connect(&entry.events(), START)?;
    if state.is_some() {
        events.migrated(TRANSFER)?;
    }
    events.ask("cont", &json!({}))?;
    if let Some(state) = state {
        write_state(vmx, "")?;
        let _ = std::fs::remove_file(folder.join(state));
    }
    log.say("vcpu-0", "CPU reset: hard (mode Emulation)");
    let listed = format!("{}\n{}", std::process::id(), vmx.display());
    std::fs::write(entry.listed(), listed).map_err(|error| error.to_string())?;
    Ok(events)
}

/// Names the file of the machine's state in its configuration, as VMware does.
pub(super) fn write_state(vmx: &Path, state: &str) -> Result<(), Failure> {
    let text = std::fs::read_to_string(vmx).map_err(|error| error.to_string())?;
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("checkpoint.vmState"))
        .collect();
    let line = format!("checkpoint.vmState = \"{state}\"");
    lines.push(&line);
    std::fs::write(vmx, lines.join("\n") + "\n").map_err(|error| error.to_string())
}

/// What VMware writes down in the machine's folder.
struct Log(File);

impl Log {
    fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("vmware.log");
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened.map(Self).map_err(|error| error.to_string())
    }

    fn say(&mut self, who: &str, what: &str) {
        let _ = writeln!(self.0, "2024-01-01T00:00:00.000Z In(05) {who} {what}");
    }
}

/// Processes that read disks for QEMU. Its driver for VMDK forbids that a machine's state is saved; a connection does not.
#[derive(Default)]
struct Helpers(Vec<Child>);

impl Helpers {
    fn open(&mut self, disk: &Path, socket: &Path) -> Result<(), Failure> {
        let _ = std::fs::remove_file(socket);
        let helper = Command::new("qemu-nbd")
            .args(["--persistent", "--format=vmdk", "--socket"])
            .args([socket, disk])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("qemu-nbd, which this stand-in needs, cannot be started: {error}"))?;
        self.0.push(helper);
        let until = Instant::now() + START;
        while UnixStream::connect(socket).is_err() {
            let helper = self.0.last_mut().map(Child::try_wait);
            if !matches!(helper, Some(Ok(None))) || Instant::now() > until {
                return Err(format!(
                    "Cannot open the disk '{}' or one of the disks it depends on",
                    disk.display()
                ));
            }
            // A socket that comes into being tells nobody.
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        for helper in &mut self.0 {
            // Asked, and not killed: it closes its disk in order.
            let _ = Command::new("kill").arg(helper.id().to_string()).status();
            let _ = helper.wait();
        }
    }
}

fn arguments(
    settings: &Settings,
    entry: &Entry,
    folder: &Path,
    state: Option<&str>,
    helpers: &mut Helpers,
) -> Result<Vec<String>, Failure> {
    let has_ide = settings.drives().any(|place| place.starts_with("ide"));
    let mut line: Vec<String> = Vec::new();
    let mut add = |option: &str, value: String| line.extend([option.to_owned(), value]);
    add("-machine", if has_ide { "pc" } else { "q35" }.into());
    add("-accel", "tcg".into());
    add("-cpu", "max".into());
    add("-m", format!("{}M", settings.get("memsize").unwrap_or_default()));
    add("-smp", settings.get("numvcpus").unwrap_or("1").into());
    add("-display", "none".into());
    add("-device", "VGA".into());
    for socket in [entry.orders(), entry.events()] {
        add("-qmp", format!("unix:{},server=on,wait=off", socket.display()));
    }
    if let Some(state) = state {
        add(
            "-incoming",
            format!("exec:cat '{}'", folder.join(state).display()),
        );
    }
    if settings.get("firmware") == Some("efi") {
        let nvram = folder.join(settings.get("nvram").unwrap_or("machine.nvram"));
        if !nvram.exists() {
            std::fs::copy(UEFI_VARIABLES, &nvram).map_err(|error| format!("{UEFI_VARIABLES}: {error}"))?;
        }
        add("-drive", format!("if=pflash,format=raw,readonly=on,file={UEFI}"));
        add("-drive", format!("if=pflash,format=raw,file={}", nvram.display()));
    }
    let mut controllers = Vec::new();
    for (number, place) in settings.drives().enumerate() {
        let (bus, unit) = place.split_once(':').ok_or("a drive without a place")?;
        let kind = bus.trim_end_matches(|c: char| c.is_ascii_digit());
        let controller = match kind {
            "ide" => None,
            "sata" => Some(format!("ich9-ahci,id={bus}")),
            "nvme" => Some(format!("nvme,id={bus},serial={bus}")),
            _ => Some(match settings.get(&format!("{bus}.virtualdev")) {
                Some("pvscsi") => format!("pvscsi,id={bus}"),
                Some("lsisas1068") => format!("mptsas1068,id={bus}"),
                other => return Err(format!("this stand-in has no {other:?}")),
            }),
        };
        if let Some(controller) = controller
            && !controllers.contains(&controller)
        {
            if !settings.is_true(&format!("{bus}.present")) {
                return Err(format!("Device '{place}' is on a bus that is not present"));
            }
            add("-device", controller.clone());
            controllers.push(controller);
        }
        // What is not absolute lies beside the configuration.
        let file = settings.get(&format!("{place}.filename"));
        let file = &folder.join(file.unwrap_or_default());
        let is_cd = settings.get(&format!("{place}.devicetype")) == Some("cdrom-image");
        let node = if is_cd {
            json!({ "driver": "raw", "node-name": format!("d{number}"), "read-only": true,
                    "file": { "driver": "file", "filename": file } })
        } else {
            disks::check_chain(file)?;
            let socket = entry.disk(number);
            helpers.open(file, &socket)?;
            json!({ "driver": "nbd", "node-name": format!("d{number}"),
                    "server": { "type": "unix", "path": socket } })
        };
        add("-blockdev", node.to_string());
        let drive = if is_cd { "ide-cd" } else { "ide-hd" };
        let device = match kind {
            "ide" => format!("{drive},bus={}.{},unit={}", &bus[..3], &bus[3..], unit),
            "sata" => format!("{drive},bus={bus}.{unit}"),
            "nvme" => format!("nvme-ns,bus={bus}"),
            _ => format!(
                "scsi-hd,bus={bus}.0,scsi-id={unit},wwn={}",
                0x3000_0000_0000_0001 + number as u64
            ),
        };
        let first = settings.get("bios.hddorder") == Some(place);
        let order = if first { ",bootindex=0" } else { "" };
        add("-device", format!("{device},drive=d{number}{order}"));
    }
    if settings.is_true("ethernet0.present") {
        let nic = settings.get("ethernet0.virtualdev").unwrap_or("e1000");
        add("-netdev", "user,id=net".into());
        add("-device", format!("{nic},netdev=net,romfile="));
    }
    if settings.is_true("serial0.present") {
        let file = settings
            .get("serial0.filename")
            .unwrap_or_default()
            .replace(',', ",,");
        let backend = match settings.get("serial0.filetype") {
            Some("pipe") => format!("socket,id=serial,path={file},server=on,wait=off"),
            _ => format!("file,id=serial,path={file},append=on"),
        };
        add("-chardev", backend);
        add("-device", "isa-serial,chardev=serial".into());
    }
    line.extend(["-nodefaults", "-no-user-config", "-S"].map(String::from));
    Ok(line)
}
