//! The network goes while a guest reads: it waits, is told to whoever looks, goes on by itself, and has seen no error.

use std::time::{Duration, Instant};

use livepc_tests::guest::{self, BOOT};
use livepc_tests::home::TestHome;
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;

/// How long the network is gone: longer than any limit within.
fn cut() -> Duration {
    let seconds = if std::env::var_os("LIVEPC_TEST_LONG").is_some() {
        120
    } else {
        25
    };
    Duration::from_secs(seconds)
}

#[test]
fn a_guest_that_reads_while_the_network_is_gone_sees_no_error() {
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    publisher.publish(&[]);
    let server = Origin::start(publisher.site()).expect("the origin starts");
    let home = TestHome::new();
    home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
    let (serial, mut console) = guest::start(&home, "sample", "serial.log", &["--no-fill"]);
    let file = guest::unread_files(1).pop().expect("a file");
    // So slow that it is cut in the middle of the file.
    server.set_bytes_per_second(Some(1 << 20));
    server.log().clear();
    console.tell(&format!("sha256 {}", file["path"].as_str().expect("a path")));
    let until = Instant::now() + BOOT;
    while server.log().sent("/packs/") < 1 << 20 {
        assert!(Instant::now() < until, "the guest reads nothing of {file}");
        std::thread::sleep(Duration::from_millis(5));
    }
    server.stop();
    let gone = Instant::now();
    home.until("stalled", |listed| listed["state"] == "stalled");
    let shown = home.done(&["show", "sample"]);
    let problem = &shown["livepc"]["problem"];
    assert_eq!(problem["code"], "network", "{shown}");
    for field in ["message", "hint"] {
        let text = problem[field].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "it says what it waits for: {shown}");
    }
    // The time is what this is about.
    std::thread::sleep(cut().saturating_sub(gone.elapsed()));
    assert_eq!(home.listed()["state"], "stalled", "nobody has given up");
    server.set_bytes_per_second(None);
    server.start_again().expect("the port is free");
    console.has_read(&file);
    home.until("running", |listed| listed["state"] == "running");
    let said = std::fs::read_to_string(serial).expect("the serial log");
    for bad in ["I/O error", "EXT4-fs error", "Buffer I/O", "remounting"] {
        assert!(!said.contains(bad), "the guest saw an error: {said}");
    }
    home.done(&["stop", "sample"]);
    home.done(&["verify", "sample"]);
}
