//! One request for a range of a pack, or all of it, taken apart into chunks as it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use livepc_format::limits::PACK_STORED;
use reqwest::Response;
use tokio::io::AsyncSeekExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::answer::{self, Answer, Asked, Part};
use crate::body::{self, Body};
use crate::cap::Cap;
use crate::client::Client;
use crate::coding::{self, Coding};
use crate::driver::Event;
use crate::error::{Result, TransferError};
use crate::landing::{Arrived, Landing};
use crate::pace::Pace;
use crate::schedule::{Doubt, Ended, LEAST, Partial, Plan, Span};
use crate::wanted::Wanted;

/// Bytes that a pack may take on its way, whatever was done to it.
const WIRE: u64 = 2 * PACK_STORED;

/// What a request needs of its surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) client: Client,
    pub(crate) landing: Landing,
    pub(crate) cap: Arc<Cap>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
}

/// Makes the request; counts what comes in `got`.
pub(crate) async fn run(
    around: Surroundings,
    plan: Plan,
    got: Arc<AtomicU64>,
    cancel: CancellationToken,
) -> Ended {
    let mut flight = Flight::new(&around, plan, got);
    let result = tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(()),
        result = flight.transfer() => result,
    };
    let partial = flight.partial();
    Ended {
        delivered: flight.delivered,
        kept: if flight.delivered > 0 || partial.is_some() {
            flight.kept
        } else {
            0
        },
        partial,
        doubt: flight.way_out,
        error: result.err(),
    }
}

struct Flight<'a> {
    around: &'a Surroundings,
    plan: Plan,
    got: Arc<AtomicU64>,
    pace: Pace,
    /// Of the plan's chunks, as many were handed in.
    delivered: usize,
    /// The beginning of the next one.
    buffer: BytesMut,
    /// Bytes of chunks that came, of those that were handed in and of the next one.
    kept: u64,
    /// The beginning of the first chunk is from an earlier request.
    pieced: bool,
    /// The server was asked for all of the pack, without a range.
    is_plain: bool,
    /// There is another way to ask, that may fare better than this one which failed.
    way_out: Option<Doubt>,
    /// Where in the pack the body's next byte lies.
    position: u64,
    /// The bytes of the pack, if the server said it.
    size: Option<u64>,
    /// Why what comes may be wrong although the server has the right bytes.
    doubt: Option<Doubt>,
    /// What the server said that it did to the body, as far as that is not known here.
    note: Option<String>,
}

impl<'a> Flight<'a> {
    fn new(around: &'a Surroundings, mut plan: Plan, got: Arc<AtomicU64>) -> Self {
        let buffer = plan
            .partial
            .take()
            .map(|partial| partial.bytes)
            .unwrap_or_default();
        Self {
            around,
            plan,
            got,
            pace: Pace::new(around.client.config.stall_timeout),
            delivered: 0,
            kept: 0,
            pieced: !buffer.is_empty(),
            is_plain: false,
            way_out: None,
            buffer,
            position: 0,
            size: None,
            doubt: None,
            note: None,
        }
    }

    /// Takes all chunks from the server's answer, or as many as it has.
    async fn transfer(&mut self) -> Result<()> {
        let Some(mut body) = self.open().await? else {
            return Ok(());
        };
        while self.delivered < self.plan.items.len() {
            let next = body.next(&self.plan.url, &mut self.pace).await?;
            let Some(bytes) = next else {
                return self.ended_early();
            };
            let size = bytes.len();
            self.take(bytes).await?;
            let urgent = || self.plan.urgent.load(Ordering::Relaxed);
            self.around.cap.take(size, urgent).await;
        }
        Ok(())
    }

    /// True if an answer that ends here says that the pack does.
    fn is_at_end(&self) -> bool {
        match self.size {
            Some(size) => size <= self.position,
            None => self.plan.whole,
        }
    }

    /// The answer has ended before all chunks came. That is no failure if it brought enough: the rest is asked for at once.
    fn ended_early(&mut self) -> Result<()> {
        let has_progress = self.delivered > 0 || (self.kept >= LEAST && !self.plan.whole);
        if has_progress && !self.is_at_end() {
            return Ok(());
        }
        // That a pack ends is not to be believed of a part, nor of what may be one, nor of what was decompressed.
        self.way_out = match self.doubt {
            Some(doubt @ Doubt::Coding { .. }) => Some(doubt),
            _ => (!self.is_plain).then_some(Doubt::Range),
        };
        if self.is_at_end() {
            let size = self.size.map_or(self.position, |size| size.min(self.position));
            return Err(short(&self.plan.url, size));
        }
        let end = self.plan.items.last().map_or(0, Wanted::end);
        let what = format!(
            "its answer ended at byte {} of the pack when it was asked for bytes up to {end}",
            self.position
        );
        Err(TransferError::network(&self.plan.url, what))
    }

    /// Takes what the next bytes bring for the chunks; what lies between is dropped.
    async fn take(&mut self, mut bytes: Bytes) -> Result<()> {
        while let Some(wanted) = self.plan.items.get(self.delivered).copied() {
            let next = wanted.offset() + self.buffer.len() as u64;
            let skip = (next - self.position).min(bytes.len() as u64);
            self.skip(&mut bytes, skip);
            if bytes.is_empty() {
                break;
            }
            let part = (wanted.end() - next).min(bytes.len() as u64);
            self.position += part;
            self.kept += part;
            // At most what `bytes` has.
            self.buffer.extend_from_slice(&bytes.split_to(part as usize));
            if self.position == wanted.end() {
                self.deliver(wanted).await?;
            }
        }
        Ok(())
    }

    fn skip(&mut self, bytes: &mut Bytes, count: u64) {
        bytes.advance(count as usize);
        self.position += count;
    }

    async fn deliver(&mut self, wanted: Wanted) -> Result<()> {
        let urgent = self.plan.urgent.load(Ordering::Relaxed);
        let permit = self.around.landing.reserve(urgent).await;
        let pieced = std::mem::take(&mut self.pieced).then_some(Doubt::Pieced);
        permit.ok_or(TransferError::Stopped)?.send(Arrived {
            wanted,
            stored: self.buffer.split().freeze(),
            base: self.plan.base,
            url: self.plan.url.clone(),
            doubt: self.doubt.or(pieced),
            note: self.note.clone(),
        });
        self.delivered += 1;
        Ok(())
    }

    /// What came of the next chunk, to go on from there.
    fn partial(&mut self) -> Option<Partial> {
        let next = self.plan.items.get(self.delivered)?;
        // One that is whole, but could not be handed in before the request was cancelled, leaves nothing to ask for. And who
        // sends no ranges cannot go on.
        let is_part = (1..u64::from(next.chunk.entry.stored)).contains(&(self.buffer.len() as u64));
        (is_part && !self.plan.whole).then(|| Partial {
            bytes: std::mem::take(&mut self.buffer),
        })
    }

    /// Asks, and finds out what kind of answer comes; `None` if its chunks are on their way already.
    async fn open(&mut self) -> Result<Option<Body>> {
        let Some((first, last)) = self.plan.items.first().zip(self.plan.items.last()) else {
            return Ok(None);
        };
        let (start, end) = (first.offset() + self.buffer.len() as u64, last.end());
        if self.plan.url.scheme() == "file" {
            return self.open_file(start).await.map(Some);
        }
        if self.plan.whole {
            return self.open_whole().await;
        }
        let response = self.ask(Some((start, end))).await?;
        let said = self.said(&response);
        match answer::read(response.status(), response.headers(), &said, Some((start, end))) {
            Answer::Part(part) => self.use_part(response, part, &said, (start, end)).await,
            Answer::Whole { sure } => self.use_whole(response, &said, sure).await,
            Answer::Useless(what) => {
                tracing::info!(url = %crate::error::shown(&self.plan.url), %what, "the whole pack is asked for");
                self.way_out = Some(Doubt::Range);
                Err(TransferError::refused(&self.plan.url, what))
            }
            Answer::Short(size) => Err(short(&self.plan.url, size)),
            Answer::Failed => Err(body::failed(
                &self.plan.url,
                response.status(),
                response.headers(),
            )),
        }
    }

    /// Asks for the whole pack.
    async fn open_whole(&mut self) -> Result<Option<Body>> {
        self.plan.whole = true;
        self.is_plain = true;
        let mut response = self.ask(None).await?;
        if response.status() == StatusCode::NOT_MODIFIED && !self.plan.fresh {
            // Nobody asked whether it was: a cache on the way has lost its wits.
            self.plan.fresh = true;
            response = self.ask(None).await?;
        }
        let said = self.said(&response);
        match answer::read(response.status(), response.headers(), &said, None) {
            Answer::Part(part) => self.use_part(response, part, &said, (0, u64::MAX)).await,
            Answer::Whole { .. } => self.use_whole(response, &said, true).await,
            Answer::Useless(what) => Err(TransferError::refused(&self.plan.url, what)),
            Answer::Short(size) => Err(short(&self.plan.url, size)),
            Answer::Failed => Err(body::failed(
                &self.plan.url,
                response.status(),
                response.headers(),
            )),
        }
    }

    /// Takes the chunks from a part of the pack that begins where it should, or before.
    async fn use_part(
        &mut self,
        response: Response,
        part: Part,
        said: &[Coding],
        (start, end): Asked,
    ) -> Result<Option<Body>> {
        self.position = part.first;
        self.size = part.size;
        self.doubt = match part.sure {
            false => Some(Doubt::Range),
            true => (self.plan.fresh && !self.plan.whole).then_some(Doubt::Cut),
        };
        self.note = note(said);
        // One that is as it should be, or shorter, has nothing for others.
        let is_more = part.first < start || part.end.is_none_or(|part_end| part_end > end);
        let span = Span {
            first: part.first,
            end: if is_more && part.sure {
                part.end.unwrap_or(end)
            } else {
                end
            },
        };
        let span = (!self.plan.whole).then_some(span);
        let body = Body::Web(Box::new(response), Arc::clone(&self.got));
        Ok(self.answered(span).await.then_some(body))
    }

    /// Takes the chunks from all of the pack, after what was done to it is undone.
    async fn use_whole(&mut self, response: Response, said: &[Coding], sure: bool) -> Result<Option<Body>> {
        let url = self.plan.url.clone();
        let got = Arc::clone(&self.got);
        let whole = Body::whole(&url, response, said, got, WIRE, &mut self.pace).await?;
        if let Some(what) = no_pack(&whole.head) {
            return Err(TransferError::network(&url, what));
        }
        self.plan.whole = true;
        self.position = 0;
        self.size = None;
        self.note = note(said);
        self.doubt = match sure {
            false => Some(Doubt::Range),
            // The headers may say more than was done.
            true if whole.changed => Some(Doubt::Coding {
                plain: self.plan.plain,
            }),
            true => None,
        };
        Ok(self.answered(None).await.then_some(whole.body))
    }

    async fn open_file(&mut self, start: u64) -> Result<Body> {
        let url = &self.plan.url;
        let mut file = body::open(url).await?;
        let size = file.metadata().await.map(|metadata| metadata.len());
        self.size = size.ok();
        // Where it ends is not to be doubted.
        self.is_plain = true;
        file.seek(std::io::SeekFrom::Start(start))
            .await
            .map_err(|error| TransferError::file(url, &error))?;
        self.position = start;
        Ok(Body::File(file, Arc::clone(&self.got)))
    }

    /// Asks for a range, or for the whole pack.
    async fn ask(&self, range: Option<Asked>) -> Result<Response> {
        let mut headers = HeaderMap::new();
        // A whole pack may come compressed from those who refuse to send it as it is.
        let encoding = if range.is_some() {
            "identity"
        } else {
            "identity, gzip;q=0.5"
        };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        // Digits, and what came as a header, are one.
        if let Some((start, end)) = range
            && let Ok(range) = format!("bytes={start}-{}", end - 1).parse()
        {
            headers.insert(RANGE, range);
        }
        if self.plan.fresh {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        self.around.client.send(&self.plan.url, headers).await
    }

    /// What the server says that it did to the body, unless that was found to be wrong.
    fn said(&self, response: &Response) -> Vec<Coding> {
        if self.plan.plain {
            return Vec::new();
        }
        coding::said(response.headers())
    }

    /// Tells the driver what came, and hears which chunks to take from it; false if there are none.
    async fn answered(&mut self, span: Option<Span>) -> bool {
        let (reply, items) = oneshot::channel();
        let id = self.plan.id;
        let _ = self.around.events.send(Event::Answered { id, span, reply });
        let Some(items) = items.await.ok().flatten() else {
            return false;
        };
        if items.first() != self.plan.items.first() {
            // The beginning is one of another chunk.
            self.buffer.clear();
            self.pieced = false;
        }
        self.plan.items = items;
        !self.plan.items.is_empty()
    }
}

/// What a server said that it did and nobody here can undo.
fn note(said: &[Coding]) -> Option<String> {
    let other = said.iter().find_map(|coding| match coding {
        Coding::Other(name) => Some(name),
        _ => None,
    });
    other.map(|name| format!("it said “Content-Encoding: {name}”, which LivePC does not know"))
}

/// What came instead of a pack, if it is plain that it is none.
fn no_pack(head: &[u8]) -> Option<&'static str> {
    let text = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head);
    match text.trim_ascii_start().first() {
        None => Some("it sent nothing, and said that this was the pack"),
        Some(b'<') => {
            Some("it sent a web page instead of the pack, as networks do in which one has to sign in first")
        }
        Some(b'{' | b'[') => Some("it sent a message instead of the pack"),
        Some(_) => None,
    }
}

/// The pack at this address has only so many bytes.
fn short(url: &url::Url, size: u64) -> TransferError {
    TransferError::Cut {
        url: crate::error::shown(url),
        size,
    }
}
