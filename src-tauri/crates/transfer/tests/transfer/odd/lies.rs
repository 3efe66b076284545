//! Servers that send what is not the pack: an error says which of them did what, and soon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use livepc_transfer::Priority;

use super::codings::gzip;
use super::{Behaviour, Lab, named, right};
use crate::odd_server::Reply;
use crate::support::Memory;

const RANGE: &str = "Content-Range: bytes {first}-{last}/{size}";

/// A name, what the server does, what the error says, and whether it is one of the network, which may pass.
type Lie = (&'static str, Behaviour, &'static str, bool);

fn changed(all: &[u8]) -> Vec<u8> {
    all.iter().map(|byte| byte ^ 1).collect()
}

const LIES: [Lie; 16] = [
    (
        "a sign-in page",
        |_, _| {
            Reply::new(
                "200 OK",
                &["Content-Type: text/html"],
                b"<!DOCTYPE html><p>Sign in",
            )
        },
        "web page",
        true,
    ),
    (
        "a page with a mark",
        |_, _| Reply::new("200 OK", &[], "\u{feff}\n <html>".as_bytes()),
        "web page",
        true,
    ),
    (
        "a message",
        |_, _| Reply::new("200 OK", &[], b"{\"error\": \"busy\"}"),
        "message",
        true,
    ),
    ("nothing", |_, _| Reply::new("200 OK", &[], b""), "nothing", true),
    (
        "204",
        |_, _| Reply::raw("HTTP/1.1 204 No Content", &[], b""),
        "204",
        false,
    ),
    (
        "other bytes",
        |asked, all| named(asked, &changed(all), RANGE, &[]),
        "not the ones that were signed",
        false,
    ),
    (
        "other bytes, all of them",
        |_, all| Reply::new("200 OK", &[], &changed(all)),
        "not the ones that were signed",
        false,
    ),
    (
        "other bytes under gzip",
        |_, all| Reply::new("200 OK", &["Content-Encoding: gzip"], &gzip(&changed(all))),
        "not the ones that were signed",
        false,
    ),
    (
        "an encoding that nobody knows",
        |_, all| Reply::new("200 OK", &["Content-Encoding: rot13"], &changed(all)),
        "rot13",
        false,
    ),
    (
        "a pack that ends too early",
        |asked, all| right(asked, &all[..200_000]),
        "200000 bytes",
        false,
    ),
    (
        "half of it, as all",
        |_, all| Reply::new("200 OK", &[], &all[..500_000]),
        "500000 bytes",
        false,
    ),
    (
        "gzip that ends too early",
        |_, all| Reply::new("200 OK", &["Content-Encoding: gzip"], &gzip(all)[..500_000]),
        "decompressed",
        true,
    ),
    (
        "403 to everything",
        |_, _| Reply::new("403 Forbidden", &[], b""),
        "403",
        false,
    ),
    (
        "parts to who asks for all",
        |_, all| {
            Reply::new(
                "206 Partial Content",
                &["Content-Range: bytes 0-99999/1300000"],
                &all[..100_000],
            )
        },
        "ended at byte",
        true,
    ),
    (
        "an empty part",
        |_, _| Reply::new("206 Partial Content", &[], b""),
        "nothing",
        true,
    ),
    (
        "redirects without end",
        |asked, _| {
            let to = format!(
                "Location: {}?{}",
                asked.path.split('?').next().unwrap_or_default(),
                asked.before
            );
            Reply::new("302 Found", &[&to], b"")
        },
        "redirects",
        false,
    ),
];

#[tokio::test]
async fn an_error_says_who_did_what() {
    for (name, does, says, network) in LIES {
        let begun = Instant::now();
        let lab = Lab::new(does);
        let sink = Arc::new(Memory::default());
        let fetched = tokio::time::timeout(Duration::from_secs(30), lab.fetch(0..20, Priority::Fill, &sink));
        let error = fetched.await.expect(name).expect_err(name);
        let text = error.to_string();
        assert!(
            text.contains(says) && text.contains(&lab.server.url()),
            "{name}: {text}"
        );
        assert_eq!(error.is_network(), network, "{name}: {text}");
        let requests = lab.server.asked("packs/");
        let sent: u64 = requests.iter().map(|asked| asked.sent).sum();
        let times = sent as f64 / lab.pack.stored.len() as f64;
        assert!(
            requests.len() <= 24 && times < 8.0,
            "{name}: {} requests, {times} times the pack",
            requests.len()
        );
        // What was right of it is kept.
        sink.count(&lab.pack);
        println!(
            "{:>6} ms  {} requests  {name}",
            begun.elapsed().as_millis(),
            requests.len()
        );
    }
}

#[tokio::test]
async fn no_body_takes_more_than_a_pack_can_be() {
    // Empty blocks bring nothing, however many there are: 64 MiB of them.
    let lab = Lab::new(|_, _| {
        let blocks = [0, 0, 0, 0xff, 0xff].repeat((64 << 20) / 5);
        let body = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], blocks.as_slice()].concat();
        Reply::new("200 OK", &["Content-Encoding: gzip"], &body)
    });
    let sink = Arc::new(Memory::default());
    let error = lab
        .fetch(0..1, Priority::Fill, &sink)
        .await
        .expect_err("that is no pack");
    let text = error.to_string();
    // Whichever comes first.
    assert!(
        text.contains("too many for this file") || text.contains("nothing came"),
        "{text}"
    );
}
