//! Forms of feeds and catalogs.

use super::*;

const TO_FEED: &str =
    r#"<entry><title>A</title><link rel="alternate" type="application/atom+xml" href="a/feed.xml"/></entry>"#;
const A: &[&str] = &["https://example.org/net-lab/a/feed.xml"];

pub(super) fn forms() -> Vec<Kind> {
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
        kind("a script that the host puts behind the end", format!("{}<script src=\"//ads.example/a.js\"></script>", atom_with(LINK)), lab()),
        kind("what a network puts behind the end", format!("{}<!-- x --><div><p>Connected by Example", rss_with(rss2, ENCLOSURE)), lab()),
        kind("two roots", format!("{}<feed/>", atom_with(LINK)), lab()),
        kind("a base that is no address", atom_with(LINK).replace("<feed ", "<feed xml:base=\"http://[bad\" "), lab()),
        kind("a catalog", atom_with(TO_FEED), IsCatalog("Lab", A)),
        kind("an empty catalog", atom_with(""), IsCatalog("Lab", &[])),
        kind("a catalog in RSS", rss_with(rss2, "<item><title>A</title><enclosure url=\"a/feed.xml\" type=\"application/rss+xml\"/></item>"), IsCatalog("Lab", A)),
        kind("a catalog in RSS with xml:base", rss_with("version=\"2.0\" xmlns:atom=\"http://www.w3.org/2005/Atom\" xml:base=\"https://example.org/net-lab/\"", "<item><title>A</title><atom:link href=\"a/feed.xml\" type=\"application/atom+xml\"/></item>"), IsCatalog("Lab", A)),
    ]
}
