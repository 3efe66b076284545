//! The home: whose folder it is, what is named exactly, and how its processes are found whatever their environment says.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use livepc_tests::forge::disk;
use livepc_tests::home::{TestHome, kill, kill_at_once, program};
use livepc_tests::lab::Lab;
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;

/// The program on a home in `root`, as somebody types it.
fn livepc(root: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program());
    command
        .env_remove("LIVEPC_HOME")
        .arg("--home")
        .arg(root)
        .args(args);
    command.output().expect("it runs")
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").permissions().mode() & 0o7777
}

/// What is in a folder, with the modes.
fn all_in(folder: &Path) -> BTreeMap<String, u32> {
    let entries = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                mode(&entry.path()),
            )
        })
        .collect()
}

#[test]
fn what_cannot_be_undone_takes_no_beginning_of_an_id() {
    let work = tempfile::tempdir().expect("a folder");
    let home = TestHome::new();
    let published: Vec<_> = ["Boot", "Boot"]
        .iter()
        .map(|name| {
            let publisher = Publisher::new(&disk(work.path(), "1.raw", 1, 1), name);
            publisher.publish(&[]);
            let server = Origin::start(publisher.site()).expect("the origin starts");
            home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
            (publisher, server)
        })
        .collect();
    home.done(&["unsubscribe", "boot", "--delete-data"]);
    let id = "boot-2";
    assert_eq!(home.listed()["id"], id);
    // What works by its full name is refused by its beginning; the last of them is what a person does twice.
    let verbs: [&[&str]; 10] = [
        &["stop", "ID", "--force"],
        &["suspend", "ID"],
        &["revert", "ID", "--yes"],
        &["reset", "ID", "--yes"],
        &["keep", "ID", "--off", "--yes"],
        &["keep", "ID"],
        &["rollback", "ID"],
        &["pin", "ID", "--newest"],
        &["grow", "ID", "--size", "1G"],
        &["unsubscribe", "ID", "--delete-data"],
    ];
    for verb in verbs {
        let args: Vec<_> = verb
            .iter()
            .map(|arg| if *arg == "ID" { "boot" } else { *arg })
            .collect();
        let refused = home.run(&args);
        refused.refused(3, "not-found");
        assert!(
            refused.why().contains(id),
            "{args:?} names what is near: {}",
            refused.why()
        );
    }
    assert_eq!(home.listed()["id"], id, "nothing was done to it");
    let shown = home.done(&["show", "boot"]).to_string();
    assert!(shown.contains(id), "to look, the beginning does: {shown}");
    home.done(&["unsubscribe", id, "--delete-data"]);
    drop(published);
}

#[test]
fn a_folder_that_was_there_keeps_its_mode_and_what_is_in_it() {
    let work = tempfile::tempdir().expect("a folder");
    let web = work.path().join("web");
    fs::create_dir(&web).expect("a folder");
    fs::write(web.join("index.html"), "hello").expect("a file");
    for before in [0o755, 0o777, 0o2775] {
        fs::set_permissions(&web, Permissions::from_mode(before)).expect("a mode");
        for verb in [
            &["list"][..],
            &["doctor"],
            &["key", "new", "--no-password"],
            &["agent"],
        ] {
            let refused = livepc(&web, verb);
            assert!(!refused.status.success(), "{}", said(&refused));
            assert_eq!(mode(&web), before, "{verb:?}");
        }
        assert_eq!(all_in(&web).len(), 1, "nothing was put into it");
    }

    let empty = work.path().join("empty");
    fs::create_dir(&empty).expect("a folder");
    fs::set_permissions(&empty, Permissions::from_mode(0o777)).expect("a mode");
    let refused = livepc(&empty, &["list"]);
    assert!(said(&refused).contains("chmod go-w"), "{}", said(&refused));
    assert_eq!((mode(&empty), all_in(&empty).len()), (0o777, 0));

    // Where others can add files, none of theirs is taken for the user's. It takes root to make one of theirs.
    fs::set_permissions(&empty, Permissions::from_mode(0o1777)).expect("a mode");
    fs::write(empty.join("state.db"), "").expect("a file");
    if std::os::unix::fs::chown(empty.join("state.db"), Some(65534), None).is_ok() {
        let refused = livepc(&empty, &["list"]);
        assert!(said(&refused).contains("state.db"), "{}", said(&refused));
    }
    fs::remove_file(empty.join("state.db")).expect("it goes");

    fs::set_permissions(&empty, Permissions::from_mode(0o755)).expect("a mode");
    assert!(livepc(&empty, &["list"]).status.success());
    assert!(livepc(&empty, &["key", "new", "--no-password"]).status.success());
    assert_eq!(mode(&empty), 0o755, "it is its owner's to say who looks into it");
    let open: Vec<_> = all_in(&empty)
        .into_iter()
        .filter(|(name, mode)| mode & 0o077 != 0 && !name.ends_with(".lock") && !name.starts_with("state."))
        .collect();
    assert!(open.is_empty(), "what is in it is private: {open:?}");
    let doctor = livepc(&empty, &["doctor"]);
    assert!(said(&doctor).contains("chmod 700"), "{}", said(&doctor));
    assert_eq!(mode(&empty), 0o755);
    let _ = livepc(&empty, &["agent", "stop"]);

    let new = work.path().join("new/home");
    assert!(livepc(&new, &["list"]).status.success());
    assert_eq!(mode(&new), 0o700);
    let _ = livepc(&new, &["agent", "stop"]);
}

#[test]
fn a_home_without_a_name_is_refused() {
    let refused = livepc(Path::new(""), &["list"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    // A variable that is empty is as good as none.
    let work = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(program());
    command
        .env("LIVEPC_HOME", "")
        .env("XDG_DATA_HOME", work.path())
        .arg("doctor");
    let looked = command.current_dir(work.path()).output().expect("it runs");
    let place = work.path().join("livepc").display().to_string();
    assert!(said(&looked).contains(&place), "{}", said(&looked));
}

#[test]
fn the_store_moves_into_a_folder_without_changing_it() {
    let lab = Lab::subscribed(1);
    let to = lab.work.path().join("drive");
    fs::create_dir(&to).expect("a folder");
    fs::set_permissions(&to, Permissions::from_mode(0o777)).expect("a mode");
    let name = to.to_str().expect("UTF-8");
    let refused = lab.home.run(&["store", "move", name]);
    refused.refused(2, "usage");
    assert!(refused.why().contains("chmod go-w"), "{}", refused.why());
    fs::set_permissions(&to, Permissions::from_mode(0o755)).expect("a mode");
    lab.home.done(&["store", "move", name]);
    assert_eq!(mode(&to), 0o755);
    lab.home.done(&["download", "lab"]);
}

/// Environments that the same user has at other times: after a log-out, under cron, in a container.
fn elsewhere(home: &TestHome, number: usize, args: &[&str]) -> Output {
    let mut command = home.command(args);
    let folder = home.path().join(format!("elsewhere-{number}"));
    match number % 4 {
        0 => command.env_remove("XDG_RUNTIME_DIR").env_remove("TMPDIR"),
        1 => command.env("XDG_RUNTIME_DIR", &folder).env("TMPDIR", &folder),
        2 => {
            fs::create_dir_all(&folder).expect("a folder");
            command.env("XDG_RUNTIME_DIR", &folder)
        }
        _ => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let own = home.path().to_owned();
            command.env_clear().env("PATH", path).env("LIVEPC_HOME", own)
        }
    };
    command.output().expect("it runs")
}

#[test]
fn a_machine_is_found_whatever_the_environment_says_and_what_is_removed() {
    let lab = Lab::complete(2);
    let home = &lab.home;
    home.done(&["start", "lab", "--display", "none"]);
    let hypervisors = home.hypervisors();
    assert_eq!(hypervisors.len(), 1);
    for number in 0..4 {
        let listed = said(&elsewhere(home, number, &["list"]));
        assert!(listed.contains("\"running\""), "{number}: {listed}");
    }
    // As a log-out does, and what tidies temporary folders.
    fs::remove_dir_all(home.home().sockets().expect("a folder")).expect("the sockets go");
    let listed = said(&elsewhere(home, 3, &["list"]));
    assert!(listed.contains("\"running\""), "{listed}");
    home.processes("agent").into_iter().for_each(kill);
    let listed = said(&elsewhere(home, 0, &["list"]));
    assert!(
        listed.contains("\"running\""),
        "another agent finds the runner: {listed}"
    );
    assert_eq!(home.processes("runner").len(), 1);

    // A hypervisor whose runner died is ended by whoever comes, also if what it had beside its sockets is gone.
    // All at once: the runner would start another agent, and the agent end what the runner leaves.
    kill_at_once(&home.processes(""));
    fs::remove_dir_all(home.path().join("run")).expect("the sockets go");
    // What has ended and was not waited for has no files any more.
    let files = format!("/proc/{}/fd", hypervisors[0]);
    let lives = || fs::read_dir(&files).is_ok_and(|files| files.count() > 0);
    assert!(lives(), "it outlives its runner: there is something to end");
    let ended = elsewhere(home, 3, &["start", "lab", "--display", "none", "--json"]);
    assert!(ended.status.success(), "{}", said(&ended));
    assert!(!lives(), "the one that was left has ended");
    assert_eq!(home.hypervisors().len(), 1);
    home.done(&["stop", "lab", "--force"]);
}

#[test]
fn a_home_with_a_long_path_has_its_sockets_where_nobody_guesses() {
    let work = tempfile::tempdir().expect("a folder");
    let root = work.path().join("long-".repeat(20));
    let sockets = || {
        let said = fs::read_to_string(root.join("sockets.at")).expect("it says where they are");
        std::path::PathBuf::from(said)
    };
    assert!(livepc(&root, &["list"]).status.success());
    let first = sockets();
    assert_eq!(mode(&first), 0o700, "{}", first.display());
    // Somebody clears it away, and another one takes its place.
    fs::remove_dir_all(&first).expect("it goes");
    fs::create_dir(&first).expect("another");
    fs::set_permissions(&first, Permissions::from_mode(0o777)).expect("a mode");
    assert!(livepc(&root, &["list"]).status.success());
    assert_ne!(sockets(), first, "what is not private is not used");
    let _ = livepc(&root, &["agent", "stop"]);
    for folder in [first, sockets()] {
        fs::remove_dir_all(folder).expect("it goes");
    }
}
