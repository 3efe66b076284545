//! How many requests a server gets at once in the background: more, for as long as that makes it send faster.
//!
//! A line that is full sends no faster when it is shared by more requests; a server that limits each connection, or one
//! that is so far away that a connection's window is the limit, does (over HTTP/1.1: with HTTP/2 all share one connection).
//! So this climbs from a few by half as many again, stays where a step did not help, and looks again from time to time,
//! downwards and upwards in turn: hill climbing on how fast the server sends.

use std::time::Duration;

use tokio::time::Instant;

/// Where it begins: one that is answered, one that is on its way, one that is asked for.
pub(super) const FEW: usize = 3;
/// With fewer the line is idle between two requests.
const FEWEST: usize = 2;
/// A step is judged after this time, which is the one that rates are measured over.
const STEP: Duration = Duration::from_secs(3);
/// After a step that was taken back the next one waits.
const REST: Duration = Duration::from_secs(60);
/// Fewer requests are as good down to this many percent of the rate.
const NO_SLOWER: u64 = 98;

/// See the module.
#[derive(Debug)]
pub(super) struct Streams {
    count: usize,
    most: usize,
    /// The step that is being judged: where it began, and how fast it was there.
    from: Option<Step>,
    /// Whether the next step goes upwards.
    up: bool,
    /// Since when as many requests as may be are under way, without a step between.
    full_since: Option<Instant>,
    rest_until: Option<Instant>,
}

/// Where a step began, how fast it was there, and when that was.
#[derive(Clone, Copy, Debug)]
struct Step {
    count: usize,
    rate: u64,
    at: Instant,
}

impl Streams {
    pub(super) fn new(most: usize) -> Self {
        Self {
            count: FEW.min(most),
            most,
            from: None,
            up: true,
            full_since: None,
            rest_until: None,
        }
    }

    /// Requests at once.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The server sends so many bytes a second; `full` says that as many requests are under way as it may have.
    pub(super) fn measured(&mut self, rate: u64, full: bool, now: Instant) {
        if !full {
            // What is measured while there is little to ask for says nothing about the server.
            self.full_since = None;
            // The requests of before were larger, and must end first.
            if self.from.is_none_or(|step| now > step.at + STEP) {
                self.take_back();
            }
            return;
        }
        let since = *self.full_since.get_or_insert(now);
        if now < since + STEP || self.rest_until.is_some_and(|until| now < until) {
            return;
        }
        let helped = self.from.is_none_or(|step| step.helped(self.count, rate));
        let next = if self.up {
            (self.count + self.count.div_ceil(2)).min(self.most)
        } else {
            (self.count * 2 / 3).max(FEWEST).min(self.most)
        };
        self.full_since = Some(now);
        if helped && next != self.count {
            self.from = Some(Step {
                count: self.count,
                rate,
                at: now,
            });
            self.count = next;
            return;
        }
        if helped {
            self.from = None;
        }
        self.take_back();
        self.up = !self.up;
        self.rest_until = Some(now + REST);
    }

    /// Goes back to where the step began that is being judged, if one is.
    fn take_back(&mut self) {
        if let Some(step) = self.from.take() {
            self.count = step.count;
        }
    }
}

impl Step {
    /// Whether it was worth it to come to so many requests, at so many bytes a second. Who shares a full line with others gets
    /// more of it by more requests too, but less than a server gives that limits each of them: half of that gain is asked for.
    fn helped(self, count: usize, rate: u64) -> bool {
        let [from, count] = [self.count, count].map(|count| count as u64);
        if count > from {
            rate.saturating_mul(2 * from) > self.rate.saturating_mul(from + count)
        } else {
            rate > self.rate / 100 * NO_SLOWER
        }
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
            Some(&5),
            "the step behind the limit was of little use: {counts:?}"
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
        assert_eq!(streams.count(), FEWEST, "fewer are as fast");
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
    fn a_larger_share_of_a_full_line_is_not_taken() {
        // Three requests to another server are there all the time.
        let share = |count: usize| 10_000_000 * count as u64 / (count as u64 + 3);
        let counts = found(&mut Streams::new(16), 60, share);
        assert!(counts.iter().all(|count| *count <= 5), "{counts:?}");
        assert!(
            counts.iter().filter(|count| **count == 5).count() <= 20,
            "{counts:?}"
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
        // A step that cannot be judged is taken back, and a rest goes on.
        let mut streams = Streams::new(16);
        found(&mut streams, 4, |count| count as u64 * 1000);
        assert_eq!(streams.count(), 5);
        streams.measured(0, false, now + STEP * 5);
        assert_eq!(streams.count(), FEW);
        assert_eq!(Streams::new(2).count(), 2, "never more than there may be");
    }
}
