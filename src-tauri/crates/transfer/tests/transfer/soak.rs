//! Servers that fail again and again, each in every way there is: what comes is right, and an error says which of them did
//! what.

use std::sync::Arc;
use std::time::Duration;

use livepc_transfer::{ChunkSink as _, Config, Fetched, Origin, Priority, TransferError};
use tokio::task::JoinSet;
use url::Url;

use crate::origin::{Fault, Random, Rule};
use crate::support::{LARGE, Memory, Pack, SMALL, Site, config, fetcher_into};

/// Chunks and pages in each, of the packs that every server has.
const PACKS: [(usize, usize); 5] = [(24, SMALL), (7, 16), (40, 1), (3, LARGE), (30, SMALL)];
/// Demands beside the fills of a round.
const DEMANDS: usize = 12;
/// A round that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// Faulty answers that are to be survived.
fn enough() -> u64 {
    if std::env::var_os("LIVEPC_TEST_LONG").is_some() {
        10_000
    } else {
        1_000
    }
}

fn packs() -> Vec<Pack> {
    let packs = PACKS.iter().zip(1..);
    packs
        .map(|((chunks, pages), seed)| Pack::of_noise(seed, *chunks, *pages))
        .collect()
}

/// What may happen to an answer; what takes time is seldom.
fn faults(own: &Url, other: &Url) -> Vec<Fault> {
    let status = |code, retry_after| Fault::Status { code, retry_after };
    let quick = vec![
        status(500, None),
        status(502, None),
        status(503, Some(0)),
        status(404, None),
        status(403, None),
        status(416, None),
        Fault::Truncate { after: 0 },
        Fault::Truncate { after: 9_000 },
        Fault::Truncate { after: 40_000 },
        Fault::Reset { after: 0 },
        Fault::Reset { after: 21_000 },
        Fault::Flip { at: 5 },
        Fault::Flip { at: 70_000 },
        Fault::Elsewhere { by: 4_096 },
        Fault::Elsewhere { by: 1 },
        Fault::WrongRange,
        Fault::NoRanges,
        Fault::Extra { bytes: 100_000 },
        Fault::OtherTag,
        Fault::Redirect { to: own.to_string() },
        Fault::Redirect {
            to: other.to_string(),
        },
        Fault::GzipBomb { size: 1 << 20 },
    ];
    let slow = vec![
        Fault::Stall { after: 0 },
        Fault::Stall { after: 12_000 },
        Fault::Trickle {
            bytes_per_second: 200,
        },
    ];
    let often = std::iter::repeat_n(quick, 3).flatten();
    often.chain(slow).collect()
}

/// What a call wanted, and what it got.
type Ended = (usize, Vec<usize>, Result<Fetched, TransferError>);

struct Soak {
    sites: Vec<Site>,
    packs: Vec<Pack>,
    origin: Arc<Origin>,
    random: Random,
}

impl Soak {
    fn new() -> Self {
        let sites: Vec<Site> = (0..3).map(|_| Site::with(packs())).collect();
        let origin = Arc::new(Origin::new(sites.iter().map(Site::url)));
        Self {
            sites,
            packs: packs(),
            origin,
            random: Random::new(0x2545_f491_4f6c_dd1d),
        }
    }

    fn misbehave(&self) {
        for (seed, site) in (1..).zip(&self.sites) {
            let other = &self.sites[seed as usize % self.sites.len()];
            let faults = faults(&site.url(), &other.url());
            site.server.fail(Rule::by_chance("packs/", 60, faults, seed));
        }
    }

    fn failed(&self) -> u64 {
        self.sites.iter().map(|site| site.server.failed()).sum()
    }

    /// Fetches everything, some of it twice over and as a machine would; gives how that ended, and what is kept.
    async fn round(&mut self) -> (Vec<Ended>, Arc<Memory>) {
        let sink = Arc::new(Memory::default());
        let short = Config {
            stall_timeout: Duration::from_millis(150),
            ..config()
        };
        let fetcher = fetcher_into(&sink, short);
        let mut calls = JoinSet::new();
        let mut wants: Vec<(usize, Vec<usize>, Priority)> = (0..self.packs.len())
            .map(|pack| (pack, (0..PACKS[pack].0).collect(), Priority::Fill))
            .collect();
        for _ in 0..DEMANDS {
            let pack = self.random.below(PACKS.len());
            let first = self.random.below(PACKS[pack].0);
            let end = PACKS[pack].0.min(first + 1 + self.random.below(3));
            wants.push((pack, (first..end).collect(), Priority::Demand));
        }
        for (pack, numbers, priority) in wants {
            let chunks: Vec<_> = numbers.iter().map(|&n| self.packs[pack].chunks[n]).collect();
            let call = fetcher.fetch(&self.origin, self.packs[pack].id, &chunks, priority);
            calls.spawn(async move { (pack, numbers, call.await) });
        }
        let ended = tokio::time::timeout(LIMIT, calls.join_all()).await;
        (ended.expect("every call ends, well or not"), sink)
    }

    /// What is kept is right, what was said to be there is, and an error names servers.
    fn check(&self, ended: &[Ended], sink: &Memory) {
        for pack in &self.packs {
            sink.count(pack);
        }
        for (pack, numbers, result) in ended {
            let pack = &self.packs[*pack];
            match result {
                Ok(_) => {
                    for &number in numbers {
                        assert!(
                            sink.has(&pack.id, &pack.chunks[number]),
                            "chunk {number} was said to be there"
                        );
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    let named = |site: &&Site| text.contains(&site.server.url());
                    let named = self.sites.iter().filter(named).count();
                    let least = if matches!(error, TransferError::Everywhere { .. }) {
                        self.sites.len()
                    } else {
                        1
                    };
                    assert!(named >= least, "it says which server did what: {text}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_wrong_gets_through_and_nothing_hangs() {
    let mut soak = Soak::new();
    soak.misbehave();
    let (mut rounds, mut well, mut refused) = (0, 0, 0);
    while soak.failed() < enough() {
        let (ended, sink) = soak.round().await;
        soak.check(&ended, &sink);
        rounds += 1;
        let done = ended.iter().filter(|(.., result)| result.is_ok()).count();
        well += done;
        refused += ended.len() - done;
        // All of them in trouble for a while.
        let burst = Fault::Status {
            code: 503,
            retry_after: None,
        };
        for site in &soak.sites {
            site.server.fail(Rule::first("packs/", 4, burst.clone()));
        }
    }
    println!(
        "{} faulty answers in {rounds} rounds: {well} calls were answered in full, {refused} with an error",
        soak.failed()
    );
    assert!(
        well > refused,
        "{well} calls got what they wanted, {refused} did not"
    );
    for site in &soak.sites {
        site.server.behave();
    }
    let (ended, sink) = soak.round().await;
    soak.check(&ended, &sink);
    assert!(
        ended.iter().all(|(.., result)| result.is_ok()),
        "with servers that do what they should all of it comes: {ended:?}"
    );
}
