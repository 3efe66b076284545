//! What goes wrong, and when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::random::Random;

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
    /// Asks who one is in this way (`WWW-Authenticate`), unless one has said it.
    Asks {
        /// The challenge.
        scheme: &'static str,
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
    /// Sends the client to this address, by this status.
    Leads {
        /// 301, 302, 303, 307 or 308.
        code: u16,
        /// The address as it is sent.
        to: String,
    },
    /// Answers with a web page instead, as a network does that wants its user to sign in.
    Page,
    /// Answers with nothing, and says that this is all.
    Nothing,
    /// Says that this is the type of what it sends.
    Type {
        /// The value of `Content-Type`.
        value: &'static str,
    },
    /// Tells versions by `Last-Modified` alone.
    DatesOnly,
    /// Sends hardly anything.
    Trickle {
        /// Bytes per second.
        bytes_per_second: u64,
    },
    /// Sends bytes of the file from so much farther behind (round the end), and says that they are what was asked for: a
    /// proxy that takes one answer for another.
    Elsewhere {
        /// Bytes.
        by: u64,
    },
    /// Sends what was asked for under an `ETag` that it never had before, as if the file had changed.
    OtherTag,
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
    Percent(u8),
}

/// When a fault happens: at requests whose path contains some text, at all of them or at some.
#[derive(Clone, Debug)]
pub struct Rule {
    path: String,
    faults: Vec<Fault>,
    when: When,
    seen: usize,
    /// What chance comes from.
    random: Random,
}

impl Rule {
    /// At each request whose path contains `path`.
    #[must_use]
    pub fn always(path: &str, fault: Fault) -> Self {
        Self {
            path: path.to_owned(),
            faults: vec![fault],
            when: When::Always,
            seen: 0,
            random: Random::new(1),
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

    /// At so many of a hundred such requests, in one of these ways. Which and how is the same for every run with this seed.
    #[must_use]
    pub fn by_chance(path: &str, percent: u8, faults: Vec<Fault>, seed: u64) -> Self {
        Self {
            path: path.to_owned(),
            faults,
            when: When::Percent(percent),
            seen: 0,
            random: Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
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
            When::Percent(percent) => self.random.below(100) < usize::from(percent),
        };
        if !now {
            return None;
        }
        let which = self.random.below(self.faults.len());
        Some(self.faults[which].clone())
    }
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Mutex<Vec<Rule>>,
    met: AtomicU64,
}

impl Faults {
    pub(super) fn add(&self, rule: Rule) {
        self.rules().push(rule);
    }

    pub(super) fn clear(&self) {
        self.rules().clear();
    }

    /// Requests that a fault happened to.
    pub(super) fn met(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to a request for `path`. Every rule that fits counts it.
    pub(super) fn meet(&self, path: &str) -> Option<Fault> {
        let met: Vec<Fault> = self
            .rules()
            .iter_mut()
            .filter_map(|rule| rule.meet(path))
            .collect();
        let fault = met.into_iter().next();
        self.met.fetch_add(u64::from(fault.is_some()), Ordering::Relaxed);
        fault
    }
}
