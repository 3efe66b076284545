//! Whole small files: feeds, heads and keys with conditional requests; manifests and index objects by digest.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};
use livepc_format::Digest;
use url::Url;

use crate::backoff::Backoff;
use crate::body::{self, Body};
use crate::client::{Client, Kind};
use crate::error::{Result, TransferError};
use crate::login::without_login;
use crate::origin::{Origin, join};
use crate::pace::Pace;

/// How often all servers are asked for a file before it is given up.
const ROUNDS: u32 = 3;

/// What a server said of a version of a document, to be sent back with the next request for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// The `ETag`.
    pub etag: Option<String>,
    /// The `Last-Modified` date, as it was sent.
    pub last_modified: Option<String>,
}

/// The answer to a conditional request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// It is what the validators describe.
    NotModified,
    /// It is this.
    New {
        /// The document. Nothing of it was checked but its length.
        bytes: Bytes,
        /// What to send with the next request.
        validators: Validators,
        /// Where it was found, after redirects.
        url: Url,
    },
}

impl Client {
    /// Gets a document of at most `limit` bytes, unless it is what `validators` describe. One try.
    ///
    /// # Errors
    /// Every network, status and size error of [`TransferError`].
    pub async fn document(&self, url: &Url, limit: u64, validators: Option<&Validators>) -> Result<Document> {
        if url.scheme() == "file" {
            return local(url, limit, validators, self.config.stall_timeout).await;
        }
        let mut headers = HeaderMap::new();
        if let Some(known) = validators {
            // What is no header value cannot come from a server: it is left out, and the document comes whole.
            if let Some(etag) = known.etag.as_ref().and_then(|text| text.parse().ok()) {
                headers.insert(IF_NONE_MATCH, etag);
            }
            if let Some(date) = known.last_modified.as_ref().and_then(|text| text.parse().ok()) {
                headers.insert(IF_MODIFIED_SINCE, date);
            }
        }
        self.get(url, limit, headers).await
    }

    /// Gets an immutable file of at most `limit` bytes: `path` in one of the origin's folders. The next folder is
    /// asked if one fails or has other bytes; failures that may pass are tried again, three times in all.
    ///
    /// # Errors
    /// What went wrong at each server.
    pub async fn verified(&self, origin: &Origin, path: &str, digest: &Digest, limit: u64) -> Result<Bytes> {
        let mut backoff = Backoff::new(self.config.backoff);
        let mut fresh = false;
        let mut round = 0;
        loop {
            round += 1;
            let mut tried = Vec::new();
            for base in origin.bases() {
                let url = join(base, path);
                match self.checked(&url, digest, limit, fresh).await {
                    Ok(bytes) => {
                        tracing::debug!(%path, base = %crate::error::shown(base), bytes = bytes.len(), "got");
                        return Ok(bytes);
                    }
                    Err(error) => {
                        tracing::info!(%error, "a server could not give a file");
                        tried.push(error);
                    }
                }
            }
            // Wrong bytes may come from a cache on the way: it is passed by, once.
            let stale = !fresh && tried.iter().any(TransferError::is_digest);
            let again = tried.iter().any(TransferError::is_network);
            if round >= ROUNDS || !(stale || again) {
                return Err(TransferError::combined(path, tried));
            }
            fresh |= stale;
            if again {
                tokio::time::sleep(backoff.next(asked_pause(&tried))).await;
            }
        }
    }

    async fn checked(&self, url: &Url, digest: &Digest, limit: u64, fresh: bool) -> Result<Bytes> {
        let mut headers = HeaderMap::new();
        if fresh {
            headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-cache"));
        }
        let document = if url.scheme() == "file" {
            local(url, limit, None, self.config.stall_timeout).await?
        } else {
            self.get(url, limit, headers).await?
        };
        let Document::New { bytes, .. } = document else {
            return Err(TransferError::refused(
                url,
                "it said “not modified” without being asked",
            ));
        };
        digest
            .check("the file", &bytes)
            .map_err(|error| TransferError::digest(url, &error))?;
        Ok(bytes)
    }

    async fn get(&self, url: &Url, limit: u64, headers: HeaderMap) -> Result<Document> {
        let response = self.send(Kind::Document, url, headers).await?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED {
            return Ok(Document::NotModified);
        }
        if status != StatusCode::OK {
            return Err(body::failed(url, status, response.headers()));
        }
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(TransferError::too_large(url, limit));
        }
        let text = |name| {
            let value: Option<&http::HeaderValue> = response.headers().get(name);
            value.and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let validators = Validators {
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
        };
        // What a redirect says of a user is no part of it.
        let found = without_login(response.url());
        let pace = Pace::new(self.config.stall_timeout);
        let bytes = Body::Web(Box::new(response)).read(url, limit, pace).await?;
        Ok(Document::New {
            bytes,
            validators,
            url: found,
        })
    }
}

/// The longest pause that one of the servers asked for.
pub(crate) fn asked_pause(tried: &[TransferError]) -> Option<Duration> {
    let pauses = tried.iter().filter_map(|error| match error {
        TransferError::Network { retry_after, .. } => *retry_after,
        _ => None,
    });
    pauses.max()
}

/// A local file; its length and time of change stand in for an `ETag`.
async fn local(
    url: &Url,
    limit: u64,
    validators: Option<&Validators>,
    stall_timeout: Duration,
) -> Result<Document> {
    let file = body::open(url).await?;
    let metadata = file
        .metadata()
        .await
        .map_err(|error| TransferError::file(url, &error))?;
    if metadata.is_dir() {
        return Err(TransferError::refused(url, "it is a folder"));
    }
    if metadata.len() > limit {
        return Err(TransferError::too_large(url, limit));
    }
    let changed = metadata.modified().ok();
    let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let etag = format!(
        "\"{:x}-{:x}\"",
        metadata.len(),
        changed.unwrap_or_default().as_nanos()
    );
    if validators.is_some_and(|known| known.etag.as_ref() == Some(&etag)) {
        return Ok(Document::NotModified);
    }
    // The file may grow while it is read: the limit holds for what comes.
    let bytes = Body::File(file)
        .read(url, limit, Pace::new(stall_timeout))
        .await?;
    Ok(Document::New {
        bytes,
        validators: Validators {
            etag: Some(etag),
            last_modified: None,
        },
        url: url.clone(),
    })
}
