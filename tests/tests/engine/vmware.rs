//! A LivePC in VMware: the agent, the runner and a real guest, whose disks are files out of the store. VMware itself is a
//! stand-in (see `livepc_tests::standin`).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use livepc_tests::guest::{self, BOOT, wait_for};
use livepc_tests::home::{TestHome, kill};
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;
use livepc_tests::standin::programs::{Built, Programs, install, running};
use serde_json::Value;

const ID: &str = "sample";
/// The stand-ins.
fn built() -> Built {
    Built {
        vmrun: env!("CARGO_BIN_EXE_standin-vmrun").into(),
        vmplayer: env!("CARGO_BIN_EXE_standin-vmplayer").into(),
    }
}

/// A subscriber of the sample guest who has VMware.
struct Subscriber {
    home: TestHome,
    publisher: Publisher,
    _server: Nginx,
}

impl Subscriber {
    fn new(home: TestHome, programs: Programs) -> Self {
        let publisher = Publisher::new(&guest::disk(1), "Sample");
        publisher.publish(&["--label", "1.0"]);
        let server = Nginx::serve(&publisher.site());
        let subscriber = Self {
            home,
            publisher,
            _server: server,
        };
        // Copies, since not every user may look where they were built.
        let Built { vmrun, vmplayer } = built();
        let copies = Built {
            vmrun: subscriber.home.install(&vmrun),
            vmplayer: subscriber.home.install(&vmplayer),
        };
        install(&subscriber.vmware(), programs, &copies, "");
        subscriber.home.hand_over();
        let vmware = subscriber.vmware();
        let vmware = vmware.to_str().expect("UTF-8");
        subscriber.home.done(&["config", "set", "vmware.program", vmware]);
        let feed = subscriber._server.url("feed.xml");
        subscriber.home.done(&["subscribe", &feed, "--yes"]);
        subscriber
    }

    /// The folder of VMware's programs.
    fn vmware(&self) -> PathBuf {
        self.home.path().join("vmware")
    }

    fn bases(&self) -> PathBuf {
        self.home.path().join("bases").join(ID)
    }

    fn machine(&self) -> PathBuf {
        self.home.path().join("machines").join(ID)
    }

    /// All that is known of it.
    fn shown(&self) -> Value {
        self.home.done(&["show", ID])["livepc"].clone()
    }

    /// Starts the machine, with what its guest says in `serial`.
    fn start(&self, serial: &str, more: &[&str]) -> (Value, PathBuf) {
        let serial = self.home.path().join(serial);
        let file = serial.to_str().expect("UTF-8");
        let mut args = vec!["start", ID, "--display", "none", "--no-fill", "--serial", file];
        args.extend(more);
        (self.home.done(&args), serial)
    }
}

fn mounted_in(folder: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the list of mounts");
    let mut places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    places.any(|place| Path::new(place).starts_with(folder))
}

#[test]
fn who_has_vmware_gets_vmware() {
    let subscriber = Subscriber::new(TestHome::new(), Programs::Workstation);
    let home = &subscriber.home;
    let findings = home.done(&["doctor"]);
    let findings = findings["findings"].as_array().expect("findings");
    let found = findings
        .iter()
        .find(|finding| finding["subject"] == "vmware")
        .expect("it is looked for");
    assert!(
        found["found"]
            .as_str()
            .is_some_and(|found| found.starts_with("VMware Workstation 17.5.0")),
        "{found}"
    );

    // It cannot wait for the network: QEMU runs what is not complete, and it is said why.
    home.run(&["start", ID, "--hypervisor", "vmware"])
        .refused(7, "hypervisor");
    let (started, _) = subscriber.start("serial-0.log", &[]);
    assert_eq!(started["hypervisor"], "qemu", "{started}");
    assert!(
        started["passed_over"]
            .as_str()
            .is_some_and(|why| why.contains("VMware")),
        "{started}"
    );
    home.done(&["stop", ID, "--force"]);

    home.done(&["download", ID, "--until", "complete"]);
    let (started, serial) = subscriber.start("serial-1.log", &[]);
    assert_eq!(
        (&started["hypervisor"], &started["passed_over"]),
        (&"vmware".into(), &Value::Null),
        "{started}"
    );
    assert_eq!(
        running(&subscriber.vmware()),
        [subscriber.machine().join("machine.vmx")]
    );
    assert!(
        mounted_in(&subscriber.bases()),
        "its base is read out of the store"
    );
    let said = wait_for(&serial, "LIVEPC READY 1.0", BOOT);
    assert!(!said.contains("I/O error"), "the guest must not see one: {said}");
    // Twice is once.
    assert_eq!(subscriber.start("serial-2.log", &[]).0["hypervisor"], "vmware");

    // What comes meanwhile is for the next cold start, not for this machine.
    subscriber.publisher.project(&guest::disk(2), "Sample");
    subscriber.publisher.publish(&["--label", "2.0"]);
    home.done(&["update", ID]);
    home.done(&["download", ID, "--until", "complete"]);

    let suspended = home.done(&["suspend", ID]);
    assert_eq!(
        (&suspended["state"], &suspended["hypervisor"]),
        (&"suspended".into(), &"vmware".into()),
        "{suspended}"
    );
    assert!(
        suspended["suspended_bytes"].as_u64() > Some(1 << 20),
        "{suspended}"
    );
    assert!(!mounted_in(&subscriber.bases()), "nothing is left mounted");
    home.run(&["start", ID, "--hypervisor", "qemu"])
        .refused(7, "hypervisor");
    let (resumed, _) = subscriber.start("serial-1.log", &[]);
    assert_eq!(
        (&resumed["hypervisor"], &resumed["release_in_use"]),
        (&"vmware".into(), &1.into()),
        "{resumed}"
    );
    home.done(&["stop", ID]);
    let said = std::fs::read_to_string(&serial).expect("the serial log");
    assert_eq!(
        said.matches("LIVEPC READY").count(),
        1,
        "it went on, and did not start anew: {said}"
    );

    let (_, serial) = subscriber.start("serial-3.log", &[]);
    let _ = wait_for(&serial, "LIVEPC READY 2.0", BOOT);
    home.done(&["stop", ID]);
    home.done(&["keep", ID]);
    let kept = subscriber.shown();
    assert!(kept["changes_bytes"].as_u64() > Some(0), "{kept}");
    assert_eq!(kept["hypervisor"], "vmware", "its changes belong to it: {kept}");
    home.run(&["start", ID, "--hypervisor", "qemu"])
        .refused(1, "busy");
    assert_eq!(
        subscriber.shown()["changes_bytes"],
        kept["changes_bytes"],
        "nothing was lost"
    );
}

#[test]
fn a_user_who_is_not_root_reads_the_disk_as_a_file_too() {
    use std::os::unix::fs::MetadataExt;
    let subscriber = Subscriber::new(TestHome::of_another_user(), Programs::Workstation);
    let home = &subscriber.home;
    home.done(&["download", ID, "--until", "complete"]);
    let (started, serial) = subscriber.start("serial-1.log", &[]);
    assert_eq!(started["hypervisor"], "vmware", "{started}");
    let said = wait_for(&serial, "LIVEPC READY 1.0", BOOT);
    assert!(!said.contains("I/O error"), "the guest must not see one: {said}");
    let runner = home.processes("runner");
    assert_eq!(runner.len(), 1, "one runner");
    let process = PathBuf::from(format!("/proc/{}", runner[0]));
    assert_ne!(process.metadata().expect("it runs").uid(), 0, "it is not root's");
    let mounts = std::fs::read_to_string(process.join("mounts")).expect("what it sees mounted");
    let mount = mounts.lines().find(|line| line.contains("bases/sample/mounted"));
    assert!(
        mount.is_some_and(|mount| mount.contains("fuse") && mount.contains("allow_other")),
        "VMware's process is another user's: {mounts}"
    );
    home.done(&["stop", ID]);
}

#[test]
fn a_runner_that_dies_takes_its_machine_with_it() {
    let subscriber = Subscriber::new(TestHome::new(), Programs::Workstation);
    let home = &subscriber.home;
    home.done(&["download", ID, "--until", "complete"]);
    let (_, serial) = subscriber.start("serial-1.log", &[]);
    let _ = wait_for(&serial, "LIVEPC READY", BOOT);
    for pid in home.processes("runner") {
        kill(pid);
    }
    home.until("failed", |listed| listed["state"] == "failed");
    let failed = subscriber.shown();
    assert!(
        failed["problem"]["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("Start it again")),
        "{failed}"
    );
    let until = Instant::now() + Duration::from_secs(60);
    while !running(&subscriber.vmware()).is_empty() || mounted_in(&subscriber.bases()) {
        assert!(
            Instant::now() < until,
            "its machine and its mount are still there"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let (started, serial) = subscriber.start("serial-2.log", &[]);
    assert_eq!(started["hypervisor"], "vmware", "{started}");
    let _ = wait_for(&serial, "LIVEPC READY", BOOT);
    home.done(&["stop", ID]);
    home.done(&["unsubscribe", ID, "--delete-data"]);
    assert!(!subscriber.bases().exists() && !subscriber.machine().exists());
}

#[test]
fn where_nothing_can_be_mounted_a_copy_is_made() {
    let home = TestHome::without(&[Path::new("/dev/fuse")]);
    let subscriber = Subscriber::new(home, Programs::Workstation);
    let home = &subscriber.home;
    home.done(&["config", "set", "vmware.streaming", "true"]);
    let refused = home.run(&["start", ID, "--hypervisor", "vmware", "--display", "none"]);
    refused.refused(1, "failed");
    assert!(refused.text.contains("download the release"), "{}", refused.text);
    home.done(&["config", "set", "vmware.streaming", "false"]);
    home.done(&["download", ID, "--until", "complete"]);
    let (started, serial) = subscriber.start("serial-1.log", &[]);
    assert_eq!(started["hypervisor"], "vmware", "{started}");
    let _ = wait_for(&serial, "LIVEPC READY", BOOT);
    home.done(&["stop", ID]);
    let copy = subscriber.bases().join("flat/1/system/disk-flat.vmdk");
    assert_eq!(
        std::fs::metadata(&copy).expect("the copy").len(),
        std::fs::metadata(guest::disk(1)).expect("the source").len()
    );
    home.done(&["unsubscribe", ID, "--keep-data"]);
    assert!(!copy.exists(), "a copy is not the user's own");
    assert!(subscriber.machine().exists(), "what is, stays");
}

#[test]
fn without_any_hypervisor_it_is_said_what_to_do() {
    let qemu = Path::new("/usr/bin/qemu-system-x86_64");
    let home = TestHome::without(&[qemu]);
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    for refused in [home.run(&["start", ID]), home.run(&["doctor"])] {
        refused.refused(7, "hypervisor");
        assert!(
            refused.text.contains("Debian and Ubuntu: qemu-system-x86") && refused.text.contains("found"),
            "{}",
            refused.text
        );
    }
    let listed = home.listed();
    assert_eq!(
        listed["rollback_to"],
        Value::Null,
        "no release is to blame: {listed}"
    );
}
