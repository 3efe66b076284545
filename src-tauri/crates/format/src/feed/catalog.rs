//! A catalog: a feed whose entries each name one LivePC.

use feed_rs::model;
use jiff::Timestamp;
use url::Url;

use super::livepc::{LONG_TEXT, SUMMARY, TITLE};
use super::lost::lost;
use super::{ATOM_TYPE, atom, read};
use crate::error::{FormatError, Result};
use crate::machine::GuestOs;
use crate::{Digest, limits, text};

const WHAT: &str = "the catalog";
const RSS_TYPE: &str = "application/rss+xml";

const GUEST_OS: &str = "urn:livepc:guest-os";
const BOOT_READY_BYTES: &str = "urn:livepc:boot-ready-bytes";
const FULL_BYTES: &str = "urn:livepc:full-bytes";

/// A list of LivePCs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// What it is called: one line.
    pub title: String,
    /// The LivePCs, as they are listed.
    pub entries: Vec<CatalogEntry>,
}

/// A LivePC, as a catalog tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// What it is called: one line.
    pub title: String,
    /// What it is: one line.
    pub summary: String,
    /// What it is, as plain text of several lines.
    pub description: String,
    /// Who publishes it, as the catalog says: one line, empty if it does not.
    pub publisher: String,
    /// Its feed.
    pub feed: Url,
    /// A picture.
    pub thumbnail: Option<Url>,
    /// Subjects, for people.
    pub categories: Vec<String>,
    /// The family of its operating system.
    pub guest_os: Option<GuestOs>,
    /// When the entry changed last.
    pub updated: Option<Timestamp>,
    /// Bytes to fetch until it is boot-ready.
    pub boot_ready_bytes: Option<u64>,
    /// Bytes to fetch until it is complete.
    pub full_bytes: Option<u64>,
}

/// Reads a catalog of at most [`limits::CATALOG_BYTES`] and [`limits::CATALOG_ENTRIES`]; `base` is its own address,
/// after redirects. Entries that link no feed, or none that the catalog may point to, are left out.
pub fn read_catalog(bytes: &[u8], base: &Url) -> Result<Catalog> {
    let document = read::document(
        WHAT,
        bytes,
        None,
        base,
        limits::CATALOG_BYTES,
        limits::CATALOG_ENTRIES,
    )?;
    from_document(&document, base)
}

/// What would be lost first of the catalog in `bytes`, which was read as `catalog`, if that were written again, in words:
/// entries that lead to no LivePC, and whatever somebody else has written that LivePC does not know. Nothing if it is as
/// [`write_catalog`] wrote it.
#[must_use]
pub fn lost_by_writing(bytes: &[u8], catalog: &Catalog, base: &Url) -> Option<String> {
    lost(bytes, &write_catalog(catalog, Some(base)))
}

pub(super) fn from_document(document: &model::Feed, base: &Url) -> Result<Catalog> {
    let entries: Vec<_> = document
        .entries
        .iter()
        .filter_map(|found| entry(found, base))
        .collect();
    if entries.is_empty() && !document.entries.is_empty() {
        return Err(FormatError::malformed(
            WHAT,
            "it has nothing to do with LivePC: none of its entries links the feed of a LivePC",
        ));
    }
    Ok(Catalog {
        title: read::line(document.title.as_ref(), TITLE),
        entries,
    })
}

fn entry(entry: &model::Entry, base: &Url) -> Option<CatalogEntry> {
    let number = |scheme| read::term(&entry.categories, scheme)?.trim().parse().ok();
    Some(CatalogEntry {
        title: read::line(entry.title.as_ref(), TITLE),
        summary: read::line(entry.summary.as_ref(), SUMMARY),
        description: read::content(entry, LONG_TEXT),
        publisher: read::publisher(&entry.authors, &[]),
        feed: feed_address(entry, base)?,
        thumbnail: thumbnail(entry, base),
        categories: read::categories(&entry.categories),
        guest_os: read::term(&entry.categories, GUEST_OS).and_then(guest_os),
        updated: read::entry_time(entry),
        boot_ready_bytes: number(BOOT_READY_BYTES),
        full_bytes: number(FULL_BYTES),
    })
}

/// The feed that an entry links: `alternate` is Atom's way, an enclosure RSS's.
fn feed_address(entry: &model::Entry, base: &Url) -> Option<Url> {
    let is_feed = |link: &&model::Link| {
        let kind = link.media_type.as_deref().unwrap_or_default();
        let rel = link.rel.as_deref().unwrap_or("alternate");
        // Other relations are something else's feed: `replies`, `self`.
        (read::is_type(kind, ATOM_TYPE) || read::is_type(kind, RSS_TYPE))
            && matches!(rel, "alternate" | "enclosure")
    };
    let href = entry
        .links
        .iter()
        .find(is_feed)
        .map(|link| link.href.clone())
        .or_else(|| read::enclosure(entry, ATOM_TYPE))
        .or_else(|| read::enclosure(entry, RSS_TYPE))?;
    read::address(&href, base)
}

fn thumbnail(entry: &model::Entry, base: &Url) -> Option<Url> {
    let media = entry.media.iter().flat_map(|media| &media.content);
    let image = media
        .filter(|content| {
            let kind = content.content_type.as_ref();
            kind.is_some_and(|kind| kind.ty() == "image")
        })
        .find_map(|content| content.url.as_ref());
    let link = || {
        let is_image = |link: &&model::Link| {
            let kind = link.media_type.as_deref().unwrap_or_default();
            link.rel.as_deref() == Some("enclosure") && kind.starts_with("image/")
        };
        entry.links.iter().find(is_image).map(|link| link.href.as_str())
    };
    read::address(image.map(Url::as_str).or_else(link)?, base)
}

fn guest_os(term: &str) -> Option<GuestOs> {
    [GuestOs::Linux, GuestOs::Windows, GuestOs::Bsd, GuestOs::Other]
        .into_iter()
        .find(|os| os.name() == term.trim())
}

/// The Atom document of a catalog. With the address `base` at which it will lie, addresses in the same folder are
/// written relative.
#[must_use]
pub fn write_catalog(catalog: &Catalog, base: Option<&Url>) -> Vec<u8> {
    let newest = catalog.entries.iter().filter_map(|entry| entry.updated).max();
    let entries = catalog.entries.iter().map(|entry| {
        let mut categories: Vec<_> = entry.categories.iter().map(|name| atom::category(name)).collect();
        let mut ours = |scheme: &str, term: String| categories.push(atom::ours(scheme, term));
        if let Some(os) = entry.guest_os {
            ours(GUEST_OS, os.name().to_owned());
        }
        if let Some(bytes) = entry.boot_ready_bytes {
            ours(BOOT_READY_BYTES, bytes.to_string());
        }
        if let Some(bytes) = entry.full_bytes {
            ours(FULL_BYTES, bytes.to_string());
        }
        atom::Entry {
            id: entry.feed.to_string(),
            title: text::line(&entry.title, TITLE),
            updated: entry.updated,
            author: text::line(&entry.publisher, 120),
            summary: text::line(&entry.summary, SUMMARY),
            content: text::block(&entry.description, LONG_TEXT),
            links: vec![atom::link(
                "alternate",
                ATOM_TYPE,
                &atom::relative(&entry.feed, base),
            )],
            thumbnail: entry.thumbnail.as_ref().map(|url| atom::relative(url, base)),
            categories,
        }
    });
    atom::write(&atom::Document {
        id: format!("urn:livepc:catalog:{}", Digest::of(catalog.title.as_bytes())),
        title: text::line(&catalog.title, TITLE),
        updated: newest,
        entries: entries.collect(),
        ..atom::Document::default()
    })
}
