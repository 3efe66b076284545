//! The fetcher: what others ask for chunks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use livepc_format::PackId;
use livepc_format::index::Chunk;
use livepc_format::limits::{CHUNK_PAGES, CHUNK_STORED, PACK_STORED};
use livepc_format::paths;
use tokio::sync::{mpsc, oneshot, watch};

use crate::cap::Cap;
use crate::client::Client;
use crate::driver::{self, Command};
use crate::error::{Result, TransferError};
use crate::origin::Origin;
use crate::schedule::TicketId;
use crate::sink::ChunkSink;

/// How urgent chunks are; what is more urgent comes first, and makes the rest wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A running machine waits for it. Never paused and never held up by the cap.
    Demand,
    /// A start will read it.
    BootMap,
    /// Everything else.
    Fill,
}

impl Priority {
    pub(crate) const ALL: [Self; 3] = [Self::Demand, Self::BootMap, Self::Fill];
}

/// What a fetcher keeps to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests to one server at once, at the most: there are only as many as make it send faster.
    pub connections: usize,
    /// Requests to all servers at once.
    pub total_connections: usize,
    /// What is taken from the network at the most, in bytes per second. What a running machine waits for counts, but
    /// is not held up.
    pub max_bytes_per_second: Option<u64>,
    /// Failures of a server in a row after which boot maps and fills give it up (with the usual pauses eight take
    /// about 15 seconds). What a running machine waits for is asked for again and again.
    pub attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16,
            total_connections: 24,
            max_bytes_per_second: None,
            attempts: 8,
        }
    }
}

/// What a call of [`Fetcher::fetch`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Chunks that were not there, and are now.
    pub chunks: usize,
    /// Their stored bytes.
    pub bytes: u64,
    /// Chunks that were there before.
    pub present: usize,
}

/// What a fetcher has done since it was made, and how fast it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of packs that came from servers, whether they were of use or not.
    pub network_bytes: u64,
    /// Chunks that came and are kept.
    pub chunks: u64,
    /// Their stored bytes.
    pub chunk_bytes: u64,
    /// Requests that failed, and chunks that came with wrong bytes.
    pub retries: u64,
    /// Requests that were broken off because a running machine waited.
    pub cancelled: u64,
    /// Bytes per second over the last three seconds.
    pub bytes_per_second: u64,
    /// Servers without ranges, as they may be shown: whole packs are read from them.
    pub without_ranges: Vec<String>,
}

/// Fetches chunks into a [`ChunkSink`]. Clones share everything; it ends with the last of them and of their calls.
#[derive(Clone, Debug)]
pub struct Fetcher {
    commands: mpsc::UnboundedSender<Command>,
    tickets: Arc<AtomicU64>,
    cap: Arc<Cap>,
    paused: Arc<AtomicBool>,
    totals: watch::Receiver<Totals>,
}

impl Fetcher {
    /// Starts a fetcher on the current Tokio runtime.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn new(client: Client, sink: Arc<dyn ChunkSink>, limits: Limits) -> Self {
        let (commands, queue) = mpsc::unbounded_channel();
        let (publish, totals) = watch::channel(Totals::default());
        let cap = Arc::new(Cap::new(limits.max_bytes_per_second));
        let (publish, queue) = (Arc::new(publish), tokio::sync::Mutex::new(queue));
        let paused = Arc::new(AtomicBool::new(false));
        let (its_cap, is_paused) = (Arc::clone(&cap), Arc::clone(&paused));
        // Should the driver panic, those who wait are told, and another one serves whoever asks next.
        let driver = move || {
            let (client, sink, cap) = (client.clone(), Arc::clone(&sink), Arc::clone(&its_cap));
            let paused = is_paused.load(Ordering::SeqCst);
            driver::Driver::new(client, sink, limits, cap, Arc::clone(&publish), paused)
        };
        tokio::spawn(async move {
            livepc_panics::kept_up("The transfer", || async {
                driver().run(&mut *queue.lock().await).await;
            })
            .await;
        });
        Self {
            commands,
            tickets: Arc::default(),
            cap,
            paused,
            totals,
        }
    }

    /// Fetches chunks of a pack; they are asked for from this call on, and are all in the sink when the future
    /// resolves. Dropping it withdraws the interest in those that are not yet on their way.
    ///
    /// With [`Priority::Demand`] it tries for as long as servers cannot be reached or are in trouble: the caller has
    /// the time limit.
    ///
    /// # Errors
    /// What no further try would cure: every server lacks the pack, refuses it or has other bytes, or the sink fails.
    /// Boot maps and fills also end when a server has failed [`Limits::attempts`] times in a row.
    pub fn fetch(
        &self,
        origin: &Arc<Origin>,
        pack: PackId,
        chunks: &[Chunk],
        priority: Priority,
    ) -> impl Future<Output = Result<Fetched>> + Send + use<> {
        let interest = Interest {
            commands: self.commands.clone(),
            ticket: self.tickets.fetch_add(1, Ordering::Relaxed),
        };
        let answer = self.ask(origin, pack, chunks, priority, interest.ticket);
        async move {
            let answer = answer?.await.unwrap_or(Err(TransferError::Stopped));
            drop(interest);
            answer
        }
    }

    fn ask(
        &self,
        origin: &Arc<Origin>,
        pack: PackId,
        chunks: &[Chunk],
        priority: Priority,
        ticket: TicketId,
    ) -> Result<oneshot::Receiver<Result<Fetched>>> {
        if origin.bases().is_empty() {
            return Err(TransferError::combined(&paths::pack(&pack), vec![]));
        }
        let is_sound = |chunk: &Chunk| {
            (1..=CHUNK_PAGES).contains(&chunk.entry.pages)
                && (1..=CHUNK_STORED).contains(&chunk.entry.stored)
                && chunk.offset <= PACK_STORED
        };
        if !chunks.iter().all(is_sound) {
            return Err(TransferError::Digest {
                url: paths::pack(&pack),
                what: "a chunk is said to lie outside every possible pack".to_owned(),
            });
        }
        let (reply, answer) = oneshot::channel();
        let want = Command::Want {
            ticket,
            origin: Arc::clone(origin),
            pack,
            chunks: chunks.to_vec(),
            priority,
            reply,
        };
        self.commands.send(want).map_err(|_| TransferError::Stopped)?;
        Ok(answer)
    }

    /// Holds back boot maps and fills, or lets them go on. Requests that are under way are finished.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::SeqCst);
        // The driver runs as long as there is a sender.
        let _ = self.commands.send(Command::Pause(paused));
    }

    /// Changes [`Limits::max_bytes_per_second`], also for requests that are under way.
    pub fn set_max_bytes_per_second(&self, limit: Option<u64>) {
        self.cap.set(limit);
    }

    /// Somebody has signed in to a server: those that asked who one is are asked again.
    pub fn signed_in(&self) {
        // The driver runs as long as there is a sender.
        let _ = self.commands.send(Command::SignedIn);
    }

    /// The chunks that are on their way now.
    pub async fn under_way(&self) -> Vec<(PackId, Chunk)> {
        let (reply, answer) = oneshot::channel();
        // The driver runs as long as there is a sender.
        let _ = self.commands.send(Command::UnderWay(reply));
        answer.await.unwrap_or_default()
    }

    /// What was done so far; changes while requests run, at least four times a second.
    #[must_use]
    pub fn stats(&self) -> watch::Receiver<Totals> {
        self.totals.clone()
    }
}

/// Withdraws a ticket when its future is dropped.
struct Interest {
    commands: mpsc::UnboundedSender<Command>,
    ticket: TicketId,
}

impl Drop for Interest {
    fn drop(&mut self) {
        // A ticket that is done is not known any longer.
        let _ = self.commands.send(Command::Withdraw(self.ticket));
    }
}
