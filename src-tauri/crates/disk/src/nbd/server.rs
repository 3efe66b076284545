//! The server: accepts clients until it is told to stop.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinHandle, task::JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

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
    let mut connections = JoinSet::new();
    loop {
        let client = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        tokio::select! {
            () = stop.cancelled() => break,
            // Only to forget those that have ended.
            Some(_) = connections.join_next() => {}
            (slot, accepted) = client => match accepted {
                Ok(stream) => {
                    let (exports, stop) = (Arc::clone(&exports), stop.clone());
                    connections.spawn(async move {
                        serve(stream, &exports, &stop).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "an NBD client could not be accepted");
                    stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
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
