//! A real guest in QEMU, reading its disk through the runner.

use livepc_tests::forge::disk;
use livepc_tests::guest;
use livepc_tests::home::TestHome;
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;

#[test]
fn a_guest_starts_before_its_disk_is_here_and_ends_cleanly() {
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);

    let (serial, mut console) = guest::start(&home, "sample", "serial.log", &["--no-fill"]);
    let said = std::fs::read_to_string(&serial).expect("the serial log");
    assert!(!said.contains("I/O error"), "the guest must not see one: {said}");
    let listed = home.listed();
    let (local, total) = (listed["bytes_local"].as_u64(), listed["bytes_total"].as_u64());
    assert!(
        local < total.map(|t| t * 6 / 10),
        "most of the disk is still on the server: {listed}"
    );
    assert_eq!(listed["release_in_use"], 1);
    home.done(&["start", "sample", "--display", "none"]);

    console.reads(&guest::facts(1)["files"][0]);

    let stopped = home.done(&["stop", "sample"]);
    assert_eq!(stopped["state"], "stopped", "{stopped}");
    home.done(&["stop", "sample"]);
}

#[test]
fn a_boot_map_that_comes_later_leaves_what_is_here() {
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    home.done(&["download", "sample"]);
    let recorded = publisher.publish(&["--record-boot", "--boot-until", "LIVEPC READY"]);
    assert_eq!(
        recorded["release"], 1,
        "the same release, with a boot map: {recorded}"
    );
    let before = server.sent("/packs/");
    home.done(&["update", "sample"]);
    let shown = home.done(&["show", "sample"]);
    assert_eq!(
        (&shown["livepc"]["has_boot_map"], &shown["livepc"]["complete"]),
        (&true.into(), &true.into()),
        "{shown}"
    );
    // What another subscription's end removes is not what this one needs.
    let work = tempfile::tempdir().expect("a folder");
    let other = Publisher::new(&disk(work.path(), "1.raw", 1, 1), "Other");
    other.publish(&[]);
    let other_server = Nginx::serve(&other.site());
    home.done(&["subscribe", &other_server.url("feed.xml"), "--yes"]);
    home.done(&["unsubscribe", "other", "--delete-data"]);
    assert_eq!(home.listed()["complete"], true);
    home.done(&["verify", "sample"]);
    assert_eq!(server.sent("/packs/"), before, "nothing is fetched twice");
}
