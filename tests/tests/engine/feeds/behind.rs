//! Between a publisher and what is accepted: networks that answer for the server, and caches that are behind.

use livepc_format::{Digest, paths};
use livepc_tests::clock::Clock;
use livepc_tests::forge::signing_key;
use livepc_tests::home::{Ran, TestHome};
use livepc_tests::lab::Lab;
use livepc_tests::origin::{Fault, Rule};
use serde_json::{Value, json};

use super::{shown, site};

const DAY: i64 = 24 * 3600;

/// What a failed update says must be trouble of the network, also in what is shown.
#[track_caller]
fn is_trouble(home: &TestHome, ran: &Ran, says: &str) {
    ran.refused(5, "network");
    assert!(ran.text.contains(says), "it says what it is: {}", ran.text);
    let shown = shown(home);
    assert_eq!(
        (&shown["problem"]["code"], &shown["stale"]),
        (&json!("network"), &Value::Null),
        "{shown}"
    );
}

/// A network that wants its user to sign in answers every request with a page of its own.
#[test]
fn a_page_instead_of_what_was_asked_for_is_trouble_of_the_network() {
    let lab = Lab::complete(3);
    lab.publish(2, &[]);
    for (path, fault, says) in [
        ("", Fault::Page, "sign in"),
        ("feed.xml", Fault::Page, "sign in"),
        ("head.json", Fault::Page, "sign in"),
        ("keys.json", Fault::Page, "sign in"),
        ("manifests/", Fault::Page, "sign in"),
        ("feed.xml", Fault::Nothing, "is empty"),
        ("head.json", Fault::Nothing, "is empty"),
        ("manifests/", Fault::Nothing, "nothing came"),
        (
            "feed.xml",
            Fault::Leads {
                code: 302,
                to: "http://portal.invalid/login".to_owned(),
            },
            "sign in",
        ),
        (
            "",
            Fault::Status {
                code: 511,
                retry_after: None,
            },
            "sign in",
        ),
    ] {
        lab.server.behave();
        lab.server.fail(Rule::always(path, fault.clone()));
        let ran = lab.home.run(&["update", "lab"]);
        ran.refused(5, "network");
        assert!(ran.text.contains(says), "{path} {fault:?}: {}", ran.text);
        let stale = &shown(&lab.home)["stale"];
        assert_eq!(*stale, Value::Null, "{path} {fault:?}");
    }
    lab.server.behave();
    lab.home.done(&["update", "lab"]);
    assert_eq!(lab.here(), [2]);
    assert_eq!(shown(&lab.home)["problem"], Value::Null);
}

#[test]
fn half_a_document_is_trouble_and_one_that_is_signed_falsely_is_an_alarm() {
    let lab = Lab::subscribed(1);
    let site = site(&lab);
    for path in [paths::FEED, paths::HEAD, paths::KEYS] {
        let whole = site.read(path);
        site.write(path, &whole[..whole.len() / 2]);
        if path == paths::KEYS {
            // Keys are asked for with a changed head.
            let head = site.read(paths::HEAD);
            site.write(paths::HEAD, head);
        }
        is_trouble(&lab.home, &lab.home.run(&["update", "lab"]), "ends early");
        site.write(path, whole);
    }
    lab.home.done(&["update", "lab"]);
    site.resign(&signing_key(&lab.publisher), |head| {
        head.releases[0].manifest = Digest::of(b"other");
    });
    lab.home.run(&["update", "lab"]).refused(4, "trust");
}

/// One of several caches has what was there a minute ago.
#[test]
fn a_cache_that_is_behind_is_passed_by_and_is_an_alarm_only_when_it_stays_so() {
    let mut lab = Lab::complete(3);
    lab.home.done(&["agent", "stop"]);
    let clock = Clock::of(&mut lab.home);
    let old: Vec<_> = [paths::HEAD, paths::FEED]
        .map(|path| site(&lab).read(path))
        .into();
    lab.follow(2);
    let new: Vec<_> = [paths::HEAD, paths::FEED]
        .map(|path| site(&lab).read(path))
        .into();
    let put = |files: &[Vec<u8>]| {
        for (path, bytes) in [paths::HEAD, paths::FEED].iter().zip(files) {
            site(&lab).write(path, bytes);
        }
    };

    // It has the new one when it is asked past itself.
    site(&lab).write("before.json", &old[0]);
    site(&lab).write(paths::HEAD, &new[0]);
    lab.server.log().clear();
    let to = "/before.json".to_owned();
    lab.server
        .fail(Rule::first("/head.json", 1, Fault::Leads { code: 302, to }));
    lab.home.done(&["update", "lab"]);
    let asked = lab.server.log().of("/head.json");
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].header("cache-control"), "no-cache");
    lab.server.behave();

    put(&old);
    is_trouble(&lab.home, &lab.home.run(&["update", "lab"]), "older");
    assert_eq!(
        lab.home.listed()["release_available"],
        2,
        "what was accepted stays"
    );
    clock.set_ahead(DAY / 2);
    is_trouble(&lab.home, &lab.home.run(&["update", "lab"]), "older");
    put(&new);
    lab.home.done(&["update", "lab"]);
    put(&old);
    clock.set_ahead(DAY + DAY / 4);
    is_trouble(&lab.home, &lab.home.run(&["update", "lab"]), "older");
    clock.set_ahead(2 * DAY + DAY / 2);
    lab.home.run(&["update", "lab"]).refused(4, "trust");
    assert_eq!(
        shown(&lab.home)["stale"]["why"],
        "refused",
        "it has been so for more than a day"
    );
    put(&new);
    lab.home.done(&["update", "lab"]);
    assert_eq!(shown(&lab.home)["stale"], Value::Null);
}
