//! What happens to machines when the session ends, as when the computer shuts down: every process is told at once.

use std::process::Command;
use std::time::{Duration, Instant};

use livepc_tests::forge::disk;
use livepc_tests::guest;
use livepc_tests::home::{TestHome, kill};
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;
use serde_json::Value;

/// How long systemd waits before it ends a session by force.
const BY_FORCE: Duration = Duration::from_secs(90);

/// Tells every process of the home, as systemd tells those of a session, and waits until all have ended.
fn end_session(home: &TestHome) {
    let mut all = home.processes("");
    all.extend(home.hypervisors());
    assert!(all.len() >= 3, "an agent, a runner and a hypervisor: {all:?}");
    for signal in ["-TERM", "-HUP", "-CONT"] {
        for pid in &all {
            // The first may be the last that it hears.
            let _ = Command::new("kill").args([signal, &pid.to_string()]).status();
        }
    }
    let until = Instant::now() + BY_FORCE;
    while !(home.processes("").is_empty() && home.hypervisors().is_empty()) {
        assert!(Instant::now() < until, "they would have been ended by force");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What is told of the machine afterwards must not be a failure.
#[track_caller]
fn ended_by_system(shown: &Value) {
    let problem = &shown["problem"];
    assert_eq!(problem["code"], "cancelled", "{shown}");
    let message = problem["message"].as_str().expect("a message");
    assert!(message.contains("Ended by the system"), "{message}");
    assert_eq!(shown["rollback_to"], Value::Null, "{shown}");
}

#[test]
fn a_guest_shuts_down_in_order_when_the_session_ends() {
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    for round in 1..=2 {
        let (_, _console) = guest::start(&home, "sample", &format!("serial-{round}.log"), &["--no-fill"]);
        end_session(&home);
        let shown = home.done(&["show", "sample"])["livepc"].clone();
        assert_eq!(shown["state"], "stopped", "{shown}");
        ended_by_system(&shown);
        let message = shown["problem"]["message"].as_str().expect("a message");
        assert!(message.contains("in order"), "{message}");
    }
}

/// A home in which a machine runs whose guest knows nothing.
fn running() -> (TestHome, Publisher) {
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 2, 1), "Lab");
    publisher.publish(&[]);
    let home = TestHome::new();
    let feed = publisher.site().join("feed.xml");
    home.done(&["subscribe", feed.to_str().expect("UTF-8"), "--yes"]);
    home.done(&["start", "lab", "--display", "none"]);
    (home, publisher)
}

/// A hypervisor that somebody kills, and a runner: each is told, and neither is the release's fault.
#[test]
fn what_is_killed_does_not_count_against_the_release() {
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 2, 1), "Lab");
    publisher.publish(&[]);
    publisher.project(&disk(work.path(), "2.raw", 2, 2), "Lab");
    publisher.publish(&[]);
    let home = TestHome::new();
    let feed = publisher.site().join("feed.xml");
    home.done(&["subscribe", feed.to_str().expect("UTF-8"), "--yes"]);
    // What could be gone back to is here: without it nothing would ever be offered.
    home.done(&["download", "lab", "--release", "1"]);
    home.done(&["download", "lab"]);
    for killed in ["hypervisor", "runner", "hypervisor"] {
        home.done(&["start", "lab", "--display", "none"]);
        match killed {
            "runner" => home.processes("runner").into_iter().for_each(kill),
            _ => home.hypervisors().into_iter().for_each(kill),
        }
        home.until("failed", |listed| listed["state"] == "failed");
        let shown = home.done(&["show", "lab"])["livepc"].clone();
        assert_eq!(shown["problem"]["code"], "hypervisor", "{shown}");
        assert_eq!(
            shown["rollback_to"],
            Value::Null,
            "no release is the cause: {shown}"
        );
    }
}

/// As one does whose disk does not answer: nobody waits for it for ever, and there is a way to end it.
#[test]
fn a_runner_that_hangs_is_told_and_can_be_ended() {
    let (home, _publisher) = running();
    let runners = home.processes("runner");
    assert_eq!(runners.len(), 1, "one machine");
    let hypervisors = home.hypervisors();
    let stopped = Command::new("kill")
        .args(["-STOP", &runners[0].to_string()])
        .status();
    assert!(stopped.expect("kill runs").success());
    for verb in [&["stop", "lab", "--timeout", "600"][..], &["suspend", "lab"]] {
        let began = Instant::now();
        let told = home.run(verb);
        told.refused(1, "busy");
        assert!(
            told.text.contains(&runners[0].to_string()) && told.text.contains("--force"),
            "{}",
            told.text
        );
        assert!(
            began.elapsed() < Duration::from_secs(90),
            "{verb:?}: {:?}",
            began.elapsed()
        );
    }
    home.done(&["stop", "lab", "--force"]);
    home.until("ended", |listed| listed["state"] != "running");
    assert!(home.processes("runner").is_empty(), "it is gone");
    let left = |pid: &&u32| home.hypervisors().contains(pid);
    assert_eq!(
        hypervisors.iter().filter(left).count(),
        0,
        "and so is what it ran"
    );
    home.done(&["start", "lab", "--display", "none"]);
    home.done(&["stop", "lab", "--force"]);
}

/// A guest that knows no button is suspended, and goes on where it was.
#[test]
fn a_guest_that_does_not_react_is_suspended_when_the_session_ends() {
    if std::env::var_os("LIVEPC_TEST_LONG").is_none() {
        return;
    }
    let (home, _publisher) = running();
    end_session(&home);
    let shown = home.done(&["show", "lab"])["livepc"].clone();
    assert_eq!(shown["state"], "suspended", "{shown}");
    ended_by_system(&shown);
    let resumed = home.done(&["start", "lab", "--display", "none"]);
    assert_eq!(resumed["state"], "running", "{resumed}");
    home.done(&["stop", "lab", "--force"]);
}
