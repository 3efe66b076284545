//! Processes that end at any moment: nothing is lost, and what is here is not fetched again.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use livepc_tests::forge::disk;
use livepc_tests::guest::{self, BOOT, Console};
use livepc_tests::home::{TestHome, kill, processes_in};
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;
use serde_json::Value;

/// Kills that a download must survive.
const KILLS: u64 = 10;
const MIB: usize = 96;

/// A machine that runs, over a line that is slow enough to be caught reading.
struct Started {
    home: TestHome,
    console: Console,
    server: Origin,
    _publisher: Publisher,
}

impl Started {
    fn new() -> Self {
        let publisher = Publisher::new(&guest::disk(1), "Sample");
        publisher.publish(&[]);
        let server = Origin::start(publisher.site()).expect("the origin starts");
        let home = TestHome::new();
        home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
        let (_, console) = guest::start(&home, "sample", "serial-1.log", &["--no-fill"]);
        server.set_bytes_per_second(Some(2 << 20));
        Self {
            home,
            console,
            server,
            _publisher: publisher,
        }
    }

    /// Asks the guest for a file that is not here, and returns when its pages are on their way.
    fn begin_to_read(&mut self, file: &Value) {
        self.server.log().clear();
        self.console
            .tell(&format!("sha256 {}", file["path"].as_str().expect("a path")));
        let until = Instant::now() + BOOT;
        while self.server.log().sent("/packs/") == 0 {
            assert!(Instant::now() < until, "the guest reads nothing of {file}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_guest_reads_on_when_the_agent_is_killed() {
    let mut machine = Started::new();
    for file in guest::unread_files(1).iter().take(3) {
        machine.begin_to_read(file);
        let agents = machine.home.processes("agent");
        assert_eq!(agents.len(), 1, "one agent for a home");
        kill(agents[0]);
        machine.console.has_read(file);
    }
    let listed = machine.home.listed();
    assert_eq!(
        (&listed["state"], machine.home.processes("agent").len()),
        (&"running".into(), 1),
        "the runner has started a new agent, which knows the machine"
    );
    let said = std::fs::read_to_string(machine.home.path().join("serial-1.log")).expect("the serial log");
    assert!(!said.contains("I/O error"), "the guest saw none: {said}");
    machine.home.done(&["stop", "sample"]);
}

#[test]
fn agent_and_runner_are_killed_in_turn_while_a_guest_reads() {
    let mut machine = Started::new();
    let mut files = guest::unread_files(1).into_iter();
    let mut file = || files.next().expect("there are enough files");
    for round in 1..=2 {
        let (read, lost) = (file(), file());
        machine.begin_to_read(&read);
        kill(machine.home.processes("agent")[0]);
        machine.console.has_read(&read);

        assert_eq!(
            machine.home.hypervisors().len(),
            1,
            "one hypervisor for a machine"
        );
        let runner = machine.home.processes("runner");
        machine.begin_to_read(&lost);
        kill(runner[0]);
        let home = &machine.home;
        home.until("failed", |listed| listed["state"] == "failed");
        let until = Instant::now() + BOOT;
        while !home.hypervisors().is_empty() {
            assert!(Instant::now() < until, "its hypervisor goes on without a disk");
            std::thread::sleep(Duration::from_millis(50));
        }
        let shown = home.done(&["show", "sample"]);
        assert_eq!(shown["livepc"]["problem"]["code"], "hypervisor", "{shown}");

        machine.server.set_bytes_per_second(None);
        let log = format!("again-{round}.log");
        (_, machine.console) = guest::start(home, "sample", &log, &["--no-fill"]);
        assert_eq!(home.listed()["state"], "running");
        machine.console.reads(&lost);
        machine.server.set_bytes_per_second(Some(2 << 20));
    }
    machine.home.done(&["stop", "sample"]);
    machine.home.done(&["verify", "sample"]);
}

#[test]
fn a_download_that_is_killed_again_and_again_fetches_little_twice() {
    let work = tempfile::tempdir().expect("a folder");
    let raw = disk(work.path(), "1.raw", MIB, 1);
    let publisher = Publisher::new(&raw, "Lab");
    publisher.publish(&[]);
    let server = Origin::start(publisher.site()).expect("the origin starts");
    server.set_bytes_per_second(Some(16 << 20));
    let home = TestHome::new();
    home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
    let total = home.listed()["bytes_total"].as_u64().expect("a size");

    for n in 1..=KILLS {
        let goal = total * n / (KILLS + 2);
        let mut download = home.spawn(&["download", "lab"]);
        let until = Instant::now() + Duration::from_secs(120);
        while server.log().sent("/packs/") < goal {
            assert!(
                Instant::now() < until,
                "the download does not go on after {n} kills"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        for pid in home.processes("agent") {
            kill(pid);
        }
        let _ = download.wait();
    }
    let job = home.done(&["download", "lab"]);
    assert_eq!(
        job["job"], 1,
        "the job that was killed goes on, and no other is made: {job}"
    );
    let fetched = server.log().sent("/packs/");
    assert!(
        fetched <= total + KILLS * 4_000_000,
        "{fetched} bytes were fetched for {total}: more than 4 MB a kill were lost"
    );
    let out = work.path().join("out.raw");
    home.done(&["export", "lab", out.to_str().expect("UTF-8")]);
    assert!(
        std::fs::read(&raw).expect("it") == std::fs::read(&out).expect("it"),
        "the export must be equal"
    );
    home.done(&["verify", "lab"]);
}

#[test]
fn an_interrupted_recording_leaves_no_machine_behind() {
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    let work = tempfile::tempdir().expect("a folder");
    let (project, site) = (publisher.project_folder(), publisher.site());
    let (project, site) = (project.display().to_string(), site.display().to_string());
    let args = [
        "publish",
        &project,
        "--to",
        &site,
        "--record-boot",
        "--boot-until",
        "never",
    ];
    let mut recording = publisher
        .home
        .command(&args)
        .env("TMPDIR", work.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let machines = || processes_in(work.path());
    let serial = || {
        let folders = std::fs::read_dir(work.path()).expect("the folder").flatten();
        let mut files = folders.map(|folder| folder.path().join("serial.log"));
        files.any(|file| std::fs::read_to_string(file).is_ok_and(|said| said.contains("LIVEPC READY")))
    };
    let until = Instant::now() + BOOT;
    while !serial() {
        assert!(Instant::now() < until, "the guest does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!machines().is_empty(), "a machine runs");
    let told = Command::new("kill")
        .args(["-INT", &recording.id().to_string()])
        .status();
    assert!(told.expect("kill runs").success());
    let ended = recording.wait().expect("it ends");
    assert_eq!(ended.code(), Some(130), "as Ctrl-C ends a program");
    assert!(machines().is_empty(), "the machine has ended with it");
}

#[test]
fn a_fill_waits_for_the_network_and_goes_on_by_itself() {
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 32, 1), "Lab");
    publisher.publish(&[]);
    let server = Origin::start(publisher.site()).expect("the origin starts");
    let home = TestHome::new();
    home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
    server.set_bytes_per_second(Some(4 << 20));
    home.done(&["start", "lab", "--display", "none"]);
    home.until("half here", |listed| {
        listed["bytes_local"].as_u64() > Some(8 << 20)
    });
    server.stop();
    let until = Instant::now() + BOOT;
    while home.done(&["status"])["jobs"][0]["status"] != "waiting" {
        assert!(
            Instant::now() < until,
            "the fill does not wait: {}",
            home.done(&["status"])
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(home.listed()["state"], "running", "the machine is not disturbed");
    server.start_again().expect("the origin is back");
    home.until("complete", |listed| listed["complete"] == true);
    home.done(&["stop", "lab", "--force"]);
}

#[test]
fn a_download_that_is_interrupted_pauses_and_goes_on() {
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 16, 1), "Lab");
    publisher.publish(&[]);
    let server = Origin::start(publisher.site()).expect("the origin starts");
    let home = TestHome::new();
    home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
    server.set_bytes_per_second(Some(2 << 20));
    let download = home.spawn(&["download", "lab"]);
    let until = Instant::now() + BOOT;
    while server.log().sent("/packs/") == 0 {
        assert!(Instant::now() < until, "the download does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = download.id().to_string();
    let told = std::process::Command::new("kill").args(["-INT", &pid]).status();
    assert!(told.expect("kill runs").success());
    let ended = download.wait_with_output().expect("it ends");
    assert_eq!(
        ended.status.code(),
        Some(130),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert_eq!(home.done(&["status"])["jobs"][0]["status"], "paused");
    server.set_bytes_per_second(None);
    let job = home.done(&["download", "lab"]);
    assert_eq!(job["job"], 1, "the same job goes on: {job}");
}
