//! Whole small files: feeds, heads and keys with conditional requests; manifests and index objects by digest.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, PRAGMA,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use livepc_format::Digest;
use url::Url;

use crate::answer;
use crate::backoff::Backoff;
use crate::body::{self, Body};
use crate::client::{Client, Trail};
use crate::coding::{self, Coding};
use crate::error::{Result, TransferError};
use crate::login::without_login;
use crate::origin::{Origin, join};
use crate::pace::Pace;

/// How often all servers are asked for a file before it is given up.
const ROUNDS: u32 = 3;

/// The longest pause that whoever waits for a document is made to wait for.
const SHORT: Duration = Duration::from_secs(10);

/// Bytes that what a server does to a file may add to it, beside an eighth of it.
const ENVELOPE: u64 = 16 * 1024;

/// How long after a change a document may change again without its validators telling: dates are of whole seconds, many
/// servers make their `ETag`s of them, and some file systems count in two seconds.
const SAME_MOMENT: Duration = Duration::from_secs(2);

/// What a server said of a version of a document, to be sent back with the next request for it. Nothing, if the document
/// was so new that the next one may look the same by what was said.
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
    NotModified {
        /// As of a document that has come.
        moved: Option<Url>,
    },
    /// It is this.
    New {
        /// The document. Nothing of it was checked but its length.
        bytes: Bytes,
        /// What to send with the next request.
        validators: Validators,
        /// Where it was found, after redirects.
        url: Url,
        /// Where it is to be asked for from now on, if redirects that are for ever (301, 308) said so.
        moved: Option<Url>,
        /// The encoding that HTTP says it has.
        charset: Option<String>,
    },
}

/// How large a file is that is asked for by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Bytes that it may have at most.
    pub limit: u64,
    /// Bytes that it has, if somebody has signed that: one that is shorter is not all of it, as while it is being uploaded.
    pub signed: Option<u64>,
}

impl Size {
    /// It has this many bytes.
    #[must_use]
    pub fn exactly(bytes: u64) -> Self {
        Self {
            limit: bytes,
            signed: Some(bytes),
        }
    }

    /// It has no more than this many bytes.
    #[must_use]
    pub fn at_most(limit: u64) -> Self {
        Self { limit, signed: None }
    }
}

/// How a document is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asking<'a> {
    /// Not if it is what these describe.
    pub known: Option<&'a Validators>,
    /// Past all caches on the way.
    pub fresh: bool,
}

impl Client {
    /// Gets a document of at most `limit` bytes, unless it is what `validators` describe. One try.
    ///
    /// # Errors
    /// Every network, status and size error of [`TransferError`].
    pub async fn document(&self, url: &Url, limit: u64, validators: Option<&Validators>) -> Result<Document> {
        let asking = Asking {
            known: validators,
            fresh: false,
        };
        self.document_as(url, limit, asking).await
    }

    /// As [`Client::document`], asked for in a way of one's own.
    ///
    /// # Errors
    /// As there.
    pub async fn document_as(&self, url: &Url, limit: u64, asking: Asking<'_>) -> Result<Document> {
        if url.scheme() == "file" {
            return local(url, limit, asking.known, self.config.stall_timeout).await;
        }
        let mut headers = if asking.fresh {
            past_caches()
        } else {
            HeaderMap::new()
        };
        if let Some(known) = asking.known {
            // What is no header value cannot come from a server: it is left out, and the document comes whole.
            if let Some(etag) = known.etag.as_ref().and_then(|text| text.parse().ok()) {
                headers.insert(IF_NONE_MATCH, etag);
            }
            if let Some(date) = known.last_modified.as_ref().and_then(|text| text.parse().ok()) {
                headers.insert(IF_MODIFIED_SINCE, date);
            }
        }
        match self.get_patiently(url, limit, headers).await? {
            Found::Same { moved } => Ok(Document::NotModified { moved }),
            Found::New(sent) => {
                let Sent {
                    bytes,
                    validators,
                    found,
                    moved,
                    charset,
                    ..
                } = sent.undone(url, limit).await?;
                Ok(Document::New {
                    bytes,
                    validators,
                    url: found,
                    moved,
                    charset,
                })
            }
        }
    }

    /// Gets an immutable file: `path` in one of the origin's folders. The next folder is asked if one fails or has other
    /// bytes; failures that may pass are tried again, three times in all.
    ///
    /// # Errors
    /// What went wrong at each server.
    pub async fn verified(&self, origin: &Origin, path: &str, digest: &Digest, size: Size) -> Result<Bytes> {
        let mut backoff = Backoff::new(self.config.backoff);
        let mut fresh = false;
        let mut round = 0;
        loop {
            round += 1;
            let mut tried = Vec::new();
            for base in origin.bases() {
                let url = join(base, path);
                match self.checked(&url, digest, size, fresh).await {
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
            // Wrong bytes may come from a cache on the way: it is passed by, once. What is not there may only be late.
            let stale = !fresh && tried.iter().any(TransferError::is_of_the_copy);
            let is_late = tried.iter().any(TransferError::is_late);
            let again = is_late || tried.iter().any(TransferError::is_network);
            if round >= ROUNDS || !(stale || again) {
                return Err(TransferError::combined(path, tried));
            }
            fresh |= stale;
            if again {
                let late = is_late.then_some(self.config.backoff * 4);
                tokio::time::sleep(backoff.next(asked_pause(&tried).max(late))).await;
            }
        }
    }

    async fn checked(&self, url: &Url, digest: &Digest, size: Size, fresh: bool) -> Result<Bytes> {
        let Size { limit, signed } = size;
        let headers = if fresh { past_caches() } else { HeaderMap::new() };
        let bytes = if url.scheme() == "file" {
            match local(url, limit, None, self.config.stall_timeout).await? {
                Document::New { bytes, .. } => bytes,
                Document::NotModified { .. } => Bytes::new(),
            }
        } else {
            let Found::New(sent) = self.get(url, limit, headers).await? else {
                return Err(not_asked(url));
            };
            // Whatever was said of it: it is what it should be, or becomes that.
            if sent.bytes.len() as u64 <= limit && digest.check("the file", &sent.bytes).is_ok() {
                return Ok(sent.bytes);
            }
            sent.undone(url, limit).await?.bytes
        };
        match digest.check("the file", &bytes) {
            Ok(()) => Ok(bytes),
            // What stands in for it says nothing of who publishes it.
            Err(_) if livepc_format::is_page(&bytes) => Err(TransferError::network(
                url,
                "a web page came instead of the file, and the network may want one to sign in to it",
            )),
            Err(_) if bytes.trim_ascii().is_empty() => {
                Err(TransferError::network(url, "nothing came instead of the file"))
            }
            Err(_) if signed.is_some_and(|signed| (bytes.len() as u64) < signed) => Err(TransferError::Cut {
                url: crate::error::shown(url),
                size: bytes.len() as u64,
            }),
            Err(error) => Err(TransferError::digest(url, &error)),
        }
    }

    /// What a server sends. One that wants to be asked a little later, as those do that limit how often they are asked, is.
    async fn get_patiently(&self, url: &Url, limit: u64, headers: HeaderMap) -> Result<Found> {
        let mut backoff = Backoff::new(self.config.backoff);
        loop {
            let error = match self.get(url, limit, headers.clone()).await {
                Err(error) if error.is_for_now() => error,
                done => return done,
            };
            let pause = backoff.next(error.asked_pause());
            if backoff.failures() >= ROUNDS || pause > SHORT {
                return Err(error);
            }
            tracing::info!(%error, ?pause, "asked again");
            tokio::time::sleep(pause).await;
        }
    }

    /// What a server sends, as it sends it. One that breaks off in the middle, and is not silent, is asked once more.
    async fn get(&self, url: &Url, limit: u64, headers: HeaderMap) -> Result<Found> {
        let mut broke_off = false;
        match self.get_once(url, limit, headers.clone(), &mut broke_off).await {
            Err(error) if broke_off => {
                tracing::info!(%error, "asked again");
                self.get_once(url, limit, headers, &mut broke_off).await
            }
            got => got,
        }
    }

    async fn get_once(
        &self,
        url: &Url,
        limit: u64,
        mut headers: HeaderMap,
        broke_off: &mut bool,
    ) -> Result<Found> {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let is_conditional = [IF_NONE_MATCH, IF_MODIFIED_SINCE]
            .iter()
            .any(|name| headers.contains_key(name));
        let mut trail = Trail::default();
        let mut response = self.send_and_tell(url, headers.clone(), &mut trail).await?;
        if response.status() == StatusCode::NOT_MODIFIED && !is_conditional {
            // A cache on the way answers what somebody else asked: past it, then.
            headers.extend(past_caches());
            trail = Trail::default();
            response = self.send_and_tell(url, headers, &mut trail).await?;
        }
        let moved = trail.moved;
        let status = response.status();
        let is_all = match status {
            StatusCode::NOT_MODIFIED if is_conditional => return Ok(Found::Same { moved }),
            StatusCode::NOT_MODIFIED => return Err(not_asked(url)),
            StatusCode::PARTIAL_CONTENT => answer::is_all(response.headers()),
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => false,
            // Any other success is one as 200 is (RFC 9110, 15). What has been changed on the way, signatures and digests find
            // out if it matters.
            status => status.is_success(),
        };
        if !is_all {
            return Err(body::failed(url, status, response.headers()));
        }
        // What a server does to a small file makes it longer.
        let most = limit.saturating_add(limit / 8 + ENVELOPE);
        if response.content_length().is_some_and(|length| length > most) {
            return Err(TransferError::too_large(url, limit));
        }
        let said = coding::said(response.headers());
        let validators = validators(response.headers(), Timestamp::now());
        let charset = charset(response.headers());
        // What a redirect says of a user is no part of it.
        let found = without_login(response.url());
        let pace = Pace::new(self.config.stall_timeout);
        let body = Body::Web(Box::new(response), Arc::default());
        let begun = Instant::now();
        let bytes = body.read(url, most, pace).await.map_err(|error| {
            *broke_off = error.is_network() && begun.elapsed() < self.config.stall_timeout;
            match error {
                TransferError::TooLarge { .. } => TransferError::too_large(url, limit),
                error => error,
            }
        })?;
        Ok(Found::New(Box::new(Sent {
            bytes,
            said,
            validators,
            found,
            moved,
            charset,
        })))
    }
}

/// What a server says of a document.
enum Found {
    Same { moved: Option<Url> },
    New(Box<Sent>),
}

/// A document as a server sent it.
struct Sent {
    bytes: Bytes,
    said: Vec<Coding>,
    validators: Validators,
    found: Url,
    moved: Option<Url>,
    charset: Option<String>,
}

impl Sent {
    /// What it was before the server did something to it. `url` is what was asked for.
    async fn undone(self, url: &Url, limit: u64) -> Result<Self> {
        let bytes = match coding::undone(self.bytes.clone(), &self.said, limit).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(TransferError::too_large(url, limit)),
            Err(error) => {
                // That nothing was done to it is likelier than that it was done wrong, if it looks like text.
                if !looks_like_text(&self.bytes) {
                    let what = format!("what it sent cannot be decompressed: {error}");
                    return Err(TransferError::network(url, what));
                }
                if self.bytes.len() as u64 > limit {
                    return Err(TransferError::too_large(url, limit));
                }
                self.bytes
            }
        };
        Ok(Self { bytes, ..self })
    }
}

fn looks_like_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0)
}

fn not_asked(url: &Url) -> TransferError {
    TransferError::network(url, "it said “not modified” without being asked")
}

/// Asks caches on the way to pass the request on.
fn past_caches() -> HeaderMap {
    let no_cache = HeaderValue::from_static("no-cache");
    HeaderMap::from_iter([(CACHE_CONTROL, no_cache.clone()), (PRAGMA, no_cache)])
}

/// What an answer says of its version; nothing if it changed in the moment in which it was asked for.
fn validators(headers: &HeaderMap, now: Timestamp) -> Validators {
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value.and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let date = |name| {
        let date = jiff::fmt::rfc2822::parse(text(name)?.trim()).ok()?;
        Some(date.timestamp())
    };
    let last_modified = text(LAST_MODIFIED);
    if let Some(changed) = date(LAST_MODIFIED) {
        let asked = date(DATE).unwrap_or(now);
        if asked.duration_since(changed) <= jiff::SignedDuration::try_from(SAME_MOMENT).unwrap_or_default() {
            return Validators::default();
        }
    }
    Validators {
        etag: text(ETAG),
        last_modified,
    }
}

/// The encoding that `Content-Type` names.
fn charset(headers: &HeaderMap) -> Option<String> {
    let parameters = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').skip(1);
    let mut named = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, value) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    let value = value.trim().trim_matches(['"', '\'']).trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// The longest pause that one of the servers asked for.
pub(crate) fn asked_pause(tried: &[TransferError]) -> Option<Duration> {
    tried.iter().filter_map(TransferError::asked_pause).max()
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
    // A file that has just changed may change again without its time telling; one without a time tells nothing.
    let settled = |time: &SystemTime| {
        let age = SystemTime::now().duration_since(*time);
        age.is_ok_and(|age| age > SAME_MOMENT)
    };
    let changed = metadata.modified().ok().filter(settled);
    let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let etag = changed.map(|time| format!("\"{:x}-{:x}\"", metadata.len(), time.as_nanos()));
    if etag.is_some() && validators.is_some_and(|known| known.etag == etag) {
        return Ok(Document::NotModified { moved: None });
    }
    // The file may grow while it is read: the limit holds for what comes.
    let bytes = Body::File(file, Arc::default())
        .read(url, limit, Pace::new(stall_timeout))
        .await?;
    Ok(Document::New {
        bytes,
        validators: Validators {
            etag,
            last_modified: None,
        },
        url: url.clone(),
        moved: None,
        charset: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn what_changed_just_now_has_no_validators() {
        let now: Timestamp = "2026-11-02T10:00:10Z".parse().unwrap();
        let of = |changed: &str, asked: Option<&str>| {
            let mut lines = vec![("etag", "\"1-2\""), ("last-modified", changed)];
            lines.extend(asked.map(|date| ("date", date)));
            validators(&headers(&lines), now)
        };
        let changed = "Mon, 02 Nov 2026 10:00:00 GMT";
        for (asked, why) in [
            ("Mon, 02 Nov 2026 10:00:00 GMT", "the same second"),
            (
                "Mon, 02 Nov 2026 10:00:02 GMT",
                "a file system that counts in two",
            ),
            ("Mon, 02 Nov 2026 09:00:00 GMT", "clocks that differ"),
        ] {
            assert_eq!(of(changed, Some(asked)), Validators::default(), "{why}");
        }
        let later = of(changed, Some("Mon, 02 Nov 2026 10:00:03 GMT"));
        assert_eq!(later.etag.as_deref(), Some("\"1-2\""));
        assert_eq!(later.last_modified.as_deref(), Some(changed));
        assert_eq!(
            of(changed, None),
            later,
            "ten seconds by the clock of this computer"
        );
        assert_eq!(of("Mon, 02 Nov 2026 10:00:09 GMT", None), Validators::default());
        let tag = validators(&headers(&[("etag", "\"a\"")]), now);
        assert_eq!(
            tag.etag.as_deref(),
            Some("\"a\""),
            "who gives no date counts in another way"
        );
    }

    #[test]
    fn an_encoding_is_found_among_the_parameters() {
        let of = |kind: &str| charset(&headers(&[("content-type", kind)]));
        assert_eq!(of("text/xml; charset=ISO-8859-1").as_deref(), Some("ISO-8859-1"));
        assert_eq!(
            of("text/xml;version=1 ; Charset = \"utf-8\"").as_deref(),
            Some("utf-8")
        );
        for none in [
            "text/xml",
            "text/xml; charset=",
            "charset=utf-8",
            "text/xml; xcharset=a",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
