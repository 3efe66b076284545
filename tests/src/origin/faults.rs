//! What goes wrong, and when.

use std::sync::{Mutex, PoisonError};

/// A way to fail. Byte counts are of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this status, and perhaps `Retry-After` in seconds.
    Status {
        /// The status code.
        code: u16,
        /// Seconds.
        retry_after: Option<u64>,
    },
    /// Sends nothing more after so many bytes, and keeps the connection open.
    Stall {
        /// Bytes sent before.
        after: u64,
    },
    /// Ends the connection after so many bytes, earlier than promised.
    Truncate {
        /// Bytes sent before.
        after: u64,
    },
    /// Resets the connection after so many bytes.
    Reset {
        /// Bytes sent before.
        after: u64,
    },
    /// Sends one wrong byte: this one of the file is turned over.
    Flip {
        /// Which byte of the file.
        at: u64,
    },
    /// Answers with a range that begins one byte later, and says so.
    WrongRange,
    /// Answers with the whole file instead of a range.
    NoRanges,
    /// Sends more than was asked for, without saying how much.
    Extra {
        /// Bytes too many.
        bytes: u64,
    },
    /// Sends the client elsewhere.
    Redirect {
        /// Where to: the path that was asked for is appended.
        to: String,
    },
    /// Answers with so many zeros, compressed to less than a hundredth.
    GzipBomb {
        /// Zeros, after decompression.
        size: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum When {
    Always,
    First(usize),
    Nth(usize),
    Every(usize),
}

/// When a fault happens: at requests whose path contains some text, at all of them or at some.
#[derive(Clone, Debug)]
pub struct Rule {
    path: String,
    fault: Fault,
    when: When,
    seen: usize,
}

impl Rule {
    /// At each request whose path contains `path`.
    #[must_use]
    pub fn always(path: &str, fault: Fault) -> Self {
        Self {
            path: path.to_owned(),
            fault,
            when: When::Always,
            seen: 0,
        }
    }

    /// Only at the first `count` such requests.
    #[must_use]
    pub fn first(path: &str, count: usize, fault: Fault) -> Self {
        Self {
            when: When::First(count),
            ..Self::always(path, fault)
        }
    }

    /// Only at the `n`-th such request, counted from 1.
    #[must_use]
    pub fn nth(path: &str, n: usize, fault: Fault) -> Self {
        Self {
            when: When::Nth(n),
            ..Self::always(path, fault)
        }
    }

    /// At every `n`-th such request.
    #[must_use]
    pub fn every(path: &str, n: usize, fault: Fault) -> Self {
        Self {
            when: When::Every(n),
            ..Self::always(path, fault)
        }
    }

    /// Counts a request; the fault if it is to happen now.
    fn meet(&mut self, path: &str) -> Option<Fault> {
        if !path.contains(&self.path) {
            return None;
        }
        self.seen += 1;
        let now = match self.when {
            When::Always => true,
            When::First(count) => self.seen <= count,
            When::Nth(n) => self.seen == n,
            When::Every(n) => self.seen.is_multiple_of(n),
        };
        now.then(|| self.fault.clone())
    }
}

#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Rule>>);

impl Faults {
    pub(super) fn add(&self, rule: Rule) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What happens to a request for `path`. Every rule that fits counts it.
    pub(super) fn meet(&self, path: &str) -> Option<Fault> {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let met: Vec<Fault> = rules.iter_mut().filter_map(|rule| rule.meet(path)).collect();
        met.into_iter().next()
    }
}
