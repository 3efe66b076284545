//! Reading at borders, and what is asked for on the way.

use std::sync::{Arc, Mutex};

use livepc_disk::block::{BlockDevice as _, Piece, ReadError, Run, RunKind};
use livepc_disk::release::Trace;
use livepc_format::limits::SHARD_PAGES;

use crate::backend::{Asked, Bench};
use crate::published::{Data, PAGE, Published, page};

const GIB: u64 = 1 << 30;

fn data(region: u32, page: u64, pages: u32, pack: usize) -> Data {
    Data {
        region,
        page,
        pages,
        pack,
        gap: 0,
    }
}

/// A disk whose second region begins at sector 63 and has two and a half GiB, with data around the border of its shards.
fn large() -> Bench {
    let around = SHARD_PAGES - 10;
    let runs = [
        data(0, 0, 8, 0),
        data(1, 0, 3, 0),
        data(1, around, 20, 1),
        data(1, 2 * SHARD_PAGES + 5, 1, 0),
    ];
    Bench::new(Published::new(&[63, 5 * GIB / 1024], &runs), None)
}

#[tokio::test]
async fn a_read_crosses_regions_and_shards() {
    let bench = large();
    let second = 63 * 512;
    let border = second + GIB;
    for (offset, len) in [
        (0, 65_536),
        (second - 1, 2),
        (second - 100, 8192),
        (border - 3 * 4096 - 7, 30_000),
    ] {
        let read = bench.disk.read_at(offset, len).await.unwrap();
        assert!(
            read == bench.published().expected(offset, len as usize),
            "{len} bytes at {offset}"
        );
    }
    let end = bench.disk.size();
    assert!(
        bench.disk.read_at(end, 0).await.unwrap().is_empty(),
        "nothing at the end"
    );
    let outside = bench.disk.read_at(end - 1, 2).await;
    assert!(
        matches!(outside, Err(ReadError::OutOfRange { .. })),
        "{outside:?}"
    );
}

#[tokio::test]
async fn zeros_are_told_without_memory_and_runs_without_reading() {
    let bench = large();
    let second = 63 * 512;
    let pieces = bench.disk.read(second + 3 * 4096, 64 << 20).await.unwrap();
    assert_eq!(pieces, [Piece::Zero(64 << 20)]);
    bench.backend.take_asked();
    let runs = bench.disk.runs(0, bench.disk.size()).await.unwrap();
    let data = second + 3 * 4096;
    assert_eq!(
        runs[0],
        Run {
            len: data,
            kind: RunKind::Data
        },
        "the last page of the first region is short"
    );
    assert_eq!(runs[1].kind, RunKind::Zero);
    let pages = |asked: &Asked| matches!(asked, Asked::Pages(..));
    assert!(
        !bench.backend.take_asked().iter().any(pages),
        "no page is fetched to know what is zero"
    );
    let covered: u64 = runs.iter().map(|run| run.len).sum();
    let last = bench.disk.runs(2 * GIB + second, GIB / 4).await.unwrap();
    assert!(covered >= GIB, "{covered} bytes at a time");
    assert_eq!(
        last[0],
        Run {
            len: 5 * 4096,
            kind: RunKind::Zero
        }
    );
    assert_eq!(
        last[1],
        Run {
            len: 4096,
            kind: RunKind::Data
        }
    );
    assert_eq!(last.len(), 3);
}

#[tokio::test]
async fn only_the_shards_that_a_read_needs_are_loaded_and_only_once() {
    let bench = large();
    let second = 63 * 512;
    bench.disk.read_at(second, 4096).await.unwrap();
    let objects = |asked: Vec<Asked>| asked.iter().filter(|a| matches!(a, Asked::Object(_))).count();
    assert_eq!(objects(bench.backend.take_asked()), 2, "the root and one shard");
    bench.disk.read_at(second + 4096, 4096).await.unwrap();
    bench.disk.read_at(second + GIB / 2, 1 << 20).await.unwrap();
    assert_eq!(bench.backend.take_asked(), [], "all is known and here");
}

#[tokio::test]
async fn readers_at_the_same_time_read_the_same() {
    let bench = large();
    let second = 63 * 512;
    let reads = (0..32_u64).map(|i| {
        let disk = Arc::clone(&bench.disk);
        let offset = second + GIB - 11 * 4096 + i * 1000;
        tokio::spawn(async move { (offset, disk.read_at(offset, 9000).await.unwrap()) })
    });
    for read in reads.collect::<Vec<_>>() {
        let (offset, bytes) = read.await.unwrap();
        assert!(bytes == bench.published().expected(offset, 9000), "at {offset}");
    }
}

#[tokio::test]
async fn what_lies_together_in_a_pack_is_asked_for_at_once() {
    // Three runs on the disk, with zeros between, are one in the pack; a fourth lies behind others.
    let mut runs = [
        data(0, 0, 10, 0),
        data(0, 20, 10, 0),
        data(0, 40, 10, 0),
        data(0, 60, 5, 0),
    ];
    runs[3].gap = 200;
    let bench = Bench::new(Published::new(&[800], &runs), None);
    bench.backend.give_index();
    let read = bench.disk.read_at(0, 100 * PAGE as u32).await.unwrap();
    assert!(read == bench.published().expected(0, 100 * PAGE));
    let pack = *bench.published().packs.keys().next().unwrap();
    let mut asked = bench.backend.take_asked();
    asked.sort_by_key(|asked| {
        if let Asked::Pages(_, first, _) = asked {
            *first
        } else {
            0
        }
    });
    assert_eq!(asked, [Asked::Pages(pack, 0, 30), Asked::Pages(pack, 230, 5)]);
}

#[derive(Default)]
struct Recorder(Mutex<Vec<(u32, u32, u64, u32)>>);

impl Trace for Recorder {
    fn read(&self, disk: u32, region: u32, page: u64, pages: u32) {
        self.0.lock().unwrap().push((disk, region, page, pages));
    }
}

#[tokio::test]
async fn a_trace_is_told_what_was_read_and_no_zeros() {
    let mut bench = large();
    let recorder = Arc::new(Recorder::default());
    bench.reopen(None, Some(recorder.clone()));
    let second = 63 * 512;
    bench.disk.read_at(second + 2 * 4096 + 1, 20_000).await.unwrap();
    bench.disk.read_at(10, 10).await.unwrap();
    bench.disk.read_at(second - 1, 2).await.unwrap();
    bench.disk.read_at(second + 9 * 4096, 4096).await.unwrap();
    bench.disk.runs(0, 1 << 20).await.unwrap();
    let told = recorder.0.lock().unwrap().clone();
    assert_eq!(told, [(0, 1, 2, 1), (0, 0, 0, 1), (0, 0, 7, 1), (0, 1, 0, 1)]);
}

#[tokio::test]
async fn a_sequential_reader_has_the_next_pages_asked_for() {
    let bench = Bench::new(Published::new(&[60_000], &[data(0, 0, 3_000, 0)]), None);
    let pack = *bench.published().packs.keys().next().unwrap();
    for i in 0..4 {
        bench.disk.read_at(i * 65_536, 65_536).await.unwrap();
    }
    bench.backend.ahead_bell.notified().await;
    let ahead: Vec<_> = bench.backend.ahead.lock().unwrap().drain(..).collect();
    let (first, pages) = (ahead[0].1, ahead.iter().map(|(.., pages)| pages).sum::<u32>());
    assert!(ahead.iter().all(|(id, ..)| *id == pack));
    assert!(
        (48..=64).contains(&first),
        "page {first} comes next and is missing"
    );
    assert!((192..=1024).contains(&pages), "{pages} pages are one to four MiB");
}

/// What is known of a disk before its first read does not grow with the disk.
#[tokio::test]
async fn a_disk_of_100_gb_is_open_after_two_small_objects() {
    let bench = Bench::new(Published::vast(94, 64), None);
    bench.backend.give_packs();
    for gib in [57, 0, 93] {
        let begun = std::time::Instant::now();
        let read = bench.disk.read_at(gib * GIB, PAGE as u32).await.unwrap();
        assert!(read == page(0), "the first page of GiB {gib}");
        let asked = bench.backend.take_asked();
        let stored = |asked: &Asked| match asked {
            Asked::Object(object) => object.stored,
            Asked::Pages(..) => panic!("the page is here: {asked:?}"),
        };
        let stored: u64 = asked.iter().map(stored).sum();
        println!(
            "GiB {gib}: {} objects, {stored} bytes, {:?}",
            asked.len(),
            begun.elapsed()
        );
        assert!(
            asked.len() <= 2 && stored < 200_000,
            "{} objects, {stored} bytes",
            asked.len()
        );
    }
}

/// However much of such a disk is read, what is known of it is bounded: in a process of its own, so that nobody else's
/// memory counts.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_of_100_gb_takes_less_than_100_mb() {
    const ALONE: &str = "LIVEPC_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "reading::a_disk_of_100_gb_takes_less_than_100_mb";
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(
            run.status.success(),
            "{said}\n{}",
            String::from_utf8_lossy(&run.stderr)
        );
        assert!(said.contains("MB more"), "it was measured: {said}");
        print!("{said}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // An index of a hundred megabytes, of which not all is kept.
    let published = Published::vast(94, 4);
    let before = resident();
    let begun = std::time::Instant::now();
    let bench = Bench::new(published, None);
    let opened = begun.elapsed();
    bench.backend.give_packs();
    runtime.block_on(async {
        // Every shard, and some twice, after others have taken its place.
        for gib in (0..94).chain(0..94) {
            bench.disk.read_at(gib * GIB, PAGE as u32).await.unwrap();
        }
    });
    let more = resident().saturating_sub(before) / 1_000_000;
    println!("open after {opened:?}; {more} MB more after a read in every GiB");
    assert!(more < 100, "{more} MB");
}

/// Bytes of memory that this process has.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}
