//! The next request: which chunk comes first, from which server, and what is taken along.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use livepc_format::{PackId, paths};
use tokio::time::Instant;

use super::Schedule;
use super::item::{BaseId, Item, Plan, RequestId, Running, State};
use crate::fetcher::Priority;
use crate::origin::join;
use crate::wanted::Wanted;

/// Unwanted bytes between two chunks, from which on asking twice is cheaper than reading them. With several requests under
/// way the line is not idle while one is asked for, so a request costs little more than its headers.
pub(super) const GAP: u64 = 32 * 1024;
/// Bytes of a request at the most.
pub(super) const LARGEST: u64 = 4 << 20;
/// Bytes that a request in the background may have however slow the server is.
pub(super) const SMALLEST: u64 = 256 * 1024;
/// Bytes of a request that a machine waits for: the next one must not wait long behind it.
const DEMAND: u64 = 1 << 20;
/// For so long after a demand another one is likely.
pub(super) const RECENT: Duration = Duration::from_secs(60);
/// Bytes that a fill may have on its way then, however slow the server is: a chunk or two.
pub(super) const QUICK: u64 = 128 * 1024;

impl Schedule {
    /// The next request to make at `now`, if any can and may be made. Its chunks are under way from then on.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Plan> {
        // A request in the background never takes the last places.
        let free = self.tuning.total.saturating_sub(self.running.len());
        for priority in Priority::ALL {
            if free <= if priority == Priority::Demand { 0 } else { 2 } {
                continue;
            }
            if let Some((seed, base, size)) = self.seed(priority, now) {
                return Some(self.plan(seed, base, size, now));
            }
        }
        None
    }

    /// The earliest time at which a server that failed may be asked for something that is queued.
    pub(crate) fn wake(&self, now: Instant) -> Option<Instant> {
        if self.queued.iter().all(std::collections::BTreeSet::is_empty) {
            return None;
        }
        let times = self.bases.iter().filter_map(super::Base::not_before);
        times.filter(|time| *time > now).min()
    }

    /// The first chunk of this priority that can be asked for, where, and how many bytes the request may have.
    fn seed(&mut self, priority: Priority, now: Instant) -> Option<(Wanted, BaseId, u64)> {
        let sizes: Vec<Option<u64>> = (0..self.bases.len())
            .map(|base| self.size(base, priority, now))
            .collect();
        if sizes.iter().all(Option::is_none) {
            return None;
        }
        let fits = |wanted: &&Wanted| {
            let item = self.items.get(wanted)?;
            let base = self.choose(item, now)?;
            let size = sizes[base]?;
            (!self.is_read_whole(base, wanted.pack)).then_some((**wanted, base, size))
        };
        let queue = &self.queued[priority as usize];
        if priority == Priority::Fill {
            return queue.iter().find_map(|wanted| fits(&wanted));
        }
        // Few, and in the order of asking.
        let asked = |wanted: &&Wanted| {
            let (place, ticket) = self.items.get(wanted).map_or((0, 0), |item| item.asked);
            match priority {
                // No machine waits behind another's many.
                Priority::Demand => (place as u64, ticket),
                // As a start will read them.
                _ => (ticket, place as u64),
            }
        };
        let mut all: Vec<&Wanted> = queue.iter().collect();
        all.sort_by_key(asked);
        all.iter().find_map(fits)
    }

    /// How many bytes a request to this server may have now; `None` if there may be none.
    fn size(&mut self, id: BaseId, priority: Priority, now: Instant) -> Option<u64> {
        let demand = self.has_demand(now);
        let recent = self.is_recent(now);
        let background = self
            .running
            .values()
            .filter(|r| r.base == id && r.priority != Priority::Demand);
        let (count, outstanding) = background.fold((0, 0), |(count, bytes), r| (count + 1, bytes + r.size));
        let base = &mut self.bases[id];
        let connections = base.connections(now, self.tuning.connections);
        if base.not_before().is_some_and(|time| time > now) || base.running >= connections {
            return None;
        }
        if priority == Priority::Demand {
            return Some(DEMAND);
        }
        // What lies far apart makes small requests, of which half as many more fill the line.
        let streams = base.streams.count();
        let most = (streams + streams.div_ceil(2)).min(connections - 1).max(1);
        if self.paused || count >= most {
            return None;
        }
        // Three quarters of a second on their way, in as many requests as make it fast.
        let rate = base.rate.per_second(now);
        let streams = streams as u64;
        let size = (rate / 4 * 3 / streams).clamp(SMALLEST, LARGEST);
        let (size, window) = match priority {
            Priority::Fill if demand => return None,
            // What a server has begun to send cannot be taken back, so a demand waits for it: a twentieth of a second.
            Priority::Fill if recent => ((rate / 20).clamp(QUICK, LARGEST), 0),
            // What the machine will read next is on its way; what it waits for now shares the line with that.
            _ if recent => ((rate / 8).clamp(SMALLEST, DEMAND), (rate / 4).max(2 * SMALLEST)),
            // Nothing is known of the line yet.
            _ if rate == 0 => (size, 2 * size),
            // And a little, since a chunk is longer than its pages at the worst.
            _ => (size, streams * size + size / 2),
        };
        (outstanding == 0 || outstanding + size <= window).then_some(size)
    }

    /// The server to ask for a chunk: the first one that does well, else the one that may be asked first. No machine is
    /// made to wait for a server that failed and has not shown since that it is back, if there is another.
    pub(super) fn choose(&self, item: &Item, now: Instant) -> Option<BaseId> {
        let steady = || item.open().filter(|base| self.bases[*base].is_steady(now));
        let proven = steady().find(|base| !self.bases[*base].has_failed());
        let proven = proven.filter(|_| item.priority == Priority::Demand);
        let is_well = |base: &BaseId| self.bases[*base].is_well(now);
        let well = proven
            .or_else(|| steady().find(is_well))
            .or_else(|| item.open().find(is_well));
        well.or_else(|| item.open().min_by_key(|base| self.bases[*base].not_before()))
    }

    /// True if the server is sending all of this pack already.
    pub(super) fn is_read_whole(&self, base: BaseId, pack: PackId) -> bool {
        let of_pack = |r: &Running| r.items.first().is_some_and(|first| first.pack == pack);
        self.running
            .values()
            .any(|r| r.whole && r.base == base && of_pack(r))
    }

    fn plan(&mut self, seed: Wanted, base: BaseId, size: u64, now: Instant) -> Plan {
        let whole = self.bases[base].sends_whole(now);
        let items = if whole {
            self.all_of(seed.pack, base)
        } else {
            self.neighbours(seed, base, size)
        };
        let id = self.new_request();
        let (priority, fresh) = self.start(&items, id);
        let partial = items
            .first()
            .and_then(|first| self.items.get_mut(first)?.partial.take());
        let urgent = Arc::new(AtomicBool::new(priority == Priority::Demand));
        let plan = Plan {
            id,
            base,
            url: join(&self.bases[base].url, &paths::pack(&seed.pack)),
            whole,
            fresh,
            partial: partial.filter(|_| !whole && !fresh),
            plain: self.bases[base].plain,
            urgent: Arc::clone(&urgent),
            items: items.clone(),
        };
        let end = items.last().map_or(0, Wanted::end);
        self.bases[base].running += 1;
        self.running.insert(
            id,
            Running {
                base,
                priority,
                started: now,
                size: if whole { end } else { end - seed.offset() },
                got: 0,
                whole,
                cancelled: false,
                urgent,
                items,
            },
        );
        plan
    }

    /// Marks queued chunks as under way in request `id`; gives the highest priority among them, and whether one
    /// wants to pass caches by.
    pub(super) fn start(&mut self, items: &[Wanted], id: RequestId) -> (Priority, bool) {
        let (mut priority, mut fresh) = (Priority::Fill, false);
        for wanted in items {
            if let Some(item) = self.items.get_mut(wanted) {
                item.state = State::Running(id);
                self.queued[item.priority as usize].remove(wanted);
                priority = priority.min(item.priority);
                fresh |= item.fresh;
            }
        }
        (priority, fresh)
    }

    /// The seed, and what lies behind it and is worth taking along: chunks as urgent as the seed over small gaps, and
    /// less urgent ones where they lie between.
    fn neighbours(&self, seed: Wanted, base: BaseId, size: u64) -> Vec<Wanted> {
        let priority = self.items.get(&seed).map_or(Priority::Fill, |item| item.priority);
        let (mut taken, mut between) = (vec![seed], Vec::new());
        let (mut end, mut reach) = (seed.end(), seed.end() + GAP);
        for (next, item) in self.items.range((Excluded(seed), Unbounded)) {
            if next.pack != seed.pack || next.offset() >= reach || next.end() > seed.offset() + size {
                break;
            }
            if next.offset() < end || !serves(item, base) {
                continue;
            }
            if item.partial.is_some() {
                // Its rest is asked for by itself: only the first chunk of a request is gone on from.
                break;
            }
            between.push(*next);
            end = next.end();
            if item.priority <= priority {
                taken.append(&mut between);
                reach = end + GAP;
            }
        }
        taken
    }

    /// Every queued chunk of a pack that the server may be asked for.
    pub(super) fn all_of(&self, pack: PackId, base: BaseId) -> Vec<Wanted> {
        let mut end = 0;
        let mut taken = Vec::new();
        for (wanted, item) in self.of_pack(pack) {
            if wanted.offset() >= end && serves(item, base) {
                end = wanted.end();
                taken.push(*wanted);
            }
        }
        taken
    }
}

fn serves(item: &Item, base: BaseId) -> bool {
    item.state == State::Queued && item.bases.contains(&base) && !item.is_barred(base)
}
