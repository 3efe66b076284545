//! New releases: who is asked for them, what is told before they are fetched, which one the next start uses, and how long
//! earlier ones stay.

use std::time::{Duration, Instant};

use livepc_format::head::ReleaseState;
use livepc_tests::forge::disk;
use livepc_tests::lab::Lab;
use livepc_tests::network_manager::NetworkManager;
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

/// Has the publisher take back a release for a fault.
fn yank(lab: &Lab, sequence: u64) {
    lab.relist(|head| {
        let release = head.releases.iter_mut().find(|r| r.sequence == sequence);
        release.expect("it is listed").state = ReleaseState::Yanked;
    });
}

/// Until a new release has proved itself, and one before it, there must be one to go back to without the network.
#[test]
fn an_earlier_release_stays_until_later_ones_have_run() {
    let lab = Lab::complete(3);
    assert_eq!(lab.run_once(), 1);
    lab.follow(2);
    assert_eq!(lab.here(), [2, 1], "2 has not run yet");
    assert_eq!(lab.run_once(), 2);
    lab.home.done(&["agent", "stop"]);
    assert_eq!(lab.here(), [2, 1], "1 is the one to go back to");
    lab.follow(3);
    lab.home.done(&["agent", "stop"]);
    assert_eq!(lab.here(), [3, 2, 1], "3 has not run yet");
    assert_eq!(lab.run_once(), 3);
    lab.home.until("forgotten", |_| lab.here() == [3, 2]);
    let verified = lab.home.done(&["verify", "lab"]);
    assert_eq!(
        verified["verified"].as_array().map(Vec::len),
        Some(1),
        "{verified}"
    );

    lab.server.stop();
    let pinned = lab.home.done(&["rollback", "lab"]);
    assert_eq!(pinned["pinned"], 2, "{pinned}");
    assert_eq!(lab.run_once(), 2, "without the network");
    lab.server.start_again().expect("the port is free");

    // One that somebody asks for by its number is no leftover.
    lab.home.done(&["download", "lab", "--release", "1"]);
    lab.home.done(&["agent", "stop"]);
    assert_eq!(lab.here(), [3, 2, 1]);
}

#[test]
fn a_release_that_was_taken_back_is_never_chosen_and_is_shown() {
    let lab = Lab::complete(3);
    assert_eq!(lab.run_once(), 1);
    lab.follow(2);
    assert_eq!(lab.run_once(), 2);
    assert_eq!(lab.home.listed()["yanked"], Value::Null);
    yank(&lab, 2);
    assert_eq!(lab.home.listed()["yanked"], 2, "who has it is told");
    assert_eq!(lab.run_once(), 1, "the newest that was not taken back");
    assert_eq!(lab.home.listed()["yanked"], Value::Null, "it is no longer used");

    yank(&lab, 1);
    lab.home
        .run(&["start", "lab", "--display", "none"])
        .refused(3, "not-found");
    // Who has it may keep it.
    lab.home.done(&["pin", "lab", "--release", "1"]);
    assert_eq!(lab.run_once(), 1);
    assert_eq!(lab.home.listed()["yanked"], 1);
}

/// A fault is worse than waiting for data.
#[test]
fn the_next_start_waits_for_a_release_rather_than_use_one_that_was_taken_back() {
    let lab = Lab::complete(3);
    lab.home.done(&["pin", "lab", "--updates", "notify"]);
    assert_eq!(lab.run_once(), 1);
    lab.publish(2, &[]);
    lab.home.done(&["update", "lab", "--check"]);
    assert_eq!(lab.here(), [1], "2 is not fetched");
    yank(&lab, 1);
    assert_eq!(lab.run_once(), 2, "it comes while it runs");
}

/// Who does not have it does not get it, not even the rest of it.
#[test]
fn a_download_ends_when_its_release_is_taken_back() {
    let lab = Lab::complete(3);
    lab.home.done(&["pin", "lab", "--updates", "notify"]);
    lab.publish(2, &[]);
    lab.home.done(&["update", "lab", "--check"]);
    lab.server.set_bytes_per_second(Some(50_000));
    let download = lab.home.spawn(&["download", "lab"]);
    lab.home.until("fetching", |_| {
        lab.home.done(&["status", "lab"])["jobs"] != json!([])
    });
    yank(&lab, 2);
    let ended = download.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(130), "somebody cancelled it: {ended:?}");
    assert_eq!(lab.here(), [1]);
}

#[test]
fn what_an_update_costs_and_changes_is_told_before_it_is_fetched() {
    let lab = Lab::complete(3);
    lab.home.done(&["pin", "lab", "--updates", "notify"]);
    lab.publish(
        2,
        &["--changelog", "A fourth router.\nThe \u{1b}[31mfirewall is new."],
    );
    lab.server.log().clear();
    let checked = lab.home.done(&["update", "lab", "--check"]);
    let update = &checked["updates"][0];
    assert_eq!(
        (&update["from"], &update["to"], &update["job"]),
        (&json!(1), &json!(2), &Value::Null),
        "{checked}"
    );
    assert_eq!(
        update["changelog"], "A fourth router.\nThe [31mfirewall is new.",
        "nothing in it acts on a terminal"
    );
    assert_eq!(lab.server.log().sent("packs/"), 0, "nothing is fetched");
    let told = update["bytes_to_fetch"].as_u64().expect("a number");
    assert_eq!(
        lab.home.done(&["show", "lab"])["livepc"]["update_bytes"],
        told,
        "the app shows the same"
    );
    let job = lab.home.done(&["download", "lab"]);
    let fetched = job["bytes_total"].as_u64().expect("all") - job["bytes_reused"].as_u64().expect("a part");
    let new = 2 * MIB as u64;
    assert!(
        (new..new + new / 20).contains(&told) && told.abs_diff(fetched) < 2000,
        "two of three MiB are new; told were {told}, fetched {fetched}"
    );
}

/// One server that does not answer must not keep the news of all others from a person.
#[test]
fn a_publisher_that_does_not_answer_holds_up_nobody() {
    let lab = Lab::complete(3);
    let slow = Publisher::new(&disk(lab.work.path(), "slow.raw", 1, 9), "A slow one");
    slow.publish(&[]);
    let server = Origin::start(slow.site()).expect("the origin starts");
    lab.home
        .done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
    lab.home.done(&["agent", "stop"]);
    server.set_latency(Duration::from_secs(600));
    lab.publish(2, &[]);
    // The next agent asks both at its start; the slow one comes first by its title.
    let told = || lab.home.done(&["show", "lab"])["livepc"]["release_available"].clone();
    let until = Instant::now() + Duration::from_secs(30);
    while told() != 2 {
        assert!(Instant::now() < until, "the news of the other did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!server.log().of("feed.xml").is_empty());
}

/// What a new agent does by itself about a release that is published before it starts: it asks for news at its start. True
/// if the release is fetched, false if it is only told.
fn is_fetched_unasked(lab: &Lab, release: u8) -> bool {
    lab.home.done(&["agent", "stop"]);
    lab.publish(release, &[]);
    lab.server.log().clear();
    lab.home.until("told", |_| {
        lab.home.done(&["show", "lab"])["livepc"]["release_available"] == release
    });
    // It ends when nobody needs it and it has done what it wants to.
    let until = Instant::now() + Duration::from_secs(60);
    while lab.home.has_agent() {
        assert!(Instant::now() < until, "the agent does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    let fetched = lab.server.log().sent("packs/") > 0;
    assert_eq!(
        lab.here().contains(&u64::from(release)),
        fetched,
        "all of it or nothing"
    );
    fetched
}

#[test]
fn over_a_metered_connection_somebody_is_asked_first() {
    let network = NetworkManager::new();
    let mut lab = Lab::complete(3);
    lab.home.done(&["agent", "stop"]);
    lab.home
        .set_variable("DBUS_SYSTEM_BUS_ADDRESS", network.bus_address());
    assert!(is_fetched_unasked(&lab, 2), "nothing is known of the connection");
    network.set_metered(true);
    assert!(!is_fetched_unasked(&lab, 3), "it costs by the byte");
    lab.home.done(&["update", "lab"]);
    assert_eq!(lab.here()[0], 3, "somebody asked");
    lab.home.done(&["config", "set", "updates.metered", "fetch"]);
    assert!(is_fetched_unasked(&lab, 4), "somebody does not mind");
    lab.home.done(&["config", "set", "updates.metered", "ask"]);
    network.set_metered(false);
    assert!(is_fetched_unasked(&lab, 5), "another network");
}

#[test]
fn outside_of_its_hours_nothing_is_fetched_unasked() {
    let lab = Lab::complete(3);
    let hours = |from: i64, to: i64| {
        let now = jiff::Zoned::now();
        let at = |hours: i64| {
            (&now + jiff::SignedDuration::from_hours(hours))
                .strftime("%H:%M")
                .to_string()
        };
        let hours = format!("{}-{}", at(from), at(to));
        lab.home.done(&["config", "set", "updates.hours", &hours]);
    };
    hours(2, 4);
    assert!(!is_fetched_unasked(&lab, 2), "in two hours");
    hours(-2, 2);
    assert!(is_fetched_unasked(&lab, 3), "now");
    lab.home
        .run(&["config", "set", "updates.hours", "at night"])
        .refused(2, "usage");
}

/// Who pauses everything and goes to bed finds it paused.
#[test]
fn a_pause_of_everything_outlives_the_agent() {
    let lab = Lab::subscribed(3);
    lab.home.done(&["pause"]);
    lab.home.kill_all();
    let mut download = lab.home.spawn(&["download", "lab"]);
    lab.home.until("queued", |_| {
        lab.home.done(&["status", "lab"])["jobs"] != json!([])
    });
    assert_eq!(lab.home.done(&["status"])["paused"], true);
    assert_eq!(lab.server.log().sent("packs/"), 0);
    lab.home.done(&["pause", "--off"]);
    assert!(download.wait().expect("it ends").success());
    assert_eq!(lab.here(), [1]);
}
