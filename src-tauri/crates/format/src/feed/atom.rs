//! Writing Atom (RFC 4287) with atom_syndication.

use std::collections::BTreeMap;

use atom_syndication as atom;
use jiff::Timestamp;
use url::Url;

pub(super) use atom::{Category, Link};

/// An Atom feed; empty texts are left out.
#[derive(Default)]
pub(super) struct Document {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) author: String,
    pub(super) updated: Option<Timestamp>,
    pub(super) logo: Option<String>,
    pub(super) links: Vec<Link>,
    pub(super) categories: Vec<Category>,
    pub(super) entries: Vec<Entry>,
}

/// An Atom entry; empty texts are left out.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) updated: Option<Timestamp>,
    pub(super) author: String,
    pub(super) summary: String,
    pub(super) content: String,
    pub(super) links: Vec<Link>,
    pub(super) thumbnail: Option<String>,
    pub(super) categories: Vec<Category>,
}

/// The bytes of an Atom document.
pub(super) fn write(document: &Document) -> Vec<u8> {
    let with_media = document.entries.iter().any(|entry| entry.thumbnail.is_some());
    let feed = atom::Feed {
        id: document.id.clone(),
        title: atom::Text::plain(document.title.clone()),
        subtitle: text(&document.subtitle),
        authors: person(&document.author),
        updated: time(document.updated),
        logo: document.logo.clone(),
        links: document.links.clone(),
        categories: document.categories.clone(),
        generator: Some(atom::Generator {
            value: "LivePC".into(),
            ..atom::Generator::default()
        }),
        namespaces: if with_media {
            BTreeMap::from([("media".into(), "http://search.yahoo.com/mrss/".into())])
        } else {
            BTreeMap::new()
        },
        entries: document.entries.iter().map(entry).collect(),
        ..atom::Feed::default()
    };
    let config = atom::WriteConfig {
        indent_size: Some(2),
        ..atom::WriteConfig::default()
    };
    // Writing into memory cannot fail.
    let mut bytes = feed.write_with_config(Vec::new(), config).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn entry(entry: &Entry) -> atom::Entry {
    let mut extensions = BTreeMap::new();
    if let Some(url) = &entry.thumbnail {
        let thumbnail = atom::extension::Extension {
            name: "media:thumbnail".into(),
            attrs: BTreeMap::from([("url".into(), url.clone())]),
            ..atom::extension::Extension::default()
        };
        let media = BTreeMap::from([("thumbnail".into(), vec![thumbnail])]);
        extensions.insert("media".into(), media);
    }
    let content = (!entry.content.is_empty()).then(|| atom::Content {
        value: Some(entry.content.clone()),
        content_type: Some("text".into()),
        ..atom::Content::default()
    });
    atom::Entry {
        id: entry.id.clone(),
        title: atom::Text::plain(entry.title.clone()),
        updated: time(entry.updated),
        authors: person(&entry.author),
        summary: text(&entry.summary),
        content,
        links: entry.links.clone(),
        categories: entry.categories.clone(),
        extensions,
        ..atom::Entry::default()
    }
}

/// A link of the given relation and media type.
pub(super) fn link(rel: &str, kind: &str, href: &str) -> Link {
    Link {
        href: href.to_owned(),
        rel: rel.to_owned(),
        mime_type: Some(kind.to_owned()),
        ..Link::default()
    }
}

/// A category for people.
pub(super) fn category(name: &str) -> Category {
    Category {
        term: crate::text::line(name, 40),
        ..Category::default()
    }
}

/// A category of ours, for programs.
pub(super) fn ours(scheme: &str, term: String) -> Category {
    Category {
        term,
        scheme: Some(scheme.to_owned()),
        ..Category::default()
    }
}

/// `url` as it is written in a document at `base`: relative if it lies in the same folder or below.
pub(super) fn relative(url: &Url, base: Option<&Url>) -> String {
    base.and_then(|base| {
        let relative = base.make_relative(url)?;
        let below = !relative.is_empty() && !relative.starts_with(['/', '.']);
        // What is written must lead back to the same place.
        (below && base.join(&relative).as_ref() == Ok(url)).then_some(relative)
    })
    .unwrap_or_else(|| url.to_string())
}

fn text(text: &str) -> Option<atom::Text> {
    (!text.is_empty()).then(|| atom::Text::plain(text))
}

fn person(name: &str) -> Vec<atom::Person> {
    let name = crate::text::line(name, 120);
    if name.is_empty() {
        return Vec::new();
    }
    vec![atom::Person {
        name,
        ..atom::Person::default()
    }]
}

/// Atom demands a time: where there is none, it is the beginning of 1970.
fn time(time: Option<Timestamp>) -> atom::FixedDateTime {
    time.unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
        .parse()
        .unwrap_or_default()
}
