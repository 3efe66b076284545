//! How ranges are answered.

use std::sync::Arc;

use livepc_transfer::{Limits, Priority};

use super::{Kind, Lab, all_right, costs, fill, kind, named, part, right};
use crate::odd_server::{Asked, Reply};
use crate::support::{Memory, Pack, config, fetcher_with};

const PART: &str = "206 Partial Content";

/// The part from `first` to `end`, under its right name.
fn of(first: usize, end: usize, all: &[u8]) -> Reply {
    let (first, end) = (first.min(all.len() - 1), end.min(all.len()));
    Reply::new(PART, &[&name_of(first, end, all)], &all[first..end])
}

/// The right name of a part.
fn name_of(first: usize, end: usize, all: &[u8]) -> String {
    fill(
        "Content-Range: bytes {first}-{last}/{size}",
        first,
        end,
        all.len(),
    )
}

/// Another answer than a part to who asks for one; all to who does not.
fn refuses(asked: &Asked, all: &[u8], status: &str, headers: &[&str]) -> Reply {
    match asked.range {
        Some(_) => Reply::new(status, headers, b"no"),
        None => Reply::new("200 OK", &[], all),
    }
}

const NAMES: [Kind; 14] = [
    kind("as it should be", right),
    kind("Bytes in a capital", |a, all| {
        named(a, all, "Content-Range: Bytes {first}-{last}/{size}", &[])
    }),
    kind("BYTES and spaces", |a, all| {
        named(
            a,
            all,
            "content-range:   BYTES   {first} - {last} / {size}  ",
            &[],
        )
    }),
    kind("bytes=", |a, all| {
        named(a, all, "Content-Range: bytes={first}-{last}/{size}", &[])
    }),
    kind("bytes:", |a, all| {
        named(a, all, "Content-Range: bytes: {first}-{last}/{size}", &[])
    }),
    kind("no unit", |a, all| {
        named(a, all, "Content-Range: {first}-{last}/{size}", &[])
    }),
    kind("no size", |a, all| {
        named(a, all, "Content-Range: bytes {first}-{last}", &[])
    }),
    kind("an unknown size", |a, all| {
        named(a, all, "Content-Range: bytes {first}-{last}/*", &[])
    }),
    kind("the part's length as the size", |a, all| {
        named(a, all, "Content-Range: bytes {first}-{last}/{length}", &[])
    }),
    kind("the size 0", |a, all| {
        named(a, all, "Content-Range: bytes {first}-{last}/0", &[])
    }),
    kind("another unit", |a, all| {
        named(a, all, "Content-Range: octets x{first}/{size}", &[])
    }),
    kind("no Content-Range", |a, all| named(a, all, "X-Nothing: 1", &[])),
    kind("an empty Content-Range", |a, all| {
        named(a, all, "Content-Range:", &[])
    }),
    kind("its header twice", |a, all| {
        named(
            a,
            all,
            "Content-Range: bytes {first}-{last}/{size}\r\nContent-Range: bytes {first}-{last}/{size}",
            &[],
        )
    }),
];

const PARTS: [Kind; 17] = [
    costs("the whole pack, under its right name", 1, 1.05, |_, all| {
        of(0, all.len(), all)
    }),
    costs(
        "the whole pack, under the name of the part",
        9,
        2.2,
        |asked, all| match asked.range {
            Some((first, end)) => {
                let range = name_of(first, end, all);
                Reply::new(PART, &[&range], all)
            }
            None => Reply::new("200 OK", &[], all),
        },
    ),
    costs("whole blocks of 100 kB", 9, 1.7, |asked, all| {
        let (first, end) = part(asked, all);
        of(first / 100_000 * 100_000, end.next_multiple_of(100_000), all)
    }),
    kind("a thousand bytes more", |asked, all| {
        let (first, end) = part(asked, all);
        of(first, end + 1000, all)
    }),
    kind("a thousand bytes more on both sides", |asked, all| {
        let (first, end) = part(asked, all);
        of(first.saturating_sub(1000), end + 1000, all)
    }),
    kind("all to the end", |asked, all| {
        of(part(asked, all).0, all.len(), all)
    }),
    // How much of it is under way when it shows is left to chance.
    costs("all from the beginning", 9, 5.0, |asked, all| {
        of(0, part(asked, all).1, all)
    }),
    costs("70 kB at the most", 30, 1.05, |asked, all| {
        let (first, end) = part(asked, all);
        of(first, end.min(first + 70_000), all)
    }),
    // What is under way when it is found to be of no use is left to chance.
    costs("half of what was asked for", 80, 6.0, |asked, all| {
        match asked.range {
            Some((first, end)) => of(first, first + (end - first).div_ceil(2), all),
            None => Reply::new("200 OK", &[], all),
        }
    }),
    costs(
        // How many are under way when the first ends early is left to chance.
        "one byte less than was asked for",
        24,
        4.0,
        |asked, all| match asked.range {
            Some((first, end)) => of(first, end - 1, all),
            None => Reply::new("200 OK", &[], all),
        },
    ),
    costs("70 kB at the most, and no length", 30, 1.05, |asked, all| {
        let (first, end) = part(asked, all);
        let end = end.min(first + 70_000);
        let range = fill("Content-Range: bytes {first}-{last}/*", first, end, all.len());
        Reply::unbounded(PART, &[&range], &all[first..end])
    }),
    costs(
        "the beginning whatever was asked for",
        9,
        4.0,
        |asked, all| match asked.range {
            Some((first, end)) => of(0, end - first, all),
            None => Reply::new("200 OK", &[], all),
        },
    ),
    costs("a part that begins too late", 9, 2.1, |asked, all| {
        match asked.range {
            Some((first, end)) => of(first + 1, end, all),
            None => Reply::new("200 OK", &[], all),
        }
    }),
    // Every chunk is asked for again past all caches, before the whole pack is.
    costs(
        "bytes from one on, under the right name",
        40,
        5.0,
        |asked, all| match asked.range {
            Some((first, end)) if first > 0 => {
                let end = end.min(all.len());
                let range = name_of(first, end, all);
                Reply::new(PART, &[&range], &all[first - 1..end - 1])
            }
            Some(_) => right(asked, all),
            None => Reply::new("200 OK", &[], all),
        },
    ),
    costs(
        "several parts where one was asked for",
        9,
        2.1,
        |asked, all| match asked.range {
            Some((first, end)) => {
                let end = end.min(all.len());
                let head = "--x\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n";
                let head = fill(head, first, end, all.len());
                let body = [head.as_bytes(), &all[first..end], b"\r\n--x--\r\n"].concat();
                Reply::new(PART, &["Content-Type: multipart/byteranges; boundary=x"], &body)
            }
            None => Reply::new("200 OK", &[], all),
        },
    ),
    kind("206 to a request without a range too", |asked, all| {
        let (first, end) = part(asked, all);
        of(first, end, all)
    }),
    costs(
        "ranges, but of what was asked for before",
        12,
        3.3,
        |asked, all| match asked.range {
            // A cache that has lost its way: the right name, and bytes of another part.
            Some((first, end)) => {
                let end = end.min(all.len());
                let range = name_of(first, end, all);
                let other = (first + 4096) % (all.len() - (end - first) + 1);
                Reply::new(
                    PART,
                    &[&range, "Content-Encoding: aws-chunked"],
                    &all[other..other + end - first],
                )
            }
            None => Reply::new("200 OK", &[], all),
        },
    ),
];

const STATUSES: [Kind; 19] = [
    kind("200 and all of it", |_, all| {
        Reply::new("200 OK", &["Accept-Ranges: none"], all)
    }),
    kind("203 and all of it", |_, all| {
        Reply::new("203 Non-Authoritative Information", &[], all)
    }),
    kind("203 and the part", |asked, all| {
        let mut reply = right(asked, all);
        if asked.range.is_some() {
            reply.bytes.splice(9..12, *b"203");
        }
        reply
    }),
    kind("200 and the part, with its name", |asked, all| {
        let (first, end) = part(asked, all);
        let range = name_of(first, end, all);
        Reply::new("200 OK", &[&range], &all[first..end])
    }),
    costs("200 and the part, without a name", 12, 3.3, |asked, all| {
        let (first, end) = part(asked, all);
        Reply::new("200 OK", &[], &all[first..end])
    }),
    kind("200, all of it, and a wrong name", |asked, all| {
        let (first, end) = part(asked, all);
        let range = name_of(first, end, all);
        Reply::new("200 OK", &[&range], all)
    }),
    kind("200 without a reason", |_, all| {
        let length = format!("Content-Length: {}", all.len());
        Reply::raw("HTTP/1.1 200", &[&length], all)
    }),
    kind("201 and all of it", |_, all| Reply::new("201 Created", &[], all)),
    kind("400", |asked, all| refuses(asked, all, "400 Bad Request", &[])),
    kind("403", |asked, all| refuses(asked, all, "403 Forbidden", &[])),
    kind("405", |asked, all| {
        refuses(asked, all, "405 Method Not Allowed", &["Allow: GET"])
    }),
    kind("406", |asked, all| refuses(asked, all, "406 Not Acceptable", &[])),
    kind("412", |asked, all| {
        refuses(asked, all, "412 Precondition Failed", &[])
    }),
    kind("416", |asked, all| {
        refuses(asked, all, "416 Range Not Satisfiable", &[])
    }),
    kind("416 with the size", |asked, all| {
        let size = format!("Content-Range: bytes */{}", all.len());
        refuses(asked, all, "416 Requested Range Not Satisfiable", &[&size])
    }),
    kind("431", |asked, all| {
        refuses(asked, all, "431 Request Header Fields Too Large", &[])
    }),
    kind("501", |asked, all| {
        refuses(asked, all, "501 Not Implemented", &[])
    }),
    costs("500 to every range", 4, 1.1, |asked, all| {
        refuses(asked, all, "500 Internal Server Error", &[])
    }),
    kind("304, which nobody asked for", |asked, all| {
        match asked.header("cache-control") {
            "no-cache" => Reply::new("200 OK", &[], all),
            _ => Reply::raw("HTTP/1.1 304 Not Modified", &["ETag: \"1\""], b""),
        }
    }),
];

const WIRES: [Kind; 14] = [
    kind("no length", |asked, all| {
        let (first, end) = part(asked, all);
        let range = name_of(first, end, all);
        Reply::unbounded(PART, &[&range], &all[first..end])
    }),
    kind("chunks", |asked, all| {
        let (first, end) = part(asked, all);
        let range = name_of(first, end, all);
        Reply::chunked(PART, &[&range], &all[first..end])
    }),
    kind("all of it in chunks", |_, all| Reply::chunked("200 OK", &[], all)),
    kind("HTTP/1.0, no ranges", |_, all| {
        Reply::raw("HTTP/1.0 200 OK", &[], all).closing()
    }),
    kind("HTTP/1.0 with ranges", |asked, all| {
        let (first, end) = part(asked, all);
        let range = name_of(first, end, all);
        Reply::raw("HTTP/1.0 206 Partial Content", &[&range], &all[first..end]).closing()
    }),
    kind("a connection for each request", |asked, all| {
        named(
            asked,
            all,
            "Content-Range: bytes {first}-{last}/{size}",
            &["Connection: close"],
        )
        .closing()
    }),
    kind(
        "a connection that is kept by name and closed in deed",
        |asked, all| {
            named(
                asked,
                all,
                "Content-Range: bytes {first}-{last}/{size}",
                &["Connection: keep-alive"],
            )
            .closing()
        },
    ),
    kind("bytes behind the end", |asked, all| {
        let mut reply = right(asked, all);
        reply.bytes.extend(b"\r\n\r\nrubbish");
        reply.closing()
    }),
    kind("early hints", |asked, all| {
        let mut reply = right(asked, all);
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        reply.bytes.splice(0..0, hints.iter().copied());
        reply
    }),
    kind("spaces before colons, and lines that go on", |asked, all| {
        named(
            asked,
            all,
            "Content-Range : bytes {first}-{last}/{size}",
            &["X-Long: one\r\n two"],
        )
    }),
    kind("a header that is none", |asked, all| {
        named(
            asked,
            all,
            "Content-Range: bytes {first}-{last}/{size}",
            &["X Bad Header", "X-\u{e4}: 1"],
        )
    }),
    kind("weak tags, another for each answer", |asked, all| {
        let tag = format!("ETag: W/\"{}\"", asked.before);
        named(asked, all, "Content-Range: bytes {first}-{last}/{size}", &[&tag])
    }),
    costs(
        "another tag for each answer, and breaks",
        40,
        1.4,
        |asked, all| {
            let tag = format!("ETag: \"{}\"", asked.before);
            match asked.header("if-range") {
                "" => named(asked, all, "Content-Range: bytes {first}-{last}/{size}", &[&tag]).cut(90_000),
                _ => Reply::new("200 OK", &[&tag], all).cut(90_000),
            }
        },
    ),
    costs(
        "a signed address for each request",
        18,
        1.1,
        |asked, all| match asked.path.split_once("?signature=") {
            Some((_, signature)) if signature.parse::<usize>().is_ok_and(|at| at < asked.before) => {
                right(asked, all)
            }
            Some(_) => Reply::new("403 Forbidden", &[], b"expired"),
            None => {
                let to = format!("Location: {}?signature={}", asked.path, asked.before);
                Reply::new("302 Found", &[&to], b"elsewhere")
            }
        },
    ),
];

#[tokio::test]
async fn however_a_range_is_named() {
    all_right(&NAMES).await;
}

#[tokio::test]
async fn whatever_part_comes() {
    all_right(&PARTS).await;
}

#[tokio::test]
async fn whatever_is_said_to_a_range() {
    all_right(&STATUSES).await;
}

#[tokio::test]
async fn however_it_is_sent() {
    all_right(&WIRES).await;
}

/// What is read to be thrown away is less than a pack for whoever wants one chunk, and for whoever wants all of them.
#[tokio::test]
async fn what_lies_before_a_part_is_not_thrown_away_again_and_again() {
    for (wanted, priority) in [(0..60, Priority::Fill), (59..60, Priority::Demand)] {
        let from_the_beginning = |asked: &Asked, all: &[u8]| of(0, part(asked, all).1, all);
        let lab = Lab::of(Pack::of_noise(7, 60, 64), from_the_beginning);
        let sink = Arc::new(Memory::default());
        let fetcher = fetcher_with(&sink, config(), Limits::default());
        let chunks = &lab.pack.chunks[wanted.clone()];
        let fetched = fetcher.fetch(&lab.origin(), lab.pack.id, chunks, priority);
        fetched.await.unwrap();
        assert_eq!(sink.count(&lab.pack), wanted.len());
        let read = fetcher.stats().borrow().network_bytes as f64;
        let times = read / lab.pack.stored.len() as f64;
        println!("{priority:?}: {times:.2} times the pack");
        assert!(times < 2.0, "{priority:?}: {times:.2} times the pack");
    }
}
