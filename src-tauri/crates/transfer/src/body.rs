//! A server's answer: what its status means, and its bytes as they come.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use reqwest::Response;
use tokio::io::AsyncReadExt as _;
use url::Url;

use crate::coding::{self, Coding, Pieces};
use crate::error::{Result, TransferError, shown};
use crate::pace::Pace;
use crate::trouble::TRY_LATER;

/// Bytes that are read from a local file at a time.
const BLOCK: usize = 128 * 1024;
/// The longest pause that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// The bytes of an answer, or of a local file.
pub(crate) enum Body {
    /// From a web server, as they come; and how many came.
    Web(Box<Response>, Arc<AtomicU64>),
    /// From a web server, after what was done to them is undone.
    Undone(Pieces),
    /// From a local file, at its current place.
    File(tokio::fs::File, Arc<AtomicU64>),
}

/// All of a file, from its beginning, as a server sends it.
pub(crate) struct Whole {
    pub(crate) body: Body,
    /// How it begins.
    pub(crate) head: Bytes,
    /// Something was done to it, and is undone.
    pub(crate) changed: bool,
}

impl Body {
    /// The body of an answer that has all of a file. What the server did to it is undone; at most `limit` bytes are taken from
    /// it for that. Counts in `got` what comes from the network.
    pub(crate) async fn whole(
        url: &Url,
        response: Response,
        said: &[Coding],
        got: Arc<AtomicU64>,
        limit: u64,
        pace: &mut Pace,
    ) -> Result<Whole> {
        let before = got.load(Ordering::Relaxed);
        let pieces = stream::try_unfold(response, move |mut response| {
            let got = Arc::clone(&got);
            async move {
                let Some(piece) = response.chunk().await.map_err(io::Error::other)? else {
                    return Ok(None);
                };
                let all = got.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
                if all - before > limit {
                    let what = format!("it sent more than {limit} bytes, which are too many for this file");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                Ok(Some((piece, response)))
            }
        });
        let undone = pace.wait(coding::undo(pieces.boxed(), said)).await;
        let undone = undone.map_err(|what| TransferError::network(url, what))?;
        let undone = undone.map_err(|error| broken(url, error))?;
        Ok(Whole {
            body: Self::Undone(undone.pieces),
            head: undone.head,
            changed: undone.changed,
        })
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self, url: &Url, pace: &mut Pace) -> Result<Option<Bytes>> {
        let late = |what: String| TransferError::network(url, what);
        let next = match self {
            Self::Web(response, got) => {
                let next = pace.wait(response.chunk()).await.map_err(late)?;
                let next = next.map_err(|error| TransferError::reqwest(url, error))?;
                count(got, next.as_ref());
                next
            }
            Self::Undone(pieces) => {
                let next = pace.wait(pieces.try_next()).await.map_err(late)?;
                next.map_err(|error| broken(url, error))?
            }
            Self::File(file, got) => {
                let mut block = Vec::with_capacity(BLOCK);
                let read = file.read_buf(&mut block).await;
                read.map_err(|error| TransferError::file(url, &error))?;
                let next = (!block.is_empty()).then(|| Bytes::from(block));
                count(got, next.as_ref());
                next
            }
        };
        if let Some(bytes) = &next {
            pace.add(bytes.len());
        }
        Ok(next)
    }

    /// All bytes, at most `limit` of them, whatever length was promised.
    pub(crate) async fn read(mut self, url: &Url, limit: u64, mut pace: Pace) -> Result<Bytes> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next(url, &mut pace).await? {
            if (all.len() + bytes.len()) as u64 > limit {
                return Err(TransferError::too_large(url, limit));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.into())
    }
}

fn count(got: &AtomicU64, next: Option<&Bytes>) {
    got.fetch_add(next.map_or(0, Bytes::len) as u64, Ordering::Relaxed);
}

/// A body broke off, or what was done to it cannot be undone.
fn broken(url: &Url, error: io::Error) -> TransferError {
    match error.downcast::<reqwest::Error>() {
        Ok(error) => TransferError::reqwest(url, error),
        Err(error) => TransferError::network(url, format!("what it sent cannot be decompressed: {error}")),
    }
}

/// Opens a local file whose URL begins with `file:`.
pub(crate) async fn open(url: &Url) -> Result<tokio::fs::File> {
    let path = url
        .to_file_path()
        .map_err(|()| TransferError::refused(url, "it names no local file"))?;
    let open = livepc_panics::blocking("opening a file", move || livepc_durable::open(&path)).await;
    open.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
        .map(tokio::fs::File::from_std)
        .map_err(|error| TransferError::file(url, &error))
}

/// Tells what a status other than the expected ones means.
pub(crate) fn failed(url: &Url, status: StatusCode, headers: &HeaderMap) -> TransferError {
    let said = match status.canonical_reason() {
        Some(reason) => format!("the server said {} {reason}", status.as_u16()),
        None => format!("the server said {}", status.as_u16()),
    };
    match status {
        StatusCode::NETWORK_AUTHENTICATION_REQUIRED => trouble(
            url,
            "the network wants one to sign in to it first (511)".to_owned(),
            headers,
        ),
        StatusCode::NOT_FOUND | StatusCode::GONE => TransferError::not_found(url),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            trouble(url, said, headers)
        }
        status if status.is_server_error() => trouble(url, said, headers),
        _ => TransferError::refused(url, said),
    }
}

fn trouble(url: &Url, what: String, headers: &HeaderMap) -> TransferError {
    TransferError::Network {
        url: shown(url),
        what,
        advice: TRY_LATER,
        retry_after: retry_after(headers),
    }
}

/// How long the server wants to be left alone: seconds or a date (RFC 9110, 10.2.3), at most a minute.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let time = |text: &str| Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp());
            let until = time(value)?;
            // By the server's own clock: one of the two may be wrong.
            let its_now = headers
                .get(DATE)
                .and_then(|date| time(date.to_str().ok()?.trim()));
            let now = its_now.unwrap_or_else(jiff::Timestamp::now);
            // A date that is over asks for no pause.
            Duration::try_from(until.duration_since(now)).unwrap_or_default()
        }
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers)
    }

    #[test]
    fn a_pause_is_read_and_bounded() {
        assert_eq!(asked("3"), Some(Duration::from_secs(3)));
        assert_eq!(
            asked("86400"),
            Some(RETRY_AFTER_MAX),
            "no server stops us for a day"
        );
        assert_eq!(
            asked("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::ZERO),
            "that is over"
        );
        assert_eq!(asked("Tue, 01 Jan 2999 00:00:00 GMT"), Some(RETRY_AFTER_MAX));
        assert_eq!(asked("soon"), None);
        let mut headers = HeaderMap::new();
        headers.insert(DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        headers.insert(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:41 GMT".parse().unwrap());
        assert_eq!(
            retry_after(&headers),
            Some(Duration::from_secs(4)),
            "by the server's clock"
        );
    }

    #[test]
    fn each_status_has_its_meaning() {
        let url = Url::parse("https://a.example/x").unwrap();
        let of = |status: u16| failed(&url, StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        for again in [408, 429, 500, 503] {
            assert!(of(again).is_network(), "{again} may pass");
        }
        for gone in [404, 410] {
            assert!(of(gone).is_not_found(), "{gone} is absence");
        }
        for no in [400, 401, 403, 416] {
            assert!(matches!(of(no), TransferError::Refused { .. }), "{no} is a no");
        }
    }
}
