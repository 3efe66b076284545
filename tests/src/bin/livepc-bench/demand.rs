//! How long a machine waits for a page while the rest of its disk is fetched: beside the same on a line that is idle.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use livepc_format::index::{Chunk, ChunkTable};
use livepc_format::{PackId, compress_chunk, paths};
use livepc_tests::line::Speed;
use livepc_tests::namespace::Namespace;
use livepc_tests::nginx::Nginx;
use livepc_transfer::{
    ChunkSink, Client, Config, Fetcher, Limits, Origin, Priority, Proxy, TransferError, VerifiedChunk,
};
use tokio::task::JoinSet;

use crate::stream::ROUND_TRIP;
use crate::table::{self, quantile};

const PAGE: usize = 4096;
/// Pages of a chunk: what is demanded, and what is filled, takes 128 KiB on the line, as a chunk of a system's disk does.
const PAGES: usize = 32;
const CHUNKS: usize = 100;
/// Demands of a series.
const DEMANDS: usize = 40;
/// Between two demands of a guest that is busy, and of one that is not.
const PAUSES: [(&str, Duration); 2] = [
    ("one a second", Duration::from_secs(1)),
    ("one in seven seconds", Duration::from_secs(7)),
];

/// Counts what comes, and keeps nothing.
#[derive(Default)]
struct Count(Mutex<u64>);

impl ChunkSink for Count {
    fn has(&self, _: &PackId, _: &Chunk) -> bool {
        false
    }

    fn put(&self, chunks: Vec<VerifiedChunk>) -> std::io::Result<()> {
        let bytes = chunks
            .iter()
            .map(|chunk| u64::from(chunk.chunk.entry.stored))
            .sum::<u64>();
        if let Ok(mut all) = self.0.lock() {
            *all += bytes;
        }
        Ok(())
    }
}

struct Pack {
    id: PackId,
    chunks: Vec<Chunk>,
}

/// Publishes a pack of noise, which no compressor makes smaller.
fn publish(folder: &std::path::Path, seed: u64) -> Result<Pack> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let (mut stored, mut entries) = (Vec::new(), Vec::new());
    for _ in 0..CHUNKS {
        let mut pages = Vec::with_capacity(PAGES * PAGE);
        while pages.len() < PAGES * PAGE {
            // xorshift (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            pages.extend(state.to_le_bytes());
        }
        let (mut bytes, entry) = compress_chunk(&pages, 1)?;
        stored.append(&mut bytes);
        entries.push(entry);
    }
    let (table, _) = ChunkTable::build(&entries)?;
    let file = folder.join(paths::pack(&table.id()));
    std::fs::create_dir_all(file.parent().context("a folder")?)?;
    std::fs::write(file, stored)?;
    Ok(Pack {
        id: table.id(),
        chunks: table.chunks().to_vec(),
    })
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let mbit = match args {
        [] => vec![20, 100],
        [name, rates] if name == "--mbit" => rates.split(',').map(str::parse).collect::<Result<_, _>>()?,
        _ => bail!("it takes --mbit RATES"),
    };
    let folder = tempfile::tempdir()?;
    let wanted = publish(folder.path(), 1)?;
    let fill = (2..8)
        .map(|seed| publish(folder.path(), seed).map(Arc::new))
        .collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for mbit in mbit {
        let speed = Speed {
            mbit,
            round_trip: ROUND_TRIP,
        };
        let (namespace, _line) = Namespace::at_end_of_line(speed);
        let server = Nginx::serve_in(folder.path(), &namespace);
        let origin = Arc::new(Origin::new([server.url("").parse()?]));
        println!(
            "{mbit} Mbit/s, {} ms there and back, {DEMANDS} demands of 128 KiB:\n",
            ROUND_TRIP.as_millis()
        );
        let mut rows = Vec::new();
        for (name, pause) in PAUSES {
            let count = if pause > Duration::from_secs(2) {
                DEMANDS / 4
            } else {
                DEMANDS
            };
            let (idle, _) = runtime.block_on(series(&origin, &wanted, &[], pause, count))?;
            let (busy, filled) = runtime.block_on(series(&origin, &wanted, &fill, pause, count))?;
            let more = |share| quantile(&busy, share) - quantile(&idle, share);
            let ms = |value: f64| format!("{:.0}", value * 1e3);
            rows.push(vec![
                name.to_owned(),
                ms(quantile(&idle, 0.5)),
                ms(quantile(&busy, 0.5)),
                ms(more(0.5)),
                ms(more(0.95)),
                format!("{:.0} %", filled * 8e2 / (f64::from(mbit) * 1e6)),
            ]);
        }
        let heading = [
            "",
            "ms idle",
            "ms beside a fill",
            "more",
            "more, p95",
            "the fill has of the line",
        ];
        table::print(&heading, &rows);
    }
    Ok(())
}

/// Seconds that each demand took, and the bytes per second of the fill meanwhile.
async fn series(
    origin: &Arc<Origin>,
    wanted: &Pack,
    fill: &[Arc<Pack>],
    pause: Duration,
    count: usize,
) -> Result<(Vec<f64>, f64)> {
    let sink = Arc::new(Count::default());
    let config = Config {
        proxy: Proxy::Direct,
        ..Config::default()
    };
    let counted = Arc::clone(&sink);
    let fetcher = Fetcher::new(Client::new(config)?, sink, Limits::default());
    let mut fills = JoinSet::new();
    for pack in fill {
        let (fetcher, origin, pack) = (fetcher.clone(), Arc::clone(origin), Arc::clone(pack));
        // Nothing is kept, so it never ends.
        fills.spawn(async move {
            loop {
                fetcher
                    .fetch(&origin, pack.id, &pack.chunks, Priority::Fill)
                    .await?;
            }
        });
    }
    // A machine that is about to demand something has a connection.
    fetcher
        .fetch(origin, wanted.id, &wanted.chunks[..1], Priority::Demand)
        .await?;
    tokio::time::sleep(Duration::from_secs(7)).await;
    let total = || counted.0.lock().map(|bytes| *bytes).unwrap_or_default();
    let (mut took, before, begun) = (Vec::new(), total(), Instant::now());
    for chunk in &wanted.chunks[1..=count] {
        let asked = Instant::now();
        fetcher
            .fetch(origin, wanted.id, std::slice::from_ref(chunk), Priority::Demand)
            .await?;
        took.push(asked.elapsed().as_secs_f64());
        tokio::time::sleep(pause).await;
    }
    let of_demands: u64 = wanted.chunks[1..=count]
        .iter()
        .map(|c| u64::from(c.entry.stored))
        .sum();
    let rate = (total() - before - of_demands) as f64 / begun.elapsed().as_secs_f64();
    if let Some(ended) = fills.try_join_next() {
        let ended: Result<(), TransferError> = ended?;
        ended?;
    }
    Ok((took, rate))
}
