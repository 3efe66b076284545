//! The store moves to another folder or drive, and is whole at one of the two places whatever happens.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use livepc_tests::forge::disk;
use livepc_tests::home::kill;
use livepc_tests::lab::Lab;
use serde_json::json;

use crate::bad_input::SmallDisk;

/// Everything must be here, without the network, and as it was published.
#[track_caller]
fn is_whole(lab: &Lab) {
    assert_eq!(lab.home.listed()["complete"], true);
    let verified = lab.home.done(&["verify", "lab"]);
    assert!(verified["bytes"].as_u64() > Some(1 << 20), "{verified}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// True if there is a store in a folder.
fn is_store(folder: &Path) -> bool {
    folder.join("store.json").is_file()
}

#[test]
fn a_store_moves_within_a_drive_and_to_another_and_back() {
    let lab = Lab::complete(4);
    let home = &lab.home;
    let (first, drive) = (home.home().store(), SmallDisk::new(64));
    let second = lab.work.path().join("a/second");
    let third = drive.path().join("third");
    lab.server.stop();
    for (from, to, renamed) in [
        (&first, &second, true),
        (&second, &third, false),
        (&third, &first, false),
    ] {
        let moved = home.done(&["store", "move", text(to)]);
        assert_eq!(
            (&moved["renamed"], moved["store"].as_str()),
            (&renamed.into(), to.to_str())
        );
        assert!(is_store(to) && !from.exists(), "{moved}");
        assert_eq!(&home.home().store(), to);
        let mode = to.metadata().expect("the store").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "nobody else gets in");
        is_whole(&lab);
    }
    assert!(
        !home.path().join("store-place.json").exists(),
        "it is where it was at first"
    );
}

#[test]
fn a_store_that_is_used_stays_and_so_does_one_that_does_not_fit() {
    let lab = Lab::complete(4);
    let home = &lab.home;
    let first = home.home().store();
    let to = lab.work.path().join("new");
    let refused = |code, why| {
        home.run(&["store", "move", text(&to)]).refused(code, why);
        assert!(is_store(&first) && !to.exists(), "nothing has changed");
    };
    home.done(&["start", "lab", "--display", "none", "--no-fill"]);
    refused(1, "busy");
    // Without its agent the machine is as much in the way.
    home.processes("agent").into_iter().for_each(kill);
    refused(1, "busy");
    home.done(&["stop", "lab", "--force"]);
    // A download that goes on by itself.
    lab.publisher
        .project(&disk(lab.work.path(), "2.raw", 4, 2), "Lab");
    lab.publisher.publish(&[]);
    home.done(&["update", "lab", "--check"]);
    lab.server.set_bytes_per_second(Some(100_000));
    let mut download = home.spawn(&["download", "lab"]);
    home.until("fetching", |_| home.done(&["status", "lab"])["jobs"] != json!([]));
    kill(download.id());
    download.wait().expect("it ends");
    refused(1, "busy");
    lab.server.set_bytes_per_second(None);
    home.done(&["download", "lab"]);
    let (used, inside) = (lab.work.path(), first.join("inside"));
    for wrong in [used, &inside, &first] {
        home.run(&["store", "move", text(wrong)]).refused(2, "usage");
    }
    let small = SmallDisk::new(1);
    home.run(&["store", "move", text(&small.path().join("new"))])
        .refused(6, "disk-full");
    is_whole(&lab);

    // A drive that is not connected is told, and nothing new is made in its place.
    home.done(&["store", "move", text(&to)]);
    let away = lab.work.path().join("away");
    std::fs::rename(&to, &away).expect("it goes");
    home.done(&["agent", "stop"]);
    home.run(&["list"]).refused(3, "not-found");
    let findings = home.run(&["doctor"]).json["findings"].clone();
    let store = findings
        .as_array()
        .and_then(|all| all.iter().find(|one| one["subject"] == "store"));
    assert_eq!(
        store.map(|store| &store["health"]),
        Some(&"bad".into()),
        "{findings}"
    );
    assert!(!to.exists());
    std::fs::rename(&away, &to).expect("it comes back");
    is_whole(&lab);
}

/// A folder to move to is made before the move begins.
fn is_nothing(place: &Path) -> bool {
    std::fs::read_dir(place).map_or(true, |mut entries| entries.next().is_none())
}

#[test]
fn a_move_that_is_killed_at_any_moment_leaves_one_whole_store() {
    let lab = Lab::complete(48);
    let home = &lab.home;
    let drive = SmallDisk::new(256);
    let places: [PathBuf; 2] = [home.home().store(), drive.path().join("store")];
    lab.server.stop();
    let (mut delay, mut killed, mut moved) = (20, 0, 0);
    while moved < 2 {
        let from = home.home().store();
        let to = places.iter().find(|place| **place != from).expect("the other");
        let mut moving = home.spawn(&["store", "move", text(to)]);
        std::thread::sleep(Duration::from_millis(delay));
        let ended = moving.try_wait().expect("it can be asked");
        if ended.is_none() {
            kill(moving.id());
            killed += 1;
        }
        let ended = moving.wait().expect("it ends");
        if ended.success() {
            moved += 1;
        }
        is_whole(&lab);
        let now = home.home().store();
        let left = places.iter().find(|place| **place != now).expect("the other");
        assert!(
            is_store(&now) && is_nothing(left),
            "after {delay} ms: one store, and nothing of another"
        );
        delay += delay / 8 + 5;
        assert!(delay < 60_000, "it never ends");
    }
    assert!(killed > 5, "{killed} kills are too few to mean something");
}
