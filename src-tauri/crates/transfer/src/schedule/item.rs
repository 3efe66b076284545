//! What the schedule knows of a chunk, of who wants it, and of a request.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::BytesMut;
use tokio::time::Instant;
use url::Url;

use crate::error::TransferError;
use crate::fetcher::{Fetched, Priority};
use crate::wanted::Wanted;

pub(crate) type BaseId = usize;
pub(crate) type TicketId = u64;
pub(crate) type RequestId = u64;

/// Where a chunk is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Running(RequestId),
    /// Its bytes are here; they are being checked and kept.
    Landing,
}

/// A wanted chunk.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) state: State,
    pub(super) priority: Priority,
    pub(super) tickets: Vec<TicketId>,
    pub(super) bases: Vec<BaseId>,
    /// Servers that are not asked for it again, and why.
    pub(super) barred: Vec<(BaseId, TransferError)>,
    /// Caches on the way are to be passed by: what came before was wrong.
    pub(super) fresh: bool,
    /// The whole pack was asked for, as a part had wrong bytes also past all caches.
    pub(super) whole: bool,
    /// Requests that broke off at this chunk without having sent anything.
    pub(super) attempts: u32,
    pub(super) partial: Option<Partial>,
    /// How often it came with wrong bytes for which there was another reason than that the server has them.
    pub(super) doubts: u32,
    /// The order of asking: the place among the chunks of its ticket, then the ticket. So every ticket's first chunk comes
    /// before any ticket's second.
    pub(super) asked: (usize, TicketId),
}

impl Item {
    pub(super) fn is_barred(&self, base: BaseId) -> bool {
        self.barred.iter().any(|(barred, _)| *barred == base)
    }

    /// The servers that can still be asked.
    pub(super) fn open(&self) -> impl Iterator<Item = BaseId> + '_ {
        let bases = self.bases.iter().copied();
        bases.filter(|base| !self.is_barred(*base))
    }
}

/// The beginning of a chunk whose transfer broke off. It is gone on from wherever the rest comes from: the digest tells whether
/// both are of the same pack.
#[derive(Clone, Debug)]
pub(crate) struct Partial {
    pub(crate) bytes: BytesMut,
}

/// A part of a pack that a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    /// One past the last byte.
    pub(crate) end: u64,
}

/// Why a chunk's bytes may be wrong although the server has the right ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The server did not say clearly which part of the pack they are: the whole pack leaves no doubt.
    Range,
    /// The server says clearly which part of the pack they are, but they were wrong also past all caches: some cut a part from
    /// the wrong place, which the whole pack tells.
    Cut,
    /// What the server said that it did to them was undone (`plain` is false), or left as it was.
    Coding {
        /// What was done.
        plain: bool,
    },
    /// Their beginning came with another answer than the rest.
    Pieced,
}

/// Somebody who waits for chunks.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) priority: Priority,
    pub(super) items: Vec<Wanted>,
    pub(super) missing: usize,
    pub(super) result: Fetched,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) base: BaseId,
    pub(super) items: Vec<Wanted>,
    pub(super) priority: Priority,
    pub(super) started: Instant,
    /// Bytes asked for.
    pub(super) size: u64,
    /// Bytes that came.
    pub(super) got: u64,
    /// It reads a whole pack, because the server has no ranges.
    pub(super) whole: bool,
    pub(super) cancelled: bool,
    pub(super) urgent: Arc<AtomicBool>,
}

/// A request to make.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) id: RequestId,
    pub(crate) base: BaseId,
    /// The pack.
    pub(crate) url: Url,
    /// The chunks to take from it: in order, none overlapping another.
    pub(crate) items: Vec<Wanted>,
    /// The whole pack is asked for.
    pub(crate) whole: bool,
    /// Caches on the way are to be passed by.
    pub(crate) fresh: bool,
    /// Bodies are taken as they come, whatever their server says that it did to them.
    pub(crate) plain: bool,
    /// What is there of the first chunk.
    pub(crate) partial: Option<Partial>,
    /// True if a running machine waits for one of the chunks; it may become so on the way.
    pub(crate) urgent: Arc<AtomicBool>,
}

/// How a request ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Of the request's chunks, as many came.
    pub(crate) delivered: usize,
    /// Bytes that came and are of use: of those chunks, and of the next one.
    pub(crate) kept: u64,
    /// What is there of the next one.
    pub(crate) partial: Option<Partial>,
    /// Why it may fare better if it is made in another way.
    pub(crate) doubt: Option<Doubt>,
    /// Why not all came; nothing if they did, if the request was cancelled, or if the rest is to be asked for at once.
    pub(crate) error: Option<TransferError>,
}
