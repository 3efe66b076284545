//! What servers do to a body, and what they say of it.

use std::io::Write as _;

use super::{Kind, all_right, costs, kind, named, right};
use crate::odd_server::{Asked, Reply};

const RANGE: &str = "Content-Range: bytes {first}-{last}/{size}";

/// Ranges as they should be, with this header.
fn says(asked: &Asked, all: &[u8], header: &str) -> Reply {
    named(asked, all, RANGE, &[header])
}

/// All of it, after something was done to it, under this header.
fn done(header: &str, body: &[u8]) -> Reply {
    Reply::new("200 OK", &[header, "Vary: Accept-Encoding"], body)
}

/// gzip, without a library: blocks that are stored (RFC 1951, 3.2.4).
pub(super) fn gzip(all: &[u8]) -> Vec<u8> {
    let mut crc = 0xffff_ffff_u32;
    for byte in all {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    stream.extend(deflate(all));
    stream.extend((!crc).to_le_bytes());
    stream.extend((all.len() as u32).to_le_bytes());
    stream
}

pub(super) fn deflate(all: &[u8]) -> Vec<u8> {
    if all.is_empty() {
        return vec![1, 0, 0, 0xff, 0xff];
    }
    let blocks = all.chunks(60_000);
    let last = blocks.len().saturating_sub(1);
    let mut stream = Vec::new();
    for (number, block) in blocks.enumerate() {
        let length = block.len() as u16;
        stream.push(u8::from(number == last));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    stream
}

pub(super) fn zlib(all: &[u8]) -> Vec<u8> {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in all {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let mut stream = vec![0x78, 0x01];
    stream.extend(deflate(all));
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}

/// Brotli, without a library: blocks that are stored (RFC 7932, 9.2), in a window of 2^16 bytes.
pub(super) fn brotli(all: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (number, block) in all.chunks(60_000).enumerate() {
        // Not the last one, four nibbles of length, stored.
        let header = (block.len() as u32 - 1) << 3 | 1 << 19;
        // The size of the window stands before the first one, in a bit.
        let header = if number == 0 { header << 1 } else { header };
        stream.extend(&header.to_le_bytes()[..3]);
        stream.extend(block);
    }
    // The last one, which is empty.
    stream.push(3);
    stream
}

fn zstd(all: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(all).unwrap();
    encoder.finish().unwrap()
}

/// As an upload to S3 is sent.
pub(super) fn frames(all: &[u8]) -> Vec<u8> {
    let signature = "0".repeat(64);
    let mut stream = Vec::new();
    for chunk in all.chunks(65_536) {
        write!(stream, "{:x};chunk-signature={signature}\r\n", chunk.len()).unwrap();
        stream.extend(chunk);
        stream.extend(b"\r\n");
    }
    write!(
        stream,
        "0;chunk-signature={signature}\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    )
    .unwrap();
    stream
}

const NOTHING: [Kind; 13] = [
    kind("an empty Content-Encoding", |a, all| {
        says(a, all, "Content-Encoding:")
    }),
    kind("identity", |a, all| says(a, all, "Content-Encoding: identity")),
    kind("none", |a, all| says(a, all, "Content-Encoding: none")),
    kind("binary", |a, all| says(a, all, "Content-Encoding: binary")),
    kind("utf-8", |a, all| says(a, all, "Content-Encoding: UTF-8")),
    kind("aws-chunked, which it is not", |a, all| {
        says(a, all, "Content-Encoding: aws-chunked")
    }),
    kind("aws-chunked twice", |a, all| {
        says(
            a,
            all,
            "Content-Encoding: aws-chunked,\r\nContent-Encoding: aws-chunked",
        )
    }),
    kind("one that nobody knows", |a, all| {
        says(a, all, "Content-Encoding: octet-stream")
    }),
    costs("gzip, which it is not", 9, 2.1, |a, all| {
        says(a, all, "Content-Encoding: gzip")
    }),
    costs("deflate, which it is not", 9, 2.1, |a, all| {
        says(a, all, "Content-Encoding: deflate")
    }),
    costs("br, which it is not", 9, 2.1, |a, all| {
        says(a, all, "Content-Encoding: br")
    }),
    costs("zstd, which is what the chunks are", 9, 3.3, |a, all| {
        says(a, all, "Content-Encoding: zstd")
    }),
    kind("empty for all of it", |_, all| done("Content-Encoding: ", all)),
];

const SOMETHING: [Kind; 16] = [
    kind("gzip whatever is asked", |_, all| {
        done("Content-Encoding: gzip", &gzip(all))
    }),
    kind("x-gzip", |_, all| done("Content-Encoding: X-GZip", &gzip(all))),
    kind("deflate as zlib", |_, all| {
        done("Content-Encoding: deflate", &zlib(all))
    }),
    kind("deflate as it is", |_, all| {
        done("Content-Encoding: deflate", &deflate(all))
    }),
    kind("brotli", |_, all| done("Content-Encoding: br", &brotli(all))),
    kind("zstd", |_, all| done("Content-Encoding: zstd", &zstd(all))),
    kind("gzip twice", |_, all| {
        done("Content-Encoding: gzip, gzip", &gzip(&gzip(all)))
    }),
    kind("gzip and deflate in two lines", |_, all| {
        done(
            "Content-Encoding: gzip\r\nContent-Encoding: deflate",
            &zlib(&gzip(all)),
        )
    }),
    kind("gzip without a word", |_, all| done("X-Cache: HIT", &gzip(all))),
    kind("gzip in two members", |_, all| {
        let (one, two) = all.split_at(all.len() / 3);
        done("Content-Encoding: gzip", &[gzip(one), gzip(two)].concat())
    }),
    kind("gzip in chunks", |_, all| {
        Reply::chunked("200 OK", &["Content-Encoding: gzip"], &gzip(all))
    }),
    costs(
        "parts of what it made with gzip",
        9,
        2.1,
        |asked, all| match asked.range {
            Some(_) => says(asked, &gzip(all), "Content-Encoding: gzip"),
            None => done("Content-Encoding: gzip", &gzip(all)),
        },
    ),
    costs(
        "frames that were stored with it",
        12,
        3.3,
        |asked, all| match asked.range {
            Some(_) => says(asked, &frames(all), "Content-Encoding: aws-chunked"),
            None => done("Content-Encoding: aws-chunked", &frames(all)),
        },
    ),
    kind("frames for all of it", |_, all| {
        done("Content-Encoding: aws-chunked", &frames(all))
    }),
    kind("frames around gzip, in either order", |asked, all| {
        let order = ["gzip,aws-chunked", "aws-chunked, gzip"][asked.before % 2];
        done(&format!("Content-Encoding: {order}"), &frames(&gzip(all)))
    }),
    kind("frames without a word", |_, all| {
        done("x-amz-decoded-content-length: 1", &frames(all))
    }),
];

#[tokio::test]
async fn what_is_said_and_was_not_done() {
    all_right(&NOTHING).await;
}

#[tokio::test]
async fn what_was_done_is_undone() {
    all_right(&SOMETHING).await;
}

#[tokio::test]
async fn a_server_that_is_right_is_asked_no_more_often_for_all_this() {
    all_right(&[costs("as it should be", 8, 1.005, right)]).await;
}
