//! New releases: who is asked for them, what is told before they are fetched, which one the next start uses, and how long
//! earlier ones stay.

use std::path::PathBuf;
use std::time::Duration;

use livepc_format::Head;
use livepc_format::head::ReleaseState;
use livepc_tests::forge::{Site, disk, signing_key};
use livepc_tests::home::TestHome;
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;
use serde_json::{Value, json};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// A publisher, its server and its subscriber, who has release 1.
struct Scene {
    work: TempDir,
    publisher: Publisher,
    server: Origin,
    home: TestHome,
}

impl Scene {
    fn new() -> Self {
        let work = tempfile::tempdir().expect("a folder");
        let publisher = Publisher::new(&disk(work.path(), "1.raw", 3, 1), "Lab");
        publisher.publish(&[]);
        let server = Origin::start(publisher.site()).expect("the origin starts");
        let scene = Self {
            work,
            publisher,
            server,
            home: TestHome::new(),
        };
        scene
            .home
            .done(&["subscribe", &format!("{}feed.xml", scene.server.url()), "--yes"]);
        scene.home.done(&["download", "lab"]);
        scene
    }

    /// A disk whose first MiB is as in release 1, and the rest new.
    fn changed_disk(&self, release: u8) -> PathBuf {
        let path = disk(self.work.path(), &format!("{release}.raw"), 3, release);
        let mut bytes = std::fs::read(&path).expect("the disk");
        let first = std::fs::read(self.work.path().join("1.raw")).expect("the first disk");
        bytes[..MIB].copy_from_slice(&first[..MIB]);
        std::fs::write(&path, bytes).expect("the disk is written");
        path
    }

    fn publish(&self, release: u8, more: &[&str]) {
        self.publisher.project(&self.changed_disk(release), "Lab");
        self.publisher.publish(more);
    }

    /// Publishes a release that is fetched by an update.
    fn follow(&self, release: u8) {
        self.publish(release, &[]);
        self.home.done(&["update", "lab"]);
    }

    /// A start whose guest executes, and its end; gives the release that it used.
    #[track_caller]
    fn run_once(&self) -> Value {
        let started = self
            .home
            .done(&["start", "lab", "--display", "none", "--no-fill"]);
        self.home.done(&["stop", "lab", "--force"]);
        started["release_in_use"].clone()
    }

    /// Changes the list of releases as its publisher can, and has the subscriber accept it.
    fn relist(&self, change: impl FnOnce(&mut Head)) {
        Site::of(&self.publisher).resign(&signing_key(&self.publisher), |head| {
            head.revision += 1;
            change(head);
        });
        self.home.done(&["update", "lab", "--check"]);
    }

    /// Has the publisher take back a release for a fault.
    fn yank(&self, sequence: u64) {
        self.relist(|head| {
            let release = head.releases.iter_mut().find(|r| r.sequence == sequence);
            release.expect("it is listed").state = ReleaseState::Yanked;
        });
    }

    /// The releases that are here whole, the newest first.
    fn here(&self) -> Vec<u64> {
        let shown = self.home.done(&["show", "lab"]);
        let releases = shown["releases"].as_array().expect("a list");
        releases
            .iter()
            .filter(|release| release["bytes_to_fetch"] == 0)
            .map(|release| release["sequence"].as_u64().expect("a number"))
            .collect()
    }
}

/// Until a new release has proved itself, and one before it, there must be one to go back to without the network.
#[test]
fn an_earlier_release_stays_until_later_ones_have_run() {
    let scene = Scene::new();
    assert_eq!(scene.run_once(), 1);
    scene.follow(2);
    assert_eq!(scene.here(), [2, 1], "2 has not run yet");
    assert_eq!(scene.run_once(), 2);
    scene.home.done(&["agent", "stop"]);
    assert_eq!(scene.here(), [2, 1], "1 is the one to go back to");
    scene.follow(3);
    scene.home.done(&["agent", "stop"]);
    assert_eq!(scene.here(), [3, 2, 1], "3 has not run yet");
    assert_eq!(scene.run_once(), 3);
    scene.home.until("forgotten", |_| scene.here() == [3, 2]);
    let verified = scene.home.done(&["verify", "lab"]);
    assert_eq!(
        verified["verified"].as_array().map(Vec::len),
        Some(1),
        "{verified}"
    );

    scene.server.stop();
    let pinned = scene.home.done(&["rollback", "lab"]);
    assert_eq!(pinned["pinned"], 2, "{pinned}");
    assert_eq!(scene.run_once(), 2, "without the network");
    scene.server.start_again().expect("the port is free");

    // One that somebody asks for by its number is no leftover.
    scene.home.done(&["download", "lab", "--release", "1"]);
    scene.home.done(&["agent", "stop"]);
    assert_eq!(scene.here(), [3, 2, 1]);
}

#[test]
fn a_release_that_was_taken_back_is_never_chosen_and_is_shown() {
    let scene = Scene::new();
    assert_eq!(scene.run_once(), 1);
    scene.follow(2);
    assert_eq!(scene.run_once(), 2);
    assert_eq!(scene.home.listed()["yanked"], Value::Null);
    scene.yank(2);
    assert_eq!(scene.home.listed()["yanked"], 2, "who has it is told");
    assert_eq!(scene.run_once(), 1, "the newest that was not taken back");
    assert_eq!(scene.home.listed()["yanked"], Value::Null, "it is no longer used");

    scene.yank(1);
    scene
        .home
        .run(&["start", "lab", "--display", "none"])
        .refused(3, "not-found");
    // Who has it may keep it.
    scene.home.done(&["pin", "lab", "--release", "1"]);
    assert_eq!(scene.run_once(), 1);
    assert_eq!(scene.home.listed()["yanked"], 1);
}

/// A fault is worse than waiting for data.
#[test]
fn the_next_start_waits_for_a_release_rather_than_use_one_that_was_taken_back() {
    let scene = Scene::new();
    scene.home.done(&["pin", "lab", "--updates", "notify"]);
    assert_eq!(scene.run_once(), 1);
    scene.publish(2, &[]);
    scene.home.done(&["update", "lab", "--check"]);
    assert_eq!(scene.here(), [1], "2 is not fetched");
    scene.yank(1);
    assert_eq!(scene.run_once(), 2, "it comes while it runs");
}

/// Who does not have it does not get it, not even the rest of it.
#[test]
fn a_download_ends_when_its_release_is_taken_back() {
    let scene = Scene::new();
    scene.home.done(&["pin", "lab", "--updates", "notify"]);
    scene.publish(2, &[]);
    scene.home.done(&["update", "lab", "--check"]);
    scene.server.set_bytes_per_second(Some(50_000));
    let download = scene.home.spawn(&["download", "lab"]);
    scene.home.until("fetching", |_| {
        scene.home.done(&["status", "lab"])["jobs"] != json!([])
    });
    scene.yank(2);
    let ended = download.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(130), "somebody cancelled it: {ended:?}");
    assert_eq!(scene.here(), [1]);
}

#[test]
fn what_an_update_costs_and_changes_is_told_before_it_is_fetched() {
    let scene = Scene::new();
    scene.home.done(&["pin", "lab", "--updates", "notify"]);
    scene.publish(
        2,
        &["--changelog", "A fourth router.\nThe \u{1b}[31mfirewall is new."],
    );
    scene.server.log().clear();
    let checked = scene.home.done(&["update", "lab", "--check"]);
    let update = &checked["updates"][0];
    assert_eq!(
        (&update["from"], &update["to"], &update["job"]),
        (&json!(1), &json!(2), &Value::Null),
        "{checked}"
    );
    assert_eq!(
        update["changelog"], "A fourth router.\nThe [31mfirewall is new.",
        "nothing in it acts on a terminal"
    );
    assert_eq!(scene.server.log().sent("packs/"), 0, "nothing is fetched");
    let told = update["bytes_to_fetch"].as_u64().expect("a number");
    assert_eq!(
        scene.home.done(&["show", "lab"])["livepc"]["update_bytes"],
        told,
        "the app shows the same"
    );
    let job = scene.home.done(&["download", "lab"]);
    let fetched = job["bytes_total"].as_u64().expect("all") - job["bytes_reused"].as_u64().expect("a part");
    let new = 2 * MIB as u64;
    assert!(
        (new..new + new / 20).contains(&told) && told.abs_diff(fetched) < 2000,
        "two of three MiB are new; told were {told}, fetched {fetched}"
    );
}

/// One server that does not answer must not keep the news of all others from a person.
#[test]
fn a_publisher_that_does_not_answer_holds_up_nobody() {
    let scene = Scene::new();
    let slow = Publisher::new(&disk(scene.work.path(), "slow.raw", 1, 9), "A slow one");
    slow.publish(&[]);
    let server = Origin::start(slow.site()).expect("the origin starts");
    scene
        .home
        .done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
    scene.home.done(&["agent", "stop"]);
    server.set_latency(Duration::from_secs(600));
    scene.publish(2, &[]);
    // The next agent asks both at its start; the slow one comes first by its title.
    let told = || scene.home.done(&["show", "lab"])["livepc"]["release_available"].clone();
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while told() != 2 {
        assert!(
            std::time::Instant::now() < until,
            "the news of the other did not come"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!server.log().of("feed.xml").is_empty());
}
