//! A slow link, made by waiting.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bytes_per_second: Option<u64>,
    latency: Duration,
    /// When the link has sent all that was handed to it.
    free: Option<Instant>,
}

impl Throttle {
    pub(super) fn set_bytes_per_second(&self, limit: Option<u64>) {
        self.lock().bytes_per_second = limit.filter(|limit| *limit > 0);
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// Waits as long as a request is on its way.
    pub(super) async fn arrive(&self) {
        let latency = self.lock().latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }

    /// Waits until `bytes` have gone over the link, after all that were handed to it before.
    pub(super) async fn send(&self, bytes: usize) {
        let until = {
            let mut state = self.lock();
            let Some(speed) = state.bytes_per_second else {
                return;
            };
            let now = Instant::now();
            let free = state.free.map_or(now, |free| free.max(now));
            let until = free + Duration::from_secs_f64(bytes as f64 / speed as f64);
            state.free = Some(until);
            until
        };
        tokio::time::sleep_until(until).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
