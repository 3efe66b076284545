//! Machines on other people's computers: what is missing there, where agents are started from, and names of all kinds.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use livepc_tests::display::Display;
use livepc_tests::forge::disk;
use livepc_tests::guest;
use livepc_tests::home::TestHome;
use livepc_tests::publisher::Publisher;
use serde_json::Value;

/// A home that has a small LivePC, and the folder of its publisher.
fn small(home: TestHome) -> (TestHome, Publisher) {
    let publisher = Publisher::new(&small_disk(home.path()), "Lab");
    publisher.publish(&[]);
    let feed = publisher.site().join("feed.xml");
    home.done(&["subscribe", feed.to_str().expect("UTF-8"), "--yes"]);
    home.done(&["download", "lab"]);
    (home, publisher)
}

fn small_disk(folder: &Path) -> PathBuf {
    disk(folder, "small.raw", 2, 1)
}

#[test]
fn a_stop_reaches_a_guest_that_is_still_starting() {
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    publisher.publish(&[]);
    let home = TestHome::new();
    let feed = publisher.site().join("feed.xml");
    home.done(&["subscribe", feed.to_str().expect("UTF-8"), "--yes"]);
    home.done(&["start", "sample", "--display", "none"]);
    // Its BIOS has hardly begun.
    let stopped = home.done(&["stop", "sample", "--timeout", "240"]);
    assert_eq!(stopped["state"], "stopped", "{stopped}");
    assert_eq!(stopped["problem"], Value::Null, "{stopped}");
}

#[test]
fn an_agent_leaves_behind_where_it_was_started() {
    let mut home = TestHome::new();
    let gone = home.path().join("gone");
    std::fs::create_dir(&gone).expect("a folder");
    home.set_variable("TMPDIR", gone.to_str().expect("UTF-8"));
    let (home, _publisher) = small(home);
    let agents = home.processes("agent");
    assert_eq!(agents.len(), 1, "an agent runs: {agents:?}");
    std::fs::remove_dir_all(&gone).expect("it is removed");
    home.done(&["start", "lab", "--display", "none"]);
    for pid in agents.into_iter().chain(home.processes("runner")) {
        let at = std::fs::read_link(format!("/proc/{pid}/cwd")).expect("its folder");
        assert_eq!(at, home.home().root(), "process {pid} keeps nobody's folder busy");
        let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("its environment");
        let mut variables = environment.split(|byte| *byte == 0);
        assert!(!variables.any(|entry| entry.starts_with(b"TMPDIR=")));
    }
    home.done(&["stop", "lab", "--force"]);
}

#[test]
fn the_part_of_qemu_that_is_missing_is_named() {
    let image_tool = ["/usr/bin/qemu-img", "/usr/local/bin/qemu-img"].map(Path::new);
    let image_tool: Vec<_> = image_tool.into_iter().filter(|file| file.exists()).collect();
    let (home, _publisher) = small(TestHome::without(&image_tool));
    let start = ["start", "lab", "--display", "none"];
    let refused = home.run(&start);
    refused.refused(7, "hypervisor");
    assert!(refused.text.contains("qemu-img is missing"), "{}", refused.text);
    assert!(
        refused.text.contains("qemu-utils"),
        "its package: {}",
        refused.text
    );
    assert!(
        !refused.text.contains("no hypervisor"),
        "QEMU is here: {}",
        refused.text
    );

    let bios = ["/usr/share/seabios/bios-256k.bin", "/usr/share/seabios/bios.bin"].map(Path::new);
    let bios: Vec<_> = bios.into_iter().filter(|file| file.exists()).collect();
    assert!(!bios.is_empty(), "Debian's seabios has it");
    let (home, _publisher) = small(TestHome::without(&bios));
    let refused = home.run(&start);
    refused.refused(7, "hypervisor");
    assert!(
        refused.text.contains("bios") && refused.text.contains("seabios"),
        "{}",
        refused.text
    );
}

#[test]
fn names_that_are_not_unicode_are_refused_with_words() {
    let (home, _publisher) = small(TestHome::new());
    let name = |ending: &str| {
        let mut bytes = home.path().as_os_str().to_owned().into_vec();
        bytes.extend(b"/odd-\xff");
        bytes.extend(ending.as_bytes());
        OsString::from_vec(bytes)
    };
    let run = |args: &[&str], odd: OsString| -> Output {
        home.command(args).arg(odd).output().expect("the program runs")
    };
    std::fs::write(name(".iso"), [0; 4096]).expect("a file");
    for (args, ending) in [
        (&["export", "lab"][..], ".raw"),
        (&["start", "lab", "--display", "none", "--cd"], ".iso"),
        (&["start", "lab", "--display", "none", "--serial"], ".log"),
        (&["store", "move"], ""),
        (&["search"], ""),
        (&["show"], ""),
    ] {
        let refused = run(args, name(ending));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("\"usage\""), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    }
    assert_eq!(home.listed()["state"], "ready", "nothing was begun");
}

#[test]
fn a_home_whose_name_is_not_unicode_has_keys_and_logs_too() {
    let home = TestHome::new();
    let mut odd = home.path().as_os_str().to_owned().into_vec();
    odd.extend(b"/odd-\xff");
    let odd = OsString::from_vec(odd);
    for (args, exits) in [
        (&["key", "new", "--no-password"][..], &[0][..]),
        (&["key", "show"], &[0]),
        (&["key", "rotate", "--no-password"], &[0]),
        // Whether there can be an agent is another question: it is answered in words.
        (&["list"], &[0, 1, 2]),
        (&["logs"], &[0, 3]),
    ] {
        let ran = home.command(args).env("LIVEPC_HOME", &odd).output();
        let ran = ran.expect("the program runs");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(
            ran.status.code().is_some_and(|code| exits.contains(&code)) && !said.contains("panicked"),
            "{args:?}: {:?} {said}",
            ran.status
        );
    }
    let _ = home.command(&["agent", "stop"]).env("LIVEPC_HOME", &odd).output();
}

/// The address of the network adapter of a machine that runs.
fn address(home: &TestHome) -> String {
    let running = home.hypervisors();
    assert_eq!(running.len(), 1, "one hypervisor");
    let line = std::fs::read(format!("/proc/{}/cmdline", running[0])).expect("its command line");
    let line = String::from_utf8_lossy(&line).into_owned();
    let (_, rest) = line
        .split_once("\"mac\":\"")
        .unwrap_or_else(|| panic!("no address in {line}"));
    rest[..17].to_owned()
}

#[test]
fn every_machine_has_an_address_of_its_own_and_keeps_it() {
    let start = ["start", "lab", "--display", "none"];
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (home, _publisher) = small(TestHome::new());
        home.done(&start);
        let first = address(&home);
        home.done(&["suspend", "lab"]);
        home.done(&start);
        assert_eq!(address(&home), first, "after a suspension");
        home.done(&["stop", "lab", "--force"]);
        home.done(&start);
        assert_eq!(address(&home), first, "after a stop");
        home.done(&["stop", "lab", "--force"]);
        seen.push(first);
    }
    assert!(seen[0].starts_with("52:54:00:") && seen[0] != seen[1], "{seen:?}");
}

/// GTK starts a bus where there is none, and QEMU's sandbox ends who starts programs.
#[test]
fn a_window_opens_where_there_is_no_session_bus() {
    let (home, _publisher) = small(TestHome::new());
    let display = Display::new();
    let mut start = home.command(&["start", "lab", "--hypervisor", "qemu"]);
    display.enter(&mut start);
    for name in ["DBUS_SESSION_BUS_ADDRESS", "WAYLAND_DISPLAY", "NO_AT_BRIDGE"] {
        start.env_remove(name);
    }
    let started = start.output().expect("the program runs");
    let said = String::from_utf8_lossy(&started.stderr);
    assert!(started.status.success(), "{said}");
    assert_eq!(home.listed()["state"], "running");
    home.done(&["stop", "lab", "--force"]);
}

/// A QEMU that is ended by its sandbox when it shows a window, unless its options are as `allowed` says; it is the real one
/// otherwise, and shows none.
fn picky(folder: &Path, allowed: &str) -> PathBuf {
    let program = folder.join("qemu-picky");
    let script = format!(
        "#!/bin/sh\n\
         [ \"$*\" = '-display help' ] && {{ echo gtk; exit; }}\n\
         case $* in *gtk*) case $* in {allowed}) ;; *) kill -SYS $$;; esac;; esac\n\
         for argument; do shift; case $argument in gtk*) argument=none;; esac; set -- \"$@\" \"$argument\"; done\n\
         exec qemu-system-x86_64 \"$@\"\n"
    );
    std::fs::write(&program, script).expect("a program");
    let made = std::process::Command::new("chmod")
        .arg("+x")
        .arg(&program)
        .status();
    assert!(made.expect("chmod runs").success());
    program
}

#[test]
fn a_window_that_its_sandbox_ends_gets_a_weaker_one() {
    for (allowed, confined) in [
        ("*spawn=deny*", Some("spawn=deny")),
        ("*spawn=allow*", Some("spawn=allow")),
        ("*-sandbox*) kill -SYS $$;; *", None),
    ] {
        let mut home = TestHome::new();
        home.set_variable("DISPLAY", ":of-nobody");
        let (home, _publisher) = small(home);
        let program = picky(home.path(), allowed);
        home.done(&["config", "set", "qemu.program", program.to_str().expect("UTF-8")]);
        home.done(&["start", "lab", "--hypervisor", "qemu"]);
        let line =
            std::fs::read(format!("/proc/{}/cmdline", home.hypervisors()[0])).expect("its command line");
        let line = String::from_utf8_lossy(&line).into_owned();
        match confined {
            Some(confined) => assert!(line.contains(confined), "{allowed}: {line}"),
            None => assert!(!line.contains("-sandbox"), "{allowed}: {line}"),
        }
        home.done(&["stop", "lab", "--force"]);
    }
    // Without a window there is no reason to give anything up.
    let (home, _publisher) = small(TestHome::new());
    let program = picky(home.path(), "*nothing*");
    home.done(&["config", "set", "qemu.program", program.to_str().expect("UTF-8")]);
    home.done(&["start", "lab", "--hypervisor", "qemu", "--display", "none"]);
    home.done(&["stop", "lab", "--force"]);
}
