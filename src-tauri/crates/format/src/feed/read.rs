//! What feeds and catalogs have in common when they are read: from bytes to feed-rs's model, and from there to texts,
//! times and addresses that are safe to use.

use feed_rs::model;
use jiff::Timestamp;
use url::Url;

use super::sift::sift;
use crate::error::{FormatError, Instead, Result};
use crate::text;

/// Characters of an address at the most.
pub(super) const URL: usize = 2048;
/// Categories that are kept.
const CATEGORIES: usize = 32;

/// Parses an Atom or RSS 2.0 document of at most `limit` bytes and `entries` entries; `charset` is what HTTP said of it.
pub(super) fn document(
    what: &'static str,
    bytes: &[u8],
    charset: Option<&str>,
    base: &Url,
    limit: u64,
    entries: usize,
) -> Result<model::Feed> {
    if crate::is_page(bytes) {
        return Err(FormatError::instead(what, Instead::WebPage));
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let why = "it is not a feed but a gzip file: give the address of feed.xml itself";
        return Err(FormatError::malformed(what, why));
    }
    let text = super::text::text(what, bytes, charset, limit)?;
    match text.chars().next() {
        None => return Err(FormatError::instead(what, Instead::Nothing)),
        Some('{' | '[') => {
            return Err(FormatError::malformed(
                what,
                "it is not a feed but JSON: give the address of feed.xml",
            ));
        }
        Some(_) => {}
    }
    let sifted = sift(what, &text, entries)?;
    drop(text);
    feed_rs::parser::Builder::new()
        // Texts are made plain below; an id that is missing stays so.
        .sanitize_content(false)
        .base_uri(Some(base))
        .id_generator(|_, _, _| String::new())
        .build()
        .parse(&sifted[..])
        .map_err(|e| FormatError::malformed(what, e.to_string()))
}

/// The address that `href` gives in the document at `base`, if the document may point to it: HTTP or HTTPS, or a file
/// on the same computer if the document is one itself.
pub(super) fn address(href: &str, base: &Url) -> Option<Url> {
    let mut url = base.join(href.trim()).ok()?;
    // Who reads it is nobody that the document could know. A URL that can have no user keeps none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let allowed = match url.scheme() {
        "http" | "https" => url.has_host(),
        // `file://host/` is a network share on Windows: opening it tells the host who is asking.
        "file" => base.scheme() == "file" && url.host_str() == base.host_str(),
        _ => false,
    };
    (allowed && url.as_str().len() <= URL).then_some(url)
}

/// True if the media type `found`, without its parameters, is `wanted`.
pub(super) fn is_type(found: &str, wanted: &str) -> bool {
    let essence = found.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(wanted)
}

/// A text as one line.
pub(super) fn line(text: Option<&model::Text>, max: usize) -> String {
    text::line(&block(text, max.saturating_mul(4)), max)
}

/// A text of several lines.
pub(super) fn block(text: Option<&model::Text>, max: usize) -> String {
    text.map_or_else(String::new, |text| {
        plain(text.content_type.as_str(), &text.content, max)
    })
}

/// The content of an entry.
pub(super) fn content(entry: &model::Entry, max: usize) -> String {
    let Some(content) = &entry.content else {
        return String::new();
    };
    let body = content.body.as_deref().unwrap_or_default();
    plain(content.content_type.as_str(), body, max)
}

fn plain(kind: &str, body: &str, max: usize) -> String {
    if kind == "text/plain" {
        text::block(body, max)
    } else {
        text::of_html(body, max)
    }
}

/// The name of the first author, or of whom else the document names.
pub(super) fn publisher(authors: &[model::Person], others: &[model::Person]) -> String {
    authors
        .iter()
        .chain(others)
        .filter_map(|person| person.name.as_deref())
        .map(|name| text::line(name, 120))
        .find(|name| !name.is_empty())
        .unwrap_or_default()
}

/// The categories that are for people: those without a scheme of ours.
pub(super) fn categories(categories: &[model::Category]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for category in categories {
        let ours = category
            .scheme
            .as_deref()
            .is_some_and(|scheme| scheme.starts_with("urn:livepc:"));
        let name = text::line(category.label.as_deref().unwrap_or(&category.term), 40);
        if !ours && !name.is_empty() && !names.contains(&name) && names.len() < CATEGORIES {
            names.push(name);
        }
    }
    names
}

/// The term of the first category with this scheme.
pub(super) fn term<'a>(categories: &'a [model::Category], scheme: &str) -> Option<&'a str> {
    categories
        .iter()
        .find(|category| category.scheme.as_deref() == Some(scheme))
        .map(|category| category.term.as_str())
}

/// When an entry was changed last, or else published.
pub(super) fn entry_time(entry: &model::Entry) -> Option<Timestamp> {
    let time = entry.updated.or(entry.published)?;
    known(time.timestamp())
}

/// When a document was changed last, or else published.
pub(super) fn document_time(document: &model::Feed) -> Option<Timestamp> {
    let time = document.updated.or(document.published)?;
    known(time.timestamp())
}

/// Atom demands a time: what has none is written as of the beginning of 1970.
fn known(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds)
        .ok()
        .filter(|time| *time > Timestamp::UNIX_EPOCH)
}

/// The address of an RSS enclosure of this media type.
pub(super) fn enclosure(entry: &model::Entry, kind: &str) -> Option<String> {
    entry
        .media
        .iter()
        .flat_map(|media| &media.content)
        .find(|content| {
            let found = content.content_type.as_ref();
            found.is_some_and(|found| is_type(found.as_str(), kind))
        })
        .and_then(|content| content.url.as_ref())
        .map(Url::to_string)
}
