//! How fast bytes come, over the last three seconds.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What the rate is measured over.
const WINDOW: Duration = Duration::from_secs(3);
/// Bytes that come within this time are counted together.
const STEP: Duration = Duration::from_millis(100);

/// A moving average.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    steps: VecDeque<(Instant, u64)>,
    sum: u64,
    /// When bytes began to come after a silence.
    since: Option<Instant>,
}

impl Rate {
    /// Counts bytes that came at `now`, which never goes back.
    pub(crate) fn add(&mut self, bytes: u64, now: Instant) {
        if bytes == 0 {
            return;
        }
        self.forget(now);
        self.since.get_or_insert(now);
        self.sum += bytes;
        match self.steps.back_mut() {
            Some((start, count)) if now - *start < STEP => *count += bytes,
            _ => self.steps.push_back((now, bytes)),
        }
    }

    /// Bytes per second at `now`.
    pub(crate) fn per_second(&mut self, now: Instant) -> u64 {
        self.forget(now);
        let Some(since) = self.since else {
            return 0;
        };
        // At the beginning there is less to divide by; but never so little that one packet is a fast link.
        let over = (now - since).clamp(WINDOW / 6, WINDOW);
        (self.sum as f64 / over.as_secs_f64()) as u64
    }

    fn forget(&mut self, now: Instant) {
        while let Some((start, bytes)) = self.steps.front() {
            if now - *start <= WINDOW {
                break;
            }
            self.sum -= bytes;
            self.steps.pop_front();
        }
        if self.steps.is_empty() {
            self.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_steady_stream_and_forgets_it() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(start), 0, "nothing came yet");
        for step in 0..80_u64 {
            rate.add(50_000, start + Duration::from_millis(step * 50));
        }
        let now = start + Duration::from_secs(4);
        let measured = rate.per_second(now);
        assert!(
            (950_000..=1_050_000).contains(&measured),
            "1 MB/s came, {measured} measured"
        );
        assert_eq!(
            rate.per_second(now + Duration::from_secs(4)),
            0,
            "silence is no rate"
        );
        assert!(rate.steps.len() <= 31, "it keeps no more than its window");
    }

    #[test]
    fn the_first_bytes_are_no_fast_link() {
        let start = Instant::now();
        let mut rate = Rate::default();
        rate.add(100_000, start);
        assert!(
            rate.per_second(start) <= 200_000,
            "counted over at least half a second"
        );
    }
}
