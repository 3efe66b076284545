//! What a running machine waits for comes first.

use livepc_transfer::Priority;

use crate::support::{LARGE, SMALL, Site, fetcher};

/// Slow enough that a frame of 16 KiB takes a quarter of a second.
const SLOW: u64 = 64 * 1024;

#[tokio::test]
async fn demand_overtakes_a_fill() {
    let site = Site::new(&[(12, LARGE), (1, SMALL)]);
    let (fill, demand) = (&site.packs[0], &site.packs[1]);
    let (fetcher, sink) = fetcher();
    let origin = site.origin();
    site.server.set_bytes_per_second(Some(SLOW));
    let filling = fetcher.fetch(&origin, fill.id, &fill.chunks, Priority::Fill);
    fetcher
        .stats()
        .wait_for(|totals| totals.network_bytes > 0)
        .await
        .unwrap();
    fetcher
        .fetch(&origin, demand.id, &demand.chunks, Priority::Demand)
        .await
        .unwrap();

    assert_eq!(sink.count(demand), 1);
    let fills = site.requests(fill);
    let asked = &site.requests(demand)[0];
    let before = fills.iter().filter(|entry| entry.started < asked.started).count();
    assert!(
        before <= 2,
        "no more than two small requests ran when the machine began to wait: {before}"
    );
    let between = fills
        .iter()
        .filter(|entry| entry.started > asked.started && Some(entry.started) < asked.ended);
    assert_eq!(between.count(), 0, "and none was begun while it waited");
    assert_eq!(
        sink.count(fill),
        0,
        "not even the first chunk of the fill came before"
    );
    assert!(fetcher.stats().borrow().cancelled > 0, "the fill was broken off");

    site.server.set_bytes_per_second(None);
    filling.await.unwrap();
    assert_eq!(sink.count(fill), 12, "and goes on afterwards");
    let resumed = site.requests(fill);
    let middle = 1..fill.chunks[0].end_offset();
    let mut firsts = resumed.iter().filter_map(|entry| Some(entry.range?.0));
    assert!(
        firsts.any(|first| middle.contains(&first)),
        "with what had come of the chunk"
    );
}

#[tokio::test]
async fn a_pause_does_not_hold_back_a_machine() {
    let site = Site::new(&[(4, SMALL), (4, SMALL)]);
    let (fill, demand) = (&site.packs[0], &site.packs[1]);
    let (fetcher, sink) = fetcher();
    let origin = site.origin();
    fetcher.pause(true);
    let filling = fetcher.fetch(&origin, fill.id, &fill.chunks, Priority::Fill);
    let mapping = fetcher.fetch(&origin, fill.id, &fill.chunks[..1], Priority::BootMap);
    fetcher
        .fetch(&origin, demand.id, &demand.chunks, Priority::Demand)
        .await
        .unwrap();
    assert_eq!((sink.count(demand), sink.count(fill)), (4, 0));
    assert_eq!(site.requests(fill).len(), 0, "nothing else was asked for");
    fetcher.pause(false);
    filling.await.unwrap();
    mapping.await.unwrap();
    assert_eq!(sink.count(fill), 4);
}

#[tokio::test]
async fn a_boot_map_comes_before_a_fill() {
    let site = Site::new(&[(8, LARGE), (8, LARGE)]);
    let (fill, boot) = (&site.packs[0], &site.packs[1]);
    let (fetcher, sink) = fetcher();
    let origin = site.origin();
    site.server.set_bytes_per_second(Some(1 << 20));
    fetcher.pause(true);
    let filling = fetcher.fetch(&origin, fill.id, &fill.chunks, Priority::Fill);
    let booting = fetcher.fetch(&origin, boot.id, &boot.chunks, Priority::BootMap);
    fetcher.pause(false);
    // Each request has one chunk at this speed.
    let entries = site.server.log().until(|entries| entries.len() >= 4).await;
    assert!(
        entries.iter().all(|entry| entry.path.ends_with(&boot.path())),
        "no fill before the boot map"
    );
    site.server.set_bytes_per_second(None);
    let (filling, booting) = tokio::join!(filling, booting);
    filling.unwrap();
    booting.unwrap();
    assert_eq!((sink.count(boot), sink.count(fill)), (8, 8));
}

#[tokio::test]
async fn a_cap_slows_a_fill_and_no_machine() {
    let site = Site::new(&[(2, LARGE), (2, LARGE)]);
    let (fill, demand) = (&site.packs[0], &site.packs[1]);
    let (fetcher, sink) = fetcher();
    let origin = site.origin();
    // At this speed 512 KiB take an hour and a half.
    fetcher.set_max_bytes_per_second(Some(100));
    let filling = fetcher.fetch(&origin, fill.id, &fill.chunks, Priority::Fill);
    fetcher
        .fetch(&origin, demand.id, &demand.chunks, Priority::Demand)
        .await
        .unwrap();
    assert_eq!((sink.count(demand), sink.count(fill)), (2, 0));
    fetcher.set_max_bytes_per_second(None);
    filling.await.unwrap();
    assert_eq!(sink.count(fill), 2, "a cap that is lifted counts at once");
}
