//! One server's folder: how well it does, and whether it may be asked now.

use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::backoff::Backoff;
use crate::error::TransferError;
use crate::rate::Rate;

use super::Tuning;
use super::streams::Streams;

/// After this time without a failure a server counts as well again, and is tried. If it fails then, it is after twice this
/// time, and so on.
const FORGIVEN: Duration = Duration::from_secs(60);
/// How often that is doubled: up to about half an hour.
const DOUBLINGS: u32 = 5;

/// A folder that has packs.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) url: Url,
    /// How fast it sends.
    pub(crate) rate: Rate,
    /// Requests that are under way.
    pub(crate) running: usize,
    /// How many it should have.
    pub(super) streams: Streams,
    /// Whether it answers ranges; unknown before its first answer.
    pub(crate) ranges: Option<bool>,
    backoff: Backoff,
    failed_at: Option<Instant>,
    /// How often it was tried again in vain.
    relapses: u32,
    not_before: Option<Instant>,
    last_error: Option<TransferError>,
}

impl Base {
    pub(crate) fn new(url: Url, tuning: &Tuning) -> Self {
        Self {
            // Local folders need no proof.
            ranges: (url.scheme() == "file").then_some(true),
            url,
            rate: Rate::default(),
            running: 0,
            // One place is left to what a machine waits for.
            streams: Streams::new(tuning.connections.saturating_sub(1).max(1)),
            backoff: Backoff::new(tuning.backoff),
            failed_at: None,
            relapses: 0,
            not_before: None,
            last_error: None,
        }
    }

    /// True if nothing speaks against it, or what did lies long back.
    pub(crate) fn is_well(&self, now: Instant) -> bool {
        let pause = FORGIVEN * (1 << self.relapses.min(DOUBLINGS));
        self.failed_at.is_none_or(|at| now > at + pause)
    }

    /// True if the last that was heard of it is a failure.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed_at.is_some()
    }

    /// When it may be asked again after its last failure.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Requests that it may have at once: one, while it must first show what it can.
    pub(crate) fn connections(&self, now: Instant, all: usize) -> usize {
        if self.ranges.is_none() || !self.is_well(now) {
            1
        } else {
            all
        }
    }

    /// Notes that it sent something useful.
    pub(crate) fn succeeded(&mut self) {
        self.backoff.reset();
        self.failed_at = None;
        self.relapses = 0;
        self.not_before = None;
        self.last_error = None;
    }

    /// Notes that a request, begun at `started`, failed. Those that ran side by side count as one.
    pub(crate) fn failed(&mut self, started: Instant, now: Instant, error: TransferError) {
        if self.is_well(now) {
            // What lies long back is no part of this row of failures.
            self.backoff.reset();
            self.relapses += u32::from(self.failed_at.take().is_some());
        }
        if self.failed_at.is_none_or(|at| started >= at) {
            let asked = match &error {
                TransferError::Network { retry_after, .. } => *retry_after,
                _ => None,
            };
            self.not_before = Some(now + self.backoff.next(asked));
            self.failed_at = Some(now);
        }
        self.last_error = Some(error);
    }

    /// Its last failure, if it has failed `attempts` times in a row.
    pub(crate) fn given_up(&self, attempts: u32) -> Option<&TransferError> {
        self.last_error
            .as_ref()
            .filter(|_| self.backoff.failures() >= attempts)
    }
}
