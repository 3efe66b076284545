//! When a server counts as too slow: no byte for a while, or hardly any for long.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

/// A server may be silent for as long as it stalls, and takes this many times that long to show what it can.
const PATIENCE: u32 = 3;
/// Bytes per second that it must then have reached: less is no use to anybody, and would hold a connection for ever.
const SLOWEST: u64 = 1024;

/// Watches the reading of one body.
#[derive(Debug)]
pub(crate) struct Pace {
    stall: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(stall: Duration) -> Self {
        Self {
            stall,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Waits for the server's next sign; the error is what to tell.
    pub(crate) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Result<T, String> {
        let start = Instant::now();
        let got = tokio::time::timeout(self.stall, next).await;
        self.waited += start.elapsed();
        let got = got.map_err(|_| format!("nothing came for {} seconds", self.stall.as_secs_f32()))?;
        if self.waited > self.stall * PATIENCE && self.bytes < self.least() {
            return Err(format!(
                "only {} bytes came in {:.0} seconds",
                self.bytes,
                self.waited.as_secs_f64()
            ));
        }
        Ok(got)
    }

    /// Bytes that should have come by now.
    fn least(&self) -> u64 {
        (SLOWEST as f64 * self.waited.as_secs_f64()) as u64
    }

    /// Counts what came.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_and_trickles_end() {
        let mut pace = Pace::new(Duration::from_secs(10));
        assert!(
            pace.wait(std::future::pending::<()>()).await.is_err(),
            "silence ends"
        );
        let mut pace = Pace::new(Duration::from_secs(10));
        let mut steps = 0;
        while pace
            .wait(tokio::time::sleep(Duration::from_secs(9)))
            .await
            .is_ok()
        {
            pace.add(1);
            steps += 1;
            assert!(steps < 10, "a byte every nine seconds must not go on for ever");
        }
        let mut pace = Pace::new(Duration::from_secs(10));
        for _ in 0..20 {
            pace.wait(tokio::time::sleep(Duration::from_secs(9)))
                .await
                .expect("slow but useful");
            pace.add(64 * 1024);
        }
    }
}
