//! What is no feed, or too much of one.

use super::*;

pub(super) fn others() -> Vec<Kind> {
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
        kind(
            "an undeclared prefix",
            "<atom:feed><atom:title>Lab</atom:title></atom:feed>",
            Refused("“xmlns:atom” is missing"),
        ),
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
