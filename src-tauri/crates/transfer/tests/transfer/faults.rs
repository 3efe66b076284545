//! Servers that fail, and then do not: the right bytes come.

use std::time::Duration;

use crate::origin::{Entry, Fault, Rule};
use livepc_transfer::{Config, Priority, Totals};

use crate::support::{SMALL, Site, config, fetcher, fetcher_into, ranges};

/// Fetches a pack of eight chunks of 16 KiB while the server fails as the rule says; gives the requests.
async fn survive(rule: Rule) -> (Vec<Entry>, Totals) {
    let site = Site::new(&[(8, SMALL)]);
    let pack = &site.packs[0];
    site.server.fail(rule);
    let (fetcher, sink) = fetcher();
    let done = fetcher
        .fetch(&site.origin(), pack.id, &pack.chunks, Priority::Fill)
        .await;
    assert_eq!(done.unwrap().chunks, 8);
    assert_eq!(sink.count(pack), 8, "the bytes are right");
    let totals = fetcher.stats().borrow().clone();
    (site.requests(pack), totals)
}

#[tokio::test]
async fn trouble_passes() {
    let (requests, totals) = survive(Rule::first(
        "packs/",
        2,
        Fault::Status {
            code: 500,
            retry_after: None,
        },
    ))
    .await;
    assert_eq!((requests.len(), totals.retries), (3, 2));
}

#[tokio::test]
async fn a_server_that_asks_for_a_pause_gets_it() {
    for code in [429, 503] {
        let retry_after = Some(1);
        let (requests, _) = survive(Rule::first("packs/", 1, Fault::Status { code, retry_after })).await;
        let pause = requests[1].started - requests[0].started;
        assert!(
            pause >= Duration::from_secs(1),
            "{code}: asked again after {pause:?}"
        );
    }
}

#[tokio::test]
async fn a_stall_ends_and_the_rest_is_asked_for() {
    let site = Site::new(&[(8, SMALL)]);
    let pack = &site.packs[0];
    site.server
        .fail(Rule::first("packs/", 1, Fault::Stall { after: 40_000 }));
    let (_, sink) = fetcher();
    let short = Config {
        stall_timeout: Duration::from_millis(500),
        ..config()
    };
    let fetcher = fetcher_into(&sink, short);
    fetcher
        .fetch(&site.origin(), pack.id, &pack.chunks, Priority::Fill)
        .await
        .unwrap();
    assert_eq!(sink.count(pack), 8);
    let size = pack.stored.len() as u64;
    let requests = site.requests(pack);
    assert_eq!(ranges(&requests), [Some((0, size)), Some((40_000, size))]);
}

#[tokio::test]
async fn what_came_before_a_break_is_kept() {
    let (requests, totals) = survive(Rule::first("packs/", 1, Fault::Truncate { after: 40_000 })).await;
    let (first, _) = requests[1].range.unwrap();
    assert_eq!(
        (requests.len(), first),
        (2, 40_000),
        "from the very byte, in the middle of a chunk"
    );
    assert_eq!(totals.retries, 1);
}

#[tokio::test]
async fn a_server_that_always_breaks_off_gets_there_in_the_end() {
    // Less than three chunks at a time, and more breaks than may come in a row.
    let (requests, _) = survive(Rule::always("packs/", Fault::Truncate { after: 33_000 })).await;
    assert_eq!(requests.len(), 4, "131 KiB in parts of 33");
}

#[tokio::test]
async fn a_reset_is_survived() {
    let (requests, _) = survive(Rule::first("packs/", 1, Fault::Reset { after: 40_000 })).await;
    assert_eq!(requests.len(), 2);
    let (first, _) = requests[1].range.unwrap();
    assert!(
        first <= 40_000,
        "a reset may take with it what was not yet read: {first}"
    );
}

#[tokio::test]
async fn a_wrong_chunk_is_asked_again_past_caches() {
    let (requests, totals) = survive(Rule::first("packs/", 1, Fault::Flip { at: 20_000 })).await;
    assert_eq!(requests.len(), 2);
    let (first, end) = requests[1].range.unwrap();
    assert!(
        first < 20_000 && end > 20_000 && end - first < 17_000,
        "only the wrong one: {first}..{end}"
    );
    assert_eq!(requests[1].header("cache-control"), "no-cache");
    assert_eq!(totals.retries, 1);
}

#[tokio::test]
async fn another_range_than_asked_for_is_not_used() {
    let (requests, totals) = survive(Rule::first("packs/", 1, Fault::WrongRange)).await;
    assert_eq!((requests.len(), totals.retries), (2, 1));
}

#[tokio::test]
async fn more_than_was_asked_for_is_ignored() {
    let (requests, totals) = survive(Rule::always("packs/", Fault::Extra { bytes: 300_000 })).await;
    assert_eq!((requests.len(), totals.retries), (1, 0));
}

#[tokio::test]
async fn a_pack_that_changed_while_it_was_read_is_begun_again() {
    let site = Site::new(&[(8, SMALL)]);
    let pack = &site.packs[0];
    let path = site.folder.path().join(pack.path());
    // What came first is another file: the middle of the third chunk is wrong.
    let mut other = pack.stored.clone();
    other[39_000] ^= 1;
    std::fs::write(&path, &other).unwrap();
    site.server
        .fail(Rule::first("packs/", 1, Fault::Stall { after: 40_000 }));
    let (_, sink) = fetcher();
    let short = Config {
        stall_timeout: Duration::from_millis(500),
        ..config()
    };
    let fetcher = fetcher_into(&sink, short);
    let call = fetcher.fetch(&site.origin(), pack.id, &pack.chunks, Priority::Fill);
    site.server
        .log()
        .until(|entries| entries.first().is_some_and(|entry| entry.sent == 40_000))
        .await;
    std::fs::write(&path, &pack.stored).unwrap();
    call.await.unwrap();
    assert_eq!(sink.count(pack), 8);
    let asked = ranges(&site.requests(pack));
    let size = pack.stored.len() as u64;
    let third = (pack.chunks[2].offset, pack.chunks[2].end_offset());
    assert_eq!(
        asked,
        [Some((0, size)), Some((40_000, size)), Some(third)],
        "the one of two files is begun again"
    );
}

#[tokio::test]
async fn a_machine_waits_for_a_server_that_is_gone() {
    let site = Site::new(&[(2, SMALL)]);
    let pack = &site.packs[0];
    let (fetcher, sink) = fetcher();
    site.server.stop();
    let call = tokio::spawn(fetcher.fetch(&site.origin(), pack.id, &pack.chunks, Priority::Demand));
    // More than end a fill.
    fetcher
        .stats()
        .wait_for(|totals| totals.retries > 4)
        .await
        .unwrap();
    assert!(!call.is_finished(), "it goes on trying");
    site.server.start_again().unwrap();
    call.await.unwrap().unwrap();
    assert_eq!(sink.count(pack), 2);
}
