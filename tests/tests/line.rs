//! A guest over an ordinary line, with the computer to itself: how much is here when it is READY depends on how fast it
//! starts.
#![cfg(unix)]

use livepc_tests::forge::Site;
use livepc_tests::guest;
use livepc_tests::home::TestHome;
use livepc_tests::namespace::Namespace;
use livepc_tests::nginx::Nginx;
use livepc_tests::presence::{self, Partition};
use livepc_tests::publisher::Publisher;
use serde_json::Value;

/// The guest's ext4 partition begins here, in bytes.
const ROOT: u64 = 33 << 20;

/// A file that a start does not read, and that lies far behind on the disk, where it is filled in late.
fn file_far_behind(publisher: &Publisher) -> (Partition, Value, Vec<u64>) {
    let (file, pages) = guest::unread_files(1)
        .into_iter()
        .map(|file| {
            let path = file["path"].as_str().expect("a path");
            let pages = presence::pages_of_file(&guest::disk(1), ROOT, path);
            (file, pages)
        })
        .max_by_key(|(_, pages)| pages.first().copied())
        .expect("a file that a start does not read");
    (Partition::at(&Site::of(publisher), ROOT), file, pages)
}

#[test]
fn a_guest_runs_while_its_disk_fills_over_an_ordinary_line() {
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    publisher.publish(&["--record-boot", "--boot-until", "LIVEPC READY"]);
    let line = Namespace::behind(50);
    let server = Nginx::serve_in(&publisher.site(), &line);
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    let begun = std::time::Instant::now();
    let (serial, mut console) = guest::start(&home, "sample", "serial.log", &[]);
    let listed = home.listed();
    let share =
        listed["bytes_local"].as_f64().expect("bytes") / listed["bytes_total"].as_f64().expect("bytes");
    println!(
        "READY after {:.1} s with {:.1} % here",
        begun.elapsed().as_secs_f64(),
        share * 100.0
    );
    assert!(
        share < 0.4,
        "most of the disk is still on the server when the guest is READY: {listed}"
    );

    let (partition, file, pages) = file_far_behind(&publisher);
    let (absent, all) = partition.absent(&home.home(), &pages);
    println!("{absent} of the file's {all} pages are absent");
    assert!(
        absent * 10 >= all * 9,
        "the file that the guest will read is not here: {absent} of {all} pages are absent"
    );
    console.reads(&file);
    assert_eq!(
        partition.absent(&home.home(), &pages).0,
        0,
        "what was read is here now"
    );
    assert_eq!(
        home.listed()["complete"],
        false,
        "and the rest is still on its way"
    );

    home.done(&["download", "sample"]);
    let listed = home.listed();
    assert_eq!(
        (&listed["complete"], &listed["state"]),
        (&true.into(), &"running".into()),
        "complete while it runs"
    );
    let out = home.path().join("disk.raw");
    home.done(&["export", "sample", out.to_str().expect("UTF-8")]);
    let same = std::process::Command::new("cmp")
        .args([&guest::disk(1), &out])
        .status()
        .expect("cmp runs");
    assert!(same.success(), "the disk is what was published");
    let said = std::fs::read_to_string(&serial).expect("the serial log");
    assert!(!said.contains("I/O error"), "the guest saw none: {said}");
    home.done(&["stop", "sample"]);
}
