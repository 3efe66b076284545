//! A real QEMU, and the project's sample guest in it.
#![allow(dead_code, clippy::unwrap_used)] // Each test uses a part of it, and fails where it unwraps.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use livepc_format::machine::{Architecture, Controller, Machine};
use livepc_hypervisor::{
    Base, DiskSpec, Display, Hypervisor, MachineEvent, MachineSpec, Overlay, Qemu, Running, Search, Serial,
};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// How long a start may take on a machine that is busy with other tests.
pub(crate) const START: Duration = Duration::from_secs(300);

/// Bytes of the sample guest's disk.
pub(crate) const GUEST_SIZE: u64 = 512 << 20;

/// The system's QEMU, tried out once for all tests of a program.
pub(crate) async fn qemu() -> Qemu {
    static QEMU: OnceCell<Qemu> = OnceCell::const_new();
    let find = async {
        let qemu = Qemu::find(&Search::of_system(None), Architecture::X86_64).await;
        let qemu = qemu.expect("these tests need QEMU: Debian's qemu-system-x86 and qemu-utils");
        qemu.accelerator().await.unwrap();
        qemu
    };
    QEMU.get_or_init(|| find).await.clone()
}

/// The sample guest's disk: in `$LIVEPC_TEST_GUEST`, or built into the user's cache.
pub(crate) fn guest() -> &'static Path {
    static GUEST: LazyLock<PathBuf> = LazyLock::new(|| {
        let dir = std::env::var_os("LIVEPC_TEST_GUEST").map_or_else(build_guest, PathBuf::from);
        let disk = dir.join("guest-1.raw");
        assert!(disk.is_file(), "{} is not there", disk.display());
        disk
    });
    &GUEST
}

fn build_guest() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    let dir = cache.join("livepc/guest/tests");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/guest/build.sh");
    let status = Command::new(&script).arg(&dir).status().unwrap();
    assert!(status.success(), "{} has failed: see above", script.display());
    dir
}

/// A machine's folder, with an overlay over a base.
pub(crate) struct Home {
    pub(crate) dir: TempDir,
    pub(crate) machine: Machine,
}

impl Home {
    pub(crate) fn new() -> Self {
        let machine = Machine {
            memory: 256 << 20,
            ..Machine::default()
        };
        Self {
            dir: tempfile::Builder::new().prefix("livepc-").tempdir().unwrap(),
            machine,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The system disk: a new overlay over `base`.
    pub(crate) async fn system(&self, qemu: &Qemu, controller: Controller, base: Base) -> DiskSpec {
        let overlay = self.path("system.qcow2");
        qemu.create_overlay(&overlay, GUEST_SIZE).await.unwrap();
        DiskSpec {
            role: "system".into(),
            controller,
            size: GUEST_SIZE,
            base: Some(base),
            overlay: Overlay::Qcow2(overlay),
            complete: true,
        }
    }

    pub(crate) async fn guest_disk(&self, qemu: &Qemu) -> DiskSpec {
        self.system(qemu, Controller::Virtio, Base::File(guest().into()))
            .await
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths {
            folder: self.dir.path().to_owned(),
            uefi_variables: self.path("uefi.fd"),
            run_dir: self.path("run"),
            log: self.path("qemu.log"),
        }
    }

    /// What the guest has sent to its serial port so far.
    pub(crate) fn serial(&self) -> String {
        let said = std::fs::read(self.path("serial.log")).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Waits until the guest has sent `text`. What it sends arrives in a file, which makes no event.
    pub(crate) async fn wait_for(&self, text: &str) {
        let begin = Instant::now();
        while !self.serial().contains(text) {
            assert!(
                begin.elapsed() < START,
                "no {text:?} within {START:?} in {:?}",
                self.serial()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

pub(crate) struct Paths {
    folder: PathBuf,
    uefi_variables: PathBuf,
    run_dir: PathBuf,
    log: PathBuf,
}

impl Paths {
    pub(crate) fn spec<'a>(&'a self, machine: &'a Machine, disks: Vec<DiskSpec>) -> MachineSpec<'a> {
        let serial = Some(Serial {
            log: Some(self.log.with_file_name("serial.log")),
            console: None,
        });
        MachineSpec {
            name: "Sample",
            machine,
            disks,
            display: Display::None,
            serial,
            cd: None,
            adapter: None,
            resume: false,
            folder: &self.folder,
            uefi_variables: &self.uefi_variables,
            run_dir: &self.run_dir,
            log: &self.log,
        }
    }
}

/// Starts the machine with these disks.
pub(crate) async fn start(qemu: &Qemu, home: &Home, disks: Vec<DiskSpec>) -> Running {
    let paths = home.paths();
    let mut running = qemu.start(paths.spec(&home.machine, disks)).await.unwrap();
    assert_eq!(
        running.next_event().await,
        Some(MachineEvent::Started),
        "it is always the first"
    );
    running
}

/// The next event, which must come within the time of a start.
pub(crate) async fn next(running: &mut Running) -> MachineEvent {
    let event = tokio::time::timeout(START, running.next_event()).await;
    event
        .expect("no event came")
        .expect("there are no events after the end")
}

/// The process that has `dir` as its current folder, as QEMU has its run-time folder.
#[cfg(target_os = "linux")]
pub(crate) fn process_in(dir: &Path) -> u32 {
    let dir = dir.canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Some((pid, std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?))
    });
    let found: Vec<u32> = processes
        .filter(|(_, cwd)| *cwd == dir)
        .map(|(pid, _)| pid)
        .collect();
    assert_eq!(found.len(), 1, "one process in {}", dir.display());
    found[0]
}

pub(crate) fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "process {pid} is there");
}
