//! Between a publisher's server and what is accepted: networks that answer for it, caches that are behind, servers that move,
//! storages, encodings, and sources that are none.

use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use livepc_format::{Digest, paths};
use livepc_tests::clock::Clock;
use livepc_tests::forge::{Site, disk, signing_key};
use livepc_tests::home::{Ran, TestHome};
use livepc_tests::lab::Lab;
use livepc_tests::nginx::Nginx;
use livepc_tests::origin::{Fault, Origin, Rule};
use livepc_tests::publisher::Publisher;
use serde_json::{Value, json};

const DAY: i64 = 24 * 3600;

fn site(lab: &Lab) -> Site {
    Site::of(&lab.publisher)
}

/// Has every request for such a path lead elsewhere.
fn lead(server: &Origin, path: &str, code: u16, to: &str) {
    let to = to.to_owned();
    server.fail(Rule::always(path, Fault::Leads { code, to }));
}

fn shown(home: &TestHome) -> Value {
    home.done(&["show", "lab"])["livepc"].clone()
}

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

/// Two servers: the old one, which leads to the new one, and what they publish.
struct Move {
    lab: Lab,
    new: Origin,
}

impl Move {
    fn new() -> Self {
        let lab = Lab::subscribed(2);
        let new = Origin::start(lab.publisher.site()).expect("the origin starts");
        Self { lab, new }
    }

    fn old_leads(&self, code: u16) {
        lead(&self.lab.server, "feed.xml", code, &self.there());
    }

    fn there(&self) -> String {
        format!("{}feed.xml", self.new.url())
    }

    /// The old server is gone, and a release is published: the subscription must live on.
    #[track_caller]
    fn lives_on_without_the_old(&self) {
        self.lab.server.stop();
        self.lab.publish(2, &[]);
        self.lab.home.done(&["update", "lab"]);
        self.lab.home.done(&["download", "lab"]);
        let shown = shown(&self.lab.home);
        assert_eq!(
            (
                &shown["feed_url"],
                &shown["moved_from"],
                &shown["release_available"]
            ),
            (&json!(self.there()), &json!(self.lab.feed()), &json!(2)),
            "{shown}"
        );
        let by_former = self.lab.home.done(&["show", &self.lab.feed()]);
        assert_eq!(by_former["livepc"]["id"], "lab", "the old address still names it");
    }
}

#[test]
fn a_feed_that_has_moved_for_ever_is_followed_and_kept() {
    for code in [301, 308] {
        let moved = Move::new();
        moved.old_leads(code);
        moved.lab.home.done(&["update", "lab"]);
        moved.lab.home.done(&["agent", "stop"]);
        moved.lives_on_without_the_old();
    }
    for code in [302, 307] {
        let moved = Move::new();
        moved.old_leads(code);
        moved.lab.home.done(&["update", "lab"]);
        let shown = shown(&moved.lab.home);
        assert_eq!(
            (&shown["feed_url"], &shown["moved_from"]),
            (&json!(moved.lab.feed()), &Value::Null)
        );
    }
}

#[test]
fn who_subscribes_by_an_old_address_is_subscribed_at_the_new_one() {
    let moved = Move::new();
    moved.old_leads(301);
    let late = TestHome::new();
    let subscribed = late.done(&["subscribe", &moved.lab.feed(), "--yes"]);
    assert_eq!(subscribed["feed_url"], moved.there());
}

/// A move is its publisher's word only if the same publisher is there.
#[test]
fn a_move_to_another_publisher_is_refused_and_the_old_address_stays() {
    let moved = Move::new();
    let stranger = Publisher::new(&disk(moved.lab.work.path(), "s.raw", 1, 7), "Lab");
    stranger.publish(&[]);
    let evil = Origin::start(stranger.site()).expect("the origin starts");
    lead(
        &moved.lab.server,
        "feed.xml",
        301,
        &format!("{}feed.xml", evil.url()),
    );
    moved.lab.home.run(&["update", "lab"]).refused(4, "trust");
    let feed = moved.lab.feed();
    assert_eq!(shown(&moved.lab.home)["feed_url"], feed);
    moved.lab.server.behave();
    moved.lab.home.done(&["update", "lab"]);

    announce(
        &moved.lab,
        &format!("<link rel=\"self\" href=\"{}feed.xml\"/>", evil.url()),
    );
    moved.lab.home.done(&["update", "lab"]);
    let shown = shown(&moved.lab.home);
    assert_eq!(
        (&shown["feed_url"], &shown["problem"]),
        (&json!(feed), &Value::Null)
    );
}

/// Has the feed say more.
fn announce(lab: &Lab, more: &str) {
    let feed = String::from_utf8(site(lab).read(paths::FEED)).expect("UTF-8");
    site(lab).write(paths::FEED, feed.replacen("<link ", &format!("{more}<link "), 1));
}

#[test]
fn a_new_address_that_the_feed_tells_is_followed_and_kept() {
    let moved = Move::new();
    announce(
        &moved.lab,
        &format!("<link rel=\"self\" href=\"{}\"/>", moved.there()),
    );
    moved.lab.home.done(&["update", "lab"]);
    moved.lives_on_without_the_old();

    let moved = Move::new();
    announce(
        &moved.lab,
        &format!(
            "<i:new-feed-url xmlns:i=\"http://www.itunes.com/dtds/podcast-1.0.dtd\">{}</i:new-feed-url>",
            moved.there()
        ),
    );
    moved.lab.home.done(&["update", "lab"]);
    moved.lives_on_without_the_old();
}

/// What a publisher does who moves to another server and cannot redirect: a line in the project, with a release or without.
#[test]
fn a_publisher_who_writes_the_new_address_takes_all_subscribers_along() {
    for more in [&["--renew"][..], &[]] {
        let lab = Lab::subscribed(2);
        let folder = lab.work.path().join("new");
        let copied = Command::new("cp")
            .arg("-a")
            .args([&lab.publisher.site(), &folder])
            .status();
        assert!(copied.expect("cp starts").success());
        let new = Origin::start(&folder).expect("the origin starts");
        let there = format!("{}feed.xml", new.url());
        lab.publisher.lies_at(&there);
        let told = lab.publisher.try_publish_to(&folder, more).done();
        assert_eq!(
            (&told["changed"], &told["address"]),
            (&json!(false), &json!(there))
        );

        lab.home.done(&["update", "lab"]);
        let listed = || lab.home.listed();
        assert_eq!(
            listed()["feed_url"],
            lab.feed(),
            "the old place does not say so yet"
        );
        std::fs::copy(folder.join(paths::FEED), site(&lab).file(paths::FEED))
            .expect("a copy of the new feed");
        lab.home.done(&["update", "lab"]);
        assert_eq!(listed()["feed_url"], there);
        let told = shown(&lab.home);
        assert_eq!(
            (&told["feed_url"], &told["moved_from"]),
            (&json!(there), &json!(lab.feed())),
            "{told}"
        );
        let late = TestHome::new();
        late.done(&["subscribe", &lab.feed(), "--yes"]);

        lab.server.stop();
        lab.publisher.project(&lab.disk(2), "Lab");
        lab.publisher.lies_at(&there);
        let second = lab.publisher.try_publish_to(&folder, &[]).done();
        assert_eq!(second["release"], 2);
        lab.home.done(&["agent", "stop"]);
        for home in [&lab.home, &late] {
            home.done(&["update", "lab"]);
            home.done(&["download", "lab"]);
            let shown = shown(home);
            assert_eq!(
                (&shown["feed_url"], &shown["release_available"], &shown["problem"]),
                (&json!(there), &json!(2), &Value::Null),
                "{shown}"
            );
        }
    }
}

/// A copy of a feed names the original's address: who has chosen the copy stays there, as long as there is one.
#[test]
fn a_copy_is_left_for_the_original_only_when_it_is_gone() {
    let moved = Move::new();
    moved.lab.home.done(&["unsubscribe", "lab", "--delete-data"]);
    announce(
        &moved.lab,
        &format!("<link rel=\"self\" href=\"{}\"/>", moved.there()),
    );
    moved.lab.home.done(&["subscribe", &moved.lab.feed(), "--yes"]);
    moved.lab.home.done(&["update", "lab"]);
    assert_eq!(shown(&moved.lab.home)["feed_url"], moved.lab.feed());
    moved.lives_on_without_the_old();
}

#[test]
fn who_subscribes_again_at_a_new_address_moves_there() {
    let moved = Move::new();
    moved.lab.home.done(&["subscribe", &moved.there(), "--yes"]);
    moved.lives_on_without_the_old();
}

#[test]
fn a_source_that_has_moved_for_ever_is_followed_and_kept() {
    let moved = Move::new();
    let catalog = |server: &Origin| format!("{}catalog.xml", server.url());
    moved.lab.publisher.list_in_catalog(&moved.lab.feed());
    moved
        .lab
        .home
        .done(&["source", "add", &catalog(&moved.lab.server)]);
    lead(&moved.lab.server, "catalog.xml", 301, &catalog(&moved.new));
    moved
        .lab
        .home
        .done(&["source", "add", &catalog(&moved.lab.server)]);
    moved.lab.home.done(&["agent", "stop"]);
    let sources = || moved.lab.home.done(&["source", "list"])["sources"].clone();
    // The next agent asks all sources at its start.
    moved.lab.home.until("moved", |_| {
        let sources = sources();
        sources.as_array().map(Vec::len) == Some(1) && sources[0]["url"] == catalog(&moved.new)
    });
    assert_eq!(sources()[0]["entries"], 1);
    lead(&moved.lab.server, "feed.xml", 301, &moved.there());
    moved.lab.home.done(&["update", "lab"]);
    let found = moved.lab.home.done(&["search", "lab"]);
    assert_eq!(
        found["entries"][0]["subscribed"], "lab",
        "by the address that it had: {found}"
    );
}

/// A release page leads to a storage, where each file has a name that says nothing.
#[test]
fn what_lies_beside_a_feed_is_found_although_that_is_led_to_a_storage() {
    let lab = Lab::subscribed(1);
    lab.publisher.list_in_catalog(&lab.feed());
    let catalog = site(&lab).read("catalog.xml");
    let catalog = String::from_utf8(catalog)
        .expect("UTF-8")
        .replace(&lab.feed(), "feed.xml");
    for (blob, bytes) in [
        ("feed.xml", site(&lab).read(paths::FEED)),
        ("catalog.xml", catalog.into_bytes()),
    ] {
        let folder = lab.publisher.site().join("blob");
        std::fs::create_dir_all(&folder).expect("a folder");
        let name = format!("blob/{}", Digest::of(blob.as_bytes()));
        site(&lab).write(&name, bytes);
        lead(&lab.server, &format!("/{blob}"), 302, &format!("/{name}?sig=x"));
    }
    let home = TestHome::new();
    home.done(&["subscribe", &lab.feed(), "--yes"]);
    home.done(&["download", "lab"]);
    home.done(&["source", "add", &format!("{}catalog.xml", lab.server.url())]);
    assert_eq!(
        home.done(&["search", "lab"])["entries"][0]["feed_url"],
        lab.feed()
    );

    // An address that stands for a folder elsewhere: what lies beside the answer is meant.
    let elsewhere = Lab::subscribed(1);
    lead(&elsewhere.server, "/latest", 302, "/feed.xml");
    home.done(&["unsubscribe", "lab", "--delete-data"]);
    home.done(&[
        "subscribe",
        &format!("{}go/latest", elsewhere.server.url()),
        "--yes",
    ]);
    home.done(&["download", "lab"]);
}

/// A server that keeps files in a storage may lead there “for ever”: nobody can ask there alone, since no head lies beside it.
#[test]
fn a_feed_stays_where_it_is_if_its_head_is_not_beside_the_new_address() {
    let lab = Lab::subscribed(1);
    std::fs::create_dir_all(lab.publisher.site().join("blob")).expect("a folder");
    site(&lab).write("blob/1", site(&lab).read(paths::FEED));
    lead(&lab.server, "/feed.xml", 301, "/blob/1");
    lab.home.done(&["update", "lab"]);
    let shown = shown(&lab.home);
    assert_eq!(
        (&shown["feed_url"], &shown["moved_from"], &shown["problem"]),
        (&json!(lab.feed()), &Value::Null, &Value::Null),
        "{shown}"
    );
    let late = TestHome::new();
    let subscribed = late.done(&["subscribe", &lab.feed(), "--yes"]);
    assert_eq!(subscribed["feed_url"], lab.feed());
}

/// nginx tells versions by seconds and lengths: two within a second look the same.
#[test]
fn a_release_of_the_same_second_as_the_last_look_is_found() {
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 1, 1), "Lab");
    publisher.publish(&[]);
    let server = Nginx::serve(&publisher.site());
    let site = Site::of(&publisher);
    // As if the look took place in the very second of the change, however slow this computer is.
    let time = SystemTime::now() + std::time::Duration::from_secs(60);
    let set_time = |path: &str| {
        let file = std::fs::File::options()
            .write(true)
            .open(site.file(path))
            .expect("the file");
        file.set_modified(time).expect("a time");
        file.metadata().expect("its length").len()
    };
    let before = set_time(paths::HEAD);
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    site.resign(&signing_key(&publisher), |head| {
        head.revision += 1;
        head.releases[0].label = "2".to_owned();
    });
    assert_eq!(set_time(paths::HEAD), before, "nothing tells that it has changed");
    home.done(&["update", "lab"]);
    assert_eq!(home.done(&["show", "lab"])["releases"][0]["label"], "2");
}

#[test]
fn the_encoding_that_http_says_reaches_the_feed() {
    let lab = Lab::subscribed(1);
    let feed = String::from_utf8(site(&lab).read(paths::FEED)).expect("UTF-8");
    let feed = feed.replace("<title>Lab", "<title>Caf\u{e9}");
    let latin: Vec<u8> = feed
        .chars()
        .map(|c| u8::try_from(u32::from(c)).expect("Latin-1"))
        .collect();
    site(&lab).write(paths::FEED, latin);
    let value = "application/atom+xml; charset=iso-8859-1";
    lab.server.fail(Rule::always("feed.xml", Fault::Type { value }));
    lab.home.done(&["update", "lab"]);
    assert_eq!(shown(&lab.home)["title"], "Café");
}

/// Declarations where nobody expects them, in whatever is asked for by a person: each is answered.
#[test]
fn a_late_declaration_is_read_or_refused_and_keeps_nobody_waiting() {
    let lab = Lab::subscribed(1);
    let good = String::from_utf8(site(&lab).read(paths::FEED)).expect("UTF-8");
    let (_, rest) = good.split_once('\n').expect("a declaration");
    let declared = |name: &str| format!("<?xml version=\"1.0\" encoding=\"{name}\"?>");
    let home = TestHome::new();
    for before in [
        format!("<!-- {} -->{}", "x".repeat(80), declared("iso-8859-1")),
        format!(
            "{}{}{}",
            declared("utf-8"),
            " ".repeat(9000),
            declared("windows-1252")
        ),
        format!("{}{}", "\n".repeat(99), declared("utf-16")),
    ] {
        site(&lab).write(paths::FEED, format!("{before}{rest}"));
        home.done(&["subscribe", &lab.feed(), "--yes"]);
        home.done(&["source", "add", &lab.feed()]);
        home.done(&["update", "lab"]);
        home.done(&["unsubscribe", "lab", "--delete-data"]);
    }
    let wide: Vec<u8> = format!("{}{}{rest}", declared("utf-16be"), declared("utf-16be"))
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    site(&lab).write(paths::FEED, wide);
    home.done(&["subscribe", &lab.feed(), "--yes"]);
}

/// What is wrong with one source is shown with it, and is no other's business.
#[test]
fn a_source_that_cannot_be_read_keeps_no_other_from_being_read() {
    let work = tempfile::tempdir().expect("a folder");
    let server = Origin::start(work.path()).expect("the origin starts");
    let home = TestHome::new();
    let write =
        |name: &str, bytes: Vec<u8>| std::fs::write(work.path().join(name), bytes).expect("it is written");
    let catalog = |entry: &str| {
        format!(
            "<?xml version=\"1.0\"?><feed xmlns=\"http://www.w3.org/2005/Atom\"><title>C</title><entry><title>{entry}</title>\
             <link rel=\"alternate\" type=\"application/atom+xml\" href=\"{entry}/feed.xml\"/></entry></feed>"
        )
    };
    // The good one is in the middle: those before and behind it fail.
    let names = [
        "page", "cut", "large", "wide", "good", "nothing", "gone", "late", "slow",
    ];
    for name in names {
        write(&format!("{name}.xml"), catalog("old").into_bytes());
        home.done(&["source", "add", &format!("{}{name}.xml", server.url())]);
    }
    home.done(&["agent", "stop"]);
    let whole = catalog("old");
    write("page.xml", b"<html>Welcome".to_vec());
    write("cut.xml", whole.as_bytes()[..99].to_vec());
    write("large.xml", vec![b' '; (32 << 20) + 1]);
    write("wide.xml", vec![0xfe, 0xff, 0xd8, 0x00]);
    write("nothing.xml", Vec::new());
    std::fs::remove_file(work.path().join("gone.xml")).expect("it was there");
    write(
        "late.xml",
        whole
            .replacen(
                "?>",
                &format!(
                    "?>{}<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>",
                    " ".repeat(9000)
                ),
                1,
            )
            .into_bytes(),
    );
    server.fail(Rule::always("slow.xml", Fault::Stall { after: 10 }));
    write("good.xml", catalog("fresh").into_bytes());
    home.until_asked("read from the good source", &["search", "fresh"], |found| {
        found["entries"].as_array().map(Vec::len) == Some(1)
    });
    let problems = |listed: &Value| {
        let sources = listed["sources"].as_array().expect("a list").clone();
        let failed = sources.iter().filter(|source| !source["problem"].is_null());
        failed
            .map(|source| source["url"].as_str().expect("it").to_owned())
            .collect::<Vec<_>>()
    };
    let failing = ["page", "cut", "large", "wide", "nothing", "gone", "slow"];
    let expected: Vec<String> = failing
        .iter()
        .map(|name| format!("{}{name}.xml", server.url()))
        .collect();
    home.until_asked("told with each", &["source", "list"], |listed| {
        problems(listed) == expected
    });
    let kept = home.done(&["source", "list"]);
    assert!(
        kept["sources"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|source| source["entries"] == 1),
        "what was there stays: {kept}"
    );
}

/// A catalog on this computer's disk that changes twice in one moment.
#[test]
fn a_file_that_changes_twice_in_a_moment_is_read_again() {
    let lab = Lab::subscribed(1);
    let home = TestHome::new();
    let feed: PathBuf = site(&lab).file(paths::FEED);
    home.done(&["subscribe", feed.to_str().expect("UTF-8"), "--yes"]);
    let text = String::from_utf8(site(&lab).read(paths::FEED)).expect("UTF-8");
    for title in ["Lad", "Lap"] {
        let time = SystemTime::now();
        std::fs::write(&feed, text.replace("<title>Lab", &format!("<title>{title}"))).expect("it is written");
        let file = std::fs::File::options()
            .write(true)
            .open(&feed)
            .expect("the file");
        file.set_modified(time + std::time::Duration::from_secs(60))
            .expect("a time");
        home.done(&["update", "lab"]);
        assert_eq!(shown(&home)["title"], title);
    }
}
