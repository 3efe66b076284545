//! A home or a store that is removed or renamed while it is used: nobody is told that something is there that is not, and
//! nothing of it comes to be again at its old place.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use livepc_protocol::{Client, Request};
use livepc_tests::home::{TestHome, kill_at_once, processes_in, program};
use livepc_tests::lab::Lab;
use serde_json::Value;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what no event tells.
#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let late = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < late, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A LivePC whose download is under way, and slow.
fn downloading() -> (Lab, Child) {
    let lab = Lab::subscribed(8);
    lab.server.set_bytes_per_second(Some(1 << 20));
    let download = lab.home.spawn(&["download", "lab"]);
    until("a pack is on its way", || lab.server.log().sent("/packs/") > 0);
    until("a pack is written", || {
        holds_pages(&lab.home.path().join("store/packs"))
    });
    (lab, download)
}

fn holds_pages(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| match entry.path() {
        path if path.is_dir() => holds_pages(&path),
        path => path.extension().is_some_and(|end| end == "pages"),
    })
}

/// Removes a folder into which somebody still writes.
fn remove(folder: &Path) {
    until("it is removed", || {
        fs::remove_dir_all(folder).is_ok() || !folder.exists()
    });
}

/// What a verb that must fail has said.
#[track_caller]
fn refusal(verb: Child) -> String {
    let output = verb.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "nothing is there: {said}");
    said
}

fn until_no_agent(home: &TestHome) {
    until("its agent ends", || home.processes("agent").is_empty());
}

#[test]
fn a_download_into_a_home_that_is_removed_has_failed() {
    let (lab, download) = downloading();
    remove(lab.home.path());
    let said = refusal(download);
    assert!(
        said.contains("was moved or removed while LivePC used it"),
        "{said}"
    );
    until_no_agent(&lab.home);
    assert!(!lab.home.path().exists(), "nothing of it is made again");
}

#[test]
fn nobody_who_is_connected_is_answered_from_a_home_that_is_gone() {
    let lab = Lab::complete(2);
    let asked = [
        Request::list(),
        Request::update(None, false),
        Request::Verify {
            id: Some("lab".into()),
            repair: true,
        },
        Request::Prune {
            dry_run: false,
            wanted: false,
        },
        Request::Unsubscribe {
            id: "lab".into(),
            delete_data: true,
        },
        Request::ConfigSet {
            name: "download.max-bytes-per-second".into(),
            value: "1000".into(),
        },
    ];
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let at = lab.home.home().agent_whereabouts();
        let mut clients = Vec::new();
        lab.home.done(&["list"]);
        for _ in &asked {
            clients.push(
                Client::connect(&at, "test", true)
                    .await
                    .expect("there is an agent"),
            );
        }
        remove(lab.home.path());
        for (client, request) in clients.iter().zip(asked) {
            let verb = request.verb();
            let answer = client.call(request).await;
            let problem = answer.expect_err(&verb);
            let told = format!("{verb}: {problem}");
            assert!(
                problem.message.contains("moved or removed") || problem.message.contains("has ended"),
                "{told}"
            );
        }
    });
    until_no_agent(&lab.home);
    assert!(!lab.home.path().exists(), "nothing of it is made again");
}

/// A home with a name that can be changed.
struct Named {
    root: PathBuf,
}

impl Named {
    fn ask(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.env("NO_PROXY", "*").env_remove("LIVEPC_HOME");
        command.arg("--json").arg("--home").arg(&self.root).args(verb);
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn done(&self, verb: &[&str]) -> Value {
        let output = self.ask(verb).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{verb:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        kill_at_once(&processes_in(&self.root));
    }
}

#[test]
fn a_home_that_is_renamed_goes_on_under_its_new_name_and_leaves_nothing_behind() {
    let lab = Lab::subscribed(8);
    let outer = TestHome::new();
    let (old, new) = (outer.path().join("bin/old"), outer.path().join("bin/new"));
    fs::create_dir(outer.path().join("bin")).expect("a folder");
    let (was, is) = (Named { root: old.clone() }, Named { root: new.clone() });
    was.done(&["subscribe", &lab.feed(), "--yes"]);
    was.done(&["download", "lab"]);
    let second = {
        lab.publish(2, &[]);
        lab.server.set_bytes_per_second(Some(1 << 20));
        let mut update = was.ask(&["update", "lab"]);
        update.stdout(Stdio::piped()).stderr(Stdio::piped());
        lab.server.log().clear();
        let update = update.spawn().expect("it starts");
        until("a pack is on its way", || lab.server.log().sent("/packs/") > 0);
        update
    };
    was.done(&["start", "lab", "--display", "none", "--no-fill"]);
    fs::rename(&old, &new).expect("it is renamed");
    let said = refusal(second);
    assert!(
        said.contains("was moved or removed while LivePC used it"),
        "{said}"
    );
    // The machine runs on, and is found; the agent is another one, which goes on with what was under way.
    lab.server.set_bytes_per_second(None);
    let listed = is.done(&["list"]);
    assert_eq!(listed["livepcs"][0]["state"], "running", "{listed}");
    is.done(&["stop", "lab", "--force"]);
    is.done(&["download", "lab"]);
    is.done(&["verify", "lab"]);
    until("only one agent is left", || {
        outer.processes("agent").len() <= 1 && outer.processes("runner").is_empty()
    });
    assert!(!old.exists(), "nothing of it is made again under the old name");
    is.done(&["agent", "stop"]);
}

#[test]
fn a_download_into_a_store_that_is_removed_has_failed_and_can_be_done_again() {
    let (lab, download) = downloading();
    let store = lab.home.path().join("store");
    remove(&store);
    let said = refusal(download);
    assert!(
        said.contains("was moved or removed while LivePC used it"),
        "{said}"
    );
    assert!(!holds_pages(&store), "nothing is written where nobody finds it");
    lab.server.set_bytes_per_second(None);
    lab.home.done(&["agent", "stop"]);
    lab.home.done(&["download", "lab"]);
    lab.home.done(&["verify", "lab"]);
    assert_eq!(lab.here(), [1]);
}

#[test]
fn what_was_removed_of_the_store_while_it_was_fetched_is_not_here() {
    let (lab, download) = downloading();
    remove(&lab.home.path().join("store/packs"));
    let said = refusal(download);
    assert!(said.contains("removed while LivePC wrote it"), "{said}");
    lab.server.set_bytes_per_second(None);
    lab.home.done(&["download", "lab"]);
    lab.home.done(&["verify", "lab"]);
    assert_eq!(lab.here(), [1]);
}

/// What a system gives a process is little now and then: whoever asks is told, and waits for nobody.
#[test]
fn with_however_few_open_files_a_verb_comes_to_an_end() {
    let home = TestHome::new();
    home.done(&["list"]);
    home.kill_all();
    for files in (12..=36).step_by(2) {
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")])
            .arg(program())
            .arg("--home")
            .arg(home.path())
            .arg("list")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let begun = Instant::now();
        let mut verb = limited.spawn().expect("it starts");
        let late = begun + PATIENCE;
        let ended = loop {
            if let Some(ended) = verb.try_wait().expect("it is a child") {
                break Some(ended);
            }
            if Instant::now() > late {
                let _ = verb.kill();
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        home.kill_all();
        let said = verb.wait_with_output().expect("it has ended").stderr;
        let said = String::from_utf8_lossy(&said);
        let ended = ended.unwrap_or_else(|| panic!("with {files} files it waits for ever: {said}"));
        assert!(
            ended.success() || !said.trim().is_empty(),
            "with {files} files: {ended}, without a word"
        );
    }
    home.done(&["list"]);
}

/// What an agent needs and cannot open keeps nobody from ending a machine, which needs none of it.
#[test]
fn a_machine_is_stopped_although_there_can_be_no_agent() {
    let lab = Lab::complete(2);
    let home = &lab.home;
    for file in ["store/store.lock", "agent.lock"] {
        home.done(&["start", "lab", "--display", "none"]);
        kill_at_once(&home.processes("agent"));
        let (path, kept) = (home.path().join(file), home.path().join("store/kept"));
        fs::rename(&path, &kept).expect("it goes");
        std::os::unix::fs::symlink("/nowhere/at/all", &path).expect("a link");
        assert_ne!(home.run(&["list"]).code, 0, "{file}: there is no agent");
        let stopped = home.done(&["stop", "lab", "--force"]);
        assert_eq!(
            (&stopped["id"], &stopped["state"]),
            (&"lab".into(), &"stopped".into()),
            "{file}"
        );
        until("the hypervisor has ended", || home.hypervisors().is_empty());
        // There is nothing to stop, and that no agent can start is told.
        assert_ne!(home.run(&["stop", "lab", "--force"]).code, 0, "{file}");
        fs::rename(&kept, &path).expect("it is back");
    }
    assert_eq!(home.listed()["state"], "stopped");
}
