//! Growing pauses with chance in them, so that many clients do not come back at the same moment.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// How often the first pause is doubled.
const DOUBLINGS: u32 = 4;

/// The pauses after failures: the first, twice that, … up to sixteen times that; each between half of it and all of it.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration) -> Self {
        Self { first, failures: 0 }
    }

    /// The next pause; `asked` is what the server wants at the least.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let full = self.first * (1 << self.failures.min(DOUBLINGS));
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(0.5 + chance() / 2.0).max(asked.unwrap_or_default())
    }

    /// Failures since the last success.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Begins anew after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A number from 0 to 1, from the randomness that the standard library gives its hash tables.
fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from((bits >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let first = Duration::from_millis(250);
        let mut backoff = Backoff::new(first);
        for failure in 0..12_u32 {
            let pause = backoff.next(None);
            let full = first * (1 << failure.min(4));
            assert!(
                pause >= full / 2 && pause <= full,
                "{failure}: {pause:?} of {full:?}"
            );
        }
        assert_eq!(backoff.failures(), 12);
        assert_eq!(
            backoff.next(Some(Duration::from_secs(30))),
            Duration::from_secs(30),
            "a server's wish counts"
        );
        backoff.reset();
        assert!(backoff.next(None) <= first, "a success begins anew");
    }
}
