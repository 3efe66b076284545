//! Many programs on one home at once, whose agent is killed under them: there is one agent at a time, nobody gets nonsense,
//! and nothing is lost.

use std::process::Output;
use std::time::Duration;

use livepc_tests::home::kill;
use livepc_tests::lab::Lab;
use livepc_tests::origin::Random;
use serde_json::Value;

/// What runs at once.
const VERBS: [&[&str]; 5] = [
    &["download", "lab"],
    &["list"],
    &["verify", "lab"],
    &["update", "lab", "--check"],
    &["show", "lab"],
];
const ROUNDS: u32 = 18;

/// A program that ended: with an object, or with a reason that a person can do something about.
fn check(verb: &[&str], output: &Output) -> bool {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if output.status.success() {
        let object: Value = serde_json::from_str(&out).unwrap_or(Value::Null);
        assert!(object.is_object(), "`{verb:?}` says: {out}{err}");
        return true;
    }
    let last = err
        .lines()
        .last()
        .and_then(|line| serde_json::from_str::<Value>(line).ok());
    let last = last.unwrap_or_else(|| panic!("`{verb:?}` fails without a reason: {out}{err}"));
    assert_eq!(last["type"], "error", "`{verb:?}` says: {err}");
    let killed_early = last["message"]
        .as_str()
        .is_some_and(|said| said.contains("ended before it was ready"));
    assert!(
        killed_early || last["code"] == "agent-gone" || last["code"] == "cancelled",
        "its agent was killed, or another paused its job; nothing else was wrong: {last}"
    );
    false
}

#[test]
fn a_crowd_on_one_home_survives_the_deaths_of_its_agents() {
    let lab = Lab::subscribed(16);
    let home = &lab.home;
    lab.server.set_bytes_per_second(Some(24 << 20));
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let (mut well, mut told, mut killed) = (0, 0, 0);
    for round in 0..ROUNDS {
        let children: Vec<_> = VERBS.iter().map(|verb| (*verb, home.spawn(verb))).collect();
        if round % 3 != 2 {
            // No event tells when all of them are at work: the moment is chosen by chance.
            std::thread::sleep(Duration::from_millis(random.below(300) as u64));
            // Each of them may have started one; all but the first find the lock taken, and end.
            let agents = home.processes("agent");
            killed += agents.len();
            agents.into_iter().for_each(kill);
        }
        for (verb, child) in children {
            let output = child.wait_with_output().expect("it ends");
            if check(verb, &output) {
                well += 1;
            } else {
                told += 1;
            }
        }
    }
    println!(
        "{well} did what they should, {told} said that their agent was gone; {killed} agents were killed"
    );
    assert!(well > told, "{well} and {told}");
    home.done(&["download", "lab"]);
    home.done(&["verify", "lab"]);
    let out = lab.work.path().join("out.raw");
    home.done(&["export", "lab", out.to_str().expect("UTF-8")]);
    assert!(
        std::fs::read(&out).expect("the export")
            == std::fs::read(lab.work.path().join("1.raw")).expect("the disk"),
        "it is what was published"
    );
}

/// What twenty programs do at once on a home that is not there yet. None of them needs a network.
const NEW_HOME: [&[&str]; 10] = [
    &["list"],
    &["doctor"],
    &["config", "get", "store.max-bytes"],
    &["source", "list"],
    &["status"],
    &["subscribe", "FEED", "--yes"],
    &["search", "x"],
    &["prune", "--dry-run"],
    &["pause", "--off"],
    &["source", "add", "CATALOG"],
];
const CROWD: usize = 20;

#[test]
fn a_crowd_on_a_new_home_all_succeed() {
    let lab = Lab::subscribed(1);
    let catalog = lab.work.path().join("catalog.xml");
    let catalog = catalog.to_str().expect("UTF-8");
    let publisher = &lab.publisher.home;
    publisher.done(&["catalog", "init", catalog, "--title", "Labs"]);
    publisher.done(&["catalog", "add", catalog, "--feed", &lab.feed()]);
    let rounds = if std::env::var_os("LIVEPC_TEST_LONG").is_some() {
        20
    } else {
        5
    };
    for round in 0..rounds {
        let work = tempfile::tempdir().expect("a folder");
        let root = work.path().join("new");
        let spawn = |verb: &[&str]| {
            let args = verb.iter().map(|arg| match *arg {
                "FEED" => lab.feed(),
                "CATALOG" => catalog.to_owned(),
                other => other.to_owned(),
            });
            let mut command = std::process::Command::new(livepc_tests::home::program());
            command
                .env_remove("LIVEPC_HOME")
                .arg("--home")
                .arg(&root)
                .arg("--json")
                .args(args);
            command.env("NO_PROXY", "*").stdin(std::process::Stdio::null());
            command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            command.spawn().expect("it starts")
        };
        let crowd: Vec<_> = (0..CROWD)
            .map(|number| NEW_HOME[number % NEW_HOME.len()])
            .map(|verb| (verb, spawn(verb)))
            .collect();
        for (verb, child) in crowd {
            let output = child.wait_with_output().expect("it ends");
            let (out, err) = (
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr),
            );
            assert!(output.status.success(), "round {round}, {verb:?}: {out}{err}");
        }
        let programs = std::fs::read_dir(root.join("bin")).expect("the programs").count();
        assert_eq!(programs, 1, "one copy of the program for all");
        let ended = spawn(&["agent", "stop"]).wait_with_output().expect("it ends");
        assert!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
    }
}
