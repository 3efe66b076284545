//! Who wants which chunks, what is under way, and what to ask for next: pure data, no I/O, and no clock of its own.

mod base;
mod failures;
mod item;
mod plan;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

use livepc_format::index::{Chunk, ChunkEntry};
use livepc_format::{Digest, PackId};
use tokio::time::Instant;
use url::Url;

use crate::error::TransferError;
use crate::fetcher::{Fetched, Priority};
use crate::wanted::Wanted;

use base::Base;
pub(crate) use item::{BaseId, Doubt, Ended, Partial, Plan, RequestId, Span, TicketId};
use item::{Item, Running, State, Ticket};

/// Bytes that an answer which ends early must bring to be no failure: then there is progress, and the rest is asked for at once.
pub(crate) const LEAST: u64 = 1024;

/// What the schedule keeps to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// Requests to one server at once, at the most.
    pub(crate) connections: usize,
    /// Requests to all servers at once.
    pub(crate) total: usize,
    /// Failures in a row after which a download is given up; never what a machine waits for.
    pub(crate) attempts: u32,
    /// The first pause after a failure.
    pub(crate) backoff: Duration,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Schedule {
    tuning: Tuning,
    bases: Vec<Base>,
    items: BTreeMap<Wanted, Item>,
    /// The queued ones of `items`, by priority.
    queued: [BTreeSet<Wanted>; 3],
    tickets: HashMap<TicketId, Ticket>,
    running: BTreeMap<RequestId, Running>,
    settled: Vec<(TicketId, Result<Fetched, TransferError>)>,
    last_request: RequestId,
    paused: bool,
    /// When the last request ended that a machine waited for.
    demand_at: Option<Instant>,
}

impl Schedule {
    pub(crate) fn new(tuning: Tuning) -> Self {
        Self {
            tuning,
            bases: Vec::new(),
            items: BTreeMap::new(),
            queued: [const { BTreeSet::new() }; 3],
            tickets: HashMap::new(),
            running: BTreeMap::new(),
            settled: Vec::new(),
            last_request: 0,
            paused: false,
            demand_at: None,
        }
    }

    /// Makes a server known; the same one is known once.
    pub(crate) fn base(&mut self, url: &Url) -> BaseId {
        let known = self.bases.iter().position(|base| base.url == *url);
        known.unwrap_or_else(|| {
            self.bases.push(Base::new(url.clone(), &self.tuning));
            self.bases.len() - 1
        })
    }

    /// Wants chunks of a pack that one of `bases` (there is at least one) has. Those that `has` says are there are
    /// not asked for. Tickets have ascending numbers.
    pub(crate) fn want(
        &mut self,
        ticket: TicketId,
        bases: &[BaseId],
        pack: PackId,
        chunks: &[Chunk],
        priority: Priority,
        has: impl Fn(&Chunk) -> bool,
    ) {
        let mut items: Vec<Wanted> = chunks
            .iter()
            .map(|chunk| Wanted { pack, chunk: *chunk })
            .collect();
        items.sort_unstable();
        items.dedup();
        let all = items.len();
        let mut place = 0;
        items.retain(|wanted| {
            let asked = (place, ticket);
            let missing = self.join(wanted, asked, bases, priority) || {
                let missing = !has(&wanted.chunk);
                if missing {
                    self.add(*wanted, asked, bases, priority);
                }
                missing
            };
            place += usize::from(missing);
            missing
        });
        let result = Fetched {
            chunks: items.len(),
            bytes: items
                .iter()
                .map(|wanted| u64::from(wanted.chunk.entry.stored))
                .sum(),
            present: all - items.len(),
        };
        if items.is_empty() {
            self.settled.push((ticket, Ok(result)));
            return;
        }
        let missing = items.len();
        let entry = Ticket {
            priority,
            items,
            missing,
            result,
        };
        self.tickets.insert(ticket, entry);
    }

    /// Adds a ticket to those who wait for a chunk that is wanted already.
    fn join(
        &mut self,
        wanted: &Wanted,
        asked: (usize, TicketId),
        bases: &[BaseId],
        priority: Priority,
    ) -> bool {
        let Some(item) = self.items.get_mut(wanted) else {
            return false;
        };
        item.tickets.push(asked.1);
        for base in bases {
            if !item.bases.contains(base) {
                item.bases.push(*base);
            }
        }
        if priority < item.priority {
            match item.state {
                State::Queued => {
                    self.queued[item.priority as usize].remove(wanted);
                    self.queued[priority as usize].insert(*wanted);
                    item.asked = asked;
                }
                State::Running(id) => {
                    if let Some(running) = self.running.get_mut(&id) {
                        running.priority = running.priority.min(priority);
                        let urgent = running.priority == Priority::Demand;
                        running.urgent.fetch_or(urgent, Ordering::Relaxed);
                    }
                }
                State::Landing => {}
            }
            item.priority = priority;
        }
        true
    }

    fn add(&mut self, wanted: Wanted, asked: (usize, TicketId), bases: &[BaseId], priority: Priority) {
        self.queued[priority as usize].insert(wanted);
        let item = Item {
            state: State::Queued,
            priority,
            tickets: vec![asked.1],
            bases: bases.to_vec(),
            barred: Vec::new(),
            fresh: false,
            whole: false,
            attempts: 0,
            partial: None,
            doubts: 0,
            asked,
        };
        self.items.insert(wanted, item);
    }

    /// Nobody waits for this ticket any longer. What is under way for it still arrives.
    pub(crate) fn withdraw(&mut self, ticket: TicketId) {
        if let Some(entry) = self.tickets.remove(&ticket) {
            self.forget(ticket, &entry.items);
        }
    }

    /// Holds back everything but what a machine waits for.
    pub(crate) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Requests to cancel, because a machine waits and they are in its way. Each is named once.
    pub(crate) fn preempt(&mut self, now: Instant) -> Vec<RequestId> {
        if !self.has_demand(now) {
            return Vec::new();
        }
        // What is nearly there is not thrown away: the server has sent it already, and a new connection is slow at first. Of
        // each server as much as it sends in a twentieth of a second.
        let budget = |base: &mut Base| (base.rate.per_second(now) / 20).max(plan::QUICK);
        let mut budgets: Vec<u64> = self.bases.iter_mut().map(budget).collect();
        let fills = self.running.iter_mut().filter(|(_, running)| {
            running.priority == Priority::Fill && !running.whole && !running.cancelled
        });
        let mut fills: Vec<_> = fills
            .map(|(id, running)| (running.size.saturating_sub(running.got), *id, running))
            .collect();
        fills.sort_unstable_by_key(|(left, id, _)| (*left, *id));
        let mut cancel = Vec::new();
        for (left, id, running) in fills {
            let budget = &mut budgets[running.base];
            if left <= *budget {
                *budget -= left;
            } else {
                *budget = 0;
                running.cancelled = true;
                cancel.push(id);
            }
        }
        cancel
    }

    /// The server answers with a part of the pack, or with all of it. Gives the chunks to take from that: those of the request,
    /// and others that it has; none if a whole pack is being read already.
    pub(crate) fn answered(
        &mut self,
        id: RequestId,
        span: Option<Span>,
        now: Instant,
    ) -> Option<Vec<Wanted>> {
        let running = self.running.get(&id)?;
        let (base, was_whole) = (running.base, running.whole);
        self.bases[base].has_ranges(span.is_some(), now);
        let first = running.items.first()?;
        let pack = first.pack;
        if span.is_none() && !was_whole && self.is_read_whole(base, pack) {
            return None;
        }
        let mut items = running.items.clone();
        let asked = Span {
            first: first.offset(),
            end: items.last()?.end(),
        };
        if span.is_none_or(|span| span.first < asked.first || span.end > asked.end) {
            let mut more = self.all_of(pack, base);
            let is_in = |wanted: &Wanted| {
                span.is_none_or(|span| span.first <= wanted.offset() && wanted.end() <= span.end)
            };
            let is_free = |wanted: &Wanted| {
                items
                    .iter()
                    .all(|item| item.end() <= wanted.offset() || wanted.end() <= item.offset())
            };
            more.retain(|wanted| is_in(wanted) && is_free(wanted));
            let (priority, _) = self.start(&more, id);
            items.append(&mut more);
            items.sort_unstable();
            let running = self.running.get_mut(&id)?;
            running.priority = running.priority.min(priority);
            let urgent = running.priority == Priority::Demand;
            running.urgent.fetch_or(urgent, Ordering::Relaxed);
            running.items.clone_from(&items);
        }
        let running = self.running.get_mut(&id)?;
        running.whole = span.is_none();
        let end = items.last().map_or(0, Wanted::end);
        running.size = end - span.map_or(0, |span| span.first.min(end));
        Some(items)
    }

    /// Of a request, `got` bytes came until `now`; gives how many of them are new.
    pub(crate) fn note(&mut self, id: RequestId, got: u64, now: Instant) -> u64 {
        let Some(running) = self.running.get_mut(&id) else {
            return 0;
        };
        let new = got.saturating_sub(running.got);
        running.got = got;
        let base = &mut self.bases[running.base];
        base.rate.add(new, now);
        if new > 0 {
            base.heard(now);
        }
        new
    }

    /// Time has passed: looks whether servers should get more requests at once, or fewer.
    pub(crate) fn look(&mut self, now: Instant) {
        let queued = |priority| !self.queued[priority as usize].is_empty();
        let queued = queued(Priority::BootMap) || queued(Priority::Fill);
        let waits = queued && !self.paused && !self.is_recent(now);
        for base in &mut self.bases {
            let full = waits && base.running >= base.streams.count();
            base.streams.measured(base.rate.per_second(now), full, now);
        }
    }

    /// A request ended.
    pub(crate) fn ended(&mut self, id: RequestId, ended: Ended, now: Instant) {
        let Some(running) = self.running.remove(&id) else {
            return;
        };
        let base = running.base;
        self.bases[base].running -= 1;
        if running.priority == Priority::Demand {
            self.demand_at = Some(now);
        }
        let progress = ended.delivered > 0 || ended.kept >= LEAST;
        if progress {
            self.bases[base].succeeded();
        }
        let (arrived, rest) = running.items.split_at(ended.delivered.min(running.items.len()));
        for wanted in arrived {
            if let Some(item) = self.items.get_mut(wanted)
                && item.state == State::Running(id)
            {
                item.state = State::Landing;
            }
        }
        let mut partial = ended.partial;
        for wanted in rest {
            if let Some(item) = self.items.get_mut(wanted)
                && item.state == State::Running(id)
            {
                // What is there of the others, from requests before, stays.
                item.partial = partial.take().or(item.partial.take());
                self.requeue(wanted);
            }
        }
        let (Some(error), Some(first)) = (ended.error, rest.first()) else {
            return;
        };
        if self.is_doubted(first, base, ended.doubt, now) {
            return;
        }
        let is_well = |other: BaseId| other != base && self.bases[other].is_well(now);
        let elsewhere = self.items.get(first).is_some_and(|item| item.open().any(is_well));
        match error {
            // The rest is asked for at once: where there is progress, a line that breaks is no worse than a short answer.
            TransferError::Network { .. } if progress => self.bases[base].broke(now),
            TransferError::Network { .. } if !elsewhere && self.bases[base].is_crowded(&error, now) => {}
            TransferError::Network { .. } => self.failed(first, base, running.started, error, now),
            // The rest of the pack would fare no better.
            _ => self.bar_pack(first.pack, base, &error),
        }
    }

    /// A chunk is kept: all who wanted it have it.
    pub(crate) fn landed(&mut self, wanted: &Wanted) {
        let Some(item) = self.items.remove(wanted) else {
            return;
        };
        self.queued[item.priority as usize].remove(wanted);
        for ticket in item.tickets {
            let Some(entry) = self.tickets.get_mut(&ticket) else {
                continue;
            };
            entry.missing -= 1;
            if entry.missing == 0
                && let Some(entry) = self.tickets.remove(&ticket)
            {
                self.settled.push((ticket, Ok(entry.result)));
            }
        }
    }

    /// Tickets that are done since the last call.
    pub(crate) fn take_settled(&mut self) -> Vec<(TicketId, Result<Fetched, TransferError>)> {
        std::mem::take(&mut self.settled)
    }

    /// Chunks that are on their way, or here and not yet kept.
    pub(crate) fn under_way(&self) -> Vec<(PackId, Chunk)> {
        let items = self.items.iter().filter(|(_, item)| item.state != State::Queued);
        items.map(|(wanted, _)| (wanted.pack, wanted.chunk)).collect()
    }

    /// True if requests are under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// Servers that were found to have no ranges.
    pub(crate) fn without_ranges(&self) -> impl Iterator<Item = &Url> {
        let without = self.bases.iter().filter(|base| base.ranges == Some(false));
        without.map(|base| &base.url)
    }

    /// True if a machine waits for a server that does well. One that fails leaves the link to others.
    fn has_demand(&self, now: Instant) -> bool {
        let is_well = |base: BaseId| self.bases[base].is_well(now);
        let queued = self.queued[Priority::Demand as usize].iter();
        let mut queued = queued.filter_map(|wanted| self.choose(self.items.get(wanted)?, now));
        let mut running = self.running.values().filter(|r| r.priority == Priority::Demand);
        queued.any(is_well) || running.any(|r| is_well(r.base))
    }

    /// True if a machine waits, or has waited a moment ago.
    fn is_recent(&self, now: Instant) -> bool {
        self.demand_at.is_some_and(|at| now < at + plan::RECENT) || self.has_demand(now)
    }

    fn new_request(&mut self) -> RequestId {
        self.last_request += 1;
        self.last_request
    }

    /// What is known of a pack's chunks.
    fn of_pack(&self, pack: PackId) -> impl Iterator<Item = (&Wanted, &Item)> {
        let zero = Digest::from_bytes([0; 32]);
        let entry = ChunkEntry {
            stored: 0,
            pages: 0,
            stored_digest: zero,
            content_digest: zero,
        };
        let chunk = Chunk {
            first_page: 0,
            offset: 0,
            entry,
        };
        let from = self.items.range(Wanted { pack, chunk }..);
        from.take_while(move |(wanted, _)| wanted.pack == pack)
    }

    /// Puts a chunk back into its queue, or drops it if nobody waits for it any longer.
    fn requeue(&mut self, wanted: &Wanted) {
        let Some(item) = self.items.get_mut(wanted) else {
            return;
        };
        if item.tickets.is_empty() {
            self.queued[item.priority as usize].remove(wanted);
            self.items.remove(wanted);
            return;
        }
        item.state = State::Queued;
        let priorities = item.tickets.iter().filter_map(|id| self.tickets.get(id));
        let priority = priorities.map(|t| t.priority).min().unwrap_or(item.priority);
        self.queued[item.priority as usize].remove(wanted);
        item.priority = priority;
        self.queued[priority as usize].insert(*wanted);
    }

    fn settle(&mut self, ticket: TicketId, result: Result<Fetched, TransferError>) {
        if let Some(entry) = self.tickets.remove(&ticket) {
            self.settled.push((ticket, result));
            self.forget(ticket, &entry.items);
        }
    }

    /// Takes a ticket, which is gone, from its chunks; what is queued for nobody is dropped.
    fn forget(&mut self, ticket: TicketId, items: &[Wanted]) {
        for wanted in items {
            let Some(item) = self.items.get_mut(wanted) else {
                continue;
            };
            item.tickets.retain(|other| *other != ticket);
            if item.state == State::Queued {
                self.requeue(wanted);
            }
        }
    }
}
