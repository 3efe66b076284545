//! What a request is answered with, before anything goes wrong: a file, part of it, or why not.

use std::fs::File;
use std::io;
use std::path::{Component, Path};
use std::time::UNIX_EPOCH;

use http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// A status, headers, and a part of a file.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) file: Option<File>,
    /// The file's length.
    pub(super) size: u64,
    /// The bytes to send: the first, and one past the last.
    pub(super) part: (u64, u64),
}

impl Answer {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            file: None,
            size: 0,
            part: (0, 0),
        }
    }

    pub(super) fn set(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }

    /// The answer to a request for the file at `path` under `root`; with `ranges` off, `Range` is not read.
    pub(super) fn to(root: &Path, path: &str, asked: &HeaderMap, ranges: bool) -> Self {
        match Self::file(root, path, asked, ranges) {
            Ok(answer) => answer,
            Err(_) => Self::empty(StatusCode::NOT_FOUND),
        }
    }

    fn file(root: &Path, path: &str, asked: &HeaderMap, ranges: bool) -> io::Result<Self> {
        let relative = Path::new(path.trim_start_matches('/'));
        if !relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = File::open(root.join(relative))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let size = metadata.len();
        let changed = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let etag = format!("\"{size:x}-{:x}\"", changed.as_nanos());
        let seconds = jiff::Timestamp::from_second(changed.as_secs().cast_signed()).unwrap_or_default();
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&seconds);
        let date = date.unwrap_or_default();

        let known = |name: HeaderName| asked.get(name).and_then(|value| value.to_str().ok());
        let not_modified = match known(IF_NONE_MATCH) {
            Some(tag) => tag == etag,
            None => known(IF_MODIFIED_SINCE) == Some(date.as_str()),
        };
        let mut answer = Self::empty(StatusCode::OK);
        answer.set(ETAG, &etag);
        answer.set(LAST_MODIFIED, &date);
        if ranges {
            answer.set(ACCEPT_RANGES, "bytes");
        }
        if not_modified {
            answer.status = StatusCode::NOT_MODIFIED;
            return Ok(answer);
        }
        answer.size = size;
        answer.part = (0, size);
        let is_same = known(IF_RANGE).is_none_or(|tag| tag == etag);
        if ranges
            && is_same
            && let Some((first, end)) = range(asked, size)
        {
            if first >= end {
                answer.status = StatusCode::RANGE_NOT_SATISFIABLE;
                answer.set(CONTENT_RANGE, &format!("bytes */{size}"));
                return Ok(answer);
            }
            answer.send_part(first, end);
        }
        answer.file = Some(file);
        Ok(answer)
    }

    /// Answers with this part of the file, and says so.
    pub(super) fn send_part(&mut self, first: u64, end: u64) {
        self.status = StatusCode::PARTIAL_CONTENT;
        self.part = (first, end);
        self.set(CONTENT_RANGE, &format!("bytes {first}-{}/{}", end - 1, self.size));
    }
}

/// The range that is asked for: its first and one past its last byte, within a file of `size` bytes.
pub(super) fn range(asked: &HeaderMap, size: u64) -> Option<(u64, u64)> {
    let text = asked.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = text.split_once('-')?;
    if first.is_empty() {
        return Some((size.saturating_sub(last.parse().ok()?), size));
    }
    let first = first.parse().ok()?;
    let end = match last {
        "" => size,
        last => last.parse::<u64>().ok()?.saturating_add(1).min(size),
    };
    Some((first, end))
}
