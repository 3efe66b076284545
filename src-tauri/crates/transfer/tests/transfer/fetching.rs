//! Servers that do what they should.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::origin::{Entry, Fault, Rule};
use livepc_transfer::{Fetched, Origin, Priority, TransferError};
use url::Url;

use crate::support::{LARGE, Pack, SMALL, Site, config, fetcher, fetcher_into, ranges};

#[tokio::test]
async fn neighbours_come_in_one_request() {
    let site = Site::new(&[(12, SMALL)]);
    let pack = &site.packs[0];
    let (fetcher, sink) = fetcher();
    let done = fetcher
        .fetch(&site.origin(), pack.id, &pack.chunks, Priority::Fill)
        .await
        .unwrap();
    let bytes = pack.stored.len() as u64;
    let expected = Fetched {
        chunks: 12,
        bytes,
        present: 0,
    };
    assert_eq!(done, expected);
    assert_eq!(sink.count(pack), 12, "all are in the sink");
    let requests = site.requests(pack);
    assert_eq!(ranges(&requests), [Some((0, bytes))], "one range for all");
    assert_eq!(requests[0].header("accept-encoding"), "identity");
    let totals = fetcher.stats().borrow().clone();
    assert_eq!(
        (totals.network_bytes, totals.chunks, totals.chunk_bytes),
        (bytes, 12, bytes)
    );
    assert_eq!((totals.retries, totals.cancelled), (0, 0));
    let again = fetcher
        .fetch(&site.origin(), pack.id, &pack.chunks, Priority::Fill)
        .await
        .unwrap();
    assert_eq!(
        (again.chunks, again.present),
        (0, 12),
        "what is there is not fetched"
    );
    assert_eq!(site.requests(pack).len(), 1);
}

#[tokio::test]
async fn a_large_gap_is_not_read() {
    let site = Site::new(&[(24, SMALL)]);
    let pack = &site.packs[0];
    let wanted = [pack.chunks[0], pack.chunks[2], pack.chunks[20]];
    let (fetcher, sink) = fetcher();
    fetcher
        .fetch(&site.origin(), pack.id, &wanted, Priority::BootMap)
        .await
        .unwrap();
    assert_eq!(sink.count(pack), 3, "nothing but what was wanted is kept");
    let mut asked = ranges(&site.requests(pack));
    asked.sort_unstable();
    let first = (0, wanted[1].end_offset());
    let second = (wanted[2].offset, wanted[2].end_offset());
    assert_eq!(
        asked,
        [Some(first), Some(second)],
        "a gap of 16 KiB is read, one of 256 KiB is not"
    );
}

#[tokio::test]
async fn many_packs_come_with_bounded_requests() {
    let site = Site::new(&[(10, LARGE), (3, LARGE), (40, SMALL)]);
    let (fetcher, sink) = fetcher();
    let origin = site.origin();
    let calls: Vec<_> = site
        .packs
        .iter()
        .map(|pack| fetcher.fetch(&origin, pack.id, &pack.chunks, Priority::Fill))
        .collect();
    for (call, pack) in calls.into_iter().zip(&site.packs) {
        call.await.unwrap();
        assert_eq!(sink.count(pack), pack.chunks.len());
    }
    for entry in site.server.log().entries() {
        let (first, end) = entry.range.unwrap();
        assert!(end - first <= 4 << 20, "{first}..{end} would make a demand wait");
    }
    let stored: usize = site.packs.iter().map(|pack| pack.stored.len()).sum();
    assert_eq!(site.server.log().sent("packs/"), stored as u64, "each byte once");
}

#[tokio::test]
async fn a_local_folder_is_a_server_too() {
    let site = Site::new(&[(30, SMALL)]);
    let pack = &site.packs[0];
    let folder = Url::from_directory_path(site.folder.path()).unwrap();
    let origin = Arc::new(Origin::of_head(&folder.join("head.json").unwrap(), &[]));
    let (fetcher, sink) = fetcher();
    fetcher
        .fetch(&origin, pack.id, &pack.chunks, Priority::Fill)
        .await
        .unwrap();
    assert_eq!(sink.count(pack), 30);
    std::fs::write(site.folder.path().join(pack.path()), &pack.stored[..100_000]).unwrap();
    let (again, _) = self::fetcher();
    let short = again.fetch(&origin, pack.id, &pack.chunks, Priority::Fill).await;
    let short = short.unwrap_err().to_string();
    assert!(short.contains("ends after 100000 bytes"), "{short}");
    std::fs::remove_file(site.folder.path().join(pack.path())).unwrap();
    let other = Site::new(&[(1, LARGE)]);
    let missing = fetcher
        .fetch(&origin, other.packs[0].id, &other.packs[0].chunks, Priority::Fill)
        .await;
    assert!(missing.is_err_and(|error| error.is_not_found()));
}

#[tokio::test]
async fn a_restart_asks_only_for_what_is_missing() {
    let site = Site::new(&[(12, SMALL)]);
    let pack = &site.packs[0];
    let (fetcher, sink) = fetcher();
    fetcher
        .fetch(&site.origin(), pack.id, &pack.chunks[..7], Priority::Fill)
        .await
        .unwrap();
    drop(fetcher);
    site.server.log().clear();
    let fetcher = fetcher_into(&sink, config());
    let done = fetcher
        .fetch(&site.origin(), pack.id, &pack.chunks, Priority::Fill)
        .await
        .unwrap();
    assert_eq!((done.chunks, done.present), (5, 7));
    let rest = (pack.chunks[7].offset, pack.stored.len() as u64);
    assert_eq!(ranges(&site.requests(pack)), [Some(rest)]);
    assert_eq!(sink.count(pack), 12);
}

#[tokio::test]
async fn two_who_want_the_same_share_a_request() {
    let site = Site::new(&[(4, SMALL)]);
    let pack = &site.packs[0];
    let (fetcher, sink) = fetcher();
    let origin = site.origin();
    site.server.set_bytes_per_second(Some(256 * 1024));
    let fill = fetcher.fetch(&origin, pack.id, &pack.chunks, Priority::Fill);
    site.server.log().until(|entries| !entries.is_empty()).await;
    let demand = fetcher.fetch(&origin, pack.id, &pack.chunks[1..2], Priority::Demand);
    let (fill, demand) = tokio::join!(fill, demand);
    assert_eq!(
        (fill.unwrap().chunks, demand.unwrap().chunks),
        (4, 1),
        "both waited for it"
    );
    assert_eq!(sink.count(pack), 4);
    assert_eq!(
        site.server.log().sent("packs/"),
        pack.stored.len() as u64,
        "each byte once"
    );
}

#[tokio::test]
async fn a_dropped_call_asks_for_nothing_more() {
    let site = Site::new(&[(4, SMALL), (4, SMALL)]);
    let (first, second) = (&site.packs[0], &site.packs[1]);
    // A server is asked one thing before it has shown what it can: the second pack waits.
    site.server.set_latency(Duration::from_millis(50));
    let (fetcher, sink) = fetcher();
    let origin = site.origin();
    let one = fetcher.fetch(&origin, first.id, &first.chunks, Priority::Fill);
    site.server.log().until(|entries| !entries.is_empty()).await;
    let two = fetcher.fetch(&origin, second.id, &second.chunks, Priority::Fill);
    drop(two);
    one.await.unwrap();
    fetcher
        .fetch(&origin, first.id, &first.chunks, Priority::Fill)
        .await
        .unwrap();
    assert_eq!((sink.count(first), sink.count(second)), (4, 0));
    assert_eq!(site.requests(second).len(), 0);
}

#[tokio::test]
async fn a_server_without_ranges_sends_each_pack_once() {
    let site = Site::new(&[(30, SMALL), (3, SMALL)]);
    let pack = &site.packs[0];
    site.server.fail(Rule::always("packs/", Fault::NoRanges));
    let (fetcher, sink) = fetcher();
    let origin = site.origin();
    // Far apart: two ranges, if the server had them.
    let wanted = [pack.chunks[1], pack.chunks[25]];
    fetcher
        .fetch(&origin, pack.id, &wanted, Priority::Fill)
        .await
        .unwrap();
    assert_eq!(sink.count(pack), 2, "what is wanted is taken, and no more");
    assert_eq!(site.requests(pack).len(), 1, "all is taken from one answer");
    let other = &site.packs[1];
    fetcher
        .fetch(&origin, other.id, &other.chunks, Priority::Fill)
        .await
        .unwrap();
    assert_eq!(
        ranges(&site.requests(other)),
        [None],
        "from then on it is asked for whole packs"
    );
    let totals = fetcher.stats().borrow().clone();
    assert_eq!(totals.without_ranges, [site.server.url()], "and that is told");
    assert_eq!(totals.retries, 0, "it is no failure");
}

#[tokio::test]
async fn an_origin_without_servers_is_an_error() {
    let site = Site::new(&[(1, SMALL)]);
    let (fetcher, _) = fetcher();
    let nowhere = Arc::new(Origin::new([]));
    let result = fetcher
        .fetch(
            &nowhere,
            site.packs[0].id,
            &site.packs[0].chunks,
            Priority::Demand,
        )
        .await;
    assert!(
        matches!(result, Err(TransferError::Everywhere { .. })),
        "{result:?}"
    );
}

/// The most requests that were answered at the same time.
fn at_once(requests: &[Entry]) -> usize {
    let during = |at: Instant| {
        let runs = |entry: &&Entry| entry.started <= at && entry.ended.is_none_or(|end| at < end);
        requests.iter().filter(runs).count()
    };
    requests
        .iter()
        .map(|entry| during(entry.started))
        .max()
        .unwrap_or(0)
}

/// Fetches 30 MB in the background; gives the most requests that were answered at once.
async fn at_once_for_all(limit: impl FnOnce(&Site)) -> usize {
    let site = Site::new(&[(60, LARGE), (60, LARGE)]);
    limit(&site);
    let (fetcher, sink) = fetcher();
    let origin = site.origin();
    let fetch = |pack: &Pack| fetcher.fetch(&origin, pack.id, &pack.chunks, Priority::Fill);
    for fetched in site.packs.iter().map(fetch).collect::<Vec<_>>() {
        fetched.await.unwrap();
    }
    assert!(
        site.packs
            .iter()
            .all(|pack| sink.count(pack) == pack.chunks.len())
    );
    at_once(&site.server.log().entries())
}

#[tokio::test]
async fn a_server_that_limits_each_connection_gets_more_of_them() {
    let each = Fault::Trickle {
        bytes_per_second: 600_000,
    };
    let most = at_once_for_all(|site| site.server.fail(Rule::always("packs/", each))).await;
    assert!((7..=16).contains(&most), "{most} at once");
}
