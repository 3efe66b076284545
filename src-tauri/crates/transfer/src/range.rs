//! One request for a range of a pack, or all of it, taken apart into chunks as it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::Response;
use tokio::io::AsyncSeekExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::body::{self, Body};
use crate::cap::Cap;
use crate::client::{Client, Kind};
use crate::driver::Event;
use crate::error::{Result, TransferError};
use crate::landing::{Arrived, Landing};
use crate::pace::Pace;
use crate::schedule::{Ended, Partial, Plan};
use crate::wanted::Wanted;

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
    let mut flight = Flight::new(&around, plan, &got);
    let result = tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(()),
        result = flight.transfer() => result,
    };
    Ended {
        delivered: flight.delivered,
        partial: flight.partial(),
        error: result.err(),
    }
}

struct Flight<'a> {
    around: &'a Surroundings,
    plan: Plan,
    got: &'a AtomicU64,
    /// Of the plan's chunks, as many were handed in.
    delivered: usize,
    /// The beginning of the next one.
    buffer: BytesMut,
    etag: Option<String>,
    /// Where in the pack the body's next byte lies.
    position: u64,
}

impl<'a> Flight<'a> {
    fn new(around: &'a Surroundings, mut plan: Plan, got: &'a AtomicU64) -> Self {
        let partial = plan.partial.take();
        let (buffer, etag) = partial
            .map(|partial| (partial.bytes, partial.etag))
            .unwrap_or_default();
        Self {
            around,
            plan,
            got,
            delivered: 0,
            buffer,
            etag,
            position: 0,
        }
    }

    /// Takes all chunks from the server's answer.
    async fn transfer(&mut self) -> Result<()> {
        let mut pace = Pace::new(self.around.client.config.stall_timeout);
        let Some(mut body) = self.open().await? else {
            return Ok(());
        };
        while self.delivered < self.plan.items.len() {
            let Some(bytes) = body.next(&self.plan.url, &mut pace).await? else {
                let what = format!("the answer ended early, at byte {} of the pack", self.position);
                return Err(TransferError::network(&self.plan.url, what));
            };
            let size = bytes.len();
            self.got.fetch_add(size as u64, Ordering::Relaxed);
            self.take(bytes).await?;
            let urgent = || self.plan.urgent.load(Ordering::Relaxed);
            self.around.cap.take(size, urgent).await;
        }
        Ok(())
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
        permit.ok_or(TransferError::Stopped)?.send(Arrived {
            wanted,
            stored: self.buffer.split().freeze(),
            base: self.plan.base,
            url: self.plan.url.clone(),
        });
        self.delivered += 1;
        Ok(())
    }

    /// What came of the next chunk, to go on from there.
    fn partial(&mut self) -> Option<Partial> {
        let next = self.plan.items.get(self.delivered)?;
        // One that is whole, but could not be handed in before the request was cancelled, leaves nothing to ask for.
        let is_part = (1..u64::from(next.chunk.entry.stored)).contains(&(self.buffer.len() as u64));
        is_part.then(|| Partial {
            base: self.plan.base,
            bytes: std::mem::take(&mut self.buffer),
            etag: self.etag.take(),
        })
    }

    /// Asks, and checks what kind of answer comes; `None` if its chunks are on their way already.
    async fn open(&mut self) -> Result<Option<Body>> {
        let Some((first, last)) = self.plan.items.first().zip(self.plan.items.last()) else {
            return Ok(None);
        };
        let end = last.end();
        let first = first.offset();
        let start = first + self.buffer.len() as u64;
        if self.plan.url.scheme() == "file" {
            return self.open_file(start).await.map(Some);
        }
        let response = self.ask(start, end).await?;
        let is_changed = !self.buffer.is_empty() && response.status() == StatusCode::OK;
        let (response, start) = if is_changed {
            // The pack is not the one that the first part came from: from the beginning, then.
            drop(response);
            self.buffer.clear();
            self.etag = None;
            (self.ask(first, end).await?, first)
        } else {
            (response, start)
        };
        let url = &self.plan.url;
        if response.status().is_success()
            && let Some(encoding) = response.headers().get(CONTENT_ENCODING)
            && encoding != "identity"
        {
            let what = "it compresses packs on the way, so that ranges mean nothing";
            return Err(TransferError::refused(url, what));
        }
        self.etag = strong_etag(response.headers());
        match response.status() {
            StatusCode::PARTIAL_CONTENT if !self.plan.whole => {
                let range = content_range(response.headers());
                if range.is_none_or(|(from, to)| from != start || to < from) {
                    let what = match range {
                        Some((from, to)) => format!(
                            "it sent bytes {from} to {to} when asked for {start} to {}",
                            end - 1
                        ),
                        None => "it sent a part without saying which".to_owned(),
                    };
                    return Err(TransferError::network(url, what));
                }
                self.position = start;
                self.answered(true).await;
            }
            StatusCode::OK if self.plan.whole => self.position = 0,
            StatusCode::OK => match self.answered(false).await {
                Some(items) => {
                    self.plan.items = items;
                    self.position = 0;
                }
                None => return Ok(None),
            },
            status => return Err(body::failed(url, status, response.headers())),
        }
        Ok(Some(Body::Web(Box::new(response))))
    }

    async fn open_file(&mut self, start: u64) -> Result<Body> {
        let url = &self.plan.url;
        let mut file = body::open(url).await?;
        file.seek(std::io::SeekFrom::Start(start))
            .await
            .map_err(|error| TransferError::file(url, &error))?;
        self.position = start;
        Ok(Body::File(file))
    }

    async fn ask(&self, start: u64, end: u64) -> Result<Response> {
        let Plan {
            url, whole, fresh, ..
        } = &self.plan;
        let client = &self.around.client;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        // Digits, and what came as a header, are one.
        if !whole && let Ok(range) = format!("bytes={start}-{}", end - 1).parse() {
            headers.insert(RANGE, range);
        }
        if *fresh {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        let etag = self.etag.as_ref().filter(|_| !self.buffer.is_empty());
        if let Some(etag) = etag.and_then(|etag| etag.parse().ok()) {
            headers.insert(IF_RANGE, etag);
        }
        client.send(Kind::Range, url, headers).await
    }

    /// Tells the driver what kind of server this is.
    async fn answered(&self, ranges: bool) -> Option<Vec<Wanted>> {
        let (reply, items) = oneshot::channel();
        let id = self.plan.id;
        let _ = self.around.events.send(Event::Answered { id, ranges, reply });
        items.await.ok().flatten()
    }
}

/// An `ETag` that stands for the exact bytes (RFC 9110, 8.8.1).
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(ETAG)?.to_str().ok()?;
    etag.starts_with('"').then(|| etag.to_owned())
}

/// The first and the last byte of a part: `Content-Range: bytes FIRST-LAST/SIZE`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, _size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_etags_are_read_strictly() {
        let mut headers = HeaderMap::new();
        let mut range = |value: &str| {
            headers.insert(CONTENT_RANGE, value.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(range("bytes 5-9/100"), Some((5, 9)));
        assert_eq!(range("bytes 5-9/*"), Some((5, 9)), "the size may be unknown");
        for wrong in [
            "5-9/100",
            "bytes */100",
            "bytes 5-9",
            "bytes -9/100",
            "items 5-9/100",
            "bytes 5-x/9",
        ] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, "W/\"a\"".parse().unwrap());
        assert_eq!(
            strong_etag(&headers),
            None,
            "a weak one may stand for other bytes"
        );
        headers.insert(ETAG, "\"a\"".parse().unwrap());
        assert_eq!(strong_etag(&headers).as_deref(), Some("\"a\""));
    }
}
