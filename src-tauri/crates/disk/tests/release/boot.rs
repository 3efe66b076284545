//! Starting with a boot map.

use livepc_disk::block::{BlockDevice as _, Run, RunKind};

use crate::backend::{Asked, Bench, Mood};
use crate::published::{Data, PAGE, Published};

fn bench(boot: &[(u32, u64, u64)]) -> Bench {
    let runs = [
        Data {
            region: 0,
            page: 10,
            pages: 100,
            pack: 0,
            gap: 0,
        },
        Data {
            region: 0,
            page: 200,
            pages: 100,
            pack: 1,
            gap: 3,
        },
    ];
    let published = Published::new(&[4000], &runs);
    let map = published.boot_map(boot);
    Bench::new(published, Some(map))
}

#[tokio::test]
async fn what_the_map_covers_is_read_without_the_index() {
    let bench = bench(&[(0, 220, 30), (0, 10, 20), (0, 30, 5)]);
    for (page, pages) in [(220, 30), (10, 25), (225, 1)] {
        let (offset, len) = (page * PAGE as u64, pages * PAGE);
        let read = bench.disk.read_at(offset, len as u32).await.unwrap();
        assert!(
            read == bench.published().expected(offset, len),
            "{pages} pages at {page}"
        );
    }
    let asked = bench.backend.take_asked();
    assert!(
        !asked.iter().any(|a| matches!(a, Asked::Object(_))),
        "no object is needed: {asked:?}"
    );
}

#[tokio::test]
async fn what_the_map_does_not_cover_is_looked_up_and_the_rest_is_not() {
    let bench = bench(&[(0, 10, 20), (0, 40, 20)]);
    let read = bench.disk.read_at(0, (300 * PAGE) as u32).await.unwrap();
    assert!(
        read == bench.published().expected(0, 300 * PAGE),
        "the map and the index together"
    );
    let objects = bench
        .backend
        .take_asked()
        .iter()
        .filter(|a| matches!(a, Asked::Object(_)))
        .count();
    assert_eq!(objects, 2, "the root and the shard, once");
    let runs = bench.disk.runs(0, 20 * PAGE as u64).await.unwrap();
    let page = PAGE as u64;
    assert_eq!(
        runs,
        [
            Run {
                len: 10 * page,
                kind: RunKind::Zero
            },
            Run {
                len: 10 * page,
                kind: RunKind::Data
            }
        ]
    );
}

#[tokio::test]
async fn a_boot_ready_disk_needs_no_network() {
    let bench = bench(&[(0, 10, 100)]);
    bench.backend.give_packs();
    *bench.backend.mood.lock().unwrap() = Mood::Waited;
    let read = bench
        .disk
        .read_at(10 * PAGE as u64, 100 * PAGE as u32)
        .await
        .unwrap();
    assert!(read == bench.published().expected(10 * PAGE as u64, 100 * PAGE));
    assert_eq!(bench.backend.take_asked(), []);
}
