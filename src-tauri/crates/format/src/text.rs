//! Text from strangers, made inert: bounded, and without characters that could act on a terminal or a layout.

use crate::error::{FormatError, Result};

/// True for what must not reach a terminal or a line of text: control characters, and the marks that turn the
/// direction of writing (U+202A–U+202E, U+2066–U+2069, Unicode TR 36), what ends a line (U+2028, U+2029), and what no
/// XML document may have (U+FFFE, U+FFFF).
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// One line of at most `max` characters; whatever acts is a space, runs of white space are one.
#[must_use]
pub fn line(text: &str, max: usize) -> String {
    let clean: String = text.chars().map(|c| if acts(c) { ' ' } else { c }).collect();
    let words: Vec<&str> = clean.split_whitespace().collect();
    let mut line: String = words.join(" ").chars().take(max).collect();
    line.truncate(line.trim_end().len());
    line
}

/// Several lines of at most `max` characters together; line ends are kept, whatever else acts is dropped.
#[must_use]
pub fn block(text: &str, max: usize) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|&c| c == '\n' || !acts(c))
        .take(max)
        .collect();
    clean.trim().to_owned()
}

/// The text of an HTML fragment, of at most `max` characters.
#[must_use]
pub fn of_html(html: &str, max: usize) -> String {
    block(&crate::html::to_text(html, max), max)
}

/// Checks a line that a publisher signed: 1 to `max` characters, none of which acts.
pub fn check_line(what: &'static str, field: &str, text: &str, max: usize) -> Result<()> {
    if text.trim().is_empty() || text.chars().count() > max || text.chars().any(acts) {
        return Err(FormatError::malformed(
            what,
            format!("“{field}” must have 1 to {max} characters and no control characters"),
        ));
    }
    Ok(())
}

/// Checks a short name: `a-z`, `0-9` and single `-` inside, 1 to 63 characters. Such a name is safe as a file
/// name, in a URL and as an option's value everywhere.
pub fn check_name(what: &'static str, field: &str, name: &str) -> Result<()> {
    let ok = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    if ok {
        return Ok(());
    }
    Err(FormatError::malformed(
        what,
        format!(
            "“{field}” must be 1 to 63 of a–z, 0–9 and single hyphens, and start and end with a letter or digit"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_gone() {
        assert_eq!(
            line(" a\u{1b}[31m\nb\u{202e}c ", 99),
            "a [31m b c",
            "no escape, no line end, no bidi override"
        );
        assert_eq!(line("abcdef", 3), "abc", "bounded in characters");
        assert_eq!(
            block("a\n\u{7}b\tc\r\n", 99),
            "a\nb c",
            "line ends stay, the bell does not"
        );
    }

    #[test]
    fn what_ends_a_line_is_no_line() {
        check_line("x", "label", "2026.11 – été", 64).expect("plain text");
        for bad in ["", " ", "a\nb", "a\u{2028}b", "a\u{202e}b", "\u{1b}c"] {
            assert!(
                check_line("x", "label", bad, 64).is_err(),
                "{bad:?} must be refused"
            );
        }
    }

    #[test]
    fn html_is_only_its_text() {
        assert_eq!(
            of_html("<p>1 &lt; 2 <script>alert(1)</script><b>ok</b>", 99),
            "1 < 2 ok"
        );
    }

    #[test]
    fn names_are_safe_as_paths() {
        for good in ["a", "net-lab", "x2"] {
            check_name("x", "name", good).expect(good);
        }
        for bad in [
            "",
            "-a",
            "a-",
            "a--b",
            "A",
            "a/b",
            "..",
            "a b",
            "a\n",
            &"a".repeat(64),
        ] {
            assert!(check_name("x", "name", bad).is_err(), "{bad:?} must be refused");
        }
    }
}
