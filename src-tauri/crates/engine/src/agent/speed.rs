//! How fast something goes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a speed is an average of.
const WINDOW: Duration = Duration::from_secs(3);

/// Bytes done at some moments of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Speed(VecDeque<(Instant, u64)>);

impl Speed {
    /// Bytes a second over the last few seconds, now that `bytes` are done.
    pub(super) fn now(&mut self, bytes: u64) -> u64 {
        self.at(Instant::now(), bytes)
    }

    fn at(&mut self, now: Instant, bytes: u64) -> u64 {
        self.0.push_back((now, bytes));
        let is_old = |(then, _): &(Instant, u64)| now.duration_since(*then) > WINDOW;
        while self.0.front().is_some_and(is_old) {
            self.0.pop_front();
        }
        self.0.front().map_or(0, |(then, before)| {
            let ms = now.duration_since(*then).as_millis().max(1);
            u64::try_from(u128::from(bytes.saturating_sub(*before)) * 1000 / ms).unwrap_or(0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_last_seconds() {
        let begin = Instant::now();
        let mut speed = Speed::default();
        assert_eq!(speed.at(begin, 500), 0, "nothing is known yet");
        assert_eq!(speed.at(begin + Duration::from_secs(2), 2500), 1000);
        assert_eq!(
            speed.at(begin + Duration::from_secs(4), 2500),
            0,
            "it stands still"
        );
        assert_eq!(speed.at(begin + Duration::from_secs(5), 100), 0, "it began again");
    }
}
