//! Text from strangers, made inert: bounded, and without characters that could act on a terminal or a layout.

use crate::error::{FormatError, Result};

/// True for what must not reach a terminal or a line of text: control characters, and the marks that turn the
/// direction of writing (U+061C, U+200E, U+200F, U+202A–U+202E, U+2066–U+2069, Unicode TR 9), what ends a line (U+2028,
/// U+2029), and what no XML document may have (U+FFFE, U+FFFF).
pub(crate) fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// True for what is never seen, whatever stands beside it: two names that differ in nothing else look the same. These are
/// Unicode's `Default_Ignorable_Code_Point`s without those that `acts` or `modifies` tells.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'
            | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e00ff}'
            | '\u{e01f0}'..='\u{e0fff}'
    )
}

/// True for what has no shape of its own but gives another to what stands before it, as scripts and emoji need it: joiners
/// and selectors of a variant. Unlike accents they are not seen where there is nothing to change.
fn modifies(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}')
        || matches!(c, '\u{e0100}'..='\u{e01ef}')
}

/// True for what leaves a mark on paper. The empty pattern of braille (U+2800) is as blank as a space.
fn is_seen(c: char) -> bool {
    !(c.is_whitespace() || c == '\u{2800}' || acts(c) || is_invisible(c) || modifies(c))
}

/// True if `c`, which modifies, changes the look of `before`, which `next` follows. Nothing does that to a Latin letter.
fn shows(before: char, c: char, next: Option<char>) -> bool {
    let joiner = matches!(c, '\u{200c}' | '\u{200d}');
    if joiner && matches!(before, '\u{fe00}'..='\u{fe0f}') {
        return true; // What a selector has chosen, as in most emoji.
    }
    let keycap = c == '\u{fe0f}' && next == Some('\u{20e3}');
    is_seen(before) && (before >= '\u{590}' || keycap)
}

/// The characters of `text` without those that nobody sees: what has nothing to modify is one of them.
fn visible(text: &str) -> impl Iterator<Item = char> {
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    std::iter::from_fn(move || {
        loop {
            let c = chars.next()?;
            let hidden = is_invisible(c) || modifies(c) && !shows(before, c, chars.peek().copied());
            if !hidden {
                before = c;
                return Some(c);
            }
        }
    })
}

/// One line of at most `max` characters; whatever acts is a space, runs of white space are one, and what nobody sees is
/// gone. Empty if nothing is left that can be seen.
#[must_use]
pub fn line(text: &str, max: usize) -> String {
    let clean: String = visible(text).map(|c| if acts(c) { ' ' } else { c }).collect();
    let words: Vec<&str> = clean.split_whitespace().collect();
    let mut line: String = words.join(" ").chars().take(max).collect();
    line.truncate(line.trim_end().len());
    if line.chars().any(is_seen) {
        line
    } else {
        String::new()
    }
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

/// Checks a line that a publisher signed: 1 to `max` characters, none of which acts, and all of which can be seen: a name
/// that shows nothing, or that looks like another's, is not shown to anybody.
pub fn check_line(what: &'static str, field: &str, text: &str, max: usize) -> Result<()> {
    let why = if text.chars().any(acts) {
        "no control characters and none that turn the direction of writing"
    } else if !text.chars().any(is_seen) || text.chars().count() > max {
        "some that can be seen"
    } else if visible(text).count() != text.chars().count() {
        "none that nobody sees"
    } else {
        return Ok(());
    };
    Err(FormatError::malformed(
        what,
        format!("“{field}” must have 1 to {max} characters, {why}"),
    ))
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

    /// A person chooses by what is shown: a name of nothing, and one that only a program can tell from another, deceive.
    #[test]
    fn what_is_shown_can_be_seen() {
        for good in [
            "नेटवर्क\u{200d}", // ends in a joiner, which changes the letter before it
            "می\u{200c}خواهم",
            "❤\u{fe0f}\u{200d}🔥 lab",
            "葛\u{e0100}",
            "e\u{301}te\u{301}",
            "1\u{fe0f}\u{20e3} lab",
            "שלום",
        ] {
            check_line("x", "label", good, 64).expect(good);
            assert_eq!(line(good, 64), good, "it is shown as it was written");
        }
        for (bad, shown) in [
            ("\u{200b}", ""),
            ("\u{200b} \u{2060}", ""),
            ("\u{3164}", ""),
            ("\u{2800}\u{2800}", ""),
            ("\u{200d}", ""),
            ("\u{fe0f}", ""),
            ("\u{a0}\u{2003}", ""),
            ("\u{e0041}", ""),
            ("La\u{200b}b", "Lab"),
            ("La\u{ad}b", "Lab"),
            ("Lab\u{e0041}", "Lab"),
            ("\u{200d}Lab", "Lab"),
            ("Lab \u{200d}", "Lab"),
            ("La\u{200d}b", "Lab"),
            ("Lab\u{fe0f}", "Lab"),
            ("क\u{200d}\u{200d}", "क\u{200d}"),
            ("Lab\u{200f}", "Lab"),
            ("\u{61c}Lab", "Lab"),
            ("L\u{2066}a", "L a"),
        ] {
            assert!(
                check_line("x", "label", bad, 64).is_err(),
                "{bad:?} must be refused"
            );
            assert_eq!(line(bad, 64), shown, "{bad:?}");
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
