//! `doctor` says what is broken, by making it so; and that all is well where it is.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use livepc_tests::home::{TestHome, program};
use serde_json::Value;

/// The findings that are not good, by the ids of their checks.
fn bad(findings: &Value) -> Vec<String> {
    let all = findings["findings"].as_array().expect("findings");
    all.iter()
        .filter(|finding| finding["health"] == "bad")
        .map(|finding| finding["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// The one thing that is broken has this id, and is told with these words and what to do; the exit code says so too.
#[track_caller]
fn names(home: &TestHome, id: &str, words: &[&str]) {
    let ran = home.run(&["doctor"]);
    assert_eq!(bad(&ran.json), [id], "{}", ran.text);
    tells(&ran.json, id, words);
    assert_ne!(ran.code, 0, "{}", ran.text);
    assert!(ran.error().is_some(), "{}", ran.text);
}

#[track_caller]
fn tells(findings: &Value, id: &str, words: &[&str]) {
    let all = findings["findings"].as_array().expect("findings");
    let is_it = |finding: &&Value| finding["id"] == id && finding["health"] == "bad";
    let finding = all
        .iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("no {id}: {findings}"));
    let text = format!("{} {}", finding["found"], finding["hint"]);
    for word in words {
        assert!(text.contains(word), "it has no “{word}”: {text}");
    }
    assert_ne!(finding["hint"], "", "what to do is told: {finding}");
}

/// Runs `doctor` where this shell text was done before, with the home's folder as `$1`.
fn doctor_after(home: &TestHome, set_up: &str) -> (Value, i32) {
    let ran = Command::new("unshare")
        .args([
            "--mount",
            "sh",
            "-c",
            &format!("{set_up} || exit 99; exec \"$2\" --json doctor"),
            "sh",
        ])
        .arg(home.path())
        .arg(program())
        .env("LIVEPC_HOME", home.path())
        .env("NO_PROXY", "*")
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let findings = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&ran.stderr)));
    (findings, ran.status.code().unwrap_or(-1))
}

#[test]
fn all_is_well_where_it_is() {
    let home = TestHome::new();
    let findings = home.done(&["doctor"]);
    assert_eq!(bad(&findings), [""; 0], "{findings}");
    let all = findings["findings"].as_array().expect("findings");
    for id in [
        "version",
        "home",
        "state",
        "store",
        "free-space",
        "sockets",
        "agent",
        "qemu",
        "proxy",
        "clock",
    ] {
        assert!(
            all.iter().any(|finding| finding["id"] == id),
            "{id} is looked at: {findings}"
        );
    }
    assert!(home.has_agent(), "it was started to see whether it starts");
    assert_eq!(bad(&home.done(&["doctor"])), [""; 0], "and is reached");
}

#[test]
fn a_damaged_state_is_named() {
    let home = TestHome::new();
    home.done(&["config", "set", "download.max-bytes-per-second", "1000000"]);
    home.done(&["agent", "stop"]);
    std::fs::write(home.path().join("state.db"), "no database".repeat(1000)).expect("it is written");
    let ran = home.run(&["doctor"]);
    assert!(bad(&ran.json).contains(&"state".to_owned()), "{}", ran.text);
    tells(&ran.json, "state", &["state.db", "damaged"]);
    assert_ne!(ran.code, 0);
}

#[test]
fn an_agent_that_is_stopped_is_named_in_time() {
    let home = TestHome::new();
    home.done(&["list"]);
    let agent = home.processes("agent");
    assert_eq!(agent.len(), 1, "one agent");
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &agent[0].to_string()]).status();
        assert!(sent.expect("kill runs").success());
    };
    signal("-STOP");
    let began = Instant::now();
    names(
        &home,
        "agent",
        &["is stopped", &format!("kill -CONT {}", agent[0])],
    );
    assert!(began.elapsed() < Duration::from_secs(60), "it does not hang");
    signal("-CONT");
    home.done(&["doctor"]);
}

#[test]
fn a_dead_proxy_is_named() {
    let mut home = TestHome::new();
    home.set_variable("NO_PROXY", "");
    home.set_variable("no_proxy", "");
    home.set_variable("https_proxy", "http://user:secret@127.0.0.1:1");
    names(&home, "proxy", &["http://127.0.0.1:1", "https_proxy"]);
    let ran = home.run(&["doctor"]);
    assert!(
        !ran.text.contains("secret"),
        "the password is not told: {}",
        ran.text
    );
}

#[test]
fn a_home_that_is_read_only_is_named() {
    let home = TestHome::new();
    home.done(&["list"]);
    home.done(&["agent", "stop"]);
    let set_up = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"";
    let (findings, code) = doctor_after(&home, set_up);
    tells(&findings, "home", &["read-only"]);
    assert_ne!(code, 0);
}

#[test]
fn a_full_disk_is_named() {
    let home = TestHome::new();
    let set_up = "mount -t tmpfs -o size=4m,mode=700 tmpfs \"$1\" && : > \"$1/livepc-home\" && ! dd if=/dev/zero of=\"$1/filler\" status=none 2>/dev/null";
    let (findings, code) = doctor_after(&home, set_up);
    tells(&findings, "home", &["no space left"]);
    tells(&findings, "free-space", &["0 B", "livepc prune"]);
    assert_ne!(code, 0);
}

#[test]
fn a_home_that_cannot_be_used_is_a_finding() {
    let home = TestHome::new();
    let file = home.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let mut command = home.command(&["doctor"]);
    let ran = command.env("LIVEPC_HOME", &file).output().expect("it runs");
    let findings: Value = serde_json::from_slice(&ran.stdout).expect("an object");
    tells(&findings, "home", &[]);
    assert!(!ran.status.success());
}

#[test]
fn no_qemu_is_named() {
    let qemu = Path::new("/usr/bin/qemu-system-x86_64");
    if !qemu.exists() {
        eprintln!("skipped: QEMU is elsewhere");
        return;
    }
    let home = TestHome::without(&[qemu]);
    let ran = home.run(&["doctor"]);
    ran.refused(7, "hypervisor");
    assert!(bad(&ran.json).contains(&"qemu".to_owned()), "{}", ran.text);
}

#[test]
fn keys_that_others_can_read_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let home = TestHome::new();
    home.done(&["key", "new", "--no-password"]);
    let key = home.path().join("keys").join("root.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("it is opened up");
    names(&home, "private", &["root.key", "chmod 600"]);
}

#[test]
fn what_is_printed_goes_somewhere_or_it_is_a_failure() {
    let home = TestHome::new();
    home.done(&["key", "new", "--no-password"]);
    let full = || {
        Stdio::from(
            std::fs::File::options()
                .write(true)
                .open("/dev/full")
                .expect("/dev/full"),
        )
    };
    let verbs: [&[&str]; 10] = [
        &["list"],
        &["status"],
        &["search"],
        &["source", "list"],
        &["config", "get"],
        &["key", "show"],
        &["doctor"],
        &["logs"],
        &["completions", "bash"],
        &["prune", "--dry-run"],
    ];
    for verb in verbs {
        for json in [true, false] {
            let mut command = Command::new(program());
            command
                .env("LIVEPC_HOME", home.path())
                .args(json.then_some("--json"))
                .args(verb);
            let ran = command
                .stdin(Stdio::null())
                .stdout(full())
                .output()
                .expect("it runs");
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            if ran.status.success() {
                // Empty lists of what is printed for people print nothing.
                assert!(
                    !json && said.is_empty() && ["source", "status"].contains(&verb[0]),
                    "{verb:?}: {said}"
                );
            } else {
                assert!(said.contains("could not be written"), "{verb:?}: {said}");
            }
            let mut command = Command::new(program());
            command
                .env("LIVEPC_HOME", home.path())
                .args(json.then_some("--json"))
                .args(verb);
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            let ran = command
                .stdin(Stdio::null())
                .stdout(writer)
                .output()
                .expect("it runs");
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert!(
                ran.status.success() && said.is_empty(),
                "{verb:?} ends quietly where nobody reads: {said}"
            );
        }
    }
    for option in ["--help", "--version", "help"] {
        let ran = Command::new(program())
            .arg(option)
            .stdout(full())
            .output()
            .expect("it runs");
        assert_eq!(
            ran.status.code(),
            Some(6),
            "{option}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
    let closed = Command::new("sh")
        .args(["-c", "exec \"$1\" list >&-", "sh"])
        .arg(program())
        .env("LIVEPC_HOME", home.path())
        .status();
    assert!(
        closed.expect("sh runs").success(),
        "no output at all is no failure"
    );
}
