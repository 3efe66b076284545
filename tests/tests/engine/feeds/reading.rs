//! How what is there is found and read: storages, times, encodings.

use std::path::PathBuf;
use std::time::SystemTime;

use livepc_format::{Digest, paths};
use livepc_tests::forge::{Site, disk, signing_key};
use livepc_tests::home::TestHome;
use livepc_tests::lab::Lab;
use livepc_tests::nginx::Nginx;
use livepc_tests::origin::{Fault, Origin, Rule};
use livepc_tests::publisher::Publisher;
use serde_json::Value;

use super::{lead, shown, site};

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

#[test]
fn a_login_in_the_address_of_a_server_that_asks_nobody_is_left_out() {
    let lab = Lab::subscribed(1);
    lab.home.done(&["unsubscribe", "lab", "--delete-data"]);
    let address = lab.feed().replace("http://", "http://ada:secret@");
    lab.home.done(&["subscribe", &address, "--yes"]);
    assert_eq!(lab.home.listed()["feed_url"], lab.feed());
    let logins = lab.home.done(&["login", "--list"]);
    assert_eq!(logins["logins"].as_array().map(Vec::len), Some(0), "{logins}");
}

#[test]
fn who_names_the_folder_of_a_livepc_is_told_where_its_feed_is() {
    let lab = Lab::subscribed(1);
    let site = lab.publisher.site();
    std::fs::write(
        site.join("index.html"),
        "<!DOCTYPE html><html><body>Lab</body></html>",
    )
    .expect("a page");
    let ran = lab
        .home
        .run(&["subscribe", site.to_str().expect("UTF-8"), "--yes"]);
    assert_ne!(ran.code, 0);
    assert!(ran.why().contains("/feed.xml"), "{}", ran.text);
    let ran = lab.home.run(&["subscribe", &lab.server.url(), "--yes"]);
    assert_ne!(ran.code, 0);
    assert!(ran.why().contains("/feed.xml"), "{}", ran.text);
}
