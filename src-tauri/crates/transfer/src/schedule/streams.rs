//! How many requests a server gets at once in the background: more, for as long as that makes it send faster.
//!
//! A line that is full sends no faster when it is shared by more requests; a server that limits each connection, or one
//! that is so far away that a connection's window is the limit, does. So this climbs from a few by half as many again,
//! stays where a step did not help, and looks again from time to time, upwards and downwards in turn. The search is that of
//! hill climbing; what is climbed is the rate of all requests together.

use std::time::Duration;

use tokio::time::Instant;

/// Where it begins: one that is answered, one that is on its way, one that is asked for.
pub(super) const FEW: usize = 3;
/// A step is judged after this time, which is the one that rates are measured over.
const STEP: Duration = Duration::from_secs(3);
/// After a step that was taken back the next one waits.
const REST: Duration = Duration::from_secs(60);
/// More requests are worth it from this many percent of the rate on; fewer, down to that many.
const FASTER: u64 = 115;
const NO_SLOWER: u64 = 98;

/// See the module.
#[derive(Debug)]
pub(super) struct Streams {
    count: usize,
    most: usize,
    /// The step that is being judged: where it began, and how fast it was there.
    from: Option<(usize, u64)>,
    /// Whether the next step goes upwards.
    up: bool,
    look_at: Option<Instant>,
}

impl Streams {
    pub(super) fn new(most: usize) -> Self {
        Self {
            count: FEW.min(most),
            most,
            from: None,
            up: true,
            look_at: None,
        }
    }

    /// Requests at once.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The server sends so many bytes a second; `full` says that as many requests are under way as it may have.
    pub(super) fn measured(&mut self, rate: u64, full: bool, now: Instant) {
        let Some(at) = self.look_at.filter(|_| full) else {
            // What is measured while there is little to ask for says nothing about the server.
            self.look_at = full.then(|| now + STEP);
            return;
        };
        if now < at {
            return;
        }
        let helped = self.from.is_none_or(|(count, before)| {
            let least = if self.count > count { FASTER } else { NO_SLOWER };
            rate > before / 100 * least
        });
        let next = if self.up {
            (self.count + self.count.div_ceil(2)).min(self.most)
        } else {
            (self.count * 2 / 3).max(1)
        };
        if helped && next != self.count {
            self.from = Some((self.count, rate));
            self.count = next;
            self.look_at = Some(now + STEP);
            return;
        }
        if let Some((count, _)) = self.from.take().filter(|_| !helped) {
            self.count = count;
        }
        self.up = !self.up;
        self.look_at = Some(now + REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it comes to within `seconds` at a server of which `rate` gives the bytes a second for so many requests.
    fn found(streams: &mut Streams, seconds: u64, rate: impl Fn(usize) -> u64) -> Vec<usize> {
        let start = Instant::now();
        let at = |step| start + Duration::from_millis(step * 200);
        let steps = (0..seconds * 5).map(at);
        let look = |now| {
            streams.measured(rate(streams.count()), true, now);
            streams.count()
        };
        steps.map(look).collect()
    }

    #[test]
    fn a_server_that_limits_each_connection_gets_many() {
        let counts = found(&mut Streams::new(16), 20, |count| count as u64 * 1_000_000);
        assert_eq!(counts.last(), Some(&16), "as many as there may be: {counts:?}");
        let counts = found(&mut Streams::new(16), 20, |count| count.min(6) as u64 * 1_000_000);
        assert_eq!(
            counts.last(),
            Some(&8),
            "the step behind the limit was of no use: {counts:?}"
        );
    }

    #[test]
    fn a_full_line_is_not_shared_by_more() {
        let mut streams = Streams::new(16);
        let counts = found(&mut streams, 600, |_| 2_500_000);
        assert!(
            counts.iter().all(|count| *count <= 5),
            "tried, and taken back: {counts:?}"
        );
        assert_eq!(streams.count(), 1, "one is as fast");
        let counts = found(&mut Streams::new(16), 600, |count| {
            if count < 3 { 2_000_000 } else { 2_500_000 }
        });
        let few = counts.iter().filter(|count| **count == FEW).count();
        assert!(
            few * 10 > counts.len() * 8,
            "fewer leave gaps: {few} of {}",
            counts.len()
        );
    }

    #[test]
    fn a_server_with_little_to_do_shows_nothing() {
        let mut streams = Streams::new(16);
        let now = Instant::now();
        for second in 0..100 {
            // Never full for three seconds on end.
            streams.measured(1000 * second, second % 3 != 0, now + Duration::from_secs(second));
        }
        assert_eq!(streams.count(), FEW);
        assert_eq!(Streams::new(2).count(), 2, "never more than there may be");
    }
}
