//! From the bytes of a feed to its text, before anything is parsed.
//!
//! The order is: a byte order mark; the encoding that an XML declaration names, if the declaration is the first thing in
//! the document; what HTTP said. A declaration that stands later changes nothing. Bytes that are none in the encoding become
//! U+FFFD, since texts of a feed are for people only; but nothing is read in an encoding that is not known.

use std::borrow::Cow;

use encoding_rs::{CoderResult, Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::error::{FormatError, Result};

/// Bytes at the beginning in which a declaration must end.
const DECLARATION: usize = 4 << 10;
/// Bytes of text that are made at a time.
const STEP: usize = 64 << 10;

/// The text of a document, of at most `limit` bytes; `charset` is what HTTP said of it.
pub(super) fn text<'a>(
    what: &'static str,
    bytes: &'a [u8],
    charset: Option<&str>,
    limit: u64,
) -> Result<Cow<'a, str>> {
    FormatError::check_size(what, bytes.len() as u64, limit)?;
    let encoding = encoding(bytes, charset).map_err(|why| FormatError::malformed(what, why))?;
    let text = decode(bytes, encoding, limit).ok_or(FormatError::TooLarge {
        what,
        size: limit.saturating_add(1),
        limit,
    })?;
    Ok(match text {
        Cow::Borrowed(text) => Cow::Borrowed(begin(text)),
        Cow::Owned(text) => Cow::Owned(begin(&text).to_owned()),
    })
}

/// Without what may stand before the first character that says something: marks, white space, and zeros of a file that was
/// padded.
fn begin(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\0'))
}

fn encoding(bytes: &[u8], charset: Option<&str>) -> Result<&'static Encoding, String> {
    if let Some(wide) = wide(bytes)? {
        return Ok(wide);
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Ok(UTF_8);
    }
    // From here on ASCII is as it is: what says to be UTF-16 is not, as some programs write it.
    let declared = declared(bytes);
    match declared.as_deref().map(known) {
        Some(Known::One(encoding)) => return Ok(encoding),
        Some(Known::None) if std::str::from_utf8(bytes).is_err() => {
            let name = crate::text::line(&declared.unwrap_or_default(), 40);
            return Err(format!(
                "it is written in the encoding “{name}”, which is not read: it has to be UTF-8"
            ));
        }
        Some(Known::None | Known::Wide | Known::Ascii) | None => {}
    }
    match charset.map(known) {
        // Servers say so of everything that they have. Hardly any other text is UTF-8 by chance.
        Some(Known::One(encoding)) if encoding == WINDOWS_1252 && std::str::from_utf8(bytes).is_ok() => {
            Ok(UTF_8)
        }
        Some(Known::One(encoding)) => Ok(encoding),
        _ => Ok(UTF_8),
    }
}

enum Known {
    One(&'static Encoding),
    /// It has two or four bytes for each character of ASCII.
    Wide,
    /// Whatever has ASCII in it.
    Ascii,
    None,
}

fn known(label: &str) -> Known {
    let label = label.trim().to_ascii_lowercase();
    let wide = [
        "utf-16",
        "utf16",
        "utf-32",
        "utf32",
        "ucs-",
        "ucs2",
        "ucs4",
        "iso-10646",
        "unicode",
    ];
    if wide.iter().any(|name| label.starts_with(name)) {
        return Known::Wide;
    }
    if matches!(
        label.as_str(),
        "us-ascii" | "ascii" | "ansi_x3.4-1968" | "iso646-us"
    ) {
        return Known::Ascii;
    }
    match Encoding::for_label(label.as_bytes()) {
        Some(encoding) if encoding == REPLACEMENT => Known::None,
        Some(encoding) if encoding == UTF_16LE || encoding == UTF_16BE => Known::Wide,
        Some(encoding) => Known::One(encoding),
        None => Known::None,
    }
}

/// The encoding of a document whose characters of ASCII have more than a byte, or that has none of ASCII.
fn wide(bytes: &[u8]) -> Result<Option<&'static Encoding>, String> {
    let not_read = |name: &str| {
        Err(format!(
            "it is written in {name}, which is not read: it has to be UTF-8"
        ))
    };
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => not_read("UTF-32"),
        [0xff, 0xfe, ..] => Ok(Some(UTF_16LE)),
        [0xfe, 0xff, ..] => Ok(Some(UTF_16BE)),
        [1..=0x7f, 0, 0, 0, ..] | [0, 0, 0, 1..=0x7f, ..] => not_read("UTF-32"),
        [1..=0x7f, 0, ..] => Ok(Some(UTF_16LE)),
        [0, 1..=0x7f, ..] => Ok(Some(UTF_16BE)),
        // “<?xm” and “<fee”.
        [0x4c, 0x6f, 0xa7, 0x94, ..] | [0x4c, 0x86, 0x85, 0x85, ..] => not_read("EBCDIC"),
        _ => Ok(None),
    }
}

/// The encoding that the XML declaration names, if the document begins with one.
fn declared(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.trim_ascii_start().strip_prefix(b"<?xml")?;
    let bytes = &bytes[..bytes.len().min(DECLARATION)];
    let end = bytes.windows(2).position(|pair| pair == b"?>")?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut rest = text.strip_prefix(|c: char| c.is_ascii_whitespace())?;
    loop {
        let (name, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, after) = value[1..].split_once(quote)?;
        if name.trim() == "encoding" {
            return Some(value.to_owned());
        }
        rest = after;
    }
}

/// The text, unless it has more than `limit` bytes.
fn decode<'a>(bytes: &'a [u8], encoding: &'static Encoding, limit: u64) -> Option<Cow<'a, str>> {
    if encoding == UTF_8
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Some(Cow::Borrowed(text));
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let (mut text, mut at) = (String::new(), 0);
    loop {
        text.reserve(STEP);
        let (result, read, _) = decoder.decode_to_string(&bytes[at..], &mut text, true);
        at += read;
        if text.len() as u64 > limit {
            return None;
        }
        if result == CoderResult::InputEmpty {
            return Some(Cow::Owned(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], charset: Option<&str>) -> String {
        text("it", bytes, charset, 1000).unwrap().into_owned()
    }

    #[test]
    fn only_the_first_thing_is_a_declaration() {
        for (bytes, expected) in [
            (&b"<?xml version='1.0' encoding='iso-8859-1'?><a>\xe9"[..], "é"),
            (
                b"\n <?xml encoding = \"windows-1251\" version='1.0'?><a>\xe9",
                "й",
            ),
            (
                b"<!-- --><?xml version='1.0' encoding='iso-8859-1'?><a>\xc3\xa9",
                "é",
            ),
            (
                b"<?xml version='1.0'?><?xml encoding='iso-8859-1'?><a>\xc3\xa9",
                "é",
            ),
            (b"<?xml version='encoding=\"iso-8859-1\"'?><a>\xc3\xa9", "é"),
            (b"<?xmlish encoding='iso-8859-1'?><a>\xc3\xa9", "é"),
            (b"<?xml encoding='iso-8859-1'<a>\xc3\xa9", "é"),
        ] {
            assert!(read(bytes, None).ends_with(expected), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_mark_comes_first_then_the_declaration_then_http() {
        let declared = b"<?xml version='1.0' encoding='windows-1251'?>\xe9";
        assert!(read(declared, Some("iso-8859-1")).ends_with('й'));
        assert!(read(&[b"\xef\xbb\xbf", &declared[..]].concat(), None).ends_with('\u{fffd}'));
        assert!(read(b"<a>\xe9", Some("windows-1251")).ends_with('й'));
        assert!(read(b"<a>\xe9", Some("Latin1")).ends_with('é'));
        assert!(
            read("<a>é".as_bytes(), Some("iso-8859-1")).ends_with('é'),
            "that is a default"
        );
        assert!(read(b"<a>\xe9", Some("of no kind")).ends_with('\u{fffd}'));
        assert!(read(b"<?xml version='1.0' encoding='utf-16'?>\xe9", Some("latin1")).ends_with('é'));
    }

    #[test]
    fn text_is_bounded_after_decoding() {
        let latin = [&b"<?xml encoding='latin1'?>"[..], &[0xe9; 600]].concat();
        assert!(text("it", &latin, None, 2000).is_ok());
        for (bytes, limit) in [(&latin[..], 1000), (&[b' '; 11], 10)] {
            let error = text("it", bytes, None, limit).unwrap_err();
            assert!(matches!(error, FormatError::TooLarge { .. }), "{error}");
        }
        assert_eq!(
            text("it", &[0xe9; 100_000], None, 1 << 20)
                .unwrap()
                .chars()
                .count(),
            100_000
        );
    }

    #[test]
    fn what_is_not_read_says_so() {
        for bytes in [
            &b"<?xml version='1.0' encoding='klingon'?>\xe9"[..],
            b"<?xml version='1.0' encoding='hz-gb-2312'?>\xe9",
            b"\xff\xfe\0\0<\0\0\0",
            b"<\0\0\0?\0\0\0",
            b"\x4c\x6f\xa7\x94\x93",
        ] {
            let error = text("it", bytes, None, 1000).unwrap_err().to_string();
            assert!(error.contains("has to be UTF-8"), "{error}");
        }
        assert!(read(b"<?xml version='1.0' encoding='klingon'?><a>", None).ends_with("<a>"));
    }
}
