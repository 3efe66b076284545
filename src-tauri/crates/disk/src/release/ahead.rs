//! Read-ahead: what reads one page after the other will read the next ones too.

use livepc_format::limits::PAGE;

/// Pages that are asked for ahead of a sequential reader: 2 MiB.
const WINDOW: u64 = (2 << 20) / PAGE;
/// Reads in a row after which a reader counts as sequential.
const ROW: u32 = 2;

/// Where a reader is.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    region: u32,
    /// Where the next read of a sequential reader begins.
    next: u64,
    /// Reads in a row.
    row: u32,
    /// What was asked for ahead ends here.
    asked: u64,
}

impl ReadAhead {
    /// Notes a read of the pages `first..end` of a region with `pages` pages; gives the pages to ask for ahead, if any.
    pub(super) fn after(&mut self, region: u32, first: u64, end: u64, pages: u64) -> Option<(u64, u64)> {
        // Reads that are not of whole pages begin in the page in which the one before ended.
        let follows = region == self.region && (first == self.next || first + 1 == self.next);
        if follows {
            self.row += 1;
        } else {
            *self = Self {
                region,
                row: 0,
                asked: end,
                next: end,
            };
        }
        self.next = end;
        if self.row < ROW {
            return None;
        }
        // Half a window is left before the next one is asked for, so that it has time to arrive.
        let from = self.asked.max(end);
        if from >= end + WINDOW / 2 {
            return None;
        }
        let to = (end + WINDOW).min(pages);
        self.asked = to;
        (from < to).then_some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sequential_readers_are_run_ahead_of() {
        let mut ahead = ReadAhead::default();
        assert_eq!(ahead.after(1, 100, 110, 10_000), None);
        assert_eq!(ahead.after(1, 500, 510, 10_000), None, "a jump");
        assert_eq!(
            ahead.after(1, 510, 520, 10_000),
            None,
            "two in a row may be chance"
        );
        assert_eq!(
            ahead.after(1, 520, 530, 10_000),
            Some((530, 530 + WINDOW)),
            "three are not"
        );
        assert_eq!(
            ahead.after(1, 530, 540, 10_000),
            None,
            "most of the window is still ahead"
        );
        let (from, to) = ahead
            .after(1, 540, 530 + WINDOW, 10_000)
            .expect("the window is used up");
        assert_eq!(
            (from, to),
            (530 + WINDOW, 530 + 2 * WINDOW),
            "the next window follows without a gap"
        );
        assert_eq!(ahead.after(2, 0, 1, 10_000), None, "another region is a jump");
    }

    #[test]
    fn nothing_is_asked_for_behind_the_end() {
        let mut ahead = ReadAhead::default();
        for first in 0..3 {
            ahead.after(0, first, first + 1, 10);
        }
        assert_eq!(ahead.after(0, 3, 10, 10), None, "the region ends there");
    }
}
