//! The sample guest in the stand-ins for VMware: what the driver writes is read by somebody else, and runs.
#![cfg(target_os = "linux")] // The sample guest is built from Debian packages, and processes are found in /proc.
#![allow(clippy::unwrap_used)] // A test fails where it unwraps.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use livepc_format::machine::{Controller, Machine, Network, Nic};
use livepc_hypervisor::{
    Base, DiskSpec, Display, End, Hypervisor, HypervisorError, MachineEvent, MachineSpec, Overlay, Running,
    Serial, Status, Vmware, VmwareSearch, discard_saved_state, reap,
};
use livepc_tests::guest::{self, Console};
use livepc_tests::standin::programs::{Built, Programs, install};
use tempfile::TempDir;

/// How long a guest has to start while other tests run.
const BOOT: Duration = Duration::from_secs(240);
/// How long what needs no guest may take.
const SOON: Duration = Duration::from_secs(60);

/// A machine's folder, a VMware of its own, and a base.
struct Home {
    dir: PathBuf,
    /// Whose folder it is: not the runner's that dies.
    owned: Option<TempDir>,
    machine: Machine,
}

/// The stand-ins.
fn built() -> Built {
    Built {
        vmrun: env!("CARGO_BIN_EXE_standin-vmrun").into(),
        vmplayer: env!("CARGO_BIN_EXE_standin-vmplayer").into(),
    }
}

impl Home {
    /// `sick`: how the stand-ins fail.
    fn new(programs: Programs, sick: &str) -> Self {
        let owned = tempfile::Builder::new().prefix("livepc-").tempdir().unwrap();
        let mut home = Self::at(owned.path().to_owned());
        home.owned = Some(owned);
        std::fs::create_dir(home.path("machine")).unwrap();
        install(&home.path("vmware"), programs, &built(), sick);
        home
    }

    fn at(dir: PathBuf) -> Self {
        let machine = Machine {
            memory: 256 << 20,
            ..Machine::default()
        };
        Self {
            dir,
            owned: None,
            machine,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    async fn vmware(&self) -> Vmware {
        let search = VmwareSearch {
            path: Some(self.path("vmware").into()),
            ..VmwareSearch::default()
        };
        Vmware::find(&search).await.unwrap()
    }

    /// The sample guest's disk on `controller`: an overlay over a descriptor of the raw file.
    async fn system(&self, vmware: &Vmware, controller: Controller) -> DiskSpec {
        let raw = guest::disk(1).canonicalize().unwrap();
        let size = raw.metadata().unwrap().len();
        let base = self.path("base.vmdk");
        let descriptor = format!(
            "# Disk DescriptorFile\nversion=1\nCID=11223344\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\nRW {} FLAT \
             \"{}\" 0\n\nddb.adapterType = \"lsilogic\"\n",
            size / 512,
            raw.display()
        );
        std::fs::write(&base, descriptor).unwrap();
        let overlay = self.path("machine").join("system.vmdk");
        if !overlay.exists() {
            vmware.create_overlay(&overlay, size).await.unwrap();
        }
        DiskSpec {
            role: "system".into(),
            controller,
            size,
            base: Some(Base::Vmdk(base)),
            overlay: Overlay::Vmdk(overlay),
            complete: true,
        }
    }

    async fn try_start(
        &self,
        vmware: &Vmware,
        serial: &Serial,
        resume: bool,
    ) -> Result<Running, HypervisorError> {
        let disks = vec![self.system(vmware, Controller::Virtio).await];
        self.start_with(vmware, disks, serial, resume).await
    }

    async fn start_with(
        &self,
        vmware: &Vmware,
        disks: Vec<DiskSpec>,
        serial: &Serial,
        resume: bool,
    ) -> Result<Running, HypervisorError> {
        let folder = self.path("machine");
        let spec = MachineSpec {
            name: "Sample \"quoted\"",
            machine: &self.machine,
            disks,
            display: Display::Window,
            serial: Some(serial.clone()),
            cd: None,
            adapter: Some([0xff, 1, 2]),
            resume,
            uefi_variables: &folder.join("uefi.fd"),
            run_dir: &self.path("run"),
            log: &folder.join("hypervisor.log"),
            folder: &folder,
        };
        let mut running = vmware.start(spec).await?;
        assert_eq!(running.next_event().await, Some(MachineEvent::Started));
        Ok(running)
    }

    fn log(&self) -> Serial {
        Serial {
            log: Some(self.path("serial.log")),
            console: None,
        }
    }

    fn console(&self) -> Serial {
        Serial {
            log: None,
            console: Some(self.path("console")),
        }
    }

    /// The console of a guest that has just started.
    fn booted(&self) -> Console {
        let mut console = Console::try_open(&self.path("console"), BOOT).unwrap();
        let _ = console.hear("LIVEPC READY 1.0");
        console
    }

    fn ready(&self) {
        let _ = guest::wait_for(&self.path("serial.log"), "LIVEPC READY 1.0", BOOT);
    }

    /// Processes that name this home's files: QEMU, its helpers and the stand-ins.
    fn processes(&self) -> Vec<String> {
        let home = self.dir.to_str().unwrap();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let of_home = |path: PathBuf| {
            std::fs::read(path.join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(home))
        };
        entries
            .filter(|entry| of_home(entry.path()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// Waits until nothing of it is left running: helpers end just after the machine.
    #[track_caller]
    fn nothing_runs(&self) {
        let until = Instant::now() + SOON;
        while !self.processes().is_empty() {
            assert!(
                Instant::now() < until,
                "processes are left: {:?}",
                self.processes()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        let run = self.path("run");
        let left = std::fs::read_dir(&run).map_or(0, Iterator::count);
        assert_eq!(left, 0, "nothing is left in {}", run.display());
    }
}

impl Drop for Home {
    /// A test that fails must not leave a machine.
    fn drop(&mut self) {
        if self.owned.is_some() {
            for process in self.processes() {
                let _ = Command::new("kill").args(["-KILL", &process]).status();
            }
        }
    }
}

fn digest(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

fn qemu_img(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("qemu-img").args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_starts_shuts_down_and_leaves_its_base_as_it_was() {
    let home = Home::new(Programs::Workstation, "");
    let vmware = home.vmware().await;
    let installed = vmware.inspect().await.unwrap();
    assert_eq!(installed.version, "17.5.0");
    let before = digest(&guest::disk(1));
    let mut running = home.try_start(&vmware, &home.log(), false).await.unwrap();
    home.ready();
    let twice = home.try_start(&vmware, &home.log(), false).await.unwrap_err();
    assert!(matches!(twice, HypervisorError::InUse { .. }), "{twice}");

    running.control().powerdown().await.unwrap();
    assert_eq!(running.next_event().await, Some(MachineEvent::PowerdownRequested));
    let Some(MachineEvent::Ended(ended)) = running.next_event().await else {
        panic!("it should have ended")
    };
    assert!(ended.clean(), "the guest shut down: {ended:?}");
    assert_eq!(running.next_event().await, None, "nothing comes after the end");
    home.nothing_runs();
    assert_eq!(digest(&guest::disk(1)), before, "the base is never written to");
    let overlay = home.path("machine/system.vmdk");
    let (good, said) = qemu_img(&["check", "-f", "vmdk", overlay.to_str().unwrap()]);
    assert!(good, "{said}");
    // An empty overlay of this size has 128 KiB.
    assert!(
        overlay.metadata().unwrap().len() > 128 << 10,
        "the guest has written"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_guest_goes_on_and_a_discarded_state_is_gone() {
    let home = Home::new(Programs::Workstation, "");
    let vmware = home.vmware().await;
    let running = home.try_start(&vmware, &home.console(), false).await.unwrap();
    let mut console = home.booted();
    let _ = console.ask("write /tmp/mark in memory only", "WROTE");
    drop(console);
    let ended = running.control().suspend().await.unwrap();
    assert_eq!(ended.end, End::Suspended, "{ended:?}");
    home.nothing_runs();

    let running = home.try_start(&vmware, &home.console(), true).await.unwrap();
    let mut console = Console::open(&home.path("console"));
    let answer = console.ask("cat /tmp/mark", "CAT");
    assert!(answer.contains("in memory only"), "{answer}");
    let ended = running.control().suspend().await.unwrap();
    assert_eq!(ended.end, End::Suspended, "a second time: {ended:?}");
    home.nothing_runs();

    discard_saved_state(&home.path("machine")).unwrap();
    let error = home.try_start(&vmware, &home.console(), true).await.unwrap_err();
    assert!(error.to_string().contains("start it anew"), "{error}");
    home.nothing_runs();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_everything_starts_and_is_switched_off() {
    let mut home = Home::new(Programs::Workstation, "");
    home.machine = Machine {
        cpus: 2,
        network: Network::Nat,
        nic: Nic::Vmxnet3,
        sound: true,
        usb: true,
        ..home.machine.clone()
    };
    let vmware = home.vmware().await;
    let raw = home.path("machine/user.raw");
    std::fs::File::create(&raw).unwrap().set_len(64 << 20).unwrap();
    let user = DiskSpec {
        role: "user".into(),
        controller: Controller::Sata,
        size: 64 << 20,
        base: None,
        overlay: Overlay::Raw(raw.clone()),
        complete: true,
    };
    let disks = vec![home.system(&vmware, Controller::Scsi).await, user];
    let running = home.start_with(&vmware, disks, &home.log(), false).await.unwrap();
    home.ready();
    let ended = running.control().quit().await.unwrap();
    assert_eq!(ended.end, End::Quit, "{ended:?}");
    home.nothing_runs();
    let written = std::fs::read(&raw).unwrap();
    assert_eq!(written.len(), 64 << 20, "one raw file serves every hypervisor");
    assert!(
        written.iter().any(|&byte| byte != 0),
        "the guest made a file system on it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_player_shows_a_guest_and_takes_no_orders() {
    let home = Home::new(Programs::Player, "");
    let vmware = home.vmware().await;
    let mut running = home.try_start(&vmware, &home.console(), false).await.unwrap();
    for refused in [
        running.control().powerdown().await.unwrap_err(),
        running.control().suspend().await.unwrap_err(),
    ] {
        assert!(
            refused
                .to_string()
                .contains("shut the guest down inside its window"),
            "{refused}"
        );
    }
    let mut console = home.booted();
    let _ = console.ask("poweroff", "STOPPING");
    let Some(MachineEvent::Ended(ended)) = running.next_event().await else {
        panic!("it should have ended")
    };
    assert!(ended.clean(), "{ended:?}");
    home.nothing_runs();

    let running = home.try_start(&vmware, &home.log(), false).await.unwrap();
    let ended = running.control().quit().await.unwrap();
    assert_eq!(ended.end, End::Quit, "{ended:?}");
    home.nothing_runs();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    use HypervisorError as E;
    for programs in [Programs::Workstation, Programs::Player] {
        for sick in ["locked", "licence", "exit1", "hang"] {
            let home = Home::new(programs, sick);
            let mut vmware = home.vmware().await;
            if sick == "hang" {
                vmware.patience = Duration::from_secs(2);
            }
            let error = home.try_start(&vmware, &home.log(), false).await.unwrap_err();
            let fits = match sick {
                "locked" => matches!(error, E::InUse { .. }),
                "licence" => matches!(&error, E::Broken { hint, .. } if hint.contains("licence")),
                "hang" => matches!(error, E::NoAnswer { .. }),
                _ => matches!(error, E::NotStarted { .. }),
            };
            assert!(fits, "{sick}: {error}");
            home.nothing_runs();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_vanishes_has_crashed() {
    let home = Home::new(Programs::Workstation, "vanish");
    let mut running = home
        .try_start(&home.vmware().await, &home.log(), false)
        .await
        .unwrap();
    let ended = tokio::time::timeout(SOON, running.next_event()).await.unwrap();
    assert!(
        matches!(&ended, Some(MachineEvent::Ended(ended)) if ended.end == End::Crashed),
        "{ended:?}"
    );
    home.nothing_runs();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_without_tools_is_left_running_and_the_way_out_is_told() {
    let home = Home::new(Programs::Workstation, "notools");
    let running = home
        .try_start(&home.vmware().await, &home.log(), false)
        .await
        .unwrap();
    let refused = running.control().powerdown().await.unwrap_err().to_string();
    assert!(refused.contains("open-vm-tools"), "{refused}");
    assert_eq!(running.control().status(), Status::Running);
    let ended = running.control().stop(SOON).await.unwrap();
    assert_eq!(ended.end, End::Quit, "it is switched off instead: {ended:?}");
    home.nothing_runs();
}

/// Names the folder with VMware's programs and the machine to the process that shall die.
const RUNNER: &str = "LIVEPC_TEST_VMWARE_RUNNER";

/// Not a test: the process that dies. It starts a machine, says so and waits.
#[tokio::test(flavor = "multi_thread")]
async fn runner() {
    let Some(dir) = std::env::var_os(RUNNER).map(PathBuf::from) else {
        return;
    };
    let home = Home::at(dir);
    let _running = home
        .try_start(&home.vmware().await, &home.log(), false)
        .await
        .unwrap();
    println!("started");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_was_left_is_ended_before_the_next_start() {
    use std::io::BufRead;
    for programs in [Programs::Workstation, Programs::Player] {
        let home = Home::new(programs, "");
        let mut runner = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "runner", "--nocapture"])
            .env(RUNNER, &home.dir)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let said = std::io::BufReader::new(runner.stdout.take().unwrap());
        let mut lines = said.lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line.ends_with("started")),
            "the runner has started it"
        );
        runner.kill().unwrap();
        runner.wait().unwrap();
        assert!(reap(&home.path("machine")).await.unwrap(), "there was one");
        assert!(
            !reap(&home.path("machine")).await.unwrap(),
            "and there is no other"
        );
        home.nothing_runs();
    }
}

#[tokio::test]
async fn disks_are_read_by_qemu_as_those_that_it_makes_itself() {
    let home = Home::new(Programs::Workstation, "");
    let vmware = home.vmware().await;
    let size: u64 = (96 << 20) + (64 << 10) + 512;
    let path = |name: &str| home.path(name).to_str().unwrap().to_owned();
    let (ours, theirs) = (path("ours.vmdk"), path("theirs.vmdk"));
    vmware.create_overlay(Path::new(&ours), size).await.unwrap();
    let (good, said) = qemu_img(&["create", "-q", "-f", "vmdk", &theirs, &size.to_string()]);
    assert!(good, "{said}");
    for write in [
        "write -P 17 0 64k",
        "write -P 3 33554000 4096",
        "write -P 9 100728832 512",
    ] {
        for disk in [&ours, &theirs] {
            let done = Command::new("qemu-io")
                .args(["-f", "vmdk", "-c", write, disk])
                .output()
                .unwrap();
            assert!(done.status.success(), "{write}: {done:?}");
        }
    }
    let (same, said) = qemu_img(&["compare", "-f", "vmdk", "-F", "vmdk", &ours, &theirs]);
    assert!(same, "{said}");
    let (good, said) = qemu_img(&["check", "-f", "vmdk", &ours]);
    assert!(good, "{said}");
    let (_, info) = qemu_img(&["info", "--output=json", &ours]);
    let (_, their_info) = qemu_img(&["info", "--output=json", &theirs]);
    let size_of =
        |info: &str| serde_json::from_str::<serde_json::Value>(info).unwrap()["virtual-size"].clone();
    assert_eq!(size_of(&info), size_of(&their_info));
}
