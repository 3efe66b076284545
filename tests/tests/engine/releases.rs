//! The life of releases: withdrawn ones that leave the list, those that nobody starts, and a publisher who begins again.

use jiff::Timestamp;
use livepc_format::head::ReleaseState;
use livepc_tests::forge::disk;
use livepc_tests::home::TestHome;
use livepc_tests::lab::Lab;
use serde_json::json;

fn withdraw(lab: &Lab, sequence: u64) {
    lab.relist(|head| {
        let release = head.releases.iter_mut().find(|r| r.sequence == sequence);
        let release = release.expect("it is listed");
        release.state = ReleaseState::Withdrawn;
        release.gone_after = Some(Timestamp::UNIX_EPOCH);
    });
}

fn leave(lab: &Lab, sequence: u64) {
    lab.relist(|head| head.releases.retain(|release| release.sequence != sequence));
}

/// A publisher who keeps to the rules must not lose its subscribers, however many lists they have missed.
#[test]
fn a_withdrawn_release_leaves_the_list_and_subscribers_follow() {
    let lab = Lab::complete(3);
    let late = TestHome::new();
    late.done(&["subscribe", &lab.feed(), "--yes"]);
    lab.follow(2);
    lab.follow(3);
    let early = TestHome::new();
    early.done(&["subscribe", &lab.feed(), "--yes"]);

    // The newest one first: what is the newest goes back.
    withdraw(&lab, 3);
    leave(&lab, 3);
    assert_eq!(lab.run_once(), 2, "the newest that is left");
    for home in [&late, &early] {
        let updated = home.done(&["update", "lab", "--check"]);
        assert_eq!(updated["updates"][0]["to"], 2, "{updated}");
    }
    withdraw(&lab, 1);
    leave(&lab, 1);
    lab.publish(4, &[]);
    for home in [&lab.home, &late, &early] {
        let updated = home.done(&["update", "lab", "--check"]);
        assert_eq!(
            updated["updates"][0]["to"], 4,
            "a number is never used twice: {updated}"
        );
        assert_eq!(home.done(&["show", "lab"])["livepc"]["problem"], json!(null));
    }
}

/// Who has a release may keep it, and what was changed on its disk, whatever the list says.
#[test]
fn a_list_may_become_empty_and_fill_again() {
    let lab = Lab::complete(3);
    lab.home.done(&["keep", "lab"]);
    assert_eq!(lab.run_once(), 1);
    withdraw(&lab, 1);
    leave(&lab, 1);
    let shown = lab.home.done(&["show", "lab"]);
    assert_eq!(shown["releases"], json!([]));
    let told = |shown: &serde_json::Value| {
        let livepc = &shown["livepc"];
        (livepc["withdrawn"].clone(), livepc["label_in_use"].clone())
    };
    assert_eq!(
        told(&shown),
        (json!(1), json!("1")),
        "who has it is told: {shown}"
    );
    for _ in 0..2 {
        assert_eq!(lab.run_once(), 1);
        lab.home.done(&["agent", "stop"]);
    }
    lab.publish(2, &[]);
    lab.home.done(&["update", "lab", "--check"]);
    assert_eq!(lab.run_once(), 1, "the changes belong to it");
    lab.home.done(&["reset", "lab", "--yes"]);
    assert_eq!(lab.run_once(), 2);
    let shown = lab.home.done(&["show", "lab"]);
    assert_eq!(
        shown["livepc"]["withdrawn"],
        json!(null),
        "it is no longer used: {shown}"
    );
    lab.home.done(&["update", "lab"]);
    assert_eq!(lab.home.done(&["show", "lab"])["livepc"]["release_available"], 2);
}

/// Who follows a publisher of a release a day, and starts the machine once a month, does not keep thirty.
#[test]
fn releases_that_nobody_starts_make_room_for_later_ones() {
    let lab = Lab::complete(3);
    lab.follow(2);
    lab.home.until("forgotten", |_| lab.here() == [2]);
    assert_eq!(lab.run_once(), 2);
    for release in 3..6 {
        lab.follow(release);
        let release = u64::from(release);
        lab.home.until("forgotten", |_| lab.here() == [release, 2]);
    }
    let dry = lab.home.done(&["prune", "--dry-run"]);
    assert_eq!(
        (&dry["releases"], &dry["kept"]),
        (&json!([]), &json!([])),
        "{dry}"
    );
    assert_eq!(lab.run_once(), 5);
    assert_eq!(lab.here(), [5, 2], "2 is the one to go back to");

    // What somebody asks for by its number stays, and can be told from the rest.
    lab.home.done(&["download", "lab", "--release", "3"]);
    lab.home.done(&["download", "lab", "--release", "5"]);
    lab.follow(6);
    lab.home.done(&["agent", "stop"]);
    assert_eq!(lab.here(), [6, 5, 3, 2]);
    let told = lab.home.done(&["prune"]);
    assert_eq!(told["releases"], json!([]), "{told}");
    let kept: Vec<_> = told["kept"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|r| &r["release"])
        .collect();
    assert_eq!(kept, [&json!(3)], "{told}");
    let dry = lab.home.done(&["prune", "--wanted", "--dry-run"]);
    assert_eq!(dry["releases"][0]["release"], 3, "{dry}");
    assert_eq!(lab.here(), [6, 5, 3, 2], "a dry run removes nothing");
    let gone = lab.home.done(&["prune", "--wanted"]);
    assert_eq!((&gone["releases"], &gone["kept"]), (&dry["releases"], &json!([])));
    assert_eq!(lab.here(), [6, 5, 2]);
}

/// Files are lost, and all subscribers would see a false list. The publisher is told first, and there is a way to go on.
#[test]
fn a_publisher_who_lost_the_files_goes_on_and_subscribers_follow() {
    let lab = Lab::complete(3);
    std::fs::remove_dir_all(lab.publisher.site()).expect("they are lost");
    lab.publisher
        .project(&disk(lab.work.path(), "new.raw", 3, 9), "Lab");
    for publish in [["--dry-run"].as_slice(), &[]] {
        let refused = lab.publisher.try_publish(publish);
        refused.refused(4, "trust");
        assert!(
            refused.text.contains("subscribers") && refused.text.contains("--start-over"),
            "{}",
            refused.text
        );
    }
    assert_eq!(lab.publisher.publish(&["--start-over"])["release"], 2);
    lab.home.done(&["update", "lab"]);
    lab.home.done(&["download", "lab"]);
    assert_eq!(lab.run_once(), 2);
    assert_eq!(lab.home.done(&["show", "lab"])["livepc"]["problem"], json!(null));
}

/// A role may change its meaning only where no list tells of the other one any more; what a subscriber has of the disks before
/// is not taken for the new one's then.
#[test]
fn a_role_that_changes_its_meaning_is_refused_and_never_mixes_disks() {
    let lab = Lab::complete(3);
    lab.publisher.own_disk("data", "1 MiB", "");
    lab.publisher.publish(&[]);
    lab.home.done(&["update", "lab"]);
    assert_eq!(lab.run_once(), 2);
    let file = |name: &str| lab.home.home().machine("lab").join(name);
    std::fs::write(file("data.raw"), vec![7; 1 << 20]).expect("data of the user's own");

    lab.publisher.project(&lab.disk(3), "Lab");
    lab.publisher
        .published_disk("data", &disk(lab.work.path(), "data.raw", 1, 5));
    let refused = lab.publisher.try_publish(&[]);
    refused.refused(2, "usage");
    assert!(refused.text.contains("another role"), "{}", refused.text);

    lab.relist(|head| head.releases.clear());
    lab.publisher.publish(&[]);
    lab.home.done(&["update", "lab"]);
    for _ in 0..2 {
        assert_eq!(lab.run_once(), 3);
        let overlay = std::fs::read(file("data.qcow2")).expect("there is an overlay");
        assert!(!overlay.ends_with(b"stale"), "what was changed before is gone");
        std::fs::write(file("data.qcow2"), [overlay.as_slice(), b"stale"].concat()).expect("a mark");
    }
    assert!(
        std::fs::read(file("data.raw"))
            .expect("it stays")
            .iter()
            .all(|byte| *byte == 7),
        "nobody wrote to the user's own disk"
    );
}
