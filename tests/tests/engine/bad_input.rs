//! Mistakes that people make, and machines that lack something: each gets an error that says what to do.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

use livepc_tests::forge::{Site, disk};
use livepc_tests::home::TestHome;
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;

#[test]
fn a_source_that_is_no_disk_is_refused() {
    let work = tempfile::tempdir().expect("a folder");
    let home = TestHome::new();
    let path = |name: &str| work.path().join(name).display().to_string();
    let init = |source: &str, dir: &str| {
        home.run(&["project", "init", source, "--name", "Lab", "--dir", &path(dir)])
    };
    std::fs::write(work.path().join("empty"), "").expect("a file");
    std::fs::write(work.path().join("odd"), [1; 1000]).expect("a file");
    init(&path("."), "a").refused(2, "usage");
    init(&path("empty"), "a").refused(2, "usage");
    init(&path("odd"), "a").refused(2, "usage");
    init(&path("nothing"), "a").refused(3, "not-found");
    assert!(
        !work.path().join("a").join("livepc.toml").exists(),
        "nothing was written"
    );
    // An unpartitioned disk is a disk.
    std::fs::write(work.path().join("plain"), [7; 1024]).expect("a file");
    let _ = init(&path("plain"), "a").done();
    init(&path("plain"), "a").refused(2, "usage");
}

#[test]
fn names_that_are_not_there_are_told() {
    let home = TestHome::new();
    for verb in [
        &["show", "nobody"][..],
        &["download", "nobody"],
        &["start", "nobody"],
        &["stop", "nobody"],
        &["unsubscribe", "nobody", "--keep-data"],
        &["source", "remove", "http://127.0.0.1/x"],
        &["config", "get", "nothing"],
        &["publish", "/nonexistent", "--to", "/tmp/x"],
    ] {
        home.run(verb).refused(3, "not-found");
    }
    home.run(&["config", "set", "download.max-bytes-per-second", "fast"])
        .refused(2, "usage");
    let set = home.done(&["config", "set", "download.max-bytes-per-second", "1000000"]);
    assert_eq!(set["settings"]["download.max-bytes-per-second"], "1000000");
}

#[test]
fn a_missing_or_broken_hypervisor_is_told() {
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 1, 1), "Lab");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    home.done(&["download", "lab"]);
    let broken = work.path().join("qemu-system-x86_64");
    std::fs::write(&broken, "#!/bin/sh\nexit 3\n").expect("a script");
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    home.done(&["config", "set", "qemu.program", broken.to_str().expect("UTF-8")]);
    home.run(&["start", "lab", "--display", "none"])
        .refused(7, "hypervisor");
    let listed = home.listed();
    assert_eq!(
        (&listed["state"], &listed["release_in_use"]),
        (&"ready".into(), &serde_json::Value::Null),
        "it has not begun"
    );
    assert_eq!(listed["complete"], true, "nothing that was here is lost");
    std::fs::remove_file(&broken).expect("it is removed");
    home.run(&["start", "lab", "--display", "none"])
        .refused(7, "hypervisor");
    home.done(&["config", "set", "qemu.program", ""]);
    home.done(&["start", "lab", "--display", "none"]);
    home.done(&["stop", "lab", "--force"]);
}

#[test]
fn a_home_of_a_newer_version_is_refused_untouched() {
    let home = TestHome::new();
    home.done(&["list"]);
    home.done(&["agent", "stop"]);
    let file = home.path().join("state.db");
    let set_version = |version: u32| {
        // By it migrations are counted.
        let state = rusqlite::Connection::open(&file).expect("the state opens");
        let before = state.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
        state
            .pragma_update(None, "user_version", version)
            .expect("it is set");
        before.expect("a version")
    };
    let good = set_version(99);
    let newer = std::fs::read(&file).expect("the state");
    home.run(&["list"]).refused(1, "update-livepc");
    assert!(
        std::fs::read(&file).expect("the state") == newer,
        "a newer version's state is not written to"
    );
    set_version(good);
    home.done(&["list"]);
}

#[test]
fn data_that_was_kept_is_for_its_own_livepc() {
    let work = tempfile::tempdir().expect("a folder");
    let [first, second] = [1, 2].map(|seed| {
        let publisher = Publisher::new(&disk(work.path(), &format!("{seed}.raw"), 1, seed), "Lab");
        publisher.publish(&[]);
        let server = Nginx::serve(&publisher.site());
        (publisher, server)
    });
    let home = TestHome::new();
    let subscribe = |(_, server): &(Publisher, Nginx)| {
        home.done(&["subscribe", &server.url("feed.xml"), "--yes"])["id"].clone()
    };
    assert_eq!(subscribe(&first), "lab");
    home.done(&["start", "lab", "--display", "none"]);
    home.done(&["stop", "lab", "--force"]);
    let own = home.home().machine("lab").join("mine");
    std::fs::write(&own, "kept").expect("a file");
    home.done(&["unsubscribe", "lab", "--keep-data"]);
    assert_eq!(subscribe(&second), "lab-2", "another LivePC gets another machine");
    assert_eq!(subscribe(&first), "lab", "and the first one its own again");
    assert!(own.exists(), "nothing of it is lost");
    home.done(&["unsubscribe", "lab-2", "--delete-data"]);
    assert!(own.exists(), "nor when the other one goes");
    home.done(&["unsubscribe", "lab", "--delete-data"]);
    assert!(!own.exists(), "until somebody wants it deleted");
}

#[test]
fn an_agent_that_is_used_does_not_stop() {
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 1, 1), "Lab");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    let socket = work.path().join("nbd");
    let mut serve = home.spawn(&["serve", "lab", "--nbd", socket.to_str().expect("UTF-8")]);
    let mut line = String::new();
    let output = serve.stdout.take().expect("its output is a pipe");
    BufReader::new(output).read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), format!("ready {}", socket.display()));
    home.run(&["agent", "stop"]).refused(1, "busy");
    livepc_tests::home::kill(serve.id());
    let _ = serve.wait();
    home.done(&["agent", "stop"]);
    assert!(!home.has_agent());
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 128, 1), "Lab");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    // Room for the program's copy and a part of the disk.
    let program = std::fs::metadata(livepc_tests::home::program())
        .expect("the program")
        .len();
    let small = SmallDisk::new(64 + (program >> 20));
    let home = TestHome::new_in(small.path());
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    let before = home.listed();
    home.run(&["download", "lab"]).refused(6, "disk-full");
    let after = home.listed();
    assert_eq!(before["id"], after["id"], "the subscription is still there");
    assert_eq!(after["complete"], false);
    small.resize(400 + (program >> 20));
    home.done(&["download", "lab"]);
    home.done(&["verify", "lab"]);
}

#[test]
fn an_immutable_file_is_not_overwritten_and_a_stranger_does_not_publish() {
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 1, 1), "Lab");
    publisher.publish(&[]);
    let site = Site::of(&publisher);
    let head = site.read("head.json");
    let stranger = Publisher::new(&disk(work.path(), "2.raw", 1, 2), "Lab");
    let (project, to) = (
        stranger.project_folder().display().to_string(),
        publisher.site().display().to_string(),
    );
    stranger
        .home
        .run(&["publish", &project, "--to", &to])
        .refused(4, "trust");
    assert_eq!(site.read("head.json"), head, "the head is as it was");
    publisher.project(&disk(work.path(), "3.raw", 1, 3), "Lab");
    let planned = publisher.publish(&["--dry-run"]);
    assert_eq!(
        (&planned["dry_run"], &planned["release"]),
        (&true.into(), &2.into())
    );
    assert_eq!(site.read("head.json"), head, "a dry run writes nothing");
    publisher.publish(&[]);
}

/// A file system of its own, as small as is wanted. It takes root.
pub(crate) struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    pub(crate) fn new(mib: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Self { folder };
        disk.mount(&format!("size={mib}m"));
        disk
    }

    fn resize(&self, mib: u64) {
        self.mount(&format!("remount,size={mib}m"));
    }

    /// Gives it so many bytes, which may leave none free.
    pub(crate) fn resize_to(&self, bytes: u64) {
        self.mount(&format!("remount,size={bytes}"));
    }

    /// Bytes that are used.
    pub(crate) fn used(&self) -> u64 {
        let df = std::process::Command::new("df")
            .args(["-B1", "--output=used"])
            .arg(self.folder.path())
            .output()
            .expect("df runs");
        let text = String::from_utf8_lossy(&df.stdout).into_owned();
        let used = text.lines().nth(1).and_then(|line| line.trim().parse().ok());
        used.expect("a number")
    }

    fn mount(&self, options: &str) {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(self.folder.path())
            .status()
            .expect("mount runs");
        assert!(
            mounted.success(),
            "this test mounts a small file system, which takes root"
        );
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: an agent that was just killed may still be leaving.
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}

/// A message begins with the name of a file as it is written, and no name is taken apart.
#[test]
fn names_of_files_keep_their_letters() {
    let home = TestHome::new();
    let work = tempfile::tempdir().expect("a folder");
    let message = |args: &[&str]| {
        let ran = home
            .command(args)
            .current_dir(work.path())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        let line: serde_json::Value = serde_json::from_str(said.trim()).expect("one error");
        (
            line["message"].as_str().expect("a message").to_owned(),
            line["hint"].as_str().expect("a hint").to_owned(),
        )
    };
    for (name, shown) in [
        ("odd.raw", "odd.raw"),
        ("odd", "odd"),
        ("the disk.raw", "“the disk.raw”"),
        ("a; b; c.raw", "“a; b; c.raw”"),
        ("\u{e9}t\u{e9}.raw", "\u{e9}t\u{e9}.raw"),
    ] {
        std::fs::write(work.path().join(name), [1; 1000]).expect("a file");
        let (told, hint) = message(&["project", "init", name, "--name", "Lab", "--dir", "p"]);
        assert!(told.starts_with(&format!("{shown} has 1000 bytes")), "{told}");
        assert!(!hint.is_empty() && !hint.contains("c.raw"), "{hint}");
    }
    std::fs::create_dir(work.path().join("q")).expect("a folder");
    std::fs::write(work.path().join("q/livepc.toml"), "name = 3").expect("a file");
    let (told, _) = message(&["publish", "q", "--to", "s"]);
    assert!(told.starts_with("q/livepc.toml cannot be used"), "{told}");
    let (told, _) = message(&["publish", "nowhere", "--to", "s"]);
    assert!(
        told.starts_with("There is no nowhere/livepc.toml"),
        "a sentence still begins as one: {told}"
    );
}
