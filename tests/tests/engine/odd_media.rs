//! Homes on file systems that lack what others have: no links, no modes, no sockets, nothing executed, no room.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use livepc_tests::home::{TestHome, kill, program};
use livepc_tests::lab::Lab;
use livepc_tests::volume::Volume;

/// Everything that a person does, with the home, the project and what is published on the drive.
fn everything_works(volume: &Volume) {
    let home = TestHome::new_in(&volume.path());
    let at = |name: &str| volume.path().join(name).to_str().expect("UTF-8").to_owned();
    let exposed = home.run(&["key", "new", "--no-password"]);
    exposed.refused(2, "usage");
    assert!(exposed.why().contains("password"), "{}", exposed.why());

    let lab = Lab::subscribed(2);
    let (image, project, site) = (lab.disk(1), at("project"), at("site"));
    let image = image.to_str().expect("UTF-8");
    let publisher = &lab.publisher.home;
    publisher.done(&["project", "init", image, "--name", "Odd", "--dir", &project]);
    publisher.done(&["publish", &project, "--to", &site]);
    publisher.done(&["catalog", "init", &at("catalog.xml"), "--title", "Labs"]);
    publisher.done(&[
        "catalog",
        "add",
        &at("catalog.xml"),
        "--feed",
        &format!("{site}/feed.xml"),
    ]);

    home.done(&["source", "add", &at("catalog.xml")]);
    home.done(&["subscribe", &format!("{site}/feed.xml"), "--yes"]);
    home.done(&["download", "odd"]);
    home.done(&["start", "odd", "--display", "none"]);
    assert_eq!(home.listed()["state"], "running");
    home.done(&["stop", "odd", "--force"]);
    home.done(&["verify", "odd"]);
    home.done(&["export", "odd", &at("out.raw")]);
    assert!(
        std::fs::read(at("out.raw")).expect("the export") == std::fs::read(image).expect("the disk"),
        "it is what was published"
    );
    home.done(&["export", "odd", &at("out.qcow2")]);
    // Keys under a password are safe anywhere.
    let password = volume.path().join("password");
    std::fs::write(&password, "secret").expect("a file");
    let mut command = home.command(&["key", "new"]);
    let made = command
        .env("LIVEPC_KEY_PASSWORD_FILE", &password)
        .output()
        .expect("it runs");
    assert!(made.status.success(), "{}", said(&made));
    home.done(&["unsubscribe", "odd", "--delete-data"]);

    // The store of a home elsewhere moves there, and back.
    lab.home.done(&["store", "move", &at("store")]);
    lab.home.done(&["download", "lab"]);
    lab.home.done(&["verify", "lab"]);
    let back = lab.home.path().join("store");
    lab.home.done(&["store", "move", back.to_str().expect("UTF-8")]);
    lab.home.done(&["verify", "lab"]);
    home.kill_all();
    if let Ok(sockets) = std::fs::read_to_string(home.path().join("sockets.at")) {
        let _ = std::fs::remove_dir_all(sockets);
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn everything_works_on_exfat() {
    everything_works(&Volume::exfat());
}

#[test]
fn everything_works_on_ntfs() {
    everything_works(&Volume::ntfs());
}

/// A file system in memory, at a folder that is unmounted again.
struct Memory(tempfile::TempDir);

impl Memory {
    fn new(options: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(folder.path());
        assert!(mount.status().expect("mount runs").success());
        Self(folder)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn where_nothing_is_executed_the_original_runs() {
    let memory = Memory::new("noexec,mode=700");
    let lab = Lab::subscribed(1);
    let home = TestHome::new_in(memory.0.path());
    home.done(&["subscribe", &lab.feed(), "--yes"]);
    home.done(&["download", "lab"]);
    home.done(&["start", "lab", "--display", "none"]);
    home.done(&["stop", "lab", "--force"]);
    home.done(&["agent", "stop"]);
}

/// The copies of the program in a home, whole or not.
fn copies(home: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(home.join("bin"))
        .into_iter()
        .flatten()
        .flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
    files.map(|file| file.path()).collect()
}

#[test]
fn without_room_for_a_copy_of_the_program_the_original_runs_and_nothing_is_left() {
    // A debug build takes more.
    let memory = Memory::new("size=24m,mode=700");
    let home = TestHome::new_in(memory.0.path());
    for _ in 0..3 {
        home.done(&["list"]);
        home.done(&["agent", "stop"]);
        assert_eq!(copies(home.path()), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_damaged_copy_of_the_program_is_made_anew_and_superseded_ones_go() {
    let mut home = TestHome::new();
    home.done(&["list"]);
    home.done(&["agent", "stop"]);
    let copy = copies(home.path()).pop().expect("one");
    let size = std::fs::metadata(program()).expect("the program").len();
    // As power cuts leave it: empty, or long enough and without content.
    for len in [0, size] {
        std::fs::write(&copy, "").expect("it is written");
        let file = std::fs::File::options()
            .write(true)
            .open(&copy)
            .expect("it is there");
        file.set_len(len).expect("a length");
        drop(file);
        home.done(&["list"]);
        home.done(&["agent", "stop"]);
    }
    home.update_program();
    home.done(&["list"]);
    let left = copies(home.path());
    assert!(
        left.len() == 1 && left[0] != copy,
        "what nothing runs from goes: {left:?}"
    );
    // An agent that was killed leaves what it ran from; the next version removes it.
    home.processes("agent").into_iter().for_each(kill);
    home.update_program();
    home.done(&["list"]);
    assert_eq!(copies(home.path()).len(), 1);
}
