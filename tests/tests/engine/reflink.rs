//! A complete disk on a file system whose files can share what they have: the hypervisor gets a plain file, and no space is used.

use std::path::Path;

use livepc_tests::guest;
use livepc_tests::home::TestHome;
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;
use livepc_tests::volume::Volume;

/// The disk files that a process has open under a folder.
fn open_files(pid: u32, folder: &Path) -> Vec<String> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let files = links.filter_map(|link| std::fs::read_link(link.path()).ok());
    let files = files.filter(|file| file.starts_with(folder));
    files.map(|file| file.display().to_string()).collect()
}

fn a_complete_disk_is_a_file(volume: &Volume) {
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    let home = TestHome::new_in(&volume.path());
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    let flat = |home: &TestHome| {
        let hypervisors = home.hypervisors();
        let files = open_files(hypervisors[0], &home.home().bases("sample"));
        files.iter().any(|file| file.ends_with("disk-flat.vmdk"))
    };
    let (_, console) = guest::start(&home, "sample", "serial-1.log", &["--no-fill"]);
    assert!(!flat(&home), "what is not all here is served");
    drop(console);
    home.done(&["stop", "sample", "--force"]);
    home.done(&["download", "sample"]);

    let before = volume.used();
    let (_, mut console) = guest::start(&home, "sample", "serial-2.log", &[]);
    assert!(flat(&home), "the hypervisor reads a plain file");
    let more = volume.used() - before;
    assert!(
        more < 48 << 20,
        "beside what the guest writes it takes no space: {more} bytes of a disk with 250 MB"
    );
    for file in guest::facts(1)["files"].as_array().expect("files") {
        console.reads(file);
    }
    home.done(&["stop", "sample"]);
    let bases = home.home().bases("sample");
    assert!(!bases.join("shared").exists(), "the file goes with the machine");
    home.done(&["verify", "sample"]);

    // A crash leaves the file; the next start makes another.
    let (_, console) = guest::start(&home, "sample", "serial-3.log", &[]);
    drop(console);
    home.kill_all();
    assert!(bases.join("shared").exists());
    let (_, console) = guest::start(&home, "sample", "serial-4.log", &[]);
    assert!(flat(&home));
    drop(console);
    home.done(&["stop", "sample", "--force"]);
    assert!(!bases.join("shared").exists());
}

#[test]
fn a_complete_disk_on_xfs_is_a_plain_file() {
    a_complete_disk_is_a_file(&Volume::new("mkfs.xfs", &["-q", "-m", "reflink=1"]));
}

#[test]
fn a_complete_disk_on_btrfs_is_a_plain_file() {
    a_complete_disk_is_a_file(&Volume::new("mkfs.btrfs", &["-q"]));
}
