//! Feeds and catalogs: what is written is read again, what others write is understood, what is hostile does no harm.

#![allow(clippy::unwrap_used)]

mod kinds;

use livepc_format::feed::{
    Catalog, CatalogEntry, Feed, FeedEntry, Source, lost_by_writing, read, read_catalog, read_feed,
    write_catalog, write_feed,
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
        address: Some(url("https://example.org/net-lab/feed.xml")),
        moved_to: None,
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
    assert_eq!(read(&bytes, None, &base()).unwrap(), Source::Catalog(catalog));
}

#[test]
fn either_is_told_from_the_other() {
    let feed_bytes = write_feed(id(), &feed(), &base());
    assert_eq!(read(&feed_bytes, None, &base()).unwrap(), Source::Feed(feed()));
    let empty = write_catalog(&Catalog::default(), None);
    assert_eq!(
        read(&empty, None, &base()).unwrap(),
        Source::Catalog(Catalog::default()),
        "a catalog begins empty"
    );
    assert!(why(read_feed(&empty, &base())).contains("no link of type application/vnd.livepc.head+json"));
    assert!(why(read_catalog(&feed_bytes, &base())).contains("none of its entries links the feed"));
}

/// A catalog of one entry with this inside.
fn atom(entry: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom" xmlns:media="http://search.yahoo.com/mrss/">
           <title>Library</title><entry><title>Net lab</title>
           <link rel="alternate" type="application/atom+xml" href="net-lab/feed.xml"/>{entry}</entry></feed>"#
    )
}

fn rss(items: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom"
             xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:content="http://purl.org/rss/1.0/modules/content/"
             xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" xmlns:media="http://search.yahoo.com/mrss/">
           <channel><title>Fish &amp; chips</title><description>All of it</description>{items}</channel></rss>"#
    )
}

/// The entry of `atom(inside)`.
fn first(inside: &str) -> CatalogEntry {
    let mut catalog = read_catalog(atom(inside).as_bytes(), &base()).expect("a catalog");
    catalog.entries.remove(0)
}

#[test]
fn what_is_no_feed_is_named() {
    for (bytes, says) in [
        (&b""[..], "it is empty"),
        (b"  \r\n", "it is empty"),
        (b"{\"type\": 1}", "JSON"),
        (b"404 page not found", "does not begin as XML"),
        (b"<!-- nothing -->", "no XML element"),
        (b"<!DOCTYPE html><html><body>Hi", "a web page"),
        (b"<HTML><p>Hi", "a web page"),
        (b"<opml version=\"2.0\"/>", "a list of feeds in OPML"),
        (b"<svg/>", "first element is <svg>"),
        (
            b"<feed xmlns=\"http://www.w3.org/2005/Atom\"><title>",
            "it ends early",
        ),
        (b"<feed></fed>", "not well-formed"),
        (b"<atom:feed/>", "“xmlns:atom” is missing"),
        (b"\x00\x01\xff<", "not"),
    ] {
        let error = why(read(bytes, None, &base()));
        assert!(error.contains(says), "{:?} gives: {error}", text_lossy(bytes));
        assert!(error.contains("; "), "it says what to do: {error}");
    }
    let page = why(read(b"<\x1b[31mx>", None, &base()));
    assert!(!page.contains('\u{1b}'), "what is quoted does not act: {page:?}");
}

fn text_lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn too_large_is_refused_before_it_is_parsed() {
    let mut bytes = write_feed(id(), &feed(), &base());
    bytes.resize(8 << 20, b' ');
    read_feed(&bytes, &base()).expect("8 MiB are allowed");
    bytes.push(b' ');
    assert!(matches!(
        read_feed(&bytes, &base()),
        Err(FormatError::TooLarge { .. })
    ));
}

#[test]
fn all_atom_texts_become_plain() {
    let entry = first(
        r#"<summary type="html">&lt;p&gt;Fish &amp;amp; &lt;b&gt;chips&lt;/b&gt;</summary>
           <content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>One &lt; <em>two</em></p>
           <p>three&#x1b;[31m</p></div></content>
           <author><email>x@example.org</email><name>Zoë</name></author>"#,
    );
    assert_eq!(entry.summary, "Fish & chips");
    assert_eq!(entry.description, "One < two\n\nthree[31m");
    assert_eq!(entry.publisher, "Zoë");
    let plain = first("<content>1 &lt; 2 &amp;amp; <![CDATA[<b>]]></content>");
    assert_eq!(plain.description, "1 < 2 &amp; <b>", "plain text is not HTML");
    let image = first(r#"<content type="image/png">aGVsbG8=</content>"#);
    assert_eq!(image.description, "", "what is no text is left out");
}

#[test]
fn rss_is_read_too() {
    let catalog = read_catalog(
        rss(r#"<item><title>A</title><description>&lt;i&gt;Short&lt;/i&gt;</description>
               <content:encoded><![CDATA[<p>Long</p><p>text]]></content:encoded>
               <author>zoe@example.org (Zoë)</author><guid>x</guid><pubDate>Mon, 02 Nov 2026 10:00:00 GMT</pubDate>
               <category>course</category><category domain="urn:livepc:guest-os">windows</category>
               <enclosure url="a/feed.xml" length="0" type="application/atom+xml"/>
               <enclosure url="a/logo.png" length="0" type="image/png"/></item>
               <item><title>B</title><dc:creator>Ann</dc:creator><dc:date>2026-11-02</dc:date>
               <atom:link rel="alternate" type="application/rss+xml" href="https://b.example/rss"/></item>"#)
        .as_bytes(),
        &base(),
    )
    .unwrap();
    assert_eq!(catalog.title, "Fish & chips");
    let expected = CatalogEntry {
        title: "A".into(),
        summary: "Short".into(),
        description: "Long\n\ntext".into(),
        publisher: "Zoë".into(),
        feed: url("https://example.org/net-lab/a/feed.xml"),
        thumbnail: Some(url("https://example.org/net-lab/a/logo.png")),
        categories: vec!["course".into()],
        guest_os: Some(GuestOs::Windows),
        updated: Some("2026-11-02T10:00:00Z".parse().unwrap()),
        boot_ready_bytes: None,
        full_bytes: None,
    };
    assert_eq!(catalog.entries[0], expected);
    assert_eq!(catalog.entries[1].feed, url("https://b.example/rss"));
    assert_eq!(catalog.entries[1].publisher, "Ann");
    assert_eq!(
        catalog.entries[1].updated,
        Some("2026-11-02T00:00:00Z".parse().unwrap())
    );

    for head in [
        r#"<atom:link rel="related" type="application/vnd.livepc.head+json" href="head.json"/>"#,
        r#"<item><enclosure url="head.json" type="application/vnd.livepc.head+json"/></item>"#,
        r#"<item><atom:link rel="enclosure" type="application/vnd.livepc.head+json" href="head.json"/></item>"#,
        r#"<item><atom:link rel="via" type="application/vnd.livepc.head+json; v=1" href="head.json"/></item>"#,
        r#"<item><atom:link type="application/vnd.livepc.head+json" href="head.json"/></item>"#,
    ] {
        let feed = read_feed(rss(head).as_bytes(), &base()).expect(head);
        assert_eq!(feed.head, url("https://example.org/net-lab/head.json"), "{head}");
        assert_eq!(feed.summary, "All of it");
    }
}

#[test]
fn thumbnails_are_found_wherever_media_rss_puts_them() {
    for media in [
        r#"<media:thumbnail url="logo.png"/>"#,
        r#"<media:group><media:content url="film.mp4" type="video/mp4"><media:thumbnail url="logo.png"/>
           </media:content></media:group>"#,
        r#"<link rel="enclosure" type="image/png" href="logo.png"/>"#,
    ] {
        let expected = Some(url("https://example.org/net-lab/logo.png"));
        assert_eq!(first(media).thumbnail, expected, "{media}");
    }
    assert_eq!(
        first(r#"<media:content url="film.mp4" type="video/mp4"/>"#).thumbnail,
        None
    );
}

#[test]
fn other_encodings_are_read() {
    let latin = atom("<summary>caf\u{e9}</summary>").replace("?>", " encoding=\"ISO-8859-1\"?>");
    let bytes: Vec<u8> = latin
        .chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect();
    assert_eq!(read_catalog(&bytes, &base()).unwrap().entries[0].summary, "café");
    let wide: Vec<u8> = std::iter::once(0xfeff)
        .chain(atom("<summary>café</summary>").encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(read_catalog(&wide, &base()).unwrap().entries[0].summary, "café");
}

#[test]
fn a_document_points_only_where_it_may() {
    let file = url("file:///srv/catalog.xml");
    let to = |href: &str, base: &Url| {
        let document = atom("").replace("net-lab/feed.xml", href);
        read_catalog(document.as_bytes(), base).map(|mut catalog| catalog.entries.remove(0).feed)
    };
    for (href, base, leads_to) in [
        ("../a.xml", base(), "https://example.org/a.xml"),
        (" //cdn.example/a.xml ", base(), "https://cdn.example/a.xml"),
        ("http://plain.example/a.xml", base(), "http://plain.example/a.xml"),
        // As whom it is read is not for the document to say.
        (
            "https://eve:pw@cdn.example/a.xml",
            base(),
            "https://cdn.example/a.xml",
        ),
        ("a.xml", file.clone(), "file:///srv/a.xml"),
        (
            "https://example.org/a.xml",
            file.clone(),
            "https://example.org/a.xml",
        ),
    ] {
        assert_eq!(to(href, &base).expect(href), url(leads_to));
    }
    for (href, base) in [
        ("file:///etc/passwd", base()),
        ("javascript:alert(1)", base()),
        ("data:text/xml,x", base()),
        ("livepc://subscribe?feed=x", base()),
        ("https://", base()),
        // A network share of Windows.
        ("file://evil.example/share", file.clone()),
        ("//evil.example/share", file),
        (&format!("a{}", "b".repeat(3000)), self::base()),
    ] {
        let error = why(to(href, &base));
        assert!(error.contains("none of its entries links"), "{href}: {error}");
    }
    let head = text(&write_feed(id(), &feed(), &base())).replace("\"head.json\"", "\"file:///etc/passwd\"");
    assert!(why(read_feed(head.as_bytes(), &base())).contains("may not point to a head at"));
    let logo = text(&write_feed(id(), &feed(), &base())).replace("logo.png", "javascript:alert(1)");
    assert_eq!(
        read_feed(logo.as_bytes(), &base()).unwrap().logo,
        None,
        "it is left out"
    );
}

#[test]
fn xml_base_counts() {
    let document = atom("").replace("<entry>", r#"<entry xml:base="https://cdn.example/labs/">"#);
    let catalog = read_catalog(document.as_bytes(), &base()).unwrap();
    assert_eq!(
        catalog.entries[0].feed,
        url("https://cdn.example/labs/net-lab/feed.xml")
    );
    let evil = atom("").replace("<entry>", r#"<entry xml:base="file:///etc/">"#);
    assert!(
        read_catalog(evil.as_bytes(), &base()).is_err(),
        "no way around the rules"
    );
}

#[test]
fn what_makes_no_sense_is_left_out() {
    let good = first(
        r#"<category scheme="urn:livepc:guest-os" term="linux"/><updated>2026-11-02T10:00:00Z</updated>
           <category scheme="urn:livepc:full-bytes" term="12"/><category term="a" label="Course"/>"#,
    );
    assert_eq!((good.guest_os, good.full_bytes), (Some(GuestOs::Linux), Some(12)));
    assert!(good.updated.is_some());
    assert_eq!(good.categories, ["Course"], "ours are not for people");
    let bad = first(
        r#"<category scheme="urn:livepc:guest-os" term="plan9"/><updated>yesterday</updated>
           <category scheme="urn:livepc:full-bytes" term="-1"/>
           <category scheme="urn:livepc:boot-ready-bytes" term="99999999999999999999"/>"#,
    );
    assert_eq!(
        (bad.guest_os, bad.full_bytes, bad.boot_ready_bytes, bad.updated),
        (None, None, None, None)
    );
}

#[test]
fn what_livepc_does_not_write_would_be_lost() {
    let lost = |text: &str| {
        let catalog = read_catalog(text.as_bytes(), &base()).unwrap();
        lost_by_writing(text.as_bytes(), &catalog, &base())
    };
    let ours = write_catalog(
        &read_catalog(atom("").as_bytes(), &base()).unwrap(),
        Some(&base()),
    );
    let ours = String::from_utf8(ours).unwrap();
    assert_eq!(lost(&ours), None, "{ours}");
    let blog = ours.replace("</feed>", "<entry><title>A blog</title></entry></feed>");
    assert_eq!(lost(&blog).as_deref(), Some("<entry>"));
}

#[test]
fn links_of_comments_do_not_make_a_blog_a_catalog() {
    for rel in ["replies", "related"] {
        let link = format!(r#"<atom:link rel="{rel}" type="application/atom+xml" href="a.xml"/>"#);
        for blog in [
            atom("").replace("alternate", rel),
            rss(&format!("<item>{link}</item>")),
        ] {
            assert!(
                why(read(blog.as_bytes(), None, &base())).contains("nothing to do with LivePC"),
                "{blog}"
            );
        }
    }
}

#[test]
fn texts_are_cut() {
    let long = "x".repeat(100_000);
    let entry = first(&format!(
        "<summary>{long}</summary><content>{long}</content><author><name>{long}</name></author>"
    ));
    let lengths = [
        entry.summary.len(),
        entry.description.len(),
        entry.publisher.len(),
    ];
    assert_eq!(lengths, [500, 20_000, 120]);
}

/// What brings down XML readers in general, or feed-rs 3.0 if it is given the document as it is.
#[test]
fn bombs_do_not_go_off() {
    let entities = format!(
        "<!DOCTYPE feed [<!ENTITY a \"{}\">{}]>{}",
        "x".repeat(1000),
        ('b'..='k')
            .map(|c| {
                let before = char::from_u32(u32::from(c) - 1).unwrap();
                format!("<!ENTITY {c} \"{}\">", format!("&{before};").repeat(10))
            })
            .collect::<String>(),
        atom("<summary>&k;</summary>").replace("<?xml version=\"1.0\"?>", "")
    );
    let catalog = read_catalog(entities.as_bytes(), &base()).unwrap();
    assert_eq!(catalog.entries[0].summary, "&k;", "no entity is expanded");

    // A stack overflow in feed-rs.
    let nested = format!("{}{}", "<media:group>".repeat(200), "</media:group>".repeat(200));
    assert_eq!(first(&nested).title, "Net lab", "200 levels are skipped");
    let nested = "<media:group>".repeat(100_000);
    assert!(why(read(atom(&nested).as_bytes(), None, &base())).contains("too many inside each other"));
    let nested = "<b>".repeat(100_000);
    assert!(why(read(nested.as_bytes(), None, &base())).contains("first element is <b>"));

    // Panics in feed-rs.
    let odd = rss(
        r#"<item><title>A</title><enclosure url="a" type="application/atom+xml"/>
        <itunes:duration>99999999999999999999</itunes:duration><dc:creator>“zoe@example.org</dc:creator>
        <media:thumbnail url="a.png" time="99999999999999999999"/></item>"#,
    );
    let catalog = read_catalog(odd.as_bytes(), &base()).unwrap();
    assert_eq!(catalog.entries[0].publisher, "“zoe at example.org");
    let logo = catalog.entries[0].thumbnail.as_ref().unwrap();
    assert_eq!(logo.path(), "/net-lab/a.png", "beside an enclosure too");

    // Copies of one text for each of many elements in feed-rs.
    let groups = r#"<media:group><media:content url="a:b"/></media:group>"#.repeat(20_000);
    let copied = format!("<media:title>{}</media:title>{groups}", "x".repeat(1 << 20));
    assert_eq!(first(&copied).title, "Net lab");
    let based = atom(&"<link/>".repeat(20_000)).replace(
        "<entry>",
        &format!("<entry xml:base=\"https://example.org/{}\">", "x".repeat(1 << 20)),
    );
    assert_eq!(read_catalog(based.as_bytes(), &base()).unwrap().entries.len(), 1);

    // Attributes and namespaces without end.
    let attributes: String = (0..100_000).map(|n| format!(" a{n}=''")).collect();
    assert_eq!(first(&format!("<summary{attributes}>ok</summary>")).summary, "ok");
    let begin = std::time::Instant::now();
    let repeated = " a=''".repeat(500_000);
    assert_eq!(first(&format!("<summary{repeated}>ok</summary>")).summary, "ok");
    // Comparing each name with all before it would take minutes.
    assert!(begin.elapsed().as_secs() < 20, "it took {:?}", begin.elapsed());
    let namespaces: String = (0..100_000).map(|n| format!(" xmlns:a{n}='x'")).collect();
    assert!(
        read(
            atom(&format!("<summary{namespaces}>x</summary>")).as_bytes(),
            None,
            &base()
        )
        .is_err()
    );

    let entries = "<entry/>".repeat(50_001);
    let many = format!("<feed xmlns='http://www.w3.org/2005/Atom'>{entries}</feed>");
    assert!(why(read(many.as_bytes(), None, &base())).contains("more than 50000 entries"));
}

/// Pieces of feeds, in any order: more likely to get past the first element than noise is.
fn scraps() -> impl Strategy<Value = String> {
    let pieces = [
        "<feed xmlns='http://www.w3.org/2005/Atom'>",
        "</feed>",
        "<rss version='2.0' xmlns:atom='http://www.w3.org/2005/Atom'>",
        "<channel>",
        "<item>",
        "</item>",
        "<entry>",
        "</entry>",
        "<title>",
        "</title>",
        "<content type='xhtml'>",
        "<content type='html'>",
        "</content>",
        "<author>“a@b.cc</author>",
        "<link href='head.json' type='application/vnd.livepc.head+json'/>",
        "<enclosure url='x' type='application/atom+xml'/>",
        "<updated>2026-02-30T25:61:00+99:99</updated>",
        "<pubDate>Thu, 31 Feb 99999 24:00:61 UTC</pubDate>",
        "<category term='1' scheme='urn:livepc:full-bytes'/>",
        "&#0;",
        "&#x110000;",
        "&lt;b&gt;",
        "<![CDATA[<p>]]>",
        "<!-- -->",
        "<?x?>",
        "é\u{202e}",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..30)
        .prop_map(|pieces| pieces.concat())
}

fn any_line(max: usize) -> impl Strategy<Value = String> {
    any::<String>().prop_map(move |text| livepc_format::text::line(&text, max))
}

fn any_entry() -> impl Strategy<Value = CatalogEntry> {
    let texts = (any_line(120), any_line(500), any::<String>(), any_line(120));
    let lists = (
        proptest::collection::hash_set(any_line(40), 0..4),
        proptest::option::of(proptest::sample::select(vec![GuestOs::Linux, GuestOs::Other])),
        proptest::option::of(1_i64..253_402_207_200),
    );
    (texts, lists, any::<[Option<u64>; 2]>(), "[a-z]{1,9}").prop_map(
        |((title, summary, description, publisher), (categories, guest_os, updated), bytes, path)| {
            CatalogEntry {
                title,
                summary,
                description: livepc_format::text::block(&description, 20_000),
                publisher: publisher.replace('@', ""),
                feed: base().join(&path).unwrap(),
                thumbnail: Some(base().join(&format!("{path}.png")).unwrap()),
                categories: categories.into_iter().filter(|name| !name.is_empty()).collect(),
                guest_os,
                updated: updated.map(|seconds| jiff::Timestamp::from_second(seconds).unwrap()),
                boot_ready_bytes: bytes[0],
                full_bytes: bytes[1],
            }
        },
    )
}

proptest! {
    #[test]
    fn noise_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes, None, &base());
    }

    #[test]
    fn scraps_do_not_panic(text in scraps()) {
        let _ = read(text.as_bytes(), None, &base());
    }

    #[test]
    fn damage_does_not_panic(at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = write_feed(id(), &feed(), &base());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        let _ = read(&bytes, None, &base());
    }

    #[test]
    fn any_catalog_is_read_as_it_was_written(title in any_line(120), entry in any_entry()) {
        let catalog = Catalog { title, entries: vec![entry] };
        let bytes = write_catalog(&catalog, Some(&base()));
        prop_assert_eq!(read_catalog(&bytes, &base()).unwrap(), catalog);
    }
}
