//! What an origin was asked, and what it sent.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::HeaderMap;
use tokio::sync::watch;

/// One request.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path, with `/` at its beginning.
    pub path: String,
    /// The first and one past the last byte that were asked for, if a range was asked for.
    pub range: Option<(u64, u64)>,
    /// All headers of the request.
    pub headers: HeaderMap,
    /// The answer's status.
    pub status: u16,
    /// Bytes of the body that were sent so far.
    pub sent: u64,
    /// When the request came.
    pub started: Instant,
    /// When the last byte was sent, or the client was gone; `None` before.
    pub ended: Option<Instant>,
    /// True if all was sent that was to be sent.
    pub complete: bool,
}

impl Entry {
    /// A header of the request, as text; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }
}

/// All requests, in the order in which they came.
#[derive(Debug)]
pub struct Log {
    entries: Mutex<Vec<Entry>>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Log {
    /// All requests so far.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// Requests so far whose path contains `path`.
    #[must_use]
    pub fn of(&self, path: &str) -> Vec<Entry> {
        self.lock()
            .iter()
            .filter(|entry| entry.path.contains(path))
            .cloned()
            .collect()
    }

    /// Bytes that were sent so far in bodies of files whose path contains `path`.
    #[must_use]
    pub fn sent(&self, path: &str) -> u64 {
        self.of(path).iter().map(|entry| entry.sent).sum()
    }

    /// Forgets what is over; requests under way are not logged any further.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Waits until `is_there` says yes, which is asked at each request and each sent frame; gives the log as it is then.
    pub async fn until(&self, mut is_there: impl FnMut(&[Entry]) -> bool) -> Vec<Entry> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            {
                let entries = self.lock();
                if is_there(&entries) {
                    return entries.clone();
                }
            }
            // The sender is in `self`.
            let _ = changes.changed().await;
        }
    }

    /// Adds a request; its number is for [`Self::change`].
    pub(super) fn add(&self, entry: Entry) -> (usize, Instant) {
        let started = entry.started;
        let number = {
            let mut entries = self.lock();
            entries.push(entry);
            entries.len() - 1
        };
        self.changes.send_modify(|count| *count += 1);
        (number, started)
    }

    /// Changes a request, if it is still logged.
    pub(super) fn change(&self, (number, started): (usize, Instant), change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self
            .lock()
            .get_mut(number)
            .filter(|entry| entry.started == started)
        {
            change(entry);
        }
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
