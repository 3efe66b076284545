//! Feeds and catalogs: what is written is read again, what others write is understood, what is hostile does no harm.

#![allow(clippy::unwrap_used)]

use livepc_format::feed::{
    Catalog, CatalogEntry, Feed, FeedEntry, Source, read, read_catalog, read_feed, write_catalog, write_feed,
};
use livepc_format::machine::GuestOs;
use livepc_format::{Digest, FormatError, LivePcId};
use proptest::prelude::*;
use url::Url;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn base() -> Url {
    url("https://example.org/net-lab/feed.xml")
}

fn id() -> LivePcId {
    LivePcId(Digest::of(b"net-lab"))
}

fn feed() -> Feed {
    Feed {
        title: "Net lab <1>".into(),
        summary: "Routers & switches".into(),
        publisher: "Zoë “Z” O'Neil".into(),
        logo: Some(base().join("logo.png").unwrap()),
        updated: Some("2026-11-02T10:00:00Z".parse().unwrap()),
        categories: vec!["networking".into(), "course".into()],
        head: base().join("head.json").unwrap(),
        entries: vec![FeedEntry {
            id: "urn:livepc:release:2".into(),
            label: "2026.11".into(),
            updated: Some("2026-11-02T10:00:00Z".parse().unwrap()),
            changelog: "Two lines:\n1 < 2 & done".into(),
        }],
    }
}

fn entry() -> CatalogEntry {
    CatalogEntry {
        title: "Net lab".into(),
        summary: "Routers".into(),
        description: "A line.\n\nAnother: <b>not bold</b> &amp;".into(),
        publisher: "Zoë".into(),
        feed: url("https://other.example/net-lab/feed.xml?a=1&b=2"),
        thumbnail: Some(url("https://example.org/net-lab/logo.png")),
        categories: vec!["networking".into()],
        guest_os: Some(GuestOs::Bsd),
        updated: Some("2026-11-02T10:00:00Z".parse().unwrap()),
        boot_ready_bytes: Some(0),
        full_bytes: Some(u64::MAX),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("what is written is UTF-8")
}

fn why(result: Result<impl std::fmt::Debug, FormatError>) -> String {
    result.expect_err("this must be refused").to_string()
}

#[test]
fn a_feed_is_read_as_it_was_written_wherever_its_folder_lies() {
    let bytes = write_feed(id(), &feed(), &base());
    assert_eq!(read_feed(&bytes, &base()).unwrap(), feed());
    assert!(
        text(&bytes).contains("href=\"head.json\""),
        "addresses in the folder are relative"
    );
    let moved = read_feed(&bytes, &url("file:///srv/lab/feed.xml")).unwrap();
    assert_eq!(moved.head, url("file:///srv/lab/head.json"));
}

#[test]
fn a_catalog_is_read_as_it_was_written() {
    let catalog = Catalog {
        title: "Library".into(),
        entries: vec![
            entry(),
            CatalogEntry {
                summary: String::new(),
                description: String::new(),
                publisher: String::new(),
                thumbnail: None,
                categories: vec![],
                guest_os: None,
                updated: None,
                boot_ready_bytes: None,
                full_bytes: None,
                ..entry()
            },
        ],
    };
    let bytes = write_catalog(&catalog, Some(&base()));
    assert_eq!(read_catalog(&bytes, &base()).unwrap(), catalog);
    assert_eq!(read(&bytes, &base()).unwrap(), Source::Catalog(catalog));
}

#[test]
fn either_is_told_from_the_other() {
    let feed_bytes = write_feed(id(), &feed(), &base());
    assert_eq!(read(&feed_bytes, &base()).unwrap(), Source::Feed(feed()));
    let empty = write_catalog(&Catalog::default(), None);
    assert_eq!(
        read(&empty, &base()).unwrap(),
        Source::Catalog(Catalog::default()),
        "a catalog begins empty"
    );
    assert!(why(read_feed(&empty, &base())).contains("no link of type application/vnd.livepc.head+json"));
    assert!(why(read_catalog(&feed_bytes, &base())).contains("none of its entries links the feed"));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes, &base());
    }
}
