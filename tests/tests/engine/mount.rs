//! A release's disk as files, for hypervisors that read nothing else.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};

use livepc_tests::forge::disk;
use livepc_tests::home::TestHome;
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;

fn names(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().expect("the folder can be read");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

fn mounted_at(folder: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the list of mounts");
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == folder.to_str())
}

/// Waits until the disk can be read.
fn ready(serve: &mut Child, folder: &Path) {
    let mut line = String::new();
    let output = serve.stdout.take().expect("its output is a pipe");
    BufReader::new(output).read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), format!("ready {}", folder.display()));
}

fn compare(source: &Path, format: &str, file: &Path) {
    let compared = Command::new("qemu-img")
        .args(["compare", "-f", "raw", "-F", format])
        .args([source, file])
        .output()
        .expect("qemu-img runs");
    assert!(
        compared.status.success(),
        "{}{}",
        String::from_utf8_lossy(&compared.stdout),
        String::from_utf8_lossy(&compared.stderr)
    );
}

fn signal(serve: &Child, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &serve.id().to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn a_disk_is_read_as_files_while_it_is_fetched() {
    let work = tempfile::tempdir().expect("a folder");
    let source = disk(work.path(), "1.raw", 24, 1);
    let publisher = Publisher::new(&source, "Lab");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    let newer = disk(work.path(), "2.raw", 4, 2);
    publisher.project(&newer, "Lab");
    publisher.publish(&[]);
    home.done(&["update", "lab"]);
    let folder = work.path().join("new/disks");
    let place = folder.to_str().expect("UTF-8");

    // An older release, of which nothing is here, and then the newest one, which is fetched beside.
    for (more, source, end) in [
        (&["--release", "1", "--disk", "system"][..], &source, "-TERM"),
        (&["--fill"], &newer, "-INT"),
    ] {
        let mut args = vec!["serve", "lab", "--mount", place];
        args.extend(more);
        let mut serve = home.spawn(&args);
        ready(&mut serve, &folder);
        assert_eq!(names(&folder), ["disk-flat.vmdk", "disk.vmdk"]);
        compare(source, "raw", &folder.join("disk-flat.vmdk"));
        compare(source, "vmdk", &folder.join("disk.vmdk"));
        signal(&serve, end);
        let ended = serve.wait().expect("it ends");
        assert_eq!(ended.code(), Some(0), "after {end}");
        assert!(!mounted_at(&folder), "after {end}");
        assert!(names(&folder).is_empty(), "after {end}");
    }
    home.until("complete", |livepc| livepc["complete"] == true);
}

#[test]
fn a_folder_that_is_in_use_is_refused_and_what_was_killed_is_cleared_away() {
    let work = tempfile::tempdir().expect("a folder");
    let source = disk(work.path(), "1.raw", 1, 1);
    let publisher = Publisher::new(&source, "Lab");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    let folder = work.path().join("disks");
    let place = folder.to_str().expect("UTF-8");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("mine"), "kept").expect("a file");
    let serve = ["serve", "lab", "--mount", place];
    home.run(&serve).refused(2, "usage");
    assert_eq!(names(&folder), ["mine"]);
    assert_eq!(fs::read_to_string(folder.join("mine")).expect("it"), "kept");
    home.run(&["serve", "lab"]).refused(2, "usage");
    home.run(&["serve", "lab", "--mount", place, "--nbd", place])
        .refused(2, "usage");
    home.run(&["serve", "lab", "--mount", place, "--disk", "other"])
        .refused(3, "not-found");

    // Positive control: the same folder, empty. Twice, because the first one is killed and leaves its mount.
    fs::remove_file(folder.join("mine")).expect("it is removed");
    let mut killed = home.spawn(&serve);
    ready(&mut killed, &folder);
    home.run(&serve).refused(2, "usage");
    signal(&killed, "-KILL");
    killed.wait().expect("it ends");
    assert!(mounted_at(&folder), "what is killed leaves its mount");
    let mut again = home.spawn(&serve);
    ready(&mut again, &folder);
    compare(&source, "raw", &folder.join("disk-flat.vmdk"));
    signal(&again, "-TERM");
    assert_eq!(again.wait().expect("it ends").code(), Some(0));
    assert!(!mounted_at(&folder));
}
