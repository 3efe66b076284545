//! Why bytes could not be had.

use std::io;
use std::time::Duration;

use livepc_format::FormatError;
use url::Url;

use crate::trouble::{CHECK_CONNECTION, TRY_LATER, Trouble};

/// Why a transfer failed. URLs in it are fit to be shown and logged: without credentials and queries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The server could not be reached, broke off, or said that it is in trouble. Later it may work.
    #[error("{url}: {what}; {advice}")]
    Network {
        /// What was asked for.
        url: String,
        /// What happened.
        what: String,
        /// What a person can do.
        advice: &'static str,
        /// How long the server asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// The server does not have the file (404, 410, or no such local file).
    #[error("{url}: the server does not have it; ask its publisher, who may have moved or withdrawn it")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The server does not want to answer (another 4xx), or answers in a way that is not followed.
    #[error("{url}: refused: {what}; check the address, and ask its publisher whether it is public")]
    Refused {
        /// What was asked for.
        url: String,
        /// The status, or what is wrong with the answer.
        what: String,
    },
    /// The server asks who one is (401).
    #[error("{url}: {why}; sign in there, then try again")]
    Login {
        /// What was asked for.
        url: String,
        /// What to sign in for: the same, or what a redirect led to; with its query.
        at: Box<Url>,
        /// Why.
        why: LoginNeeded,
    },
    /// The server has other bytes than were signed.
    #[error("{url}: {what}; nothing of it was used: tell its publisher that this server is damaged")]
    Digest {
        /// What was asked for.
        url: String,
        /// What is wrong with the bytes.
        what: String,
    },
    /// The server's file ends before all that was signed, as one does that is still being uploaded.
    #[error(
        "{url}: the file there ends after {size} bytes, which are not all of it; try again later, and tell its publisher if \
             it stays so"
    )]
    Cut {
        /// What was asked for.
        url: String,
        /// Bytes that are there.
        size: u64,
    },
    /// The answer is longer than this kind of file may be. What was read is thrown away.
    #[error("{url}: more than {}, which this kind of file never has; tell its publisher", livepc_format::shown::size(*.limit))]
    TooLarge {
        /// What was asked for.
        url: String,
        /// Bytes allowed.
        limit: u64,
    },
    /// Several servers were asked, and each failed in its own way.
    #[error("no server could give {what}: {}; try again later", list(.tried))]
    Everywhere {
        /// The path of the file, relative to the folder on each server.
        what: String,
        /// The last failure at each server.
        tried: Vec<TransferError>,
    },
    /// The disk that holds the chunk store is full.
    #[error("the disk is full: {what}; free some space, or move the storage folder, then try again")]
    DiskFull {
        /// What the system said.
        what: String,
    },
    /// The chunk store could not keep what arrived.
    #[error("the chunk store could not be written: {what}; check the storage folder and its disk")]
    Sink {
        /// What the system said.
        what: String,
    },
    /// The fetcher was shut down while it was asked for something, or begins anew.
    #[error("the transfer was broken off; it goes on where it was when it is asked for again")]
    Stopped,
    /// A mistake of LivePC's own.
    #[error("{what}; this is a mistake of LivePC: please report it")]
    Panicked {
        /// What has failed, and where.
        what: String,
    },
    /// This computer cannot make connections as they are needed.
    #[error("no web client could be made: {what}; check the proxy setting and the system's certificates")]
    Client {
        /// What is wrong.
        what: String,
    },
}

/// Why there is to be signed in to a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginNeeded {
    /// Nobody is known to it.
    #[error("the server asks for a user and a password")]
    Unknown,
    /// It does not accept who is.
    #[error("the server does not accept the user and the password that it was given")]
    Refused,
    /// Somebody is known to it, and the password cannot be had.
    #[error("the password for this server cannot be had: {0}")]
    Unavailable(String),
}

/// The result of a transfer.
pub type Result<T, E = TransferError> = std::result::Result<T, E>;

impl TransferError {
    /// True if the same request may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_network(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Everywhere { tried, .. } => tried.iter().any(Self::is_network),
            _ => false,
        }
    }

    /// True if the server was reached, and said that it cannot answer now.
    pub(crate) fn is_for_now(&self) -> bool {
        matches!(self, Self::Network { advice, .. } if *advice == TRY_LATER)
    }

    /// How long the server wants to be left alone.
    pub(crate) fn asked_pause(&self) -> Option<Duration> {
        match self {
            Self::Network { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// True if every server that was asked lacks the file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Everywhere { tried, .. } => tried.iter().all(Self::is_not_found),
            _ => false,
        }
    }

    /// True if a server asks who one is.
    #[must_use]
    pub fn is_login(&self) -> bool {
        match self {
            Self::Login { .. } => true,
            Self::Everywhere { tried, .. } => tried.iter().any(Self::is_login),
            _ => false,
        }
    }

    /// True if the file may be there, whole, in a moment.
    #[must_use]
    pub fn is_late(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::Cut { .. } => true,
            Self::Everywhere { tried, .. } => tried.iter().all(Self::is_late),
            _ => false,
        }
    }

    /// True if at least one server sent other bytes than were signed.
    #[must_use]
    pub fn is_digest(&self) -> bool {
        match self {
            Self::Digest { .. } => true,
            Self::Everywhere { tried, .. } => tried.iter().any(Self::is_digest),
            _ => false,
        }
    }

    /// True if another copy of the file than the one that came, or did not, may be whole and right: not the one that a cache
    /// has, or one of a minute later.
    pub(crate) fn is_of_the_copy(&self) -> bool {
        self.is_digest() || matches!(self, Self::Cut { .. } | Self::NotFound { .. })
    }

    pub(crate) fn network(url: &Url, what: impl Into<String>) -> Self {
        Self::Network {
            url: shown(url),
            what: what.into(),
            advice: CHECK_CONNECTION,
            retry_after: None,
        }
    }

    pub(crate) fn refused(url: &Url, what: impl Into<String>) -> Self {
        Self::Refused {
            url: shown(url),
            what: what.into(),
        }
    }

    /// The server of `at` wants to know who one is, when `url` was asked for.
    pub(crate) fn login(url: &Url, at: &Url, why: LoginNeeded) -> Self {
        if !crate::login::is_private(at) {
            return Self::refused(url, "it asks for a password, which is only ever sent over HTTPS");
        }
        Self::Login {
            url: shown(url),
            at: Box::new(crate::login::without_login(at)),
            why,
        }
    }

    pub(crate) fn not_found(url: &Url) -> Self {
        Self::NotFound { url: shown(url) }
    }

    pub(crate) fn too_large(url: &Url, limit: u64) -> Self {
        Self::TooLarge {
            url: shown(url),
            limit,
        }
    }

    /// What a failed check of bytes from `url` means.
    pub(crate) fn digest(url: &Url, error: &FormatError) -> Self {
        let what = match error {
            // The digests are of use to nobody who reads this; the log has them.
            FormatError::WrongDigest { what, .. } => {
                format!("the bytes of {what} are not the ones that were signed")
            }
            other => other.to_string(),
        };
        Self::Digest {
            url: shown(url),
            what,
        }
    }

    /// Wrong bytes, with what else there is to say of them.
    pub(crate) fn with(mut self, note: Option<&str>) -> Self {
        if let (Self::Digest { what, .. }, Some(note)) = (&mut self, note) {
            *what = format!("{what} ({note})");
        }
        self
    }

    pub(crate) fn sink(error: &io::Error) -> Self {
        let what = error.to_string();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { what },
            _ => Self::Sink { what },
        }
    }

    pub(crate) fn file(url: &Url, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::not_found(url),
            io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => {
                Self::refused(url, error.to_string())
            }
            _ => Self::network(url, error.to_string()),
        }
    }

    /// What `reqwest` says, in words where it is known what it means; without the URL, which may hold secrets.
    pub(crate) fn reqwest(url: &Url, error: reqwest::Error) -> Self {
        Self::reqwest_through(url, None, error)
    }

    /// The same, where a proxy is between.
    pub(crate) fn reqwest_through(url: &Url, proxy: Option<&Url>, error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_connect()
            && let Some(proxy) = proxy
            && let Some(Trouble { what, advice }) = Trouble::of_proxy(proxy, &error)
        {
            return Self::Network {
                url: shown(url),
                what,
                advice,
                retry_after: None,
            };
        }
        let at_fault = !error.is_redirect() && !error.is_builder();
        if let Some(Trouble { what, advice }) = Trouble::of(url, &error).filter(|_| at_fault) {
            return Self::Network {
                url: shown(url),
                what,
                advice,
                retry_after: None,
            };
        }
        let mut what = if error.is_connect() {
            "no connection".to_owned()
        } else if error.is_timeout() {
            "no answer in time".to_owned()
        } else if error.is_redirect() {
            "a redirect".to_owned()
        } else {
            "the transfer broke off".to_owned()
        };
        let mut cause = std::error::Error::source(&error);
        while let Some(next) = cause {
            // The library's own layers say only that there is a cause.
            let text = next.to_string();
            if !matches!(
                text.as_str(),
                "client error (Connect)" | "client error (SendRequest)"
            ) && !what.contains(&text)
            {
                what = format!("{what}: {text}");
            }
            cause = next.source();
        }
        if at_fault {
            Self::network(url, what)
        } else {
            Self::refused(url, what)
        }
    }

    /// True if the way to the server is at fault, or may be: what to do is to look at the network.
    #[must_use]
    pub fn is_of_the_way(&self) -> bool {
        match self {
            Self::Network { advice, .. } => *advice == CHECK_CONNECTION,
            _ => false,
        }
    }

    /// The one failure, or all of them together; `what` is the path that all servers were asked for.
    pub(crate) fn combined(what: &str, mut tried: Vec<Self>) -> Self {
        tried.dedup();
        match tried.len() {
            1 => tried.remove(0),
            _ => Self::Everywhere {
                what: what.to_owned(),
                tried,
            },
        }
    }
}

/// What happened at each server; what to do is told once, of one of them.
fn list(errors: &[TransferError]) -> String {
    let what_happened = |error: &TransferError| {
        let text = error.to_string();
        text.rsplit_once("; ")
            .map_or(text.clone(), |(what, _)| what.to_owned())
    };
    let all: Vec<String> = errors.iter().map(what_happened).collect();
    if all.is_empty() {
        "it has no address".to_owned()
    } else {
        all.join(", and ")
    }
}

/// A URL without what may be secret in it: credentials and the query.
#[must_use]
pub fn shown(url: &Url) -> String {
    let mut url = crate::login::without_login(url);
    if url.query().is_some() {
        url.set_query(Some("…"));
    }
    url.set_fragment(None);
    url.to_string().replace("%E2%80%A6", "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let url = Url::parse("https://me:secret@example.org/a?token=secret#x").unwrap();
        assert_eq!(shown(&url), "https://example.org/a?…");
        assert!(
            !TransferError::network(&url, "gone")
                .to_string()
                .contains("secret"),
            "neither in an error's text"
        );
    }

    #[test]
    fn several_failures_are_named_together() {
        let (a, b) = (
            Url::parse("https://a.example/p").unwrap(),
            Url::parse("https://b.example/p").unwrap(),
        );
        let both = TransferError::combined(
            "p",
            vec![TransferError::not_found(&a), TransferError::network(&b, "gone")],
        );
        let text = both.to_string();
        assert!(text.contains("a.example") && text.contains("b.example"), "{text}");
        assert!(both.is_network(), "one of them may come back");
        assert!(!both.is_not_found(), "not all of them lack it");
        let one = TransferError::combined("p", vec![TransferError::not_found(&a)]);
        assert!(one.is_not_found(), "a single failure stays itself");
    }
}
