//! Read-ahead: what reads one page after the other will read the next ones too.

use std::ops::Range;

use livepc_format::limits::PAGE;

/// Pages that are asked for ahead of a sequential reader at first, and at the most: 1 and 16 MiB. The most is what a fast
/// line brings while what has arrived is made durable.
const FIRST_WINDOW: u64 = (1 << 20) / PAGE;
const MOST_WINDOW: u64 = (16 << 20) / PAGE;
/// Reads in a row after which a reader counts as sequential.
const ROW: u32 = 2;
/// Pages that a sequential reader may skip: the guest has them in memory, or they are not used.
const SKIPPED: u64 = (128 << 10) / PAGE;
/// Readers that are told apart.
const READERS: usize = 8;

/// Where the readers of a disk are.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    /// The one that read last is the last one.
    readers: Vec<SequentialReader>,
}

#[derive(Debug)]
struct SequentialReader {
    region: u32,
    /// Where its next read begins.
    next: u64,
    /// Reads in a row.
    row: u32,
    /// What was asked for ahead ends here.
    asked: u64,
    /// Pages that were asked for ahead last; each time they are twice as many.
    window: u64,
}

impl ReadAhead {
    /// Notes a read of `pages` of a region with `count` pages; gives the pages to ask for ahead, if any.
    pub(super) fn after(&mut self, region: u32, pages: &Range<u64>, count: u64) -> Option<Range<u64>> {
        // Requests that are in flight together overtake each other; those that are not of whole pages begin in the page
        // in which the one before ended.
        let slack = SKIPPED.max(2 * (pages.end - pages.start));
        let follows = |reader: &SequentialReader| {
            reader.region == region
                && pages.start + slack >= reader.next
                && pages.start <= reader.next + slack
        };
        let mut reader = match self.readers.iter().rposition(follows) {
            Some(place) => self.readers.remove(place),
            None => SequentialReader {
                region,
                next: 0,
                row: 0,
                asked: pages.end,
                window: FIRST_WINDOW / 2,
            },
        };
        let ahead = reader.read(pages, count);
        if self.readers.len() == READERS {
            self.readers.remove(0);
        }
        self.readers.push(reader);
        ahead
    }
}

impl SequentialReader {
    fn read(&mut self, pages: &Range<u64>, count: u64) -> Option<Range<u64>> {
        self.row += 1;
        self.next = self.next.max(pages.end);
        self.asked = self.asked.max(self.next);
        // Half a window is left before the next one is asked for, so that it has time to arrive.
        if self.row <= ROW || self.asked - self.next > self.window / 2 {
            return None;
        }
        self.window = (self.window * 2).min(MOST_WINDOW);
        let ahead = self.asked..(self.next + self.window).min(count);
        if ahead.is_empty() {
            return None;
        }
        self.asked = ahead.end;
        Some(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: u64 = FIRST_WINDOW;

    #[test]
    fn only_sequential_readers_are_run_ahead_of() {
        let mut ahead = ReadAhead::default();
        assert_eq!(ahead.after(1, &(100..110), 10_000), None);
        assert_eq!(ahead.after(1, &(500..510), 10_000), None, "a jump");
        assert_eq!(
            ahead.after(1, &(510..520), 10_000),
            None,
            "two in a row may be chance"
        );
        assert_eq!(
            ahead.after(1, &(520..530), 10_000),
            Some(530..530 + W),
            "three are not"
        );
        assert_eq!(
            ahead.after(1, &(530..540), 10_000),
            None,
            "most of the window is still ahead"
        );
        assert_eq!(
            ahead.after(2, &(540..550), 10_000),
            None,
            "another region is a jump"
        );
    }

    #[test]
    fn windows_follow_each_other_without_gaps_and_grow() {
        let mut ahead = ReadAhead::default();
        let (mut asked, mut most) = (None::<u64>, 0);
        for page in 0..10_000 {
            let Some(window) = ahead.after(0, &(page..page + 1), 10_000) else {
                continue;
            };
            assert!(window.start > page, "what was read is not asked for");
            assert_eq!(
                window.start,
                asked.unwrap_or(window.start),
                "the next window follows the last"
            );
            most = most.max(window.end - page);
            asked = Some(window.end);
        }
        assert_eq!(asked, Some(10_000), "nothing is asked for behind the end");
        assert!(
            (MOST_WINDOW..=MOST_WINDOW + 1).contains(&most),
            "windows grow to {MOST_WINDOW}, not {most}"
        );
    }

    #[test]
    fn several_readers_at_once_are_told_apart() {
        let mut ahead = ReadAhead::default();
        let mut asked = [0; 4];
        for step in 0..20 {
            for reader in 0..4_u64 {
                let page = reader * 2_000 + step * 8;
                asked[reader as usize] += u32::from(ahead.after(0, &(page..page + 8), 10_000).is_some());
            }
        }
        assert!(
            asked.iter().all(|&asked| asked > 0),
            "each of them is sequential: {asked:?}"
        );
    }

    #[test]
    fn a_random_reader_asks_for_nothing() {
        let mut ahead = ReadAhead::default();
        for step in 0..1_000_u64 {
            let page = step * 7_919 % 100_000 * 1_000;
            assert_eq!(ahead.after(0, &(page..page + 8), u64::MAX), None);
        }
    }
}
