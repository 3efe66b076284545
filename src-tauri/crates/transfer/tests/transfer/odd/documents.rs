//! Documents of such servers: those that are named by their digest, and those that are not.

use livepc_format::Digest;
use livepc_transfer::{Document, Origin, Size, TransferError};
use url::Url;

use super::codings::{brotli, deflate, frames, gzip, zlib};
use crate::odd_server::{Asked, Odd, Reply};
use crate::support::client;

const TEXT: &[u8] = b"{\"format\": \"livepc-head\", \"version\": 1, \"and\": \"so on\"}";

type Behaviour = fn(&Asked) -> Reply;

fn ok(headers: &[&str], body: &[u8]) -> Reply {
    Reply::new("200 OK", headers, body)
}

const KINDS: [(&str, Behaviour); 27] = [
    ("as it should be", |_| ok(&[], TEXT)),
    ("gzip, as it was asked", |_| {
        ok(&["Content-Encoding: gzip"], &gzip(TEXT))
    }),
    ("gzip without a word", |_| ok(&[], &gzip(TEXT))),
    ("gzip, which it is not", |_| ok(&["Content-Encoding: gzip"], TEXT)),
    ("gzip in two members", |_| {
        let (first, second) = TEXT.split_at(20);
        let both = [gzip(first), gzip(second)].concat();
        ok(&["Content-Encoding: gzip"], &both)
    }),
    ("gzip with zeros behind it", |_| {
        let padded = [gzip(TEXT), vec![0; 100]].concat();
        ok(&["Content-Encoding: gzip"], &padded)
    }),
    ("gzip twice", |_| {
        ok(&["Content-Encoding: gzip, gzip"], &gzip(&gzip(TEXT)))
    }),
    ("deflate as zlib", |_| {
        ok(&["Content-Encoding: deflate"], &zlib(TEXT))
    }),
    ("deflate as it is", |_| {
        ok(&["Content-Encoding: deflate"], &deflate(TEXT))
    }),
    ("deflate, which it is not", |_| {
        ok(&["Content-Encoding: deflate"], TEXT)
    }),
    ("an empty Content-Encoding", |_| ok(&["Content-Encoding:"], TEXT)),
    ("identity", |_| ok(&["Content-Encoding: identity"], TEXT)),
    ("utf-8", |_| ok(&["Content-Encoding: utf-8"], TEXT)),
    ("brotli", |_| ok(&["Content-Encoding: br"], &brotli(TEXT))),
    ("br, which it is not", |_| ok(&["Content-Encoding: br"], TEXT)),
    ("aws-chunked, which it is not", |_| {
        ok(&["Content-Encoding: aws-chunked"], TEXT)
    }),
    ("frames", |_| {
        ok(&["Content-Encoding: aws-chunked"], &frames(TEXT))
    }),
    ("frames without a word", |_| ok(&[], &frames(TEXT))),
    ("frames around gzip", |_| {
        ok(&["Content-Encoding: gzip,aws-chunked"], &frames(&gzip(TEXT)))
    }),
    ("203", |_| {
        Reply::new("203 Non-Authoritative Information", &[], TEXT)
    }),
    ("206 and all of it", |_| {
        let range = format!("Content-Range: bytes 0-{}/{}", TEXT.len() - 1, TEXT.len());
        Reply::new("206 Partial Content", &[&range], TEXT)
    }),
    ("no length", |_| Reply::unbounded("200 OK", &[], TEXT)),
    ("chunks", |_| {
        Reply::chunked("200 OK", &["Content-Encoding: gzip"], &gzip(TEXT))
    }),
    ("HTTP/1.0", |_| Reply::raw("HTTP/1.0 200 OK", &[], TEXT).closing()),
    ("304, which nobody asked for", |asked| {
        match asked.header("cache-control") {
            "no-cache" => ok(&[], TEXT),
            _ => Reply::raw("HTTP/1.1 304 Not Modified", &[], b""),
        }
    }),
    ("early hints", |_| {
        let mut reply = ok(&[], TEXT);
        reply.bytes.splice(
            0..0,
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".iter().copied(),
        );
        reply
    }),
    ("a header that is none", |_| {
        ok(&["X Bad Header", "X-Spaced : 1"], TEXT)
    }),
];

fn start(does: Behaviour) -> (Odd, Url) {
    let server = Odd::start(std::sync::Arc::new(does)).unwrap();
    let url = Url::parse(&server.url()).unwrap();
    (server, url)
}

#[tokio::test]
async fn documents_come_as_they_were_published() {
    let client = client();
    for (name, does) in KINDS {
        let (server, url) = start(does);
        let got = client.document(&url.join("head.json").unwrap(), 1000, None).await;
        match got {
            Ok(Document::New { bytes, .. }) => assert_eq!(bytes, TEXT, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        let origin = Origin::new([url]);
        let digest = Digest::of(TEXT);
        let got = client
            .verified(
                &origin,
                "manifests/1.json",
                &digest,
                Size::exactly(TEXT.len() as u64),
            )
            .await;
        assert_eq!(got.unwrap_or_else(|error| panic!("{name}: {error}")), TEXT);
        assert!(
            server.asked("").len() <= 4,
            "{name}: {} requests",
            server.asked("").len()
        );
    }
}

#[tokio::test]
async fn what_no_server_may_send_is_an_error_that_names_it() {
    let bomb = |_: &Asked| {
        let zeros = gzip(&vec![0; 1 << 20]);
        ok(&["Content-Encoding: gzip, gzip"], &gzip(&zeros))
    };
    let kinds: [(&str, Behaviour, &str); 5] = [
        ("a bomb", bomb, "more than 1 kB"),
        (
            "a part",
            |_| {
                Reply::new(
                    "206 Partial Content",
                    &["Content-Range: bytes 0-9/99"],
                    b"0123456789",
                )
            },
            "206",
        ),
        (
            "nothing",
            |_| Reply::raw("HTTP/1.1 204 No Content", &[], b""),
            "204",
        ),
        (
            "broken gzip",
            |_| ok(&["Content-Encoding: gzip"], &gzip(TEXT)[..40]),
            "decompressed",
        ),
        (
            "broken frames",
            |_| {
                ok(
                    &["Content-Encoding: aws-chunked"],
                    b"5\r\nabcdefgh\r\n0\r\n\r\n\x00",
                )
            },
            "decompressed",
        ),
    ];
    for (name, does, says) in kinds {
        let (server, url) = start(does);
        let got = client()
            .document(&url.join("head.json").unwrap(), 1000, None)
            .await;
        let error = got.expect_err(name);
        let text = error.to_string();
        assert!(
            text.contains(says) && text.contains(&server.url()),
            "{name}: {text}"
        );
        assert!(
            !matches!(error, TransferError::Digest { .. }),
            "{name}: no alarm: {text}"
        );
    }
}
