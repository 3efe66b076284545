//! What cannot be cured is told: what happened, and where.

use std::sync::Arc;
use std::time::Duration;

use crate::origin::{Fault, Rule};
use livepc_format::PackId;
use livepc_format::index::Chunk;
use livepc_transfer::{
    ChunkSink, Config, Fetcher, Found, Limits, Logins, Origin, Priority, TransferError, VerifiedChunk,
};
use url::Url;

use crate::support::{Memory, Pack, SMALL, Site, client, config, fetcher, fetcher_into};

/// Fetches a pack of eight chunks while the server fails as the rule says; gives the error, and how often it was asked.
async fn fail(rule: Rule, priority: Priority) -> (TransferError, usize) {
    let site = Site::new(&[(8, SMALL)]);
    let pack = &site.packs[0];
    site.server.fail(rule);
    let (fetcher, _) = fetcher();
    let error = fetcher
        .fetch(&site.origin(), pack.id, &pack.chunks, priority)
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&site.server.url()) && text.contains(&pack.path()),
        "it must say where: {text}"
    );
    (error, site.requests(pack).len())
}

fn status(code: u16) -> Fault {
    Fault::Status {
        code,
        retry_after: None,
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    for priority in [Priority::Fill, Priority::Demand] {
        let (error, requests) = fail(Rule::always("packs/", status(404)), priority).await;
        assert!(error.is_not_found(), "{error}");
        assert_eq!(requests, 2, "once more, past all caches");
    }
}

#[tokio::test]
async fn a_refusal_is_told() {
    let (error, requests) = fail(Rule::always("packs/", status(403)), Priority::Fill).await;
    assert!(
        matches!(&error, TransferError::Refused { what, .. } if what.contains("403")),
        "{error}"
    );
    assert_eq!(requests, 2, "once for a range, once without");
}

#[tokio::test]
async fn trouble_without_end_ends_a_fill() {
    let (error, requests) = fail(Rule::always("packs/", status(500)), Priority::Fill).await;
    assert!(error.is_network() && error.to_string().contains("500"), "{error}");
    assert_eq!(requests, 3, "as often as the limits say");
}

#[tokio::test]
async fn wrong_bytes_are_never_used() {
    for priority in [Priority::Fill, Priority::Demand] {
        let (error, requests) = fail(Rule::always("packs/", Fault::Flip { at: 20_000 }), priority).await;
        assert!(error.is_digest(), "{error}");
        assert_eq!(
            requests, 3,
            "once more past caches, then for the whole pack, then it is told"
        );
    }
}

#[tokio::test]
async fn something_else_that_is_compressed_is_told() {
    for priority in [Priority::Fill, Priority::Demand] {
        let (error, requests) = fail(
            Rule::always("packs/", Fault::GzipBomb { size: 64 << 20 }),
            priority,
        )
        .await;
        assert!(error.is_digest(), "{error}");
        assert!(requests <= 6, "{requests}");
    }
}

#[tokio::test]
async fn a_pack_that_is_too_short_is_told() {
    let site = Site::new(&[(8, SMALL)]);
    let pack = &site.packs[0];
    std::fs::write(site.folder.path().join(pack.path()), &pack.stored[..1000]).unwrap();
    let (fetcher, _) = fetcher();
    for chunks in [4..8, 0..1] {
        let error = fetcher
            .fetch(&site.origin(), pack.id, &pack.chunks[chunks], Priority::Fill)
            .await
            .unwrap_err();
        assert!(matches!(&error, TransferError::Cut { size: 1000, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_ends_a_fill() {
    let site = Site::new(&[(8, SMALL)]);
    let pack = &site.packs[0];
    let (fetcher, sink) = fetcher();
    site.server.stop();
    let gone = fetcher
        .fetch(&site.origin(), pack.id, &pack.chunks, Priority::Fill)
        .await
        .unwrap_err();
    assert!(
        gone.is_network() && gone.to_string().contains("refuses connections"),
        "{gone}"
    );
    site.server.start_again().unwrap();
    fetcher
        .fetch(&site.origin(), pack.id, &pack.chunks, Priority::Fill)
        .await
        .unwrap();
    assert_eq!(sink.count(pack), 8, "the next call tries again");
}

#[tokio::test]
async fn a_redirect_elsewhere_is_followed_and_a_local_file_is_not() {
    let site = Site::new(&[(8, SMALL)]);
    let pack = &site.packs[0];
    let (fetcher, sink) = fetcher();
    let to = "file:///etc/passwd".to_owned();
    site.server.fail(Rule::first("packs/", 1, Fault::Redirect { to }));
    let error = fetcher
        .fetch(&site.origin(), pack.id, &pack.chunks, Priority::Fill)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, TransferError::Refused { what, .. } if what.contains("file:")),
        "{error}"
    );
    assert_eq!(site.requests(pack).len(), 1, "nothing else was asked");
    let other = Site::with(vec![Pack::of_noise(1, 8, SMALL)]);
    site.server.behave();
    site.server.fail(Rule::always(
        "packs/",
        Fault::Redirect {
            to: other.server.url().replace("127.0.0.1", "localhost"),
        },
    ));
    fetcher
        .fetch(&site.origin(), pack.id, &pack.chunks, Priority::Fill)
        .await
        .unwrap();
    assert_eq!(sink.count(pack), 8, "another port of the same host is");
    assert_eq!(other.requests(pack).len(), 1);
}

#[tokio::test]
async fn a_full_disk_is_told_to_all_downloads() {
    let site = Site::new(&[(8, SMALL), (8, SMALL)]);
    let (fetcher, sink) = fetcher();
    sink.fail(std::io::ErrorKind::StorageFull);
    let origin = site.origin();
    let calls: Vec<_> = site
        .packs
        .iter()
        .map(|pack| fetcher.fetch(&origin, pack.id, &pack.chunks, Priority::Fill))
        .collect();
    for call in calls {
        let error = call.await.unwrap_err();
        assert!(matches!(error, TransferError::DiskFull { .. }), "{error}");
    }
}

/// A store with a defect.
struct Broken;

impl ChunkSink for Broken {
    fn has(&self, _: &PackId, _: &Chunk) -> bool {
        false
    }

    fn put(&self, _: Vec<VerifiedChunk>) -> std::io::Result<()> {
        panic!("a defect")
    }
}

#[tokio::test]
async fn a_panicking_sink_is_an_error() {
    let site = Site::new(&[(1, SMALL)]);
    let pack = &site.packs[0];
    let fetcher = Fetcher::new(client(), Arc::new(Broken), Limits::default());
    let error = fetcher
        .fetch(&site.origin(), pack.id, &pack.chunks, Priority::Demand)
        .await
        .unwrap_err();
    assert!(
        matches!(error, TransferError::Sink { .. }),
        "nobody must wait for ever: {error}"
    );
}

/// A store whose first look panics in the task that owns the schedule.
#[derive(Default)]
struct BrokenAtFirst(std::sync::atomic::AtomicBool, Memory);

impl ChunkSink for BrokenAtFirst {
    fn has(&self, pack: &PackId, chunk: &Chunk) -> bool {
        assert!(self.0.swap(true, std::sync::atomic::Ordering::SeqCst), "a defect");
        self.1.has(pack, chunk)
    }

    fn put(&self, chunks: Vec<VerifiedChunk>) -> std::io::Result<()> {
        self.1.put(chunks)
    }
}

/// The one task that serves everybody must not take everybody with it.
#[tokio::test]
async fn a_driver_that_panics_tells_those_who_wait_and_serves_who_asks_next() {
    let site = Site::new(&[(1, SMALL)]);
    let pack = &site.packs[0];
    let fetcher = Fetcher::new(client(), Arc::new(BrokenAtFirst::default()), Limits::default());
    let fetch = || fetcher.fetch(&site.origin(), pack.id, &pack.chunks, Priority::Demand);
    let error = fetch().await.unwrap_err();
    assert!(matches!(error, TransferError::Stopped), "{error}");
    assert_eq!(fetch().await.unwrap().chunks, pack.chunks.len());
}

/// Logins that panic when they are asked for this server's: in the middle of a request.
#[derive(Debug)]
struct BrokenFor(Option<u16>);

impl Logins for BrokenFor {
    fn of<'a>(&'a self, url: &'a Url) -> Found<'a> {
        Box::pin(async {
            assert_ne!(url.port(), self.0, "a defect");
            Ok(None)
        })
    }
}

#[tokio::test]
async fn a_request_that_panics_has_failed_and_another_server_is_asked() {
    for priority in [Priority::Fill, Priority::Demand] {
        let site = || Site::with(vec![Pack::of_noise(1, 8, SMALL)]);
        let (first, second) = (site(), site());
        let pack = &first.packs[0];
        let sink = Arc::new(Memory::default());
        let logins = Arc::new(BrokenFor(first.url().port()));
        let fetcher = fetcher_into(&sink, Config { logins, ..config() });
        let fetch = async |servers: Vec<Url>| {
            let origin = Arc::new(Origin::new(servers));
            let fetched = fetcher.fetch(&origin, pack.id, &pack.chunks, priority);
            let fetched = tokio::time::timeout(Duration::from_secs(30), fetched).await;
            fetched.expect("nobody must wait for ever")
        };
        let error = fetch(vec![first.url()]).await.unwrap_err();
        assert!(
            matches!(&error, TransferError::Panicked { what } if what.contains("a defect")),
            "{error}"
        );
        fetch(vec![first.url(), second.url()]).await.unwrap();
        assert_eq!(sink.count(pack), 8);
    }
}
