//! Random disks, partly here, read at random places.

use livepc_disk::block::{BlockDevice as _, RunKind};
use proptest::prelude::*;

use crate::backend::Bench;
use crate::published::{Data, PAGE, Published};

#[derive(Debug)]
struct Case {
    sectors: Vec<u64>,
    data: Vec<Data>,
    /// Chunks that are in the store: by pack and place, both to be taken modulo.
    here: Vec<(usize, usize)>,
    /// Runs of pages in the boot map, to be taken modulo.
    boot: Option<Vec<(u32, u64, u64)>>,
    /// Reads: place and length, to be taken modulo.
    reads: Vec<(u64, u32)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let sectors = prop::collection::vec(1..3000_u64, 1..5);
    let data = prop::collection::vec((any::<u32>(), 0..100_u64, 1..90_u32, 0..3_usize, 0..3_u32), 0..14);
    let boot = prop::option::of(prop::collection::vec((any::<u32>(), 0..300_u64, 1..60_u64), 0..5));
    let here = prop::collection::vec((any::<usize>(), any::<usize>()), 0..8);
    let reads = prop::collection::vec((any::<u64>(), any::<u32>()), 1..25);
    (sectors, data, boot, here, reads).prop_map(|(sectors, runs, boot, here, reads)| {
        let mut next = vec![0; sectors.len()];
        let mut data = Vec::new();
        for (region, zero, pages, pack, gap) in runs {
            let region = region as usize % sectors.len();
            let page: u64 = next[region] + zero;
            let count = (sectors[region] * 512).div_ceil(PAGE as u64);
            if page < count {
                let pages = u64::from(pages).min(count - page) as u32;
                next[region] = page + u64::from(pages);
                data.push(Data {
                    region: region as u32,
                    page,
                    pages,
                    pack,
                    gap,
                });
            }
        }
        // Packs are counted without gaps.
        let mut used: Vec<usize> = data.iter().map(|run| run.pack).collect();
        used.sort_unstable();
        used.dedup();
        for run in &mut data {
            run.pack = used.iter().position(|&pack| pack == run.pack).unwrap_or(0);
        }
        let count = sectors.len() as u32;
        let boot = boot.map(|runs| {
            runs.into_iter()
                .map(|(r, page, pages)| (r % count, page, pages))
                .collect()
        });
        Case {
            sectors,
            data,
            here,
            boot,
            reads,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_what_was_published(case in cases()) {
        let published = Published::new(&case.sectors, &case.data);
        let boot_map = case.boot.as_ref().map(|runs| published.boot_map(runs));
        let bench = Bench::new(published, boot_map);
        let published = bench.published();
        let mut packs: Vec<_> = published.packs.keys().copied().collect();
        packs.sort_unstable();
        if !packs.is_empty() {
            for (pack, chunk) in case.here {
                let pack = packs[pack % packs.len()];
                let chunks = published.packs[&pack].table.chunks();
                let chunk = bench.backend.chunk(pack, &chunks[chunk % chunks.len()]);
                bench.backend.store.write_chunks(vec![chunk]).unwrap();
            }
        }
        let size = bench.disk.size();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            for (offset, len) in case.reads {
                let offset = offset % size;
                let len = u64::from(len).min(size - offset) % (1 << 20) + 1;
                let len = len.min(size - offset);
                let read = bench.disk.read_at(offset, len as u32).await.unwrap();
                let expected = published.expected(offset, len as usize);
                prop_assert!(read == expected, "{len} bytes at {offset} differ");

                let runs = bench.disk.runs(offset, len).await.unwrap();
                let (mut at, mut last) = (0, None);
                for run in &runs {
                    prop_assert!(run.len > 0 && last != Some(run.kind), "runs are whole: {runs:?}");
                    let bytes = &expected[at as usize..(at + run.len) as usize];
                    prop_assert!(run.kind == RunKind::Data || bytes.iter().all(|&byte| byte == 0));
                    last = Some(run.kind);
                    at += run.len;
                }
                prop_assert_eq!(at, len, "runs cover what was asked for");
            }
            let whole = bench.disk.read_at(0, size as u32).await.unwrap();
            prop_assert!(whole == published.expected(0, size as usize), "the whole disk differs");
            Ok(())
        })?;
    }
}
