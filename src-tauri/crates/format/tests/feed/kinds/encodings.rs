//! Encodings: what is declared, said by HTTP, or neither.

use super::*;

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

fn wider(text: &str) -> Vec<u8> {
    text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect()
}

pub(super) fn encodings() -> Vec<Kind> {
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
