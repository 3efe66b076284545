//! What a document has that LivePC does not write: it would be gone if the document were written again.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::text;

/// Characters of a text that is named at the most.
const NAMED: usize = 40;

/// What would be lost first if `after` took the place of the document `before`, in words. Nothing if `after` has all of its
/// elements, attributes and texts, in whatever order, and perhaps more.
pub(super) fn lost(before: &[u8], after: &[u8]) -> Option<String> {
    let Ok(before) = std::str::from_utf8(before) else {
        return Some("its encoding".into());
    };
    let mut kept: BTreeMap<String, usize> = BTreeMap::new();
    for part in parts(&String::from_utf8_lossy(after)) {
        *kept.entry(part).or_default() += 1;
    }
    parts(before).into_iter().find(|part| {
        let left = kept.get_mut(part).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_none()
    })
}

/// All that a document says, in words.
fn parts(document: &str) -> Vec<String> {
    let mut reader = Reader::from_str(document);
    let (mut parts, mut inside, mut said) = (Vec::new(), Vec::new(), String::new());
    loop {
        // What is not well-formed has been refused before.
        let event = match reader.read_event() {
            Ok(Event::Eof) | Err(_) => return parts,
            Ok(event) => event,
        };
        match &event {
            Event::Text(text) => said.push_str(text),
            Event::CData(text) => said.push_str(text),
            Event::GeneralRef(name) => said.extend(["&", name, ";"]),
            _ => {
                let known = said.split_whitespace().collect::<Vec<_>>().join(" ");
                said.clear();
                if !known.is_empty() {
                    let element = inside.last().map_or("", String::as_str);
                    parts.push(format!("“{}” in <{element}>", text::line(&known, NAMED)));
                }
            }
        }
        match event {
            Event::Start(start) => {
                let name = element(&start, &mut parts);
                inside.push(name);
            }
            Event::Empty(start) => drop(element(&start, &mut parts)),
            Event::End(_) => drop(inside.pop()),
            Event::Comment(comment) => {
                parts.push(format!("the comment “{}”", text::line(comment.trim(), NAMED)));
            }
            Event::PI(instruction) => parts.push(format!("<?{}?>", text::line(&instruction, NAMED))),
            Event::DocType(_) => parts.push("its DOCTYPE".into()),
            _ => {}
        }
    }
}

/// Adds an element and its attributes; gives its name. Namespaces that nothing uses are no loss.
fn element(start: &BytesStart<'_>, parts: &mut Vec<String>) -> String {
    let name = start.name().as_ref().to_owned();
    parts.push(format!("<{name}>"));
    for attribute in start.attributes().flatten() {
        let key = attribute.key.as_ref();
        if key != "xmlns" && !key.starts_with("xmlns:") {
            let value = text::line(&attribute.value, NAMED);
            parts.push(format!("{key}=\"{value}\" of <{name}>"));
        }
    }
    name
}
