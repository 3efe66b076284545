//! The one task that owns the schedule: takes commands, starts requests, hears how they go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use livepc_format::PackId;
use livepc_format::index::Chunk;
use livepc_panics::fenced;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cap::Cap;
use crate::client::Client;
use crate::error::{Result, TransferError, shown};
use crate::fetcher::{Fetched, Limits, Priority, Totals};
use crate::landing::Landing;
use crate::origin::Origin;
use crate::range::{self, Surroundings};
use crate::rate::Rate;
use crate::schedule::{BaseId, Doubt, Ended, Plan, RequestId, Schedule, Span, TicketId, Tuning};
use crate::sink::ChunkSink;
use crate::wanted::Wanted;

/// How often progress is looked at while requests run.
const TICK: Duration = Duration::from_millis(200);

/// What a fetcher asks of its driver.
#[derive(Debug)]
pub(crate) enum Command {
    Want {
        ticket: TicketId,
        origin: Arc<Origin>,
        pack: PackId,
        chunks: Vec<Chunk>,
        priority: Priority,
        reply: oneshot::Sender<Result<Fetched>>,
    },
    Withdraw(TicketId),
    Pause(bool),
    SignedIn,
    UnderWay(oneshot::Sender<Vec<(PackId, Chunk)>>),
}

/// What happens to requests and chunks.
#[derive(Debug)]
pub(crate) enum Event {
    /// A server answers with a part of a pack, or with all of it; the reply says which chunks to take from that.
    Answered {
        id: RequestId,
        span: Option<Span>,
        reply: oneshot::Sender<Option<Vec<Wanted>>>,
    },
    /// A request ended.
    Ended { id: RequestId, ended: Ended },
    /// These chunks are kept.
    Landed(Vec<Wanted>),
    /// This chunk came with wrong bytes.
    Bad {
        wanted: Wanted,
        base: BaseId,
        doubt: Option<Doubt>,
        error: TransferError,
    },
    /// These chunks could not be kept.
    NotKept {
        items: Vec<Wanted>,
        error: TransferError,
    },
}

pub(crate) struct Driver {
    schedule: Schedule,
    sink: Arc<dyn ChunkSink>,
    around: Surroundings,
    events: mpsc::UnboundedReceiver<Event>,
    replies: HashMap<TicketId, oneshot::Sender<Result<Fetched>>>,
    /// The running requests: how to cancel each, and how many bytes came.
    requests: HashMap<RequestId, (CancellationToken, Arc<AtomicU64>)>,
    tasks: JoinSet<()>,
    totals: Totals,
    rate: Rate,
    publish: Arc<watch::Sender<Totals>>,
}

impl Driver {
    pub(crate) fn new(
        client: Client,
        sink: Arc<dyn ChunkSink>,
        limits: Limits,
        cap: Arc<Cap>,
        publish: Arc<watch::Sender<Totals>>,
        paused: bool,
    ) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let tuning = Tuning {
            connections: limits.connections.max(1),
            total: limits.total_connections.max(limits.connections).max(3),
            attempts: limits.attempts.max(1),
            backoff: client.config.backoff,
        };
        let around = Surroundings {
            landing: Landing::new(&sink, &sender),
            client,
            cap,
            events: sender,
        };
        let mut schedule = Schedule::new(tuning);
        schedule.pause(paused);
        let totals = publish.borrow().clone();
        Self {
            schedule,
            sink,
            around,
            events,
            replies: HashMap::new(),
            requests: HashMap::new(),
            tasks: JoinSet::new(),
            totals,
            rate: Rate::default(),
            publish,
        }
    }

    /// Runs until the last sender of commands is gone; running requests end with it.
    pub(crate) async fn run(mut self, commands: &mut mpsc::UnboundedReceiver<Command>) {
        loop {
            let now = Instant::now();
            let looks = self.schedule.is_busy() || self.totals.bytes_per_second > 0;
            let tick = looks.then(|| now + TICK);
            let wake = tick.into_iter().chain(self.schedule.wake(now)).min();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                // This end holds a sender as well: it never closes.
                Some(event) = self.events.recv() => self.event(event),
                () = tokio::time::sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
            // All that is known counts, before anything is decided.
            while let Ok(command) = commands.try_recv() {
                self.command(command);
            }
            while let Ok(event) = self.events.try_recv() {
                self.event(event);
            }
            self.decide();
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Want {
                ticket,
                origin,
                pack,
                chunks,
                priority,
                reply,
            } => {
                let bases: Vec<BaseId> = origin.bases().iter().map(|url| self.schedule.base(url)).collect();
                let has = |chunk: &Chunk| self.sink.has(&pack, chunk);
                self.replies.insert(ticket, reply);
                self.schedule.want(ticket, &bases, pack, &chunks, priority, has);
            }
            Command::Withdraw(ticket) => {
                self.replies.remove(&ticket);
                self.schedule.withdraw(ticket);
            }
            Command::Pause(paused) => self.schedule.pause(paused),
            Command::SignedIn => self.schedule.signed_in(),
            Command::UnderWay(reply) => {
                // Who asked may not wait any longer.
                let _ = reply.send(self.schedule.under_way());
            }
        }
    }

    fn event(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Answered { id, span, reply } => {
                let items = self.schedule.answered(id, span, now);
                if span.is_none() {
                    let without = self.schedule.without_ranges();
                    self.totals.without_ranges = without.map(shown).collect();
                }
                // A request that was cancelled meanwhile does not listen.
                let _ = reply.send(items);
            }
            Event::Ended { id, ended } => {
                self.look(id, now);
                self.requests.remove(&id);
                if let Some(error) = &ended.error {
                    self.totals.retries += 1;
                    tracing::info!(%error, "a request failed");
                }
                self.schedule.ended(id, ended, now);
            }
            Event::Landed(items) => {
                for wanted in &items {
                    self.totals.chunks += 1;
                    self.totals.chunk_bytes += u64::from(wanted.chunk.entry.stored);
                    self.schedule.landed(wanted);
                }
            }
            Event::Bad {
                wanted,
                base,
                doubt,
                error,
            } => {
                self.totals.retries += 1;
                self.schedule.bad(&wanted, base, doubt, error, now);
            }
            Event::NotKept { items, error } => self.schedule.not_kept(&items, &error),
        }
    }

    /// Counts what came for a request since the last look.
    fn look(&mut self, id: RequestId, now: Instant) {
        if let Some((_, got)) = self.requests.get(&id) {
            let new = self.schedule.note(id, got.load(Ordering::Relaxed), now);
            self.totals.network_bytes += new;
            self.rate.add(new, now);
        }
    }

    /// Cancels, starts and answers what can be by now.
    fn decide(&mut self) {
        let now = Instant::now();
        let running: Vec<RequestId> = self.requests.keys().copied().collect();
        for id in running {
            self.look(id, now);
        }
        for id in self.schedule.preempt(now) {
            if let Some((cancel, _)) = self.requests.get(&id) {
                cancel.cancel();
                self.totals.cancelled += 1;
            }
        }
        while let Some(plan) = self.schedule.next(now) {
            self.start(plan);
        }
        // Once all have been asked for that may be.
        self.schedule.look(now);
        while self.tasks.try_join_next().is_some() {}
        self.totals.bytes_per_second = self.rate.per_second(now);
        self.publish.send_if_modified(|known| {
            let changed = *known != self.totals;
            if changed {
                known.clone_from(&self.totals);
            }
            changed
        });
        // Last, so that whoever gets an answer finds it counted.
        for (ticket, result) in self.schedule.take_settled() {
            if let Some(reply) = self.replies.remove(&ticket) {
                // It was dropped in this moment, perhaps.
                let _ = reply.send(result);
            }
        }
    }

    fn start(&mut self, plan: Plan) {
        let id = plan.id;
        let (cancel, got) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        self.requests.insert(id, (cancel.clone(), Arc::clone(&got)));
        tracing::debug!(url = %shown(&plan.url), chunks = plan.items.len(), whole = plan.whole, "asking");
        let around = self.around.clone();
        self.tasks.spawn(async move {
            let events = around.events.clone();
            let ended = fenced("A request to a server", range::run(around, plan, got, cancel)).await;
            // Whoever waits for its chunks gets them from another server, or learns why not.
            let ended = ended.unwrap_or_else(|panicked| Ended {
                delivered: 0,
                kept: 0,
                partial: None,
                doubt: None,
                error: Some(TransferError::Panicked {
                    what: panicked.to_string(),
                }),
            });
            let _ = events.send(Event::Ended { id, ended });
        });
    }
}
