//! The feed of one LivePC.

use feed_rs::model;
use jiff::Timestamp;
use url::Url;

use super::sift::MOVED;
use super::{ATOM_TYPE, atom, read};
use crate::LivePcId;
use crate::error::{FormatError, Result};
use crate::{head, limits};

const WHAT: &str = "the feed";

/// Characters of texts at the most; longer ones are cut.
pub(super) const TITLE: usize = 120;
pub(super) const SUMMARY: usize = 500;
pub(super) const LABEL: usize = 64;
pub(super) const LONG_TEXT: usize = 20_000;
const ID: usize = 1000;

/// A LivePC's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// What the LivePC is called: one line.
    pub title: String,
    /// What it is: one line.
    pub summary: String,
    /// Who publishes it, as the feed says: one line, empty if it does not.
    pub publisher: String,
    /// A picture.
    pub logo: Option<Url>,
    /// When the feed changed last.
    pub updated: Option<Timestamp>,
    /// Subjects, for people.
    pub categories: Vec<String>,
    /// Where `head.json` lies. The LivePC's other files lie beside it.
    pub head: Url,
    /// Where the feed says that it lies (a link of relation `self`): its publisher's address for it, which a copy has too.
    pub address: Option<Url>,
    /// Where the feed says that it has moved to, as podcasts do (`itunes:new-feed-url`). It is read and not written.
    pub moved_to: Option<Url>,
    /// The releases, as they are listed: newest first.
    pub entries: Vec<FeedEntry>,
}

/// One release, as the feed tells it to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// What names the entry for feed readers; empty if the feed does not say.
    pub id: String,
    /// What people call the release: one line.
    pub label: String,
    /// When the entry changed last.
    pub updated: Option<Timestamp>,
    /// What changed, as plain text of several lines.
    pub changelog: String,
}

/// Reads a LivePC's feed of at most [`limits::FEED_BYTES`]; `base` is its own address, after redirects.
pub fn read_feed(bytes: &[u8], base: &Url) -> Result<Feed> {
    let document = read::document(WHAT, bytes, None, base, limits::FEED_BYTES, limits::RELEASES)?;
    from_document(&document, base)
}

pub(super) fn from_document(document: &model::Feed, base: &Url) -> Result<Feed> {
    let Some(href) = find_head(document) else {
        return Err(FormatError::malformed(
            WHAT,
            format!("it is no LivePC's: it has no link of type {}", head::TYPE),
        ));
    };
    let Some(head) = read::address(&href, base) else {
        return Err(FormatError::malformed(
            WHAT,
            format!(
                "it may not point to a head at {:?}",
                crate::text::line(&href, 200)
            ),
        ));
    };
    let linked = |rel: &str| {
        let link = document
            .links
            .iter()
            .find(|link| link.rel.as_deref() == Some(rel))?;
        read::address(&link.href, base)
    };
    let logo = document.logo.as_ref().or(document.icon.as_ref());
    Ok(Feed {
        title: read::line(document.title.as_ref(), TITLE),
        summary: read::line(document.description.as_ref(), SUMMARY),
        publisher: read::publisher(&document.authors, &document.contributors),
        logo: logo.and_then(|image| read::address(&image.uri, base)),
        updated: read::document_time(document),
        categories: read::categories(&document.categories),
        head,
        address: linked("self"),
        moved_to: linked(MOVED),
        entries: document.entries.iter().map(entry).collect(),
    })
}

fn entry(entry: &model::Entry) -> FeedEntry {
    let content = read::content(entry, LONG_TEXT);
    FeedEntry {
        id: crate::text::line(&entry.id, ID),
        label: read::line(entry.title.as_ref(), LABEL),
        updated: read::entry_time(entry),
        changelog: if content.is_empty() {
            read::block(entry.summary.as_ref(), LONG_TEXT)
        } else {
            content
        },
    }
}

/// What the document says of where the head is: a link of the feed, or of its newest entry that has one.
pub(super) fn find_head(document: &model::Feed) -> Option<String> {
    let links = |links: &[model::Link]| {
        let is_head = |link: &&model::Link| {
            let kind = link.media_type.as_deref().unwrap_or_default();
            read::is_type(kind, head::TYPE)
        };
        links.iter().find(is_head).map(|link| link.href.clone())
    };
    links(&document.links).or_else(|| {
        document
            .entries
            .iter()
            .find_map(|entry| links(&entry.links).or_else(|| read::enclosure(entry, head::TYPE)))
    })
}

/// Why a publisher may not say that the feed lies at `address`, and what to write instead: readers would not go there.
#[must_use]
pub fn why_not_address(address: &Url) -> Option<&'static str> {
    if !matches!(address.scheme(), "http" | "https" | "file") {
        return Some("it must begin with https://, http:// or file://");
    }
    if !address.username().is_empty() || address.password().is_some() {
        return Some(
            "leave out the user and the password: everybody reads the feed, and subscribers log in with their own",
        );
    }
    if address.scheme() == "file" && address.has_host() {
        return Some(
            "a file:// address names a file of this computer, with three slashes; mount the other's folder",
        );
    }
    if address.path().ends_with('/') {
        return Some("it must lead to the feed itself, not to its folder: add feed.xml");
    }
    if address.fragment().is_some() {
        return Some("leave out what begins with “#”");
    }
    (address.as_str().len() > read::URL).then_some("it has more than 2048 characters; choose a shorter one")
}

/// The Atom document of a LivePC's feed that will lie at `base`: addresses in the same folder are written relative, so
/// that the folder can be served from anywhere.
#[must_use]
pub fn write_feed(livepc: LivePcId, feed: &Feed, base: &Url) -> Vec<u8> {
    let entries = feed.entries.iter().map(|entry| atom::Entry {
        id: entry.id.clone(),
        title: crate::text::line(&entry.label, LABEL),
        updated: entry.updated,
        content: crate::text::block(&entry.changelog, LONG_TEXT),
        ..atom::Entry::default()
    });
    let mut links = vec![atom::link(
        "related",
        head::TYPE,
        &atom::relative(&feed.head, Some(base)),
    )];
    // Whole, so that it is the same wherever a copy lies.
    links.extend(
        feed.address
            .as_ref()
            .map(|url| atom::link("self", ATOM_TYPE, url.as_str())),
    );
    atom::write(&atom::Document {
        id: format!("urn:livepc:{livepc}"),
        title: crate::text::line(&feed.title, TITLE),
        subtitle: crate::text::line(&feed.summary, SUMMARY),
        author: feed.publisher.clone(),
        updated: feed.updated,
        logo: feed.logo.as_ref().map(|logo| atom::relative(logo, Some(base))),
        links,
        categories: feed.categories.iter().map(|name| atom::category(name)).collect(),
        entries: entries.collect(),
    })
}
