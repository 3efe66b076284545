//! How a publication tells how far it is.

use crate::error::{PublishError, Result};

/// What a publication is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Reading the page lists of earlier releases. Counted in packs.
    Known,
    /// Reading the disks, to find the pages that are new. Counted in bytes of the disks.
    Scan,
    /// Compressing and writing the new pages. Counted in bytes before compression.
    Pack,
    /// Writing the index. Counted in regions.
    Index,
    /// Reckoning what subscribers will fetch. Counted in packs.
    Reckon,
}

/// Who wants to know how far a publication is. Called often, and from one thread at a time.
pub trait Progress: Send + Sync {
    /// `done` of `total` of the phase is done, in the phase's unit.
    fn report(&self, phase: Phase, done: u64, total: u64);

    /// True once the publication should stop; it then ends with [`PublishError::Cancelled`].
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _phase: Phase, _done: u64, _total: u64) {}
}

/// Counts through one phase.
pub(crate) struct Counter<'a> {
    progress: &'a dyn Progress,
    phase: Phase,
    done: u64,
    total: u64,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(progress: &'a dyn Progress, phase: Phase, total: u64) -> Self {
        progress.report(phase, 0, total);
        Self {
            progress,
            phase,
            done: 0,
            total,
        }
    }

    /// Says how far the phase is, and stops it if it should stop.
    pub(crate) fn at(&mut self, done: u64) -> Result<()> {
        if self.progress.cancelled() {
            return Err(PublishError::Cancelled);
        }
        if done != self.done {
            self.done = done;
            self.progress.report(self.phase, done, self.total);
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, more: u64) -> Result<()> {
        self.at(self.done + more)
    }
}
