//! From stored bytes to kept pages: checks and decompresses chunks on blocking threads, and keeps them in batches.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use livepc_format::decompress_chunk;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::driver::Event;
use crate::error::TransferError;
use crate::schedule::{BaseId, Doubt};
use crate::sink::{ChunkSink, VerifiedChunk};
use crate::wanted::Wanted;

/// Chunks that are kept together at the most: one sync of the disk serves them all.
const BATCH: usize = 32;
/// How long a batch waits for more, if nobody waits for it.
const HOLD: Duration = Duration::from_millis(100);
/// Batches that are checked and written at once.
const WRITERS: usize = 2;

/// A chunk's stored bytes, as a server sent them.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) wanted: Wanted,
    pub(crate) stored: Bytes,
    pub(crate) base: BaseId,
    pub(crate) url: Url,
    /// Why they may be wrong although the server has the right ones.
    pub(crate) doubt: Option<Doubt>,
    /// What else the server said of them.
    pub(crate) note: Option<String>,
}

/// Where chunks are handed in. Sending waits if the disk does not keep up.
#[derive(Clone, Debug)]
pub(crate) struct Landing {
    urgent: mpsc::Sender<Arrived>,
    other: mpsc::Sender<Arrived>,
}

impl Landing {
    /// Starts the two queues: what a machine waits for is never held, nor behind what it does not wait for.
    pub(crate) fn new(sink: &Arc<dyn ChunkSink>, events: &mpsc::UnboundedSender<Event>) -> Self {
        let start = |hold| {
            let (sender, receiver) = mpsc::channel(2 * BATCH);
            tokio::spawn(land(receiver, Arc::clone(sink), events.clone(), hold));
            sender
        };
        Self {
            urgent: start(Duration::ZERO),
            other: start(HOLD),
        }
    }

    /// Hands in a chunk. Cancelling the future before it resolves hands in nothing.
    pub(crate) async fn reserve(&self, urgent: bool) -> Option<mpsc::Permit<'_, Arrived>> {
        let queue = if urgent { &self.urgent } else { &self.other };
        queue.reserve().await.ok()
    }
}

async fn land(
    mut queue: mpsc::Receiver<Arrived>,
    sink: Arc<dyn ChunkSink>,
    events: mpsc::UnboundedSender<Event>,
    hold: Duration,
) {
    let writers = Arc::new(Semaphore::new(WRITERS));
    loop {
        // A writer first, so that what arrives while the disk is busy shares the next sync. The semaphore is never closed.
        let Ok(writer) = Arc::clone(&writers).acquire_owned().await else {
            return;
        };
        let Some(first) = queue.recv().await else {
            return;
        };
        let mut batch = vec![first];
        let until = Instant::now() + hold;
        while batch.len() < BATCH
            && let Ok(Some(next)) = timeout_at(until, queue.recv()).await
        {
            batch.push(next);
        }
        let (sink, events) = (Arc::clone(&sink), events.clone());
        tokio::spawn(async move {
            let items: Vec<Wanted> = batch.iter().map(|arrived| arrived.wanted).collect();
            let reports = events.clone();
            let done = tokio::task::spawn_blocking(move || keep(batch, &*sink, &reports)).await;
            drop(writer);
            if let Err(error) = done {
                let error = TransferError::Sink {
                    what: error.to_string(),
                };
                let _ = events.send(Event::NotKept { items, error });
            }
        });
    }
}

/// Checks each chunk, and keeps those that are right. Nobody listens any longer if reporting fails.
fn keep(batch: Vec<Arrived>, sink: &dyn ChunkSink, events: &mpsc::UnboundedSender<Event>) {
    let mut items = Vec::with_capacity(batch.len());
    let mut right = Vec::with_capacity(batch.len());
    for arrived in batch {
        let Wanted { pack, chunk } = arrived.wanted;
        match decompress_chunk(&arrived.stored, &chunk.entry) {
            Ok(pages) => {
                items.push(arrived.wanted);
                right.push(VerifiedChunk { pack, chunk, pages });
            }
            Err(error) => {
                tracing::warn!(url = %crate::error::shown(&arrived.url), offset = chunk.offset, %error, "wrong bytes");
                let _ = events.send(Event::Bad {
                    wanted: arrived.wanted,
                    base: arrived.base,
                    doubt: arrived.doubt,
                    error: TransferError::digest(&arrived.url, &error).with(arrived.note.as_deref()),
                });
            }
        }
    }
    if right.is_empty() {
        return;
    }
    let _ = events.send(match sink.put(right) {
        Ok(()) => Event::Landed(items),
        Err(error) => Event::NotKept {
            items,
            error: TransferError::sink(&error),
        },
    });
}
