//! Clocks that are set, or were wrong.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp, ToSpan as _, Unit, tz::TimeZone};
use livepc_tests::clock::Clock;
use livepc_tests::lab::Lab;
use serde_json::json;

const YEAR: i64 = 365 * 24 * 3600;

/// A computer whose battery is flat wakes up in another decade, and is set right in the middle of a download.
#[test]
fn a_clock_that_jumps_disturbs_no_download_and_no_trust() {
    let mut lab = Lab::subscribed(16);
    lab.home.done(&["agent", "stop"]);
    let clock = Clock::of(&mut lab.home);
    lab.relist(|head| head.expires = Some(Timestamp::now() + SignedDuration::from_hours(24)));
    let stale = |lab: &Lab| lab.home.done(&["show", "lab"])["livepc"]["stale"]["why"].clone();
    assert_eq!(stale(&lab), json!(null));

    lab.server.set_bytes_per_second(Some(1 << 20));
    lab.server.log().clear();
    let mut download = lab.home.spawn(&["download", "lab"]);
    for (part, ahead) in [(1, 10 * YEAR), (2, -10 * YEAR), (3, 10 * YEAR), (4, 0)] {
        let until = Instant::now() + Duration::from_secs(60);
        while lab.server.log().sent("packs/") < part * (2 << 20) {
            assert!(Instant::now() < until, "the download stands since jump {part}");
            std::thread::sleep(Duration::from_millis(5));
        }
        clock.set_ahead(ahead);
        if part == 1 {
            assert_eq!(stale(&lab), "expired", "so it is seen from there");
        }
        let job = lab.home.done(&["status", "lab"])["jobs"][0].clone();
        let rate = job["bytes_per_second"].as_u64().expect("a rate");
        assert!(rate < 64 << 20, "no jump makes it faster: {job}");
    }
    lab.server.set_bytes_per_second(None);
    assert!(download.wait().expect("it ends").success());
    assert_eq!(lab.here(), [1]);
    assert_eq!(stale(&lab), json!(null), "nothing of it stays");

    // What is accepted follows from the order that the publisher gave it, not from what time it is here.
    clock.set_ahead(-10 * YEAR);
    lab.follow(2);
    clock.set_ahead(10 * YEAR);
    lab.follow(3);
    clock.set_ahead(0);
    assert_eq!(lab.here(), [3], "those that nobody ran have made room");
    lab.home.done(&["verify", "lab"]);
}

#[test]
fn the_hours_for_updates_begin_on_time() {
    let mut lab = Lab::complete(3);
    lab.home.done(&["config", "set", "updates.hours", "22:00-07:00"]);
    lab.home.done(&["agent", "stop"]);
    lab.publish(2, &[]);
    let clock = Clock::of(&mut lab.home);
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let evening = now
        .date()
        .at(21, 59, 30, 0)
        .to_zoned(TimeZone::UTC)
        .expect("a time");
    let evening = evening.checked_add(1.day()).expect("tomorrow");
    let ahead = now
        .until((Unit::Second, &evening))
        .expect("seconds")
        .get_seconds();
    clock.set_ahead(ahead);
    lab.server.log().clear();
    lab.home.until("told", |_| {
        lab.home.done(&["show", "lab"])["livepc"]["release_available"] == 2
    });
    let there = Timestamp::now() + SignedDuration::from_secs(ahead);
    let hour = there.to_zoned(TimeZone::UTC).hour();
    assert_eq!(hour, 21, "this computer is too slow to see what happens before");
    assert_eq!(lab.server.log().sent("packs/"), 0, "it is not yet time");
    let until = Instant::now() + Duration::from_secs(180);
    while lab.here() != [2] {
        assert!(Instant::now() < until, "nothing is fetched although it is time");
        std::thread::sleep(Duration::from_millis(200));
    }
}
