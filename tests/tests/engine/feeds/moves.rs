//! Servers and publishers that move, and what must not be taken for a move.

use std::process::Command;

use livepc_format::paths;
use livepc_tests::forge::disk;
use livepc_tests::home::TestHome;
use livepc_tests::lab::Lab;
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;
use serde_json::{Value, json};

use super::{lead, shown, site};

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

/// Has the feed say more.
fn announce(lab: &Lab, more: &str) {
    let feed = String::from_utf8(site(lab).read(paths::FEED)).expect("UTF-8");
    site(lab).write(paths::FEED, feed.replacen("<link ", &format!("{more}<link "), 1));
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
fn a_catalog_lists_one_that_has_moved_once() {
    let moved = Move::new();
    moved.lab.publisher.list_in_catalog(&moved.lab.feed());
    let catalog = moved.lab.publisher.site().join("catalog.xml");
    let catalog = catalog.to_str().expect("UTF-8");
    let add = ["catalog", "add", catalog, "--feed", &moved.there()];
    let listed = moved.lab.home.done(&add);
    assert_eq!(listed["entries"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(listed["entries"][0]["feed_url"], moved.there());
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
