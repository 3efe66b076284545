//! Answers that end early: there is progress, or an end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use livepc_transfer::{Config, Limits, Priority};

use super::{Lab, fill, part, right};
use crate::odd_server::{Asked, Reply};
use crate::support::{Memory, config, fetcher_with};

/// At most so many bytes of what was asked for, under their right name.
fn at_most(asked: &Asked, all: &[u8], bytes: usize) -> Reply {
    let (first, end) = part(asked, all);
    let end = end.min(first + bytes);
    let range = fill(
        "Content-Range: bytes {first}-{last}/{size}",
        first,
        end,
        all.len(),
    );
    Reply::new("206 Partial Content", &[&range], &all[first..end])
}

/// Pauses that a test would notice.
async fn with_long_pauses(lab: &Lab, chunks: std::ops::Range<usize>) -> (Duration, Vec<Asked>) {
    let slow = Config {
        backoff: Duration::from_secs(20),
        ..config()
    };
    let sink = Arc::new(Memory::default());
    let fetcher = fetcher_with(&sink, slow, Limits::default());
    let begun = Instant::now();
    let wanted = &lab.pack.chunks[chunks.clone()];
    let fetched = fetcher.fetch(&lab.origin(), lab.pack.id, wanted, Priority::Fill);
    fetched.await.unwrap();
    assert_eq!(sink.count(&lab.pack), chunks.len());
    (begun.elapsed(), lab.server.asked("packs/"))
}

/// What a server is asked while a machine waits for what it never gets, with pauses of 4 to 64 ms: until a second is over in
/// which there was something to see, since a computer may be busy with other things first.
async fn asked_of_one_who_waits(lab: &Lab, sink: &Arc<Memory>) -> Vec<Asked> {
    let waits = lab.fetch(0..1, Priority::Demand, sink);
    let mut waits = std::pin::pin!(waits);
    let mut asked = Vec::new();
    for _ in 0..30 {
        let ended = tokio::time::timeout(Duration::from_secs(1), &mut waits).await;
        assert!(ended.is_err(), "it waits");
        asked = lab.server.asked("packs/");
        if asked.len() >= 4 {
            break;
        }
    }
    assert!(
        (4..60).contains(&asked.len()),
        "{} requests in about a second",
        asked.len()
    );
    asked
}

#[tokio::test]
async fn short_answers_are_gone_on_from_at_once() {
    let lab = Lab::new(|asked, all| at_most(asked, all, 3000));
    let (time, asked) = with_long_pauses(&lab, 0..20).await;
    assert!(time < Duration::from_secs(10), "no pause between: {time:?}");
    let least = lab.pack.stored.len().div_ceil(3000);
    assert!(
        asked.len() <= least * 5 / 4,
        "{} requests, {least} at the least",
        asked.len()
    );
}

#[tokio::test]
async fn lines_that_break_are_gone_on_from_at_once_and_nothing_is_asked_twice() {
    let lab = Lab::new(|asked, all| right(asked, all).cut(4000));
    let (time, asked) = with_long_pauses(&lab, 0..6).await;
    assert!(time < Duration::from_secs(10), "no pause between: {time:?}");
    let bytes: u64 = lab.pack.chunks[..6]
        .iter()
        .map(|chunk| u64::from(chunk.entry.stored))
        .sum();
    let sent: u64 = asked.iter().map(|asked| asked.sent).sum();
    // A header comes with each.
    assert!(sent < bytes * 11 / 10, "{sent} bytes for {bytes}");
    let mut firsts: Vec<usize> = asked.iter().filter_map(|asked| Some(asked.range?.0)).collect();
    firsts.sort_unstable();
    assert!(
        firsts.windows(2).all(|two| two[0] < two[1]),
        "from where it ended: {firsts:?}"
    );
}

#[tokio::test]
async fn crumbs_are_no_way_to_fetch_a_pack() {
    let crumbs = |asked: &Asked, all: &[u8]| at_most(asked, all, 1);
    let lab = Lab::new(move |asked, all| match asked.range {
        Some(_) => crumbs(asked, all),
        None => Reply::new("200 OK", &[], all),
    });
    let sink = Arc::new(Memory::default());
    let asked = lab.fetch(0..20, Priority::Fill, &sink).await.unwrap();
    assert!(
        asked.len() <= 8,
        "the whole pack is asked for: {} requests",
        asked.len()
    );
    let lab = Lab::new(crumbs);
    let sink = Arc::new(Memory::default());
    let fetched = lab.fetch(0..20, Priority::Fill, &sink).await;
    let error = fetched.expect_err("nothing more can be done");
    assert!(error.to_string().contains("ended at byte"), "{error}");
    let asked = lab.server.asked("packs/");
    assert!(asked.len() <= 12, "{} requests", asked.len());
    // A machine goes on, but hammers nobody.
    let lab = Lab::new(crumbs);
    asked_of_one_who_waits(&lab, &sink).await;
}

#[tokio::test]
async fn lines_that_break_after_crumbs_keep_them_and_pause() {
    let lab = Lab::new(|asked, all| {
        let (first, end) = part(asked, all);
        let reply = right(asked, all);
        let head = reply.bytes.len() - (end - first);
        reply.cut(head + 100)
    });
    let sink = Arc::new(Memory::default());
    let asked = asked_of_one_who_waits(&lab, &sink).await;
    let firsts: Vec<usize> = asked.iter().filter_map(|asked| Some(asked.range?.0)).collect();
    assert!(
        firsts.contains(&100) && firsts.contains(&200),
        "what came is kept: {firsts:?}"
    );
}

#[tokio::test]
async fn crumbs_that_reach_the_end_of_a_chunk_are_progress() {
    let lab = Lab::new(|asked, all| {
        let (first, _) = part(asked, all);
        // Up to the next 4 kB: never more, often less.
        at_most(asked, all, 4096 - first % 4096)
    });
    let (time, _) = with_long_pauses(&lab, 0..4).await;
    assert!(time < Duration::from_secs(10), "{time:?}");
}
