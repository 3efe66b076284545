//! The text of HTML, in one pass whose time and memory follow the length of the input alone. What comes out is plain
//! text and is shown as such, so nothing has to be recognised for safety, only for reading.

use quick_xml::escape::resolve_html5_entity;

/// What an element does to the text around it.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Break {
    None,
    Line,
    Paragraph,
}

/// Bytes at the beginning of a document in which it is seen whether it is a web page.
const SEEN: usize = 4 << 10;

/// True if a document begins as a web page does, as browsers read it.
#[must_use]
pub fn is_page(bytes: &[u8]) -> bool {
    // In UTF-16, ASCII has a zero in each character.
    let seen = bytes[..bytes.len().min(SEEN)].iter().filter(|byte| **byte != 0);
    let seen: Vec<u8> = seen.copied().collect();
    let seen = String::from_utf8_lossy(&seen).to_ascii_lowercase();
    let mut rest = seen.as_str();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{fffd}'));
        let end = if rest.starts_with("<!--") {
            "-->"
        } else if rest.starts_with("<?") {
            "?>"
        } else {
            break;
        };
        let Some((_, after)) = rest.split_once(end) else {
            return false;
        };
        rest = after;
    }
    let Some(name) = rest.strip_prefix('<') else {
        return false;
    };
    let end = name.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/'));
    let (name, after) = name.split_at(end.unwrap_or(name.len()));
    match name {
        "!doctype" => after.trim_start().starts_with("html"),
        "html" | "head" | "body" | "meta" | "title" | "script" | "noscript" | "style" | "base"
        | "frameset" | "iframe" | "center" | "div" | "form" | "table" | "h1" | "h2" | "p" | "a" | "br"
        | "hr" | "font" => true,
        _ => false,
    }
}

/// The text of an HTML fragment: at most `max` characters, white space as a browser shows it, paragraphs apart.
pub(crate) fn to_text(html: &str, max: usize) -> String {
    let mut text = Text {
        out: String::new(),
        room: max,
        space: false,
        pending: Break::None,
    };
    let mut rest = html;
    while let Some(c) = rest.chars().next() {
        if text.room == 0 {
            break;
        }
        rest = match c {
            '<' => tag(rest, &mut text),
            '&' => reference(rest, &mut text),
            _ => {
                text.push(c);
                &rest[c.len_utf8()..]
            }
        };
    }
    text.out
}

struct Text {
    out: String,
    /// Characters that still fit.
    room: usize,
    space: bool,
    pending: Break,
}

impl Text {
    fn push(&mut self, c: char) {
        if c.is_ascii_whitespace() {
            self.space = true;
            return;
        }
        let gap = match self.pending {
            _ if self.out.is_empty() => "",
            Break::Paragraph => "\n\n",
            Break::Line => "\n",
            Break::None if self.space => " ",
            Break::None => "",
        };
        (self.space, self.pending) = (false, Break::None);
        self.out.push_str(gap);
        // A gap may go beyond the room by a character or two: callers cut.
        self.room = self.room.saturating_sub(gap.len() + 1);
        self.out.push(c);
    }

    fn break_at(&mut self, wanted: Break) {
        if wanted > self.pending {
            self.pending = wanted;
        }
    }
}

/// Reads what begins with `<`; gives what is behind it.
fn tag<'a>(html: &'a str, text: &mut Text) -> &'a str {
    let inside = &html[1..];
    if let Some(comment) = inside.strip_prefix("!--") {
        return comment.find("-->").map_or("", |end| &comment[end + 3..]);
    }
    let closing = inside.starts_with('/');
    let name_on = inside.strip_prefix('/').unwrap_or(inside);
    if !closing && !name_on.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '!' | '?')) {
        text.push('<');
        return inside;
    }
    let length = name_on
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(name_on.len());
    let name = name_on[..length.min(16)].to_ascii_lowercase();
    let behind = behind_tag(&name_on[length..]);
    match name.as_str() {
        "script" | "style" if !closing => return behind_raw_text(behind, &name),
        "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "dl" | "table" | "blockquote"
        | "pre" | "hr" | "section" | "article" => text.break_at(Break::Paragraph),
        "br" | "div" | "tr" | "dt" | "dd" | "li" | "figcaption" => text.break_at(Break::Line),
        "td" | "th" => text.space = true,
        _ => {}
    }
    if name == "li" && !closing {
        text.push('•');
        text.space = true;
    }
    behind
}

/// Skips attributes up to the `>` that ends a tag; quotes count only where a value begins.
fn behind_tag(attributes: &str) -> &str {
    let mut quote = None;
    let mut value_begins = false;
    for (at, c) in attributes.char_indices() {
        match (quote, c) {
            (None, '>') => return &attributes[at + 1..],
            (None, '"' | '\'') if value_begins => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        value_begins = c == '=' || (value_begins && c.is_ascii_whitespace());
    }
    ""
}

/// Skips the content of a script or a style sheet.
fn behind_raw_text<'a>(html: &'a str, name: &str) -> &'a str {
    let mut rest = html;
    while let Some(at) = rest.find("</") {
        let end = &rest[at + 2..];
        if end
            .get(..name.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(name))
        {
            return behind_tag(&end[name.len()..]);
        }
        rest = end;
    }
    ""
}

/// Reads what begins with `&`; gives what is behind it.
fn reference<'a>(html: &'a str, text: &mut Text) -> &'a str {
    let inside = &html[1..];
    // The longest name has 31 letters.
    let end = inside.bytes().take(33).position(|b| b == b';');
    let Some(name) = end.and_then(|end| inside.get(..end)) else {
        text.push('&');
        return inside;
    };
    let number = name.strip_prefix('#').map(|digits| {
        match digits.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => digits.parse(),
        }
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
    });
    match (number, resolve_html5_entity(name)) {
        (Some(c), _) => text.push(c),
        (None, Some(meaning)) => meaning.chars().for_each(|c| text.push(c)),
        (None, None) => {
            text.push('&');
            return inside;
        }
    }
    &inside[name.len() + 1..]
}

#[cfg(test)]
mod tests {
    use super::to_text;

    #[test]
    fn markup_is_read_as_a_browser_shows_it() {
        for (html, text) in [
            ("<p>One\n  <b>two</b></p><p>three", "One two\n\nthree"),
            ("a<br>b<div>c</div>d", "a\nb\nc\nd"),
            ("x<ul><li>a<li>b</ul>y", "x\n\n• a\n• b\n\ny"),
            ("1 < 2 && 3 > 2 &unknown; &", "1 < 2 && 3 > 2 &unknown; &"),
            ("&lt;b&gt; &eacute;&#233;&#xE9; &amp;lt;", "<b> ééé &lt;"),
            ("a<!-- <b> -->b<!-- open", "ab"),
            ("a<SCRIPT src='>'>1 </b> 2</Script >b<style>c", "ab"),
            ("<a title='>' rel=it's>b</a>", "b"),
            ("<!doctype html><?php x?>a</>b", "ab"),
            ("cut <b", "cut"),
            ("&#1114112;&#xD800;", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(to_text(html, 999), text, "of {html:?}");
        }
    }

    #[test]
    fn it_ends_when_there_is_enough() {
        assert_eq!(to_text(&"<i>é".repeat(100_000), 3), "ééé");
    }
}
