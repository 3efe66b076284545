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
    /// Requests that broke off at this chunk without having sent anything.
    pub(super) attempts: u32,
    pub(super) partial: Option<Partial>,
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

/// The beginning of a chunk whose transfer broke off.
#[derive(Clone, Debug)]
pub(crate) struct Partial {
    pub(crate) base: BaseId,
    pub(crate) bytes: BytesMut,
    /// The strong `ETag` of the pack that it is a part of, if the server gave one.
    pub(crate) etag: Option<String>,
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
    /// What came of the next one.
    pub(crate) partial: Option<Partial>,
    /// Why not all came; nothing if they did, or if the request was cancelled.
    pub(crate) error: Option<TransferError>,
}
