//! Notes what a start reads, until it reads nothing new for a while.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use livepc_disk::release::Trace;
use tokio::time::Instant;

use crate::locked::lock;
use crate::own_start::{OwnStart, STRETCH, STRETCHES, Stretch};

/// A start is over when nothing new has been read for this long, or when it has lasted this long.
const QUIET: Duration = Duration::from_secs(20);
const LONGEST: Duration = Duration::from_secs(300);

/// What was read so far.
#[derive(Debug)]
pub(super) struct StartRecorder {
    begun: Instant,
    over: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    known: HashSet<Stretch>,
    order: Vec<Stretch>,
    /// When something new was read last.
    last: Instant,
}

impl StartRecorder {
    pub(super) fn new() -> Self {
        let begun = Instant::now();
        Self {
            begun,
            over: AtomicBool::new(false),
            seen: Mutex::new(Seen {
                known: HashSet::new(),
                order: Vec::new(),
                last: begun,
            }),
        }
    }

    /// Waits until the start is over; gives what it read.
    pub(super) async fn wait(&self) -> OwnStart {
        loop {
            let until = (lock(&self.seen).last + QUIET).min(self.begun + LONGEST);
            if until <= Instant::now() {
                return self.take();
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// What was read so far; nothing more is noted.
    pub(super) fn take(&self) -> OwnStart {
        self.over.store(true, Ordering::Relaxed);
        let mut seen = lock(&self.seen);
        seen.known.clear();
        OwnStart {
            stretches: std::mem::take(&mut seen.order),
        }
    }
}

impl Trace for StartRecorder {
    fn read(&self, disk: u32, region: u32, page: u64, pages: u32) {
        if self.over.load(Ordering::Relaxed) || pages == 0 {
            return;
        }
        let mut seen = lock(&self.seen);
        let end = page + u64::from(pages) - 1;
        for number in page / STRETCH..=end / STRETCH {
            let stretch = Stretch { disk, region, number };
            if seen.order.len() < STRETCHES && seen.known.insert(stretch) {
                seen.order.push(stretch);
                seen.last = Instant::now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(start: &OwnStart) -> Vec<u64> {
        start.stretches.iter().map(|stretch| stretch.number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_is_over_when_it_reads_nothing_new() {
        let recorder = StartRecorder::new();
        recorder.read(0, 1, 130, 10);
        recorder.read(0, 1, 0, 65);
        tokio::time::advance(Duration::from_secs(15)).await;
        recorder.read(0, 1, 700, 1);
        let begun = Instant::now();
        let start = recorder.wait().await;
        assert_eq!(begun.elapsed(), QUIET, "what came late was waited for");
        assert_eq!(numbers(&start), [2, 0, 1, 10], "in the order of reading");
        assert!(start.is_sound());
        recorder.read(0, 1, 9000, 1);
        assert_eq!(recorder.take(), OwnStart::default(), "it is over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_never_rests_ends_too() {
        let recorder = StartRecorder::new();
        let begun = Instant::now();
        let reads = async {
            for page in 0.. {
                recorder.read(0, 0, page * STRETCH, 1);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = reads => {}
            start = recorder.wait() => assert!(start.stretches.len() >= 299),
        }
        assert!(begun.elapsed() <= LONGEST + Duration::from_secs(1));
    }
}
