//! The cap on what is taken from the network.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How far reading may run ahead of the cap, so that it need not sleep for every packet.
const AHEAD: Duration = Duration::from_millis(100);
/// How often a waiting body looks whether it has become urgent, or the cap another.
const LOOK: Duration = Duration::from_millis(200);

/// Paces all bodies together. What a running machine waits for is counted but never held up.
#[derive(Debug)]
pub(crate) struct Cap(Mutex<State>);

#[derive(Debug)]
struct State {
    bytes_per_second: Option<u64>,
    /// How often the cap was changed.
    changes: u64,
    /// When all that came would have come at the cap's speed.
    paid: Instant,
}

impl Cap {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self(Mutex::new(State {
            bytes_per_second,
            changes: 0,
            paid: Instant::now(),
        }))
    }

    /// Changes the cap; `None` or 0 is none.
    pub(crate) fn set(&self, bytes_per_second: Option<u64>) {
        let mut state = self.lock();
        if state.bytes_per_second == bytes_per_second {
            return;
        }
        state.bytes_per_second = bytes_per_second;
        state.changes += 1;
        state.paid = Instant::now();
    }

    /// Counts what came, and waits until more may come; not at all, or no longer, if it is `urgent`.
    pub(crate) async fn take(&self, bytes: usize, urgent: impl Fn() -> bool) {
        let (changes, until) = {
            let mut state = self.lock();
            let Some(speed) = state.bytes_per_second.filter(|speed| *speed > 0) else {
                return;
            };
            let cost = Duration::from_secs_f64(bytes as f64 / speed as f64);
            state.paid = state.paid.max(Instant::now()) + cost;
            (state.changes, state.paid)
        };
        while !urgent() && until > Instant::now() + AHEAD && self.lock().changes == changes {
            tokio::time::sleep_until((until - AHEAD).min(Instant::now() + LOOK)).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn holds_up_all_but_what_is_urgent() {
        let start = Instant::now();
        let cap = Cap::new(Some(1_000_000));
        cap.take(2_000_000, || true).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "what is urgent does not wait");
        cap.take(1_000_000, || false).await;
        assert_eq!(
            start.elapsed(),
            Duration::from_millis(2900),
            "but others wait for it too"
        );
        cap.set(None);
        cap.take(1 << 40, || false).await;
        assert_eq!(start.elapsed(), Duration::from_millis(2900), "no cap, no wait");
    }
}
