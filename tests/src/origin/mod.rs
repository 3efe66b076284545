//! A static web server for tests, as a publisher might have it, and as it should not be: it logs each request, can be
//! slow, and fails on demand.
//!
//! It runs on a thread of its own, so that tests without a Tokio runtime can use it as well.

mod answer;
mod bomb;
mod faults;
mod log;
mod random;
mod serve;
mod throttle;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use faults::{Fault, Rule};
pub use log::{Entry, Log};
pub use random::Random;

use faults::Faults;
use throttle::Throttle;

/// What the origin's thread and its owner share.
#[derive(Debug)]
struct Shared {
    root: PathBuf,
    log: Log,
    faults: Faults,
    throttle: Throttle,
}

/// A running, or stopped, web server on loopback.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: Mutex<Option<(CancellationToken, JoinHandle<()>)>>,
}

impl Origin {
    /// Serves the folder `root` on a free port.
    ///
    /// # Errors
    /// If no socket can be had.
    pub fn start(root: impl Into<PathBuf>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let origin = Self {
            address: listener.local_addr()?,
            shared: Arc::new(Shared {
                root: root.into(),
                log: Log::default(),
                faults: Faults::default(),
                throttle: Throttle::default(),
            }),
            running: Mutex::new(None),
        };
        origin.run(listener)?;
        Ok(origin)
    }

    /// Where it is: `http://127.0.0.1:PORT/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What it was asked.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Fails as the rule says from now on; of several that fit a request, the first one added is followed.
    pub fn fail(&self, rule: Rule) {
        self.shared.faults.add(rule);
    }

    /// How many requests a fault happened to so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.shared.faults.met()
    }

    /// Forgets all rules.
    pub fn behave(&self) {
        self.shared.faults.clear();
    }

    /// Sends that many bytes per second at the most, to all clients together; `None` is no limit.
    pub fn set_bytes_per_second(&self, limit: Option<u64>) {
        self.shared.throttle.set_bytes_per_second(limit);
    }

    /// Waits before each answer.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.throttle.set_latency(latency);
    }

    /// Is gone when this returns: open connections are closed, new ones refused.
    pub fn stop(&self) {
        if let Some((stop, thread)) = self.take() {
            stop.cancel();
            // A panic of the server shows in what the test misses.
            let _ = thread.join();
        }
    }

    /// Is there again, on the same port.
    ///
    /// # Errors
    /// If the port has been taken.
    pub fn start_again(&self) -> io::Result<()> {
        self.stop();
        self.run(TcpListener::bind(self.address)?)
    }

    fn run(&self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let (shared, stopped) = (Arc::clone(&self.shared), stop.clone());
        let thread = std::thread::Builder::new()
            .name("origin".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = stopped.cancelled() => {}
                        () = serve::accept(listener, shared) => {}
                    }
                });
                // Dropping the runtime closes every connection.
            })?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some((stop, thread));
        Ok(())
    }

    fn take(&self) -> Option<(CancellationToken, JoinHandle<()>)> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}
