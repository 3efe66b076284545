//! A real guest in QEMU, reading its disk through the runner.

use std::time::{Duration, Instant};

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

/// A fill that would take a minute on a slow server takes as long as the limit says, and the guest does not notice.
#[test]
fn the_fill_keeps_to_its_own_limit_while_a_machine_runs() {
    /// Bytes a second.
    const LIMIT: u64 = 100_000;
    const WATCHED: Duration = Duration::from_secs(4);
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    let setting = "download.max-bytes-per-second-running";
    home.done(&["config", "set", setting, &LIMIT.to_string()]);
    let (_, mut console) = guest::start(&home, "sample", "serial.log", &[]);
    let here = || home.listed()["bytes_local"].as_u64().expect("bytes");
    let before = here();
    std::thread::sleep(WATCHED);
    let came = here() - before;
    // What was on its way, and what the guest itself reads meanwhile, may come on top.
    assert!(came < LIMIT * WATCHED.as_secs() + (8 << 20), "{came} bytes came");
    assert_eq!(home.listed()["complete"], false);
    console.reads(&guest::facts(1)["files"][0]);
    home.done(&["stop", "sample"]);
    let ended = Instant::now();
    home.done(&["download", "sample"]);
    assert!(
        ended.elapsed() < Duration::from_secs(120),
        "the rest of 250 MB would take 40 minutes with the machine's limit"
    );
    assert_eq!(home.listed()["complete"], true);
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

#[test]
fn a_cd_is_in_the_drive_also_after_a_suspension() {
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    let image = home.path().join("rescue, \"disc\".iso");
    // More than a start and an end, with a mark that the guest finds.
    std::fs::write(&image, [b"LIVEPC-CD".as_slice(), &[b'.'; 64 << 10]].concat()).expect("an image");
    let cd = image.to_str().expect("UTF-8");
    home.run(&["start", "sample", "--display", "none", "--cd", "/nowhere.iso"])
        .refused(2, "usage");
    let (_, mut console) = guest::start(&home, "sample", "serial.log", &["--no-fill", "--cd", cd]);
    let disks = console.ask("ls /sys/bus/scsi/devices", "LS");
    assert!(disks.contains(":0:0:0"), "a drive is there: {disks}");
    home.done(&["suspend", "sample"]);

    // What it goes on with is what it had, and it does not go on without.
    let elsewhere = home.path().join("elsewhere.iso");
    std::fs::rename(&image, &elsewhere).expect("it is moved");
    home.run(&["start", "sample", "--display", "none"])
        .refused(2, "usage");
    assert_eq!(home.listed()["state"], "suspended", "nothing is lost");
    std::fs::rename(&elsewhere, &image).expect("it is moved back");
    home.done(&["start", "sample", "--display", "none"]);
    home.done(&["stop", "sample"]);

    let (_, mut console) = guest::start(&home, "sample", "serial-2.log", &["--no-fill"]);
    let disks = console.ask("ls /sys/bus/scsi/devices", "LS");
    assert!(
        !disks.contains(":0:0:0"),
        "the next cold start has no drive: {disks}"
    );
    home.done(&["stop", "sample"]);
}

#[test]
fn a_machine_larger_than_the_computer_is_told_before_it_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(folder.path(), "1.raw", 1, 1), "Large");
    let file = publisher.project_folder().join("livepc.toml");
    let text = std::fs::read_to_string(&file).expect("the project's file");
    let large = text.replace("memory = \"1 GiB\"", "memory = \"1024 GiB\"");
    assert_ne!(text, large);
    std::fs::write(&file, large).expect("the project's file is written");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    let refused = home.run(&["start", "large", "--display", "none"]);
    refused.refused(1, "busy");
    assert!(refused.text.contains("1048576 MiB"), "{}", refused.text);
    // Whoever insists hears it from the hypervisor.
    home.run(&["start", "large", "--display", "none", "--overcommit"])
        .refused(7, "hypervisor");
}
