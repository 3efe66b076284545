//! What failures lead to: a pause for a server, another server, or an error for those who wait.

use livepc_format::{PackId, paths};
use tokio::time::Instant;

use super::Schedule;
use super::item::{BaseId, Doubt, Item, State, TicketId};
use crate::error::TransferError;
use crate::fetcher::Priority;
use crate::wanted::Wanted;

/// How often a chunk's wrong bytes are not held against their server: once for each reason there may be.
const DOUBTS: u32 = 4;

impl Schedule {
    /// A chunk came with wrong bytes from this server. If there is doubt whether they are what the server has, it is asked once
    /// more in a way that leaves less.
    pub(crate) fn bad(
        &mut self,
        wanted: &Wanted,
        base: BaseId,
        doubt: Option<Doubt>,
        error: TransferError,
        now: Instant,
    ) {
        let doubted = self.is_doubted(wanted, base, doubt, now);
        if let Some(item) = self.items.get_mut(wanted)
            && !doubted
            && std::mem::take(&mut item.whole)
        {
            // The whole pack is no better.
            self.bases[base].ranges_are_right(now);
        }
        self.requeue(wanted);
        if !doubted {
            self.bar(wanted, base, error);
        }
    }

    /// Has a server asked in another way, if there is doubt about the one in which it was, and it was not doubted too often for
    /// this chunk.
    pub(super) fn is_doubted(
        &mut self,
        wanted: &Wanted,
        base: BaseId,
        doubt: Option<Doubt>,
        now: Instant,
    ) -> bool {
        let Some((doubt, item)) = doubt.zip(self.items.get_mut(wanted)) else {
            return false;
        };
        item.doubts += 1;
        if item.doubts > DOUBTS {
            return false;
        }
        match doubt {
            Doubt::Range => self.bases[base].has_ranges(false, now),
            Doubt::Cut if !self.bases[base].may_cut_wrong(now) => return false,
            Doubt::Cut => {
                item.whole = true;
                self.bases[base].has_ranges(false, now);
            }
            Doubt::Coding { plain } => self.bases[base].plain = !plain,
            Doubt::Pieced => {}
        }
        true
    }

    /// Chunks could not be kept.
    pub(crate) fn not_kept(&mut self, items: &[Wanted], error: &TransferError) {
        for wanted in items {
            self.fail_all(wanted, error);
        }
        if matches!(error, TransferError::DiskFull { .. }) {
            // Nothing more could be kept either.
            let downloads = self
                .tickets
                .iter()
                .filter(|(_, t)| t.priority != Priority::Demand);
            let downloads: Vec<TicketId> = downloads.map(|(id, _)| *id).collect();
            for ticket in downloads {
                self.settle(ticket, Err(error.clone()));
            }
        }
    }

    /// A request broke off at `first`.
    pub(super) fn failed(
        &mut self,
        first: &Wanted,
        base: BaseId,
        started: Instant,
        error: TransferError,
        now: Instant,
    ) {
        self.bases[base].failed(started, now, error.clone());
        if let Some(item) = self.items.get_mut(first) {
            item.attempts += 1;
            if item.attempts >= self.tuning.attempts {
                // Where somebody can do something about another server, that is told too.
                let asked = item.barred.iter().map(|(_, error)| error.clone());
                let asked = asked.filter(TransferError::is_login);
                let tried = std::iter::once(error).chain(asked).collect();
                let error = TransferError::combined(&paths::pack(&first.pack), tried);
                self.fail_downloads(first, &error);
            }
        }
        if self.bases[base].given_up(self.tuning.attempts).is_none() {
            return;
        }
        let attempts = self.tuning.attempts;
        let bases = &self.bases;
        let hopeless = |item: &Item| item.open().all(|base| bases[base].given_up(attempts).is_some());
        // A machine waits for as long as it takes, unless somebody can do something about it.
        let waits = |item: &Item| {
            item.priority == Priority::Demand && !item.barred.iter().any(|(_, error)| error.is_login())
        };
        let hopeless = self
            .items
            .iter()
            .filter(|(_, item)| item.state == State::Queued && !waits(item) && hopeless(item));
        let hopeless: Vec<Wanted> = hopeless.map(|(wanted, _)| *wanted).collect();
        for wanted in hopeless {
            let Some(item) = self.items.get(&wanted) else {
                continue;
            };
            let last = item
                .open()
                .filter_map(|base| self.bases[base].given_up(attempts).cloned());
            let barred = item.barred.iter().map(|(_, error)| error.clone());
            let is_demand = item.priority == Priority::Demand;
            let error = TransferError::combined(&paths::pack(&wanted.pack), last.chain(barred).collect());
            if is_demand {
                self.fail_all(&wanted, &error);
            } else {
                self.fail_downloads(&wanted, &error);
            }
        }
    }

    /// Somebody has signed in: servers that asked who one is are asked again.
    pub(crate) fn signed_in(&mut self) {
        for item in self.items.values_mut() {
            item.barred.retain(|(_, error)| !error.is_login());
        }
    }

    /// Does not ask a server for this pack again.
    pub(super) fn bar_pack(&mut self, pack: PackId, base: BaseId, error: &TransferError) {
        let queued = self.of_pack(pack).filter(|(_, item)| item.state == State::Queued);
        let queued: Vec<Wanted> = queued.map(|(wanted, _)| *wanted).collect();
        for wanted in queued {
            self.bar(&wanted, base, error.clone());
        }
    }

    /// Does not ask a server for this chunk again. If none is left, those with wrong bytes are asked once more, past
    /// all caches; then it has failed.
    fn bar(&mut self, wanted: &Wanted, base: BaseId, error: TransferError) {
        let Some(item) = self.items.get_mut(wanted) else {
            return;
        };
        if !item.bases.contains(&base) || item.is_barred(base) {
            return;
        }
        item.barred.push((base, error));
        item.partial = None;
        if item.open().next().is_some() {
            return;
        }
        if !item.fresh && item.barred.iter().any(|(_, error)| error.is_of_the_copy()) {
            item.fresh = true;
            item.barred.retain(|(_, error)| !error.is_of_the_copy());
            return;
        }
        let tried = item.barred.iter().map(|(_, error)| error.clone()).collect();
        let error = TransferError::combined(&paths::pack(&wanted.pack), tried);
        self.fail_all(wanted, &error);
    }

    /// Fails everybody who waits for a chunk.
    fn fail_all(&mut self, wanted: &Wanted, error: &TransferError) {
        let Some(item) = self.items.remove(wanted) else {
            return;
        };
        self.queued[item.priority as usize].remove(wanted);
        for ticket in item.tickets {
            self.settle(ticket, Err(error.clone()));
        }
    }

    /// Fails those who wait for a chunk, but no machine.
    fn fail_downloads(&mut self, wanted: &Wanted, error: &TransferError) {
        let tickets = self.items.get(wanted).map(|item| item.tickets.clone());
        for ticket in tickets.unwrap_or_default() {
            let priority = self.tickets.get(&ticket).map(|t| t.priority);
            if priority.is_some_and(|priority| priority != Priority::Demand) {
                self.settle(ticket, Err(error.clone()));
            }
        }
    }
}
