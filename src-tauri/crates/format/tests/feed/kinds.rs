//! Feeds of all kinds that servers and programs make: what is written, and what is read or why it is refused.

use livepc_format::Instead;

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

/// An Atom feed with this before its first element.
fn feed_after(before: &str) -> String {
    format!(
        r#"{before}<feed xmlns="http://www.w3.org/2005/Atom"><title>Café Ω</title>
           <link rel="related" type="application/vnd.livepc.head+json" href="head.json"/></feed>"#
    )
}

/// The same without what is not in Latin-1, with this in front.
fn plain_after(before: &str) -> String {
    feed_after(before).replace(" Ω", "")
}

fn latin(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect()
}

fn wide(text: &str, little: bool) -> Vec<u8> {
    let bytes = if little {
        u16::to_le_bytes
    } else {
        u16::to_be_bytes
    };
    text.encode_utf16().flat_map(bytes).collect()
}

fn wider(text: &str) -> Vec<u8> {
    text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect()
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
const TO_FEED: &str =
    r#"<entry><title>A</title><link rel="alternate" type="application/atom+xml" href="a/feed.xml"/></entry>"#;
const A: &[&str] = &["https://example.org/net-lab/a/feed.xml"];

fn encodings() -> Vec<Kind> {
    let cafe = || IsFeed("Café Ω", HEAD);
    let latin_cafe = || IsFeed("Café", HEAD);
    let declared = |name: &str| format!("<?xml version=\"1.0\" encoding=\"{name}\"?>");
    let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
    let with_title = |encoding: &str, title: &[u8]| {
        let text = feed_after(&declared(encoding));
        let (before, after) = text.split_once("Café Ω").unwrap();
        [before.as_bytes(), title, after.as_bytes()].concat()
    };
    vec![
        kind("UTF-8 without a declaration", feed_after(""), cafe()),
        kind("UTF-8 that says so", feed_after(&declared("UTF-8")), cafe()),
        kind("utf8 without a hyphen", feed_after(&declared("utf8")), cafe()),
        kind(
            "UTF-8 with a mark",
            marked(b"\xef\xbb\xbf", feed_after("").as_bytes()),
            cafe(),
        ),
        kind(
            "two marks",
            marked(b"\xef\xbb\xbf\xef\xbb\xbf", feed_after("").as_bytes()),
            cafe(),
        ),
        kind(
            "a mark of UTF-8 before a declaration of another",
            marked(b"\xef\xbb\xbf", feed_after(&declared("iso-8859-1")).as_bytes()),
            cafe(),
        ),
        kind(
            "UTF-16LE with a mark",
            marked(b"\xff\xfe", &wide(&feed_after(""), true)),
            cafe(),
        ),
        kind(
            "UTF-16BE with a mark and a declaration",
            marked(b"\xfe\xff", &wide(&feed_after(&declared("UTF-16")), false)),
            cafe(),
        ),
        kind(
            "UTF-16LE without a mark",
            wide(&feed_after(&declared("utf-16")), true),
            cafe(),
        ),
        kind(
            "UTF-16BE without a mark",
            wide(&feed_after(&declared("utf-16")), false),
            cafe(),
        ),
        kind(
            "UTF-16BE without a declaration",
            wide(&feed_after(""), false),
            cafe(),
        ),
        kind(
            "UTF-16LE that says UTF-8",
            wide(&feed_after(&declared("utf-8")), true),
            cafe(),
        ),
        kind(
            "UTF-16BE after blank lines",
            wide(&feed_after("\n\n"), false),
            cafe(),
        ),
        kind(
            "UTF-16BE of odd length",
            [wide(&feed_after(""), false), vec![0]].concat(),
            cafe(),
        ),
        kind("UTF-16 on plain UTF-8", feed_after(&declared("utf-16")), cafe()),
        kind(
            "UTF-16LE on plain UTF-8",
            feed_after(&declared("UTF-16LE")),
            cafe(),
        ),
        kind(
            "UCS-2 on plain UTF-8",
            feed_after(&declared("ISO-10646-UCS-2")),
            cafe(),
        ),
        kind("Unicode on plain UTF-8", feed_after(&declared("Unicode")), cafe()),
        kind("UTF-32", wider(&feed_after("")), Refused("UTF-32")),
        kind(
            "UTF-32 with a mark",
            marked(b"\xff\xfe\0\0", &wider(&feed_after(""))),
            Refused("UTF-32"),
        ),
        kind(
            "ISO-8859-1",
            latin(&plain_after(&declared("ISO-8859-1"))),
            latin_cafe(),
        ),
        kind(
            "Windows-1252",
            with_title("windows-1252", b"Caf\xe9 \x80"),
            IsFeed("Café €", HEAD),
        ),
        kind(
            "Windows-1251",
            with_title("Windows-1251", b"\xcb\xe0\xe1"),
            IsFeed("Лаб", HEAD),
        ),
        kind(
            "KOI8-R",
            with_title("koi8-r", b"\xec\xc1\xc2"),
            IsFeed("Лаб", HEAD),
        ),
        kind(
            "ISO-8859-2",
            with_title("iso-8859-2", b"\xa3\xf3d\xbc"),
            IsFeed("Łódź", HEAD),
        ),
        kind(
            "ISO-8859-15",
            with_title("ISO-8859-15", b"\xa4"),
            IsFeed("€", HEAD),
        ),
        kind(
            "Shift_JIS",
            with_title("Shift_JIS", b"\x83\x89\x83\x7b"),
            IsFeed("ラボ", HEAD),
        ),
        kind(
            "EUC-JP",
            with_title("EUC-JP", b"\xa5\xe9\xa5\xdc"),
            IsFeed("ラボ", HEAD),
        ),
        kind(
            "ISO-2022-JP",
            with_title("ISO-2022-JP", b"\x1b$B%i%\\\x1b(B"),
            IsFeed("ラボ", HEAD),
        ),
        kind(
            "GB2312",
            with_title("gb2312", b"\xca\xb5\xd1\xe9"),
            IsFeed("实验", HEAD),
        ),
        kind(
            "Big5",
            with_title("big5", b"\xb9\xea\xc5\xe7"),
            IsFeed("實驗", HEAD),
        ),
        kind(
            "US-ASCII with UTF-8 inside",
            feed_after(&declared("us-ascii")),
            cafe(),
        ),
        kind(
            "bytes that are none in the encoding",
            with_title("utf-8", b"Caf\xe9!"),
            IsFeed("Caf\u{fffd}!", HEAD),
        ),
        kind(
            "an encoding that nobody knows, on ASCII",
            plain_after(&declared("x-lab")).replace('é', "e"),
            IsFeed("Cafe", HEAD),
        ),
        kind(
            "an encoding that nobody knows",
            with_title("x-lab", b"Caf\xe9"),
            Refused("“x-lab”"),
        ),
        kind(
            "a declaration of more than 64 bytes",
            latin(&plain_after(&format!(
                "<?xml version=\"1.0\"{} encoding=\"windows-1252\"?>",
                " ".repeat(99)
            ))),
            latin_cafe(),
        ),
        kind(
            "a declaration in single quotes",
            latin(&plain_after(
                "<?xml version='1.0' encoding='iso-8859-1' standalone='yes'?>",
            )),
            latin_cafe(),
        ),
        kind(
            "a declaration behind blank lines",
            latin(&plain_after(&format!("\r\n\r\n{}", declared("iso-8859-1")))),
            latin_cafe(),
        ),
        kind(
            "a declaration behind a comment",
            feed_after(&format!("<!-- made on a Monday -->{}", declared("iso-8859-1"))),
            cafe(),
        ),
        kind(
            "a declaration behind 9000 spaces and a comment",
            feed_after(&format!("{}<!-- -->{}", " ".repeat(9000), declared("iso-8859-1"))),
            cafe(),
        ),
        kind(
            "a second declaration",
            feed_after(&format!(
                "{}{}{}",
                declared("utf-8"),
                " ".repeat(9000),
                declared("iso-8859-1")
            )),
            cafe(),
        ),
        kind(
            "a second declaration of UTF-16",
            feed_after(&format!(
                "{}<!-- {} -->{}",
                declared("utf-8"),
                "x".repeat(99),
                declared("utf-16be")
            )),
            cafe(),
        ),
        kind(
            "declarations of UTF-16BE in UTF-16BE",
            marked(
                b"\xfe\xff",
                &wide(
                    &feed_after(&format!("{}\n{}", declared("utf-16be"), declared("utf-16be"))),
                    false,
                ),
            ),
            cafe(),
        ),
        kind(
            "a declaration inside",
            atom_with(&format!("{}{LINK}", declared("iso-8859-1"))),
            IsFeed("Lab", HEAD),
        ),
        kind(
            "an encoding that HTTP says",
            latin(&plain_after("")),
            latin_cafe(),
        )
        .over_http("iso-8859-1"),
        kind(
            "HTTP says another than the document",
            latin(&plain_after(&declared("iso-8859-1"))),
            latin_cafe(),
        )
        .over_http("utf-8"),
        kind("HTTP says Latin-1 of everything", feed_after(""), cafe()).over_http("ISO-8859-1"),
        kind("HTTP says UTF-16 of UTF-8", feed_after(""), cafe()).over_http("utf-16"),
        kind("HTTP says nonsense", feed_after(""), cafe()).over_http("binary"),
        kind(
            "HTTP says UTF-8 of UTF-16",
            marked(b"\xff\xfe", &wide(&feed_after(""), true)),
            cafe(),
        )
        .over_http("utf-8"),
    ]
}

fn forms() -> Vec<Kind> {
    let lab = || IsFeed("Lab", HEAD);
    let rss2 = "version=\"2.0\"";
    vec![
        kind("Atom", atom_with(LINK), lab()),
        kind("Atom without its namespace", format!("<feed><title>Lab</title>{LINK}</feed>"), lab()),
        kind("Atom with a prefix", format!("<a:feed xmlns:a=\"http://www.w3.org/2005/Atom\"><a:title>Lab</a:title>{}</a:feed>", LINK.replace("<link", "<a:link")), lab()),
        kind("Atom over HTTPS by mistake", atom_with(LINK).replace("http://www.w3.org/2005", "https://www.w3.org/2005"), lab()),
        kind("Atom 0.3", atom_with(LINK).replace("http://www.w3.org/2005/Atom", "http://purl.org/atom/ns#"), lab()),
        kind("a link on an entry", atom_with(&format!("<entry><title>1</title>{LINK}</entry>")), lab()),
        kind("a link without a relation", atom_with(&LINK.replace("rel=\"related\" ", "")), lab()),
        kind("a type with a parameter, in capitals", atom_with(&LINK.replace("head+json", "HEAD+JSON; charset=utf-8")), lab()),
        kind("an address with spaces around", atom_with(&LINK.replace("head.json", " \n head.json ")), lab()),
        kind("xml:base of the feed", atom_with(LINK).replace("<feed ", "<feed xml:base=\"../other/\" "), IsFeed("Lab", "https://example.org/other/head.json")),
        kind("xml:base of the link", atom_with(&LINK.replace("<link", "<link xml:base=\"https://cdn.example/x/\"")), IsFeed("Lab", "https://cdn.example/x/head.json")),
        kind("an address from the root", atom_with(&LINK.replace("head.json", "/head.json")), IsFeed("Lab", "https://example.org/head.json")),
        kind("an address with a bare ampersand", atom_with(&LINK.replace("head.json", "head.json?a=1&b=2")), IsFeed("Lab", "https://example.org/net-lab/head.json?a=1&b=2")),
        kind("RSS 2.0 with an enclosure", rss_with(rss2, ENCLOSURE), lab()),
        kind("RSS 0.91 with a DOCTYPE", rss_with("version=\"0.91\"", ENCLOSURE).replace("<rss", "<!DOCTYPE rss PUBLIC \"-//Netscape//DTD RSS 0.91//EN\" \"http://my.netscape.com/publish/formats/rss-0.91.dtd\"><rss"), lab()),
        kind("RSS 0.92", rss_with("version=\"0.92\"", ENCLOSURE), lab()),
        kind("RSS without a version", rss_with("", ENCLOSURE), lab()),
        kind("RSS 2.0 in a namespace", rss_with("version=\"2.0\" xmlns=\"http://blogs.law.harvard.edu/tech/rss\"", ENCLOSURE), lab()),
        kind("RSS 2.0 in another namespace", rss_with("version=\"2.0\" xmlns=\"http://backend.userland.com/RSS2\"", ENCLOSURE), lab()),
        kind("RSS with an atom:link", rss_with("version=\"2.0\" xmlns:atom=\"http://www.w3.org/2005/Atom\"", &LINK.replace("<link", "<atom:link")), lab()),
        kind("RSS whose enclosure has no length", rss_with(rss2, &ENCLOSURE.replace(" length=\"0\"", "")), lab()),
        kind("RSS whose enclosure's length is none", rss_with(rss2, &ENCLOSURE.replace("\"0\"", "\"-1 kB\"")), lab()),
        kind("RSS whose enclosure is not the first", rss_with(rss2, &ENCLOSURE.replace("<enclosure", "<enclosure url=\"a.mp3\" type=\"audio/mpeg\"/><enclosure")), lab()),
        kind("RSS with dates of many kinds", rss_with(rss2, &format!("<pubDate>Yesterday</pubDate>{}", ENCLOSURE.replace("</item>", "<pubDate>Mon, 31 Feb 20026 25:61 EDT</pubDate></item>"))), lab()),
        kind("RSS 1.0", "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"><channel/></rdf:RDF>", Refused("RSS 1.0")),
        kind("Atom with dates of many kinds", atom_with(&format!("<updated>31.12.2026</updated><entry><updated/><title/></entry>{LINK}")), lab()),
        kind("CDATA", atom_with(LINK).replace("Lab", "<![CDATA[Tom & <Jerry>]]>"), IsFeed("Tom & <Jerry>", HEAD)),
        kind("a bare ampersand", atom_with(LINK).replace("Lab", "Tom & Jerry"), IsFeed("Tom & Jerry", HEAD)),
        kind("an ampersand at the end of a text", atom_with(LINK).replace("Lab", "Tom &"), IsFeed("Tom &", HEAD)),
        kind("an entity of HTML", atom_with(LINK).replace("Lab", "Caf&eacute;"), IsFeed("Café", HEAD)),
        kind("characters by number", atom_with(LINK).replace("Lab", "&#76;&#x61;b&#x202e;"), lab()),
        kind("a title in HTML", atom_with(LINK).replace("<title>Lab", "<title type=\"html\">&lt;b>Lab&lt;/b>"), lab()),
        kind("a title in XHTML", atom_with(LINK).replace("<title>Lab", "<title type=\"xhtml\"><div xmlns=\"http://www.w3.org/1999/xhtml\"><b>Lab</b></div>"), lab()),
        kind("a style sheet and comments", format!("<?xml-stylesheet href=\"a.xsl\"?><!-- a --><!-- b -- c -->{}", atom_with(LINK).replace("<?xml version=\"1.0\"?>", "")), lab()),
        kind("XML 1.1", atom_with(LINK).replace("1.0", "1.1"), lab()),
        kind("zeros behind the end", format!("{}\0\0\0\0", atom_with(LINK)), lab()),
        kind("a comment behind the end", format!("{}<!-- generated in 0.2 s -->", atom_with(LINK)), lab()),
        kind("a catalog", atom_with(TO_FEED), IsCatalog("Lab", A)),
        kind("an empty catalog", atom_with(""), IsCatalog("Lab", &[])),
        kind("a catalog in RSS", rss_with(rss2, "<item><title>A</title><enclosure url=\"a/feed.xml\" type=\"application/rss+xml\"/></item>"), IsCatalog("Lab", A)),
        kind("a catalog in RSS with xml:base", rss_with("version=\"2.0\" xmlns:atom=\"http://www.w3.org/2005/Atom\" xml:base=\"https://example.org/net-lab/\"", "<item><title>A</title><atom:link href=\"a/feed.xml\" type=\"application/atom+xml\"/></item>"), IsCatalog("Lab", A)),
    ]
}

fn others() -> Vec<Kind> {
    let whole = atom_with(LINK);
    vec![
        kind("nothing", "", Other(Instead::Nothing)),
        kind("blank lines", "\r\n \t\n", Other(Instead::Nothing)),
        kind("a mark only", "\u{feff}", Other(Instead::Nothing)),
        kind(
            "zeros, as a disk leaves them after a power cut",
            vec![0; 4096],
            Other(Instead::Nothing),
        ),
        kind(
            "a web page",
            "<!DOCTYPE html><html><body>Hi",
            Other(Instead::WebPage),
        ),
        kind(
            "a web page without a DOCTYPE",
            "\n<HTML><head><title>Sign in</title>",
            Other(Instead::WebPage),
        ),
        kind(
            "a page that only leads on",
            "<meta http-equiv=refresh content=\"0; url=http://10.0.0.1/\">",
            Other(Instead::WebPage),
        ),
        kind(
            "a script that leads on",
            "<script>top.location='http://10.0.0.1/'</script>",
            Other(Instead::WebPage),
        ),
        kind(
            "a page in XHTML",
            "<?xml version=\"1.0\"?><!-- a --><!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0\"><html xmlns=\"http://www.w3.org/1999/xhtml\"/>",
            Other(Instead::WebPage),
        ),
        kind(
            "a page in XHTML with a prefix",
            "<h:html xmlns:h=\"http://www.w3.org/1999/xhtml\"/>",
            Other(Instead::WebPage),
        ),
        kind(
            "a page in UTF-16",
            [b"\xff\xfe".to_vec(), wide("<!doctype HTML><p>", true)].concat(),
            Other(Instead::WebPage),
        ),
        kind(
            "cut in an element",
            whole[..whole.len() - 20].to_owned(),
            Other(Instead::Part),
        ),
        kind(
            "cut between elements",
            whole[..whole.len() - 7].to_owned(),
            Other(Instead::Part),
        ),
        kind("cut in a tag", whole[..60].to_owned(), Other(Instead::Part)),
        kind(
            "cut in a comment",
            "<feed xmlns=\"http://www.w3.org/2005/Atom\"><!-- a",
            Other(Instead::Part),
        ),
        kind(
            "cut in CDATA",
            atom_with("<![CDATA[ x").replace("</feed>", ""),
            Other(Instead::Part),
        ),
        kind(
            "cut in a character",
            whole.replace("Lab", "Ω").as_bytes()[..80].to_vec(),
            Other(Instead::Part),
        ),
        kind("JSON", "{\"error\": \"not found\"}", Refused("JSON")),
        kind(
            "a JSON feed",
            "\u{feff}[{\"version\": \"https://jsonfeed.org/version/1.1\"}]",
            Refused("JSON"),
        ),
        kind("a text", "404 page not found", Refused("does not begin as XML")),
        kind("a gzip file", b"\x1f\x8b\x08\0\0".to_vec(), Refused("gzip")),
        kind(
            "a list of feeds",
            "<opml version=\"2.0\"><body/></opml>",
            Refused("OPML"),
        ),
        kind(
            "a site map",
            "<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\"/>",
            Refused("<urlset>"),
        ),
        kind(
            "a blog",
            atom_with("<entry><title>Hi</title></entry>"),
            Refused("nothing to do with LivePC"),
        ),
        kind("comments only", "<!-- -->", Refused("no XML element")),
        kind("two roots", "<feed/><feed/>", Refused("behind its end")),
        kind(
            "ends that do not fit",
            "<feed><title></feed></title>",
            Refused("not well-formed"),
        ),
        kind(
            "a head that it may not lead to",
            atom_with(&LINK.replace("head.json", "file:///etc/passwd")),
            Refused("may not point to a head"),
        ),
        kind(
            "too many entries",
            atom_with(&format!("{LINK}{}", "<entry/>".repeat(10_001))),
            Refused("more than 10000 entries"),
        ),
        kind(
            "too large",
            [atom_with(LINK).into_bytes(), vec![b' '; 8 << 20]].concat(),
            Refused("more than the 8.4 MB allowed"),
        ),
        kind(
            "too large for a catalog",
            vec![b' '; (32 << 20) + 1],
            Refused("more than the 34 MB allowed"),
        ),
        kind(
            "too large when it is decoded",
            [b"<?xml encoding='latin1'?>".to_vec(), vec![0xe9; 17 << 20]].concat(),
            Refused("more than the 34 MB allowed"),
        ),
    ]
}

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

proptest! {
    /// Any text in any encoding that is said of it, with any number of declarations anywhere.
    #[test]
    fn encodings_do_not_panic(
        text in scraps(),
        pieces in proptest::collection::vec(proptest::sample::select(PIECES.to_vec()), 0..6),
        form in 0..6_u8,
        charset in proptest::sample::select(CHARSETS.to_vec()),
        at in any::<proptest::sample::Index>(),
        noise in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let text = format!("{}{text}", pieces.concat());
        let mut bytes = match form {
            0 => text.into_bytes(),
            1 => wide(&text, true),
            2 => wide(&text, false),
            3 => [b"\xff\xfe".to_vec(), wide(&text, true)].concat(),
            4 => [b"\xfe\xff".to_vec(), wide(&text, false)].concat(),
            _ => wider(&text),
        };
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..at, noise);
        let _ = read(&bytes, charset, &base());
    }
}

const PIECES: &[&str] = &[
    "<?xml version=\"1.0\"?>",
    "<?xml version='1.0' encoding='utf-16'?>",
    "<?xml version='1.0' encoding='UTF-16BE'?>",
    "<?xml version='1.0' encoding='iso-8859-1'?>",
    "<?xml version='1.0' encoding='shift_jis'?>",
    "<?xml version='1.0' encoding='iso-2022-jp'?>",
    "<?xml version='1.0' encoding='x-user-defined'?>",
    "<?xml version='1.0' encoding='hz-gb-2312'?>",
    "<?xml encoding=\"",
    "<!-- a comment that is longer than sixty-four bytes, so that it is seen late -->",
    "                                                                                ",
    "<!DOCTYPE feed [<!ENTITY a 'b'>]>",
    "\u{feff}",
    "&a;&eacute;& ",
    "ラボ é",
];

const CHARSETS: &[Option<&str>] = &[
    None,
    Some("utf-8"),
    Some("utf-16"),
    Some("utf-16be"),
    Some("iso-8859-1"),
    Some("shift_jis"),
    Some("iso-2022-jp"),
    Some("replacement"),
    Some(""),
];
