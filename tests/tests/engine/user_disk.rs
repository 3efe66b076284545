//! A disk that is the subscriber's own: made as its publisher described it, made larger, and found again by every release
//! and by a later subscription.

use std::path::Path;
use std::process::Command;

use livepc_tests::guest;
use livepc_tests::home::TestHome;
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;

const ID: &str = "sample";

/// A project of the sample guest with a blank disk, which the guest makes its own, and one with a file system.
fn describe(publisher: &Publisher) {
    publisher.own_disk("user", "64 MiB", "label = \"livepc-user\"");
    publisher.own_disk("data", "64 MiB", "label = \"Shared\"\nfile-system = \"fat32\"");
}

fn said(program: &str, args: &[&str], file: &Path) -> String {
    let output = Command::new(program)
        .args(args)
        .arg(file)
        .output()
        .expect(program);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program}: {said}");
    said
}

#[test]
fn an_own_disk_is_made_grown_and_found_again() {
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    describe(&publisher);
    // A start is recorded with the disks that subscribers have at their first one.
    publisher.publish(&["--label", "1.0", "--record-boot", "--boot-until", "LIVEPC READY"]);
    let server = Origin::start(publisher.site()).expect("the origin starts");
    let home = TestHome::new();
    let feed = format!("{}feed.xml", server.url());
    home.done(&["subscribe", &feed, "--yes"]);
    let file = |role: &str| home.home().machine(ID).join(format!("{role}.raw"));

    // What nobody has used yet is made as large as it is wanted, file system and all.
    home.done(&["grow", ID, "--size", "80M", "--disk", "data"]);
    let data = file("data");
    assert_eq!(data.metadata().expect("it is made").len(), 80 << 20);
    assert_eq!(
        said("blkid", &["-p", "-o", "value", "-s", "LABEL"], &data).trim(),
        "Shared"
    );
    said("fsck.fat", &["-n"], &data);
    let digest = said("sha256sum", &[], &data);
    for (size, disk, code, word) in [
        ("1G", "system", 3, "not-found"),
        ("1G", "../user", 3, "not-found"),
        ("1G", "nothing", 3, "not-found"),
        ("64M", "data", 2, "usage"),
        ("83886081", "data", 2, "usage"),
        ("17T", "data", 2, "usage"),
        ("large", "data", 2, "usage"),
    ] {
        home.run(&["grow", ID, "--size", size, "--disk", disk])
            .refused(code, word);
    }

    let (_, mut console) = guest::start(&home, ID, "serial-1.log", &["--no-fill"]);
    let seen = console.ask("sha256 /dev/vdc", "SHA256");
    assert!(
        seen.contains(&digest[..64]),
        "the guest has the file system: {seen}"
    );
    let _ = console.ask("write /home/mine my own text", "WROTE");
    let before = console.ask("sha256 /home/mine", "SHA256");
    home.run(&["grow", ID, "--size", "128M"]).refused(1, "busy");
    home.done(&["stop", ID]);
    assert_eq!(file("user").metadata().expect("it is made").len(), 64 << 20);
    let grown = home.done(&["grow", ID, "--size", "128M"]);
    assert_eq!(grown["id"], ID, "{grown}");
    home.run(&["grow", ID, "--size", "64M"]).refused(2, "usage");

    // Another subscription finds it, and another release has it.
    publisher.project(&guest::disk(2), "Sample");
    describe(&publisher);
    publisher.publish(&["--label", "2.0"]);
    home.run(&["unsubscribe", ID]).refused(2, "usage");
    home.done(&["unsubscribe", ID, "--keep-data"]);
    home.done(&["subscribe", &feed, "--yes"]);
    let (_, mut console) = guest::start(&home, ID, "serial-2.log", &["--no-fill"]);
    assert_eq!(console.ask("label", "LABEL"), "LABEL 2.0");
    assert_eq!(
        console.ask("sha256 /home/mine", "SHA256"),
        before,
        "what was on it is there"
    );
    assert_eq!(
        console.ask("cat /sys/block/vdb/size", "CAT"),
        format!("CAT {}", (128 << 20) / 512),
        "the guest has it as large as it was made"
    );
    home.done(&["stop", ID]);
    assert_eq!(said("sha256sum", &[], &data), digest, "nobody has written to it");

    home.done(&["unsubscribe", ID, "--delete-data"]);
    assert!(
        !file("user").exists(),
        "it is gone when that is what was asked for"
    );
}
