//! A disk that is full at any moment: every verb returns, with what it did or with a word about the space, nothing piles up,
//! and once there is space all goes on.

use std::process::{Child, Output};
use std::time::{Duration, Instant};

use livepc_tests::forge::disk;
use livepc_tests::home::TestHome;
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;
use serde_json::Value;

use crate::bad_input::SmallDisk;

/// KiB that are free: none, what a change of the state takes, what a part of a release takes, nearly enough.
const LEVELS: [u64; 30] = [
    0, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1280, 1536, 2048, 2560, 3072, 3584, 4096,
    5120, 6144, 7168, 8192, 10240, 12288, 16384, 20480, 24576,
];
/// MiB of the disk when there is space.
const LARGE: u64 = 600;
/// How long a verb may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits for a verb, which must return.
#[track_caller]
fn returned(mut child: Child, what: &str) -> Output {
    let until = Instant::now() + LIMIT;
    while child.try_wait().expect("it can be waited for").is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            panic!("{what} does not return");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("its output")
}

/// The `code` of the error that a verb told.
fn code(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut errors = lines.filter(|line| line["type"] == "error");
    errors.next_back().map_or_else(
        || said.clone().into_owned(),
        |line| line["code"].as_str().unwrap_or_default().to_owned(),
    )
}

/// What is left of files that were never finished.
fn unfinished(home: &TestHome) -> Vec<String> {
    let (mut folders, mut found) = (vec![home.path().to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                folders.push(path);
            } else if name.starts_with(livepc_durable::UNFINISHED) || name.starts_with(".new-") {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn every_verb_returns_however_little_space_there_is() {
    let long = std::env::var_os("LIVEPC_TEST_LONG").is_some();
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 4, 1), "Lab");
    publisher.publish(&[]);
    let server = Origin::start(publisher.site()).expect("the origin starts");
    let feed = format!("{}feed.xml", server.url());
    publisher.list_in_catalog(&feed);
    let catalog = format!("{}catalog.xml", server.url());
    let small = SmallDisk::new(LARGE);
    let home = TestHome::new_in(small.path());
    let out = work.path().join("out.raw").display().to_string();
    home.done(&["list"]);
    home.done(&["agent", "stop"]);
    let base = small.used();
    let mut full = 0;
    for (level, kib) in LEVELS.iter().enumerate() {
        if !long && level % 3 != 0 {
            continue;
        }
        small.resize_to(small.used() + (kib << 10));
        for verb in [
            vec!["list"],
            vec!["config", "set", "download.max-bytes-per-second", "0"],
            vec!["source", "add", &catalog],
            vec!["subscribe", &feed, "--yes"],
            vec!["download", "lab"],
            vec!["keep", "lab"],
            vec!["update", "lab"],
            vec!["export", "lab", &out, "--force"],
            vec!["verify", "lab"],
            vec!["prune"],
        ] {
            let what = format!("{verb:?} with {kib} KiB free");
            let output = returned(home.spawn(&verb), &what);
            if output.status.success() {
                continue;
            }
            let code = code(&output);
            full += u32::from(code == "disk-full");
            let unknown = code == "not-found" && verb.contains(&"lab");
            assert!(code == "disk-full" || unknown, "{what} says {code}: {output:?}");
        }
        // There is space again, and all goes on.
        small.resize_to(LARGE << 20);
        home.done(&["source", "add", &catalog]);
        home.done(&["subscribe", &feed, "--yes"]);
        home.done(&["download", "lab"]);
        assert_eq!(home.listed()["complete"], true, "after {kib} KiB");
        home.done(&["verify", "lab"]);
        home.done(&["unsubscribe", "lab", "--delete-data"]);
        home.done(&["agent", "stop"]);
        assert_eq!(unfinished(&home), Vec::<String>::new(), "after {kib} KiB");
        let more = small.used().saturating_sub(base);
        assert!(
            more < 12 << 20,
            "after {kib} KiB {more} bytes more are used than at first"
        );
    }
    assert!(full > 0, "the disk was full at some time");
    println!("{full} times there was no space");
}
