//! Feeds of all kinds that servers and programs make: what is written, and what is read or why it is refused.

mod encodings;
mod forms;
mod others;

use livepc_format::Instead;

use self::encodings::encodings;
use self::forms::forms;
use self::others::others;
use super::*;

/// What comes of a document.
enum Comes {
    /// A feed with this title, whose head lies here.
    Feed(&'static str, &'static str),
    /// A catalog with this title and these feeds.
    Catalog(&'static str, &'static [&'static str]),
    /// Something else came in its place.
    Instead(Instead),
    /// It is refused, and this is said.
    Refused(&'static str),
}

use Comes::{Catalog as IsCatalog, Feed as IsFeed, Instead as Other, Refused};

/// A document, and what HTTP says of its encoding.
struct Kind {
    name: &'static str,
    bytes: Vec<u8>,
    charset: Option<&'static str>,
    comes: Comes,
}

fn kind(name: &'static str, bytes: impl Into<Vec<u8>>, comes: Comes) -> Kind {
    Kind {
        name,
        bytes: bytes.into(),
        charset: None,
        comes,
    }
}

impl Kind {
    fn over_http(self, charset: &'static str) -> Self {
        Self {
            charset: Some(charset),
            ..self
        }
    }
}

const HEAD: &str = "https://example.org/net-lab/head.json";

fn wide(text: &str, little: bool) -> Vec<u8> {
    let bytes = if little {
        u16::to_le_bytes
    } else {
        u16::to_be_bytes
    };
    text.encode_utf16().flat_map(bytes).collect()
}

/// An Atom feed with this inside of its first element.
fn atom_with(inside: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Lab</title>{inside}</feed>"#
    )
}

fn rss_with(attributes: &str, inside: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><rss {attributes}><channel><title>Lab</title><link>https://example.org/</link>
           <description>d</description>{inside}</channel></rss>"#
    )
}

const LINK: &str = r#"<link rel="related" type="application/vnd.livepc.head+json" href="head.json"/>"#;
const ENCLOSURE: &str = r#"<item><title>1</title><enclosure url="head.json" length="0" type="application/vnd.livepc.head+json"/></item>"#;

#[test]
fn feeds_of_all_kinds_are_read_or_refused_with_a_word_on_what_to_do() {
    let kinds: Vec<Kind> = [encodings(), forms(), others()].into_iter().flatten().collect();
    assert!(kinds.len() >= 120, "there are {}", kinds.len());
    let mut failed = Vec::new();
    for Kind {
        name,
        bytes,
        charset,
        comes,
    } in kinds
    {
        let read = read(&bytes, charset, &base());
        let told = format!("{read:?}");
        let is_so = match (comes, read) {
            (IsFeed(title, head), Ok(Source::Feed(feed))) => {
                feed.title == title && feed.head.as_str() == head
            }
            (IsCatalog(title, feeds), Ok(Source::Catalog(catalog))) => {
                let found = catalog.entries.iter().map(|entry| entry.feed.as_str());
                catalog.title == title && found.eq(feeds.iter().copied())
            }
            (Other(found), Err(FormatError::Instead { found: is, .. })) => is == found,
            (Refused(says), Err(error)) => {
                let error = error.to_string();
                // Behind the semicolon stands what to do.
                error.contains(says) && error.contains("; ")
            }
            _ => false,
        };
        if !is_so {
            failed.push(format!("{name}: {}", told.chars().take(300).collect::<String>()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// A publisher's address, and where it says that it has moved to.
#[test]
fn a_feed_may_tell_where_it_lies_and_where_it_has_moved_to() {
    let itunes = "xmlns:itunes=\"http://www.itunes.com/dtds/podcast-1.0.dtd\" xmlns:atom=\"http://www.w3.org/2005/Atom\"";
    let of = |text: String| {
        let feed = read_feed(text.as_bytes(), &base()).expect(&text);
        (feed.address.map(String::from), feed.moved_to.map(String::from))
    };
    let new = Some("https://new.example/feed.xml".to_owned());
    assert_eq!(of(atom_with(LINK)), (None, None));
    let itself = r#"<link rel="self" href="https://new.example/feed.xml"/>"#;
    assert_eq!(of(atom_with(&format!("{LINK}{itself}"))), (new.clone(), None));
    let attributes = format!("version=\"2.0\" {itunes}");
    let itself = itself.replace("<link", "<atom:link");
    assert_eq!(
        of(rss_with(&attributes, &format!("{ENCLOSURE}{itself}"))),
        (new.clone(), None)
    );
    let moved = "<itunes:new-feed-url> https://new.example/feed.xml\n</itunes:new-feed-url>";
    assert_eq!(
        of(rss_with(&attributes, &format!("{moved}{ENCLOSURE}"))),
        (None, new.clone())
    );
    let atom = atom_with(&format!("{LINK}{moved}"))
        .replace("<feed", &format!("<feed {}", itunes.split_once(' ').unwrap().0));
    assert_eq!(of(atom), (None, new));
    let evil = moved.replace("https://new.example/feed.xml", "file:///etc/passwd");
    assert_eq!(
        of(rss_with(&attributes, &format!("{evil}{ENCLOSURE}"))),
        (None, None)
    );
}
