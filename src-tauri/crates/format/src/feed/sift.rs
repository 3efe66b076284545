//! Cuts a feed down to the elements that LivePC reads, before feed-rs sees it.
//!
//! feed-rs reads what strangers write, but it does not bound it: nested `media:group` elements end in a stack
//! overflow, a media title is copied once for each item below it, and some durations and e-mail addresses panic. What
//! comes out of here is flat, has only known elements and attributes, and text of a bounded length.

use quick_xml::NsReader;
use quick_xml::errors::SyntaxError;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};
use quick_xml::name::ResolveResult;
use quick_xml::writer::Writer;

use url::Url;

use super::read::is_type;
use crate::error::{FormatError, Instead, Result};
use crate::{head, limits};

/// Elements inside each other at the most.
const DEPTH: usize = 256;
/// Elements of a document at the most.
const ELEMENTS: usize = 1 << 20;
/// Elements of an entry, or of what stands outside of entries, that are kept.
const CHILDREN: usize = 256;
/// Characters of an attribute that is kept at the most; longer ones are dropped.
const ATTRIBUTE: usize = 2048;
/// Bytes of a text that are kept.
const TEXT: usize = 64 << 10;
/// Bytes of a name, a time or an address that are kept.
const SHORT: usize = 2 << 10;
/// Bytes of all that is kept.
const KEPT: usize = limits::CATALOG_BYTES as usize;

/// The relation of the link to where a feed has moved to, as podcasts say it.
pub(super) const MOVED: &str = "urn:livepc:moved";

const ATOM: &str = "http://www.w3.org/2005/Atom";
const MEDIA: &str = "http://search.yahoo.com/mrss/";
const DUBLIN_CORE: &str = "http://purl.org/dc/elements/1.1/";
const CONTENT: &str = "http://purl.org/rss/1.0/modules/content/";

#[derive(Clone, Copy, PartialEq)]
enum Namespace {
    /// None: RSS 2.0, and Atom that forgot its own.
    Plain,
    Atom,
    Media,
    DublinCore,
    Content,
    Itunes,
    Other,
}

impl Namespace {
    fn of(resolved: &ResolveResult<'_>) -> Self {
        match resolved {
            ResolveResult::Unbound => Self::Plain,
            ResolveResult::Unknown(_) => Self::Other,
            ResolveResult::Bound(name) => match name.as_ref().trim_end_matches('/') {
                ATOM => Self::Atom,
                "http://purl.org/dc/elements/1.1" => Self::DublinCore,
                "http://purl.org/rss/1.0/modules/content" => Self::Content,
                "http://search.yahoo.com/mrss" => Self::Media,
                "http://www.itunes.com/dtds/podcast-1.0.dtd" => Self::Itunes,
                _ => Self::Other,
            },
        }
    }
}

/// What the element on the stack is.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    AtomFeed,
    AtomEntry,
    AtomPerson,
    Rss,
    Channel,
    Item,
    Image,
    /// `media:group` or `media:content`: left out, but thumbnails inside are kept.
    Media,
    /// Its text is being gathered.
    Field,
    /// An element inside the text of a field.
    Markup,
    Skipped,
}

/// An element whose text is kept.
struct Field {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A name, a time or an address.
    Short,
    Text,
    /// Elements inside are part of the text, as HTML.
    Xhtml,
    /// RSS's way to name somebody: `mail@example.org (Name)`.
    Person,
    /// The address that the feed has moved to: becomes a link of relation [`MOVED`].
    Moved,
}

struct Sifter {
    what: &'static str,
    max_entries: usize,
    entries: usize,
    elements: usize,
    /// Elements of the entry that is being read, and of what stands outside of entries.
    children: [usize; 2],
    stack: Vec<(Place, &'static str)>,
    field: Option<Field>,
    /// The namespace of the first element, if it is none that is known.
    own: Option<String>,
    out: Writer<Vec<u8>>,
}

/// The parts of an Atom or RSS 2.0 document that LivePC reads, as a document of the same kind.
pub(super) fn sift(what: &'static str, text: &str, max_entries: usize) -> Result<Vec<u8>> {
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    // “Tom & Jerry” is not well-formed, and often written.
    reader.config_mut().allow_dangling_amp = true;
    reader.config_mut().trim_markup_names_in_closing_tags = true;
    let mut sifter = Sifter {
        what,
        max_entries,
        entries: 0,
        elements: 0,
        children: [0; 2],
        stack: Vec::new(),
        field: None,
        own: None,
        out: Writer::new(Vec::new()),
    };
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|error| match error {
            // All of these are something that has begun and does not end.
            quick_xml::Error::Syntax(why) if why != SyntaxError::InvalidBangMarkup => {
                FormatError::instead(what, Instead::Part)
            }
            error => sifter.malformed(&format!("it is not well-formed XML: {error}")),
        })?;
        match event {
            Event::Start(element) => {
                let namespace = sifter.namespace(&namespace);
                sifter.start(namespace, &element)?;
            }
            Event::End(element) => {
                sifter.end(element.local_name().as_ref())?;
                // What networks and hosts put behind it is no part of the document.
                if sifter.stack.is_empty() {
                    break;
                }
            }
            Event::Text(part) => sifter.text(&part)?,
            Event::CData(part) => sifter.text(&part)?,
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(c)) => sifter.text(c.encode_utf8(&mut [0; 4]))?,
                Ok(None) => match quick_xml::escape::resolve_html5_entity(&reference) {
                    Some(text) => sifter.text(text)?,
                    // Entities that a document declares are never expanded.
                    None => sifter.text(&format!("&{};", &*reference))?,
                },
                Err(_) => {}
            },
            Event::Eof => break,
            // The text is decoded: what a declaration says of that is over.
            Event::Decl(_) | Event::Empty(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    if sifter.elements == 0 {
        return Err(sifter.malformed("it is not a feed: it has no XML element"));
    }
    if !sifter.stack.is_empty() {
        return Err(FormatError::instead(what, Instead::Part));
    }
    Ok(sifter.out.into_inner())
}

impl Sifter {
    fn malformed(&self, why: &str) -> FormatError {
        FormatError::malformed(self.what, why)
    }

    /// What a namespace is. That of the first element is the document's own, whatever it is called: there are many for RSS.
    fn namespace(&mut self, resolved: &ResolveResult<'_>) -> Namespace {
        let known = Namespace::of(resolved);
        let (Namespace::Other, ResolveResult::Bound(name)) = (known, resolved) else {
            return known;
        };
        if self.elements == 0 {
            self.own = Some(name.as_ref().to_owned());
        }
        if self.own.as_deref() == Some(name.as_ref()) {
            Namespace::Plain
        } else {
            Namespace::Other
        }
    }

    fn start(&mut self, namespace: Namespace, element: &BytesStart<'_>) -> Result<()> {
        self.elements += 1;
        if self.stack.len() >= DEPTH || self.elements > ELEMENTS {
            return Err(self.malformed("it has too many elements, or too many inside each other"));
        }
        let name = element.local_name();
        let name = name.as_ref();
        let Some(&(place, _)) = self.stack.last() else {
            return self.root(namespace, name, element);
        };
        if self.is_one_too_many(place, name) {
            self.skip();
            return Ok(());
        }
        match place {
            Place::Skipped => self.skip(),
            Place::Field | Place::Markup => self.markup(name),
            Place::AtomFeed | Place::AtomEntry => self.atom(place, namespace, name, element)?,
            Place::AtomPerson if name == "name" => self.field("name", element, &[], Kind::Short),
            Place::Channel | Place::Item => self.rss(place, namespace, name, element)?,
            Place::Rss if name == "channel" => self.open(Place::Channel, "channel", element)?,
            Place::Image if name == "url" => self.field("url", element, &[], Kind::Short),
            Place::Media => self.media(namespace, name, element)?,
            Place::AtomPerson | Place::Rss | Place::Image => self.skip(),
        }
        Ok(())
    }

    fn root(&mut self, namespace: Namespace, name: &str, element: &BytesStart<'_>) -> Result<()> {
        match (namespace, name) {
            (Namespace::Atom | Namespace::Plain, "feed") => {
                let root = BytesStart::new("feed").with_attributes([("xmlns", ATOM), ("xmlns:media", MEDIA)]);
                self.open_with(Place::AtomFeed, "feed", root, element)
            }
            (Namespace::Plain, "rss") => {
                let root = BytesStart::new("rss").with_attributes([
                    ("version", "2.0"),
                    ("xmlns:atom", ATOM),
                    ("xmlns:content", CONTENT),
                    ("xmlns:dc", DUBLIN_CORE),
                ]);
                self.open_with(Place::Rss, "rss", root, element)
            }
            _ if name.eq_ignore_ascii_case("html") => Err(FormatError::instead(self.what, Instead::WebPage)),
            (_, "RDF") => {
                Err(self.malformed("it is RSS 1.0, which is not read: it has to be Atom or RSS 2.0"))
            }
            (_, "opml") => Err(self.malformed(
                "it is a list of feeds in OPML, which is not read: give the address of one of the feeds",
            )),
            (Namespace::Other, "feed" | "rss") if self.own.is_none() => {
                let whole = element.name();
                let prefix = whole.as_ref().split_once(':').map_or("", |(prefix, _)| prefix);
                Err(self.malformed(&format!(
                    "its first element is <{prefix}:{name}>, and nothing says what “{prefix}” stands for: “xmlns:{prefix}” is missing"
                )))
            }
            _ => Err(self.malformed(&format!(
                "it is not a feed: its first element is <{name}>, not <feed> or <rss>"
            ))),
        }
    }

    fn atom(
        &mut self,
        place: Place,
        namespace: Namespace,
        name: &str,
        element: &BytesStart<'_>,
    ) -> Result<()> {
        let entry = place == Place::AtomEntry;
        match (namespace, name) {
            (Namespace::Media, _) => return self.media(namespace, name, element),
            (Namespace::Itunes, "new-feed-url") if !entry => self.field("link", element, &[], Kind::Moved),
            (Namespace::Atom | Namespace::Plain, name) => match name {
                "entry" if !entry => {
                    self.count_entry()?;
                    return self.open(Place::AtomEntry, "entry", element);
                }
                "author" => return self.open(Place::AtomPerson, "author", element),
                "link" => return self.empty("link", element, &["href", "rel", "type"]),
                "category" => return self.empty("category", element, &["term", "scheme", "label"]),
                "id" => self.field("id", element, &[], Kind::Short),
                "updated" => self.field("updated", element, &[], Kind::Short),
                "published" if entry => self.field("published", element, &[], Kind::Short),
                "title" => self.atom_text("title", element),
                "subtitle" if !entry => self.atom_text("subtitle", element),
                "summary" if entry => self.atom_text("summary", element),
                "content" if entry => self.atom_text("content", element),
                "logo" if !entry => self.field("logo", element, &[], Kind::Short),
                "icon" if !entry => self.field("icon", element, &[], Kind::Short),
                _ => self.skip(),
            },
            _ => self.skip(),
        }
        Ok(())
    }

    /// A text construct of Atom: plain, HTML, or XHTML, which becomes HTML here.
    fn atom_text(&mut self, name: &'static str, element: &BytesStart<'_>) {
        let kind = attribute(element, "type").unwrap_or_default();
        let (kind, gather) = match kind.trim().to_ascii_lowercase().as_str() {
            "" | "text" | "text/plain" => ("text", Kind::Text),
            "html" | "text/html" => ("html", Kind::Text),
            "xhtml" | "application/xhtml+xml" => ("html", Kind::Xhtml),
            // Pictures, base64 and the like.
            _ => return self.skip(),
        };
        self.field(name, element, &[], gather);
        if let Some(field) = &mut self.field {
            field.attributes.push(("type", kind.to_owned()));
        }
    }

    fn rss(
        &mut self,
        place: Place,
        namespace: Namespace,
        name: &str,
        element: &BytesStart<'_>,
    ) -> Result<()> {
        let item = place == Place::Item;
        match (namespace, name) {
            (Namespace::Media, _) => return self.media(namespace, name, element),
            (Namespace::Plain, "item") if !item => {
                self.count_entry()?;
                return self.open(Place::Item, "item", element);
            }
            (Namespace::Plain, "image") if !item => return self.open(Place::Image, "image", element),
            (Namespace::Plain, "enclosure") if item => {
                return self.empty("enclosure", element, &["url", "type"]);
            }
            (Namespace::Atom, "link") if !item => {
                return self.empty("atom:link", element, &["href", "rel", "type"]);
            }
            // feed-rs reads Atom links of a channel, but none of an item.
            (Namespace::Atom, "link") => return self.item_link(element),
            (Namespace::Itunes, "new-feed-url") if !item => {
                self.field("atom:link", element, &[], Kind::Moved);
            }
            (Namespace::Plain, "category") => self.field("category", element, &["domain"], Kind::Short),
            (Namespace::Plain, "title") => self.field("title", element, &[], Kind::Short),
            (Namespace::Plain, "description") => self.field("description", element, &[], Kind::Text),
            (Namespace::Plain, "pubDate") => self.field("pubDate", element, &[], Kind::Short),
            (Namespace::Plain, "lastBuildDate") if !item => {
                self.field("lastBuildDate", element, &[], Kind::Short);
            }
            (Namespace::Plain, "managingEditor") if !item => {
                self.field("managingEditor", element, &[], Kind::Person);
            }
            (Namespace::Plain, "guid") if item => self.field("guid", element, &[], Kind::Short),
            (Namespace::Plain, "author") if item => self.field("author", element, &[], Kind::Person),
            (Namespace::DublinCore, "creator") if item => {
                self.field("dc:creator", element, &[], Kind::Person);
            }
            (Namespace::DublinCore, "date") if item => self.field("dc:date", element, &[], Kind::Short),
            (Namespace::Content, "encoded") if item => {
                self.field("content:encoded", element, &[], Kind::Text);
            }
            _ => self.skip(),
        }
        Ok(())
    }

    /// An Atom link in an RSS item: as the enclosure that feed-rs understands. That forgets the relation, so what only
    /// some relations may lead to is sorted out here; a head may be linked by any.
    fn item_link(&mut self, element: &BytesStart<'_>) -> Result<()> {
        let rel = attribute(element, "rel").unwrap_or_default();
        let links =
            |kind: &str| is_type(kind, head::TYPE) || matches!(rel.as_str(), "alternate" | "enclosure" | "");
        if let (Some(href), Some(kind)) = (attribute(element, "href"), attribute(element, "type"))
            && links(&kind)
        {
            let link = BytesStart::new("enclosure")
                .with_attributes([("url", href.as_str()), ("type", kind.as_str())]);
            self.write(Event::Empty(link))?;
        }
        self.skip();
        Ok(())
    }

    /// Media RSS: only the address of a thumbnail is of use. feed-rs drops thumbnails that have no content beside them,
    /// so they become contents here; in RSS enclosures, since there feed-rs drops enclosures beside contents.
    fn media(&mut self, namespace: Namespace, name: &str, element: &BytesStart<'_>) -> Result<()> {
        match (namespace, name) {
            (Namespace::Media, "group" | "content") => self.stack.push((Place::Media, "")),
            (Namespace::Media, "thumbnail") => {
                let becomes = self.stack.iter().find_map(|&(place, _)| match place {
                    Place::AtomEntry => Some("media:content"),
                    Place::Item => Some("enclosure"),
                    _ => None,
                });
                if let (Some(name), Some(url)) = (becomes, attribute(element, "url")) {
                    let image =
                        BytesStart::new(name).with_attributes([("url", url.as_str()), ("type", "image/*")]);
                    self.write(Event::Empty(image))?;
                }
                self.skip();
            }
            _ => self.skip(),
        }
        Ok(())
    }

    fn is_one_too_many(&mut self, place: Place, name: &str) -> bool {
        let counter = match place {
            Place::AtomEntry | Place::Item => &mut self.children[0],
            Place::AtomFeed | Place::Channel if !matches!(name, "entry" | "item") => &mut self.children[1],
            _ => return false,
        };
        *counter += 1;
        *counter > CHILDREN
    }

    fn count_entry(&mut self) -> Result<()> {
        self.entries += 1;
        self.children[0] = 0;
        if self.entries > self.max_entries {
            let why = format!("it has more than {} entries", self.max_entries);
            return Err(self.malformed(&why));
        }
        Ok(())
    }

    fn skip(&mut self) {
        self.stack.push((Place::Skipped, ""));
    }

    fn open(&mut self, place: Place, name: &'static str, element: &BytesStart<'_>) -> Result<()> {
        self.open_with(place, name, BytesStart::new(name), element)
    }

    fn open_with(
        &mut self,
        place: Place,
        name: &'static str,
        mut start: BytesStart<'_>,
        element: &BytesStart<'_>,
    ) -> Result<()> {
        if let Some(base) = kept_attribute(element, "xml:base") {
            start.push_attribute(("xml:base", base.as_str()));
        }
        self.write(Event::Start(start))?;
        self.stack.push((place, name));
        Ok(())
    }

    /// An element that only has attributes.
    fn empty(&mut self, name: &'static str, element: &BytesStart<'_>, keep: &[&'static str]) -> Result<()> {
        let mut start = BytesStart::new(name);
        for &key in keep.iter().chain(&["xml:base"]) {
            if let Some(value) = kept_attribute(element, key) {
                start.push_attribute((key, value.as_str()));
            }
        }
        self.write(Event::Empty(start))?;
        self.skip();
        Ok(())
    }

    fn field(&mut self, name: &'static str, element: &BytesStart<'_>, keep: &[&'static str], kind: Kind) {
        let attributes = keep
            .iter()
            .chain(&["xml:base"])
            .filter_map(|&key| Some((key, kept_attribute(element, key)?)))
            .collect();
        self.field = Some(Field {
            name,
            attributes,
            kind,
            text: String::new(),
        });
        self.stack.push((Place::Field, name));
    }

    fn markup(&mut self, name: &str) {
        if let Some(field) = self.field.as_mut().filter(|field| field.kind == Kind::Xhtml) {
            field.push(&format!("<{name}>"));
        }
        self.stack.push((Place::Markup, ""));
    }

    fn text(&mut self, part: &str) -> Result<()> {
        if let Some(field) = &mut self.field {
            if field.kind == Kind::Xhtml {
                field.push(&quick_xml::escape::minimal_escape(part));
            } else {
                field.push(part);
            }
        } else if self.elements == 0 && !part.trim().is_empty() {
            return Err(self.malformed("it is not a feed: it does not begin as XML does"));
        }
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<()> {
        let Some((place, kept)) = self.stack.pop() else {
            return Err(self.malformed("an element ends that did not begin"));
        };
        match place {
            Place::Skipped | Place::Media => Ok(()),
            Place::Markup => {
                if let Some(field) = self.field.as_mut().filter(|field| field.kind == Kind::Xhtml) {
                    field.push(&format!("</{name}>"));
                }
                Ok(())
            }
            Place::Field => self.end_field(),
            _ => self.write(Event::End(BytesEnd::new(kept))),
        }
    }

    fn end_field(&mut self) -> Result<()> {
        let Some(field) = self.field.take() else {
            return Ok(());
        };
        let text = match field.kind {
            Kind::Moved => {
                let link = BytesStart::new(field.name)
                    .with_attributes([("rel", MOVED), ("href", field.text.trim())]);
                return self.write(Event::Empty(link));
            }
            Kind::Person => person(&field.text),
            Kind::Short | Kind::Text | Kind::Xhtml => field.text,
        };
        let mut start = BytesStart::new(field.name);
        for (key, value) in &field.attributes {
            start.push_attribute((*key, value.as_str()));
        }
        self.write(Event::Start(start))?;
        let escaped = quick_xml::escape::minimal_escape(&*text);
        self.write(Event::Text(BytesText::from_escaped(escaped)))?;
        self.write(Event::End(BytesEnd::new(field.name)))
    }

    fn write(&mut self, event: Event<'_>) -> Result<()> {
        self.out
            .write_event(event)
            .map_err(|e| FormatError::malformed(self.what, e.to_string()))?;
        if self.out.get_ref().len() > KEPT {
            return Err(self.malformed("its texts are too long"));
        }
        Ok(())
    }
}

impl Field {
    /// Adds to the text as long as there is room; a text that is cut loses its end.
    fn push(&mut self, part: &str) {
        let limit = match self.kind {
            Kind::Short | Kind::Person | Kind::Moved => SHORT,
            Kind::Text | Kind::Xhtml => TEXT,
        };
        let room = limit.saturating_sub(self.text.len());
        self.text.push_str(&part[..part.floor_char_boundary(room)]);
    }
}

/// An attribute's value, if it is there and of a sensible length.
fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element
        .attributes()
        // quick-xml looks for a name that is there twice by comparing each with all before it.
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.as_ref() == name)?;
    if attribute.value.len() > ATTRIBUTE {
        return None;
    }
    let value = quick_xml::escape::unescape(&attribute.value).unwrap_or_else(|_| attribute.value.clone());
    Some(value.into_owned())
}

/// An attribute that is kept: a base that is no address would end the whole document.
fn kept_attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let value = attribute(element, name)?;
    let is_usable = match Url::parse(&value) {
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => true,
        Err(_) => name != "xml:base",
    };
    is_usable.then_some(value)
}

/// The name in `mail@example.org (Name)`, or the whole; without the `@` that makes feed-rs look for an address.
fn person(text: &str) -> String {
    let name = match (text.find('@'), text.find('('), text.rfind(')')) {
        (Some(_), Some(open), Some(close)) if open + 1 < close => &text[open + 1..close],
        _ => text,
    };
    name.replace('@', " at ")
}
