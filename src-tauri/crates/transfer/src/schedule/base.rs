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

/// For so long whole packs are read from a server whose ranges were of no use; then it is asked for one again.
const WHOLE: Duration = Duration::from_secs(300);
/// After so many failures in a row of a server that has never sent a range, it is asked for whole packs.
const WITHOUT: u32 = 2;
/// For so long a server that broke off is asked after the others.
const SHAKY: Duration = FORGIVEN;

/// For so long a server that turned a request away has no more at once than it answered then; afterwards more are tried.
const CROWDED: Duration = Duration::from_secs(60);
/// A server that answers one request after another is heard of within this time.
const SENDING: Duration = Duration::from_secs(3);

/// A folder that has packs.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) url: Url,
    /// How fast it sends.
    pub(crate) rate: Rate,
    /// Requests that are under way.
    pub(crate) running: usize,
    /// How many it may have, and until when that is believed, if it has turned one away beside others.
    crowded: Option<(usize, Instant)>,
    /// When something last came from it.
    heard_at: Option<Instant>,
    /// How many it should have.
    pub(super) streams: Streams,
    /// Whether it answers ranges; unknown before its first answer.
    pub(super) ranges: Option<bool>,
    /// Until when that is believed if it does not.
    whole_until: Option<Instant>,
    /// Until when its ranges are not held to be the reason for wrong bytes.
    cleared_until: Option<Instant>,
    /// What it says that it does to bodies is not true.
    pub(super) plain: bool,
    /// When it last broke off in the middle of an answer.
    broke_at: Option<Instant>,
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
            whole_until: None,
            cleared_until: None,
            plain: false,
            broke_at: None,
            url,
            rate: Rate::default(),
            running: 0,
            crowded: None,
            heard_at: None,
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

    /// True if it has not broken off for a while.
    pub(super) fn is_steady(&self, now: Instant) -> bool {
        self.broke_at.is_none_or(|at| now > at + SHAKY)
    }

    /// Notes that it broke off after something useful.
    pub(super) fn broke(&mut self, now: Instant) {
        self.broke_at = Some(now);
    }

    /// True if it is to be asked for whole packs.
    pub(super) fn sends_whole(&self, now: Instant) -> bool {
        match self.ranges {
            Some(ranges) => !ranges && self.whole_until.is_some_and(|until| now < until),
            None => self.backoff.failures() >= WITHOUT,
        }
    }

    /// Notes that it sends ranges, or whole packs only.
    pub(super) fn has_ranges(&mut self, ranges: bool, now: Instant) {
        if ranges && self.ranges == Some(false) && self.sends_whole(now) {
            // An answer that was on its way when they were found to be of no use.
            return;
        }
        self.ranges = Some(ranges);
        self.whole_until = (!ranges).then(|| now + WHOLE);
    }

    /// True if its ranges may be the reason for wrong bytes: nothing has shown that its whole packs are no better.
    pub(super) fn may_cut_wrong(&self, now: Instant) -> bool {
        self.cleared_until.is_none_or(|until| now >= until)
    }

    /// Notes that its whole packs have the same wrong bytes.
    pub(super) fn ranges_are_right(&mut self, now: Instant) {
        self.ranges = Some(true);
        self.whole_until = None;
        self.cleared_until = Some(now + WHOLE);
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
        let unknown = self.ranges.is_none() || (self.ranges == Some(false) && !self.sends_whole(now));
        if unknown || !self.is_well(now) {
            return 1;
        }
        let crowded = self
            .crowded
            .filter(|(_, until)| now < *until && self.is_sending(now));
        crowded.map_or(all, |(most, _)| most.min(all))
    }

    /// Notes that something came from it.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// True if something came from it a moment ago.
    fn is_sending(&self, now: Instant) -> bool {
        self.heard_at.is_some_and(|at| now < at + SENDING)
    }

    /// A request came to nothing. True if that is no failure, but the server allows no more than those that it answers
    /// meanwhile, as many limit what one address may ask for at once; then it has no more from now on.
    pub(super) fn is_crowded(&mut self, error: &TransferError, now: Instant) -> bool {
        if self.running == 0 || !self.is_well(now) || !self.is_sending(now) {
            return false;
        }
        self.crowded = Some((self.running, now + CROWDED));
        if let Some(pause) = error.asked_pause() {
            self.not_before = self.not_before.max(Some(now + pause));
        }
        true
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
            self.not_before = Some(now + self.backoff.next(error.asked_pause()));
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
