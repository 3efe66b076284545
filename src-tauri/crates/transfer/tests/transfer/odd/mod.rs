//! Servers that are right in their own way, and some that are not: what they send is used if anything can be made of it, and
//! what that may cost is bounded.

mod codings;
mod documents;
mod lies;
mod progress;
mod proxies;
mod ranges;

use std::sync::Arc;
use std::time::{Duration, Instant};

use livepc_transfer::{Config, Limits, Origin, Priority, TransferError};
use url::Url;

use crate::odd_server::{Asked, Odd, Reply};
use crate::support::{Memory, Pack, config, fetcher_with};

/// What a server makes of a request for a pack.
type Behaviour = fn(&Asked, &[u8]) -> Reply;

/// A kind of server: its name, what it does, and how many requests and how many times the pack's bytes one pack may cost.
struct Kind {
    name: &'static str,
    does: Behaviour,
    requests: usize,
    times: f64,
}

/// A server of this kind is right from the first request on, and costs what any other does.
const fn kind(name: &'static str, does: Behaviour) -> Kind {
    costs(name, 9, 1.05, does)
}

const fn costs(name: &'static str, requests: usize, times: f64, does: Behaviour) -> Kind {
    Kind {
        name,
        does,
        requests,
        times,
    }
}

/// 20 chunks of 64 KiB.
fn pack() -> Pack {
    Pack::of_noise(7, 20, 16)
}

/// One server with one pack.
struct Lab {
    pack: Pack,
    server: Odd,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn new(does: impl Fn(&Asked, &[u8]) -> Reply + Send + Sync + 'static) -> Self {
        Self::of(pack(), does)
    }

    fn of(pack: Pack, does: impl Fn(&Asked, &[u8]) -> Reply + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        pack.write(folder.path());
        Self {
            pack,
            server: Odd::serve(folder.path(), does).unwrap(),
            _folder: folder,
        }
    }

    fn origin(&self) -> Arc<Origin> {
        Arc::new(Origin::new([Url::parse(&self.server.url()).unwrap()]))
    }

    /// Fetches these chunks; gives the requests.
    async fn fetch(
        &self,
        chunks: std::ops::Range<usize>,
        priority: Priority,
        sink: &Arc<Memory>,
    ) -> Result<Vec<Asked>, TransferError> {
        let limits = Limits {
            attempts: 4,
            ..Limits::default()
        };
        let short = Config {
            stall_timeout: Duration::from_secs(5),
            ..config()
        };
        let fetcher = fetcher_with(sink, short, limits);
        fetcher
            .fetch(&self.origin(), self.pack.id, &self.pack.chunks[chunks], priority)
            .await?;
        Ok(self.server.asked("packs/"))
    }
}

/// Gets everything from each kind of server, byte for byte and within its bounds: once as a download does, once a chunk from the
/// middle, as a machine does.
async fn all_right(kinds: &[Kind]) {
    let mut wrong = Vec::new();
    for kind in kinds {
        let begun = Instant::now();
        for (chunks, priority) in [(0..20, Priority::Fill), (11..12, Priority::Demand)] {
            let lab = Lab::new(kind.does);
            let sink = Arc::new(Memory::default());
            let fetched = lab.fetch(chunks.clone(), priority, &sink);
            let fetched = tokio::time::timeout(Duration::from_secs(30), fetched).await;
            let fetched = match fetched {
                Ok(Ok(fetched)) => fetched,
                Ok(Err(error)) => {
                    wrong.push(format!("{} ({priority:?}): {error}", kind.name));
                    continue;
                }
                Err(_) => {
                    wrong.push(format!("{} ({priority:?}): it takes for ever", kind.name));
                    continue;
                }
            };
            let count = sink.count(&lab.pack);
            let sent: u64 = fetched.iter().map(|asked| asked.sent).sum();
            let times = sent as f64 / lab.pack.stored.len() as f64;
            if count != chunks.len() || fetched.len() > kind.requests || times > kind.times {
                let asked: Vec<_> = fetched.iter().map(|asked| asked.range).collect();
                wrong.push(format!(
                    "{} ({priority:?}): {count} chunks for {times:.2} times the pack in requests for {asked:?}",
                    kind.name
                ));
            }
        }
        println!("{:>6} ms  {}", begun.elapsed().as_millis(), kind.name);
    }
    assert!(
        wrong.is_empty(),
        "of {} kinds:\n{}",
        kinds.len(),
        wrong.join("\n")
    );
}

/// The part that was asked for; all if no range was.
fn part(asked: &Asked, all: &[u8]) -> (usize, usize) {
    let (first, end) = asked.range.unwrap_or((0, all.len()));
    (first.min(all.len()), end.min(all.len()))
}

/// As it should be.
fn right(asked: &Asked, all: &[u8]) -> Reply {
    named(asked, all, "Content-Range: bytes {first}-{last}/{size}", &[])
}

/// A part that is named like this, and these headers.
fn named(asked: &Asked, all: &[u8], range: &str, headers: &[&str]) -> Reply {
    if asked.range.is_none() {
        return Reply::new("200 OK", headers, all);
    }
    let (first, end) = part(asked, all);
    let range = fill(range, first, end, all.len());
    let headers = [headers, &[&range]].concat();
    Reply::new("206 Partial Content", &headers, &all[first..end])
}

fn fill(text: &str, first: usize, end: usize, size: usize) -> String {
    text.replace("{first}", &first.to_string())
        .replace("{last}", &(end - 1).to_string())
        .replace("{end}", &end.to_string())
        .replace("{length}", &(end - first).to_string())
        .replace("{size}", &size.to_string())
}
