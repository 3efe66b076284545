//! What a person has made is still there, whatever becomes of the machine.

use std::path::Path;

use livepc_tests::guest::{self, Console};
use livepc_tests::home::{TestHome, kill};
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;

const ID: &str = "sample";
/// On the user's own disk.
const FILE: &str = "/home/thesis.txt";

/// A project for the sample guest's disk and a disk of the user's own.
fn project(publisher: &Publisher, source: &Path) {
    publisher.project(source, "Sample");
    publisher.own_disk("user", "64 MiB", "");
}

/// A subscriber whose machine runs, with a file on the user's own disk.
struct Subscriber {
    publisher: Publisher,
    server: Origin,
    home: TestHome,
    /// The answer of the guest that has the file's hash.
    hash: String,
    starts: u32,
}

impl Subscriber {
    fn new() -> Self {
        let publisher = Publisher::new(&guest::disk(1), "Sample");
        project(&publisher, &guest::disk(1));
        publisher.publish(&["--label", "1.0"]);
        let server = Origin::start(publisher.site()).expect("the origin starts");
        let home = TestHome::new();
        home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
        let mut subscriber = Self {
            publisher,
            server,
            home,
            hash: String::new(),
            starts: 0,
        };
        let mut console = subscriber.start();
        let _ = console.ask(&format!("write {FILE} three years of work"), "WROTE");
        subscriber.hash = console.ask(&format!("sha256 {FILE}"), "SHA256");
        subscriber
    }

    /// A cold start.
    fn start(&mut self) -> Console {
        self.starts += 1;
        let serial = format!("serial-{}.log", self.starts);
        guest::start(&self.home, ID, &serial, &["--no-fill"]).1
    }

    /// A cold start of this release, whose guest must find the file as it was.
    #[track_caller]
    fn starts_and_finds_the_file(&mut self, label: &str) {
        let mut console = self.start();
        assert_eq!(console.ask("label", "LABEL"), format!("LABEL {label}"));
        let hash = console.ask(&format!("sha256 {FILE}"), "SHA256");
        assert_eq!(hash, self.hash, "the file is what it was");
    }
}

#[test]
fn the_users_own_disk_outlives_reverts_updates_rollbacks_and_subscriptions() {
    let mut subscriber = Subscriber::new();
    subscriber.home.done(&["suspend", ID]);
    subscriber.home.done(&["revert", ID, "--yes"]);
    subscriber.starts_and_finds_the_file("1.0");
    // So that there is something to go back to.
    subscriber.home.done(&["download", ID, "--until", "complete"]);

    // While the machine runs; its next cold start uses it.
    project(&subscriber.publisher, &guest::disk(2));
    subscriber.publisher.publish(&["--label", "2.0"]);
    subscriber.home.done(&["update", ID]);
    subscriber.home.done(&["download", ID, "--until", "complete"]);
    assert_eq!(subscriber.home.listed()["release_in_use"], 1, "it runs on");
    subscriber.home.done(&["stop", ID]);
    subscriber.starts_and_finds_the_file("2.0");
    subscriber.home.done(&["stop", ID]);

    subscriber.home.done(&["rollback", ID]);
    subscriber.starts_and_finds_the_file("1.0");
    subscriber.home.done(&["stop", ID]);

    subscriber.home.run(&["unsubscribe", ID]).refused(2, "usage");
    subscriber.home.done(&["unsubscribe", ID, "--keep-data"]);
    let feed = format!("{}feed.xml", subscriber.server.url());
    subscriber.home.done(&["subscribe", &feed, "--yes"]);
    subscriber.starts_and_finds_the_file("2.0");
    subscriber.home.done(&["stop", ID]);
    subscriber.home.done(&["unsubscribe", ID, "--delete-data"]);
    assert!(!subscriber.home.home().machine(ID).exists(), "a yes is a yes");
}

#[test]
fn a_hypervisor_that_is_killed_is_told_and_what_was_saved_is_there() {
    let mut subscriber = Subscriber::new();
    let hypervisors = subscriber.home.hypervisors();
    assert_eq!(hypervisors.len(), 1, "one hypervisor for a machine");
    kill(hypervisors[0]);
    subscriber
        .home
        .until("failed", |listed| listed["state"] == "failed");
    let shown = subscriber.home.done(&["show", ID]);
    let problem = &shown["livepc"]["problem"];
    assert!(
        problem["message"]
            .as_str()
            .is_some_and(|message| message.contains("QEMU was ended by another program")),
        "{shown}"
    );
    assert_eq!(
        subscriber.home.processes("runner").len(),
        0,
        "its runner has ended"
    );
    subscriber.starts_and_finds_the_file("1.0");
    subscriber.home.done(&["stop", ID]);
}

#[test]
fn a_machine_outlives_an_update_of_the_program() {
    let mut subscriber = Subscriber::new();
    let ran_by = |home: &TestHome, role: &str| {
        let processes = home.processes(role);
        assert_eq!(processes.len(), 1, "one {role}");
        std::fs::read_link(format!("/proc/{}/exe", processes[0])).expect("its program")
    };
    let before = ran_by(&subscriber.home, "runner");
    subscriber.home.update_program();
    kill(subscriber.home.processes("agent")[0]);
    assert_eq!(subscriber.home.listed()["state"], "running", "it is found again");
    assert_ne!(
        ran_by(&subscriber.home, "agent"),
        before,
        "the agent is of the newer version"
    );
    assert_eq!(
        ran_by(&subscriber.home, "runner"),
        before,
        "the runner is the one that was"
    );
    let sockets = subscriber.home.home().machine_sockets(ID).expect("the folder");
    let mut console = Console::open(&sockets.join("console"));
    let hash = console.ask(&format!("sha256 {FILE}"), "SHA256");
    assert_eq!(hash, subscriber.hash, "its guest reads on");
    subscriber.home.done(&["stop", ID]);
}

#[test]
fn two_starts_at_once_are_one() {
    let subscriber = Subscriber::new();
    subscriber.home.done(&["stop", ID]);
    let start = ["start", ID, "--display", "none", "--no-fill"];
    let started = [subscriber.home.spawn(&start), subscriber.home.spawn(&start)];
    for start in started {
        let output = start.wait_with_output().expect("it ends");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(subscriber.home.processes("runner").len(), 1, "one runner");
    assert_eq!(subscriber.home.hypervisors().len(), 1, "one hypervisor");
    subscriber.home.done(&["stop", ID, "--force"]);
}
