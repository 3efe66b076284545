//! What a server's answer to a request for a range of a pack means, by its status and headers: servers are right in many ways.
//!
//! Nothing is refused here that digests would find out, as long as it can be told what the bytes should be. What cannot leads
//! to a request for the whole pack, which every server understands.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::coding::Coding;

/// A part that begins with the pack, although it was asked for behind this many bytes, is none.
const BEGINNING: u64 = 128 * 1024;

/// What was asked for: the first byte, and one past the last.
pub(crate) type Asked = (u64, u64);

/// What there is to do with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// To take its bytes, which are of the pack.
    Part(Part),
    /// To take its bytes, which are all of the pack; they may be a part nevertheless, if that is not `sure`.
    Whole { sure: bool },
    /// To ask for the whole pack, since its bytes are of no use. This is what the server did.
    Useless(String),
    /// The pack ends before what was asked for: so many bytes are there.
    Short(u64),
    /// To fail, as the status says.
    Failed,
}

/// Bytes of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The first one.
    pub(crate) first: u64,
    /// One past the last, if the server says it.
    pub(crate) end: Option<u64>,
    /// The pack's bytes, if the server says it.
    pub(crate) size: Option<u64>,
    /// It says all of this itself, and without contradictions.
    pub(crate) sure: bool,
}

/// Reads the answer to a request for a range, or for a whole pack (`None`).
pub(crate) fn read(status: StatusCode, headers: &HeaderMap, said: &[Coding], asked: Option<Asked>) -> Answer {
    match status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED => {
            Answer::Useless(format!("it said {status}, which was no answer"))
        }
        status if status.is_success() => success(status, headers, said, asked),
        StatusCode::RANGE_NOT_SATISFIABLE if let Some((start, _)) = asked => match unsatisfied(headers) {
            Some(size) if size <= start => Answer::Short(size),
            _ => Answer::Useless(format!("it said {status}")),
        },
        // Some refuse what they do not know instead of leaving it out.
        status if asked.is_some() && is_about_the_request(status) => {
            Answer::Useless(format!("it said {status}"))
        }
        _ => Answer::Failed,
    }
}

/// True if a part (206) is all there is.
pub(crate) fn is_all(headers: &HeaderMap) -> bool {
    content_range(headers).is_some_and(|range| range.is_all())
}

fn success(status: StatusCode, headers: &HeaderMap, said: &[Coding], asked: Option<Asked>) -> Answer {
    let is_part = status == StatusCode::PARTIAL_CONTENT;
    if is_multipart(headers) {
        return Answer::Useless("it sent several parts in one".to_owned());
    }
    let range = content_range(headers);
    let length = content_length(headers);
    if said.iter().any(Coding::moves_bytes) {
        // A part of something else than the pack, or all of it.
        return match range {
            Some(range) if !range.is_all() => {
                Answer::Useless("it compresses the pack, and sent a part of that".to_owned())
            }
            None if is_part => Answer::Useless("it compresses the pack, and sent a part of that".to_owned()),
            _ => Answer::Whole {
                sure: asked.is_none(),
            },
        };
    }
    let certain = said.is_empty();
    match (range, asked) {
        (Some(range), Some((start, end)))
            if range.first == start && range.last + 1 == end && !is_all_of(length, range) =>
        {
            part(range, certain, (start, end))
        }
        // The length tells which of the two it is.
        (Some(range), _) if is_all_of(length, range) => Answer::Whole { sure: false },
        // Some say of a part how long it is where they should say how long all is.
        (Some(range), Some((_, end))) if range.is_all() => Answer::Whole {
            sure: range.last >= end - 1,
        },
        (Some(range), None) if range.is_all() => Answer::Whole { sure: true },
        (Some(range), _) => part(range, certain, asked.unwrap_or_default()),
        (None, Some(asked)) if is_part => unnamed(length, asked),
        (None, asked) => Answer::Whole {
            sure: asked.is_none(),
        },
    }
}

/// True if the body is longer than the range, and as long as all.
fn is_all_of(length: Option<u64>, range: Range) -> bool {
    length.is_some_and(|length| length != range.length() && Some(length) == range.size)
}

fn part(range: Range, sure: bool, (start, end): Asked) -> Answer {
    // The beginning, whatever was asked for, is not worth its bytes.
    let is_beginning = range.first == 0 && start > BEGINNING;
    if range.first > start || range.last < start || is_beginning {
        let Range { first, last, .. } = range;
        let end = end.saturating_sub(1);
        return Answer::Useless(format!(
            "it sent bytes {first} to {last} when asked for {start} to {end}"
        ));
    }
    Answer::Part(Part {
        first: range.first,
        end: Some(range.last + 1),
        size: range.size,
        sure,
    })
}

/// A part that is not named is the one that was asked for, if its length does not speak against it.
fn unnamed(length: Option<u64>, (start, end): Asked) -> Answer {
    if length.is_some_and(|length| length > end - start) {
        return Answer::Useless("it sent a part without saying which".to_owned());
    }
    Answer::Part(Part {
        first: start,
        end: None,
        size: None,
        sure: false,
    })
}

/// True if a request that is put in another way may fare better.
fn is_about_the_request(status: StatusCode) -> bool {
    let elsewhere = [401, 404, 407, 408, 410, 421, 423, 425, 429];
    status == StatusCode::NOT_IMPLEMENTED
        || status == StatusCode::HTTP_VERSION_NOT_SUPPORTED
        || (status.is_client_error() && !elsewhere.contains(&status.as_u16()))
}

fn is_multipart(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("multipart/"))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// `Content-Range`: the first and the last byte, and the size of all if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
    size: Option<u64>,
}

impl Range {
    fn length(&self) -> u64 {
        self.last - self.first + 1
    }

    fn is_all(&self) -> bool {
        self.first == 0 && self.size.is_some_and(|size| self.last.saturating_add(1) >= size)
    }
}

/// Reads `bytes FIRST-LAST/SIZE` in all the ways in which it is written.
fn content_range(headers: &HeaderMap) -> Option<Range> {
    let (range, size) = spoken(headers)?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last < u64::MAX - 1).then(|| Range {
        first,
        last,
        // What is too short for the range is no size.
        size: size.and_then(|size| number(&size)).filter(|size| *size > last),
    })
}

/// The size in `bytes */SIZE`.
fn unsatisfied(headers: &HeaderMap) -> Option<u64> {
    let (range, size) = spoken(headers)?;
    size.filter(|_| range == "*")?.trim().parse().ok()
}

/// What is said of bytes, and the size behind it.
fn spoken(headers: &HeaderMap) -> Option<(String, Option<String>)> {
    let value = headers
        .get(CONTENT_RANGE)?
        .to_str()
        .ok()?
        .trim()
        .to_ascii_lowercase();
    let rest = value.strip_prefix("bytes").unwrap_or(&value);
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '=' | ':'));
    Some(match rest.split_once('/') {
        Some((range, size)) => (range.trim().to_owned(), Some(size.trim().to_owned())),
        None => (rest.trim().to_owned(), None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = (100, 200);

    fn of(status: u16, headers: &[(&str, &str)], asked: Option<Asked>) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        let said = crate::coding::said(&map);
        read(StatusCode::from_u16(status).unwrap(), &map, &said, asked)
    }

    fn ranged(status: u16, headers: &[(&str, &str)]) -> Answer {
        of(status, headers, Some(ASKED))
    }

    fn exact(size: Option<u64>, sure: bool) -> Answer {
        Answer::Part(Part {
            first: 100,
            end: Some(200),
            size,
            sure,
        })
    }

    #[test]
    fn a_range_is_read_however_it_is_written() {
        for (value, size) in [
            ("bytes 100-199/1000", Some(1000)),
            ("bytes 100-199/*", None),
            ("Bytes 100-199/1000", Some(1000)),
            ("BYTES  100 - 199 / 1000", Some(1000)),
            ("bytes=100-199/1000", Some(1000)),
            ("bytes: 100-199/1000", Some(1000)),
            ("bytes 100-199", None),
            ("100-199/1000", Some(1000)),
            ("bytes\t100-199/ *", None),
        ] {
            assert_eq!(
                ranged(206, &[("content-range", value)]),
                exact(size, true),
                "{value}"
            );
            assert_eq!(
                ranged(200, &[("content-range", value)]),
                exact(size, true),
                "as 200: {value}"
            );
        }
    }

    #[test]
    fn a_part_that_is_not_named_is_what_was_asked_for_unless_its_length_speaks_against_it() {
        let unnamed = Answer::Part(Part {
            first: 100,
            end: None,
            size: None,
            sure: false,
        });
        for odd in [
            "bytes x-y/9",
            "items 100-199/1000",
            "bytes */*",
            "bytes 199-100/9",
            "",
            "99999999999999999999999-1/2",
        ] {
            assert_eq!(ranged(206, &[("content-range", odd)]), unnamed, "{odd}");
            assert_eq!(
                ranged(206, &[("content-range", odd), ("content-length", "100")]),
                unnamed,
                "{odd}"
            );
        }
        assert_eq!(ranged(206, &[]), unnamed);
        assert!(matches!(
            ranged(206, &[("content-length", "1000")]),
            Answer::Useless(_)
        ));
    }

    #[test]
    fn another_part_is_used_if_it_has_the_first_byte() {
        let part = |first, end, size| {
            Answer::Part(Part {
                first,
                end: Some(end),
                size: Some(size),
                sure: true,
            })
        };
        assert_eq!(
            ranged(206, &[("content-range", "bytes 64-255/1000")]),
            part(64, 256, 1000),
            "a longer one"
        );
        assert_eq!(
            ranged(206, &[("content-range", "bytes 100-109/1000")]),
            part(100, 110, 1000),
            "a shorter one"
        );
        assert_eq!(
            ranged(206, &[("content-range", "bytes 0-999/1000")]),
            Answer::Whole { sure: true },
            "all of it"
        );
        let all = of(206, &[("content-range", "bytes 0-999/1000")], Some((0, 1000)));
        assert_eq!(all, part(0, 1000, 1000), "all was asked for as a range");
        for useless in ["bytes 101-199/1000", "bytes 0-99/1000"] {
            assert!(
                matches!(ranged(206, &[("content-range", useless)]), Answer::Useless(_)),
                "{useless}"
            );
        }
        assert_eq!(
            ranged(
                206,
                &[
                    ("content-range", "bytes 100-199/1000"),
                    ("content-length", "1000")
                ]
            ),
            Answer::Whole { sure: false },
            "the length says that it is all"
        );
        assert!(matches!(
            ranged(206, &[("content-type", "multipart/byteranges; boundary=x")]),
            Answer::Useless(_)
        ));
    }

    /// To throw all away that lies before would cost a pack again and again, once for each range.
    #[test]
    fn the_beginning_is_no_part_for_who_asked_far_behind_it() {
        let beginning = |start: u64, end: u64| {
            let range = format!("bytes 0-{}/9999999", end - 1);
            of(206, &[("content-range", &range)], Some((start, end)))
        };
        assert!(matches!(beginning(BEGINNING, 300_000), Answer::Part(_)));
        assert!(matches!(beginning(BEGINNING + 1, 300_000), Answer::Useless(_)));
    }

    #[test]
    fn a_coding_leaves_a_range_as_it_is_or_makes_it_useless() {
        let range = ("content-range", "bytes 100-199/1000");
        for nothing in [
            "",
            "identity",
            "none",
            "Identity",
            "binary",
            "identity, ",
            "utf-8",
        ] {
            assert_eq!(
                ranged(206, &[range, ("content-encoding", nothing)]),
                exact(Some(1000), true),
                "{nothing}"
            );
        }
        for perhaps in ["aws-chunked", "compress", "identity,aws-chunked"] {
            assert_eq!(
                ranged(206, &[range, ("content-encoding", perhaps)]),
                exact(Some(1000), false),
                "{perhaps}"
            );
        }
        for moves in [
            "gzip",
            "x-gzip",
            "deflate",
            "br",
            "zstd",
            "GZip",
            "gzip, aws-chunked",
        ] {
            assert!(
                matches!(
                    ranged(206, &[range, ("content-encoding", moves)]),
                    Answer::Useless(_)
                ),
                "{moves}"
            );
            assert!(
                matches!(ranged(206, &[("content-encoding", moves)]), Answer::Useless(_)),
                "{moves}"
            );
            assert_eq!(
                ranged(200, &[("content-encoding", moves)]),
                Answer::Whole { sure: false },
                "{moves}"
            );
            assert_eq!(
                of(200, &[("content-encoding", moves)], None),
                Answer::Whole { sure: true },
                "{moves}"
            );
        }
    }

    #[test]
    fn every_status_has_a_next_step() {
        for all in [200, 201, 203, 226] {
            assert_eq!(ranged(all, &[]), Answer::Whole { sure: false }, "{all}");
            assert_eq!(of(all, &[], None), Answer::Whole { sure: true }, "{all}");
        }
        for again in [
            204, 205, 304, 400, 403, 405, 406, 412, 415, 416, 417, 431, 451, 501, 505,
        ] {
            assert!(matches!(ranged(again, &[]), Answer::Useless(_)), "{again}");
        }
        for end in [
            302, 401, 404, 407, 408, 410, 425, 429, 500, 502, 503, 504, 507, 511,
        ] {
            assert_eq!(ranged(end, &[]), Answer::Failed, "{end}");
        }
        for refused in [400, 403, 416, 501] {
            assert_eq!(
                of(refused, &[], None),
                Answer::Failed,
                "{refused} to a plain request"
            );
        }
        assert_eq!(
            ranged(416, &[("content-range", "bytes */100")]),
            Answer::Short(100)
        );
        assert!(matches!(
            ranged(416, &[("content-range", "bytes */101")]),
            Answer::Useless(_)
        ));
    }
}
