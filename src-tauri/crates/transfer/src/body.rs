//! A server's answer: what its status means, and its bytes as they come.

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use reqwest::Response;
use tokio::io::AsyncReadExt as _;
use url::Url;

use crate::error::{Result, TransferError, shown};
use crate::pace::Pace;
use crate::trouble::TRY_LATER;

/// Bytes that are read from a local file at a time.
const BLOCK: usize = 128 * 1024;
/// The longest pause that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// The bytes of an answer, or of a local file.
#[derive(Debug)]
pub(crate) enum Body {
    /// From a web server.
    Web(Box<Response>),
    /// From a local file, at its current place.
    File(tokio::fs::File),
}

impl Body {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self, url: &Url, pace: &mut Pace) -> Result<Option<Bytes>> {
        let next = match self {
            Self::Web(response) => pace
                .wait(response.chunk())
                .await
                .map_err(|what| TransferError::network(url, what))?
                .map_err(|error| TransferError::reqwest(url, error))?,
            Self::File(file) => {
                let mut block = Vec::with_capacity(BLOCK);
                let read = file.read_buf(&mut block).await;
                read.map_err(|error| TransferError::file(url, &error))?;
                (!block.is_empty()).then(|| Bytes::from(block))
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

/// Opens a local file whose URL begins with `file:`.
pub(crate) async fn open(url: &Url) -> Result<tokio::fs::File> {
    let path = url
        .to_file_path()
        .map_err(|()| TransferError::refused(url, "it names no local file"))?;
    tokio::fs::File::open(path)
        .await
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
            let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
            // A date that is over asks for no pause.
            Duration::try_from(date.duration_since(jiff::Timestamp::now())).unwrap_or_default()
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
