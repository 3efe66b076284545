//! The server: accepts clients until it is told to stop.

use std::{sync::Arc, time::Duration};

use livepc_panics::{fenced, kept_up};
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    Address, Exports, Listen, ListenError, connection,
    listen::{Listener, Stream},
};

/// The most clients at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 32;
/// How long to wait after a client could not be accepted: the usual cause is that all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An NBD server that runs. Dropping it stops it too, without waiting for the end.
#[derive(Debug)]
pub struct Server {
    address: Address,
    stop: DropGuard,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Starts to serve `exports`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the server cannot listen at that place.
    pub async fn start(place: &Listen, exports: Exports) -> Result<Self, ListenError> {
        let (listener, address) = Listener::open(place).await?;
        let stop = CancellationToken::new();
        let accepting = tokio::spawn(accept(listener, Arc::new(exports), stop.clone()));
        Ok(Self {
            address,
            stop: stop.drop_guard(),
            accepting,
        })
    }

    /// Where clients find the server.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Stops the server: no new clients, every connection closed, the socket file gone, no device held any more.
    ///
    /// Requests that are still waiting for their data are given up, not waited for: stop the hypervisor first.
    pub async fn shutdown(self) {
        drop(self.stop);
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "the NBD server ended abnormally");
        }
    }
}

/// Accepts and serves clients until `stop` is cancelled, and returns when the last of them is gone.
async fn accept(listener: Listener, exports: Arc<Exports>, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    // Whatever happens to one client, or on the way to it: others come.
    let accepting = kept_up("Accepting NBD clients", || async {
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await;
            match listener.accept().await {
                Ok(stream) => {
                    let (exports, stop) = (Arc::clone(&exports), stop.clone());
                    connections.spawn(fenced("An NBD connection", async move {
                        serve(stream, &exports, &stop).await;
                        drop(slot);
                    }));
                }
                Err(error) => {
                    tracing::warn!(%error, "an NBD client could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    let _: Option<std::convert::Infallible> = stop.run_until_cancelled(accepting).await;
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve(stream: Stream, exports: &Exports, stop: &CancellationToken) {
    let served = match stream {
        #[cfg(unix)]
        Stream::Unix(stream) => {
            let (reader, writer) = stream.into_split();
            connection::serve(reader, writer, exports, stop).await
        }
        Stream::Tcp(stream) => {
            let (reader, writer) = stream.into_split();
            connection::serve(reader, writer, exports, stop).await
        }
    };
    match served {
        Ok(()) => tracing::debug!("an NBD client left"),
        Err(error) => tracing::debug!(%error, "an NBD connection ended"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A listener that fails at first, as `fail` says, and the number of times that it was asked.
    async fn serving(
        fail: impl Fn(usize) -> io::Result<()> + Send + Sync + 'static,
    ) -> (Server, std::net::SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let fail = move || fail(count.fetch_add(1, Ordering::SeqCst));
        let listener = Listener::Sick(listener, Box::new(fail));
        let stop = CancellationToken::new();
        let exports = Arc::new(Exports::default());
        let accepting = tokio::spawn(accept(listener, exports, stop.clone()));
        let server = Server {
            address: Address::Tcp(address),
            stop: stop.drop_guard(),
            accepting,
        };
        (server, address, asked)
    }

    async fn is_greeted(address: std::net::SocketAddr) {
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut greeting = [0; 8];
        client.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"NBDMAGIC");
    }

    /// A machine whose disk it serves must find it again.
    #[tokio::test]
    async fn neither_a_panic_nor_an_error_ends_the_server() {
        let aborted = || Err(io::ErrorKind::ConnectionAborted.into());
        let (server, address, asked) = serving(move |number| match number {
            0 | 2 => aborted(),
            1 => panic!("a mistake of ours"),
            // Too many open files, in the process or in the system.
            3 => Err(io::Error::from_raw_os_error(24)),
            _ => Ok(()),
        })
        .await;
        is_greeted(address).await;
        is_greeted(address).await;
        assert!(asked.load(Ordering::SeqCst) >= 6);
        server.shutdown().await;
        assert!(TcpStream::connect(address).await.is_err(), "it listens no more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_is_sick_for_long_costs_nothing() {
        let (server, _, asked) = serving(|_| Err(io::Error::from_raw_os_error(24))).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let asked = asked.load(Ordering::SeqCst);
        assert!((50..=101).contains(&asked), "{asked} times in 10 s");
        server.shutdown().await;

        let (server, _, asked) = serving(|_| panic!("a mistake of ours")).await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        let asked = asked.load(Ordering::SeqCst);
        assert!((5..=10).contains(&asked), "{asked} times in 100 s");
        server.shutdown().await;
    }
}
