//! Which pages of a pack are here: a bit each.

use std::ops::Range;

use livepc_format::limits::PACK_PAGES;

use crate::layout::PRESENCE_LEN;

const WORDS: usize = PRESENCE_LEN / 8;

/// One bit for each page that a pack can have.
#[derive(Clone)]
pub(crate) struct Presence(Box<[u64; WORDS]>);

impl Presence {
    /// No page.
    pub(crate) fn empty() -> Self {
        Self(Box::new([0; WORDS]))
    }

    /// Reads the bits as they lie in a file.
    pub(crate) fn from_bytes(bytes: &[u8; PRESENCE_LEN]) -> Self {
        let mut presence = Self::empty();
        let (words, _) = bytes.as_chunks::<8>();
        for (word, bytes) in presence.0.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        presence
    }

    /// The bytes of the file that hold the bits of `pages`, which must not be empty, and their place.
    pub(crate) fn bytes_of(&self, pages: Range<u32>) -> (usize, Vec<u8>) {
        let (first, last) = (pages.start as usize / 8, (pages.end as usize - 1) / 8);
        let bytes = (first..=last)
            .map(|i| self.0[i / 8].to_le_bytes()[i % 8])
            .collect();
        (first, bytes)
    }

    /// True if all `pages` are here.
    pub(crate) fn all(&self, pages: Range<u32>) -> bool {
        words(pages).all(|(i, mask)| self.0[i] & mask == mask)
    }

    /// True if at least one of `pages` is here.
    pub(crate) fn any(&self, pages: Range<u32>) -> bool {
        words(pages).any(|(i, mask)| self.0[i] & mask != 0)
    }

    /// Sets or clears the bits of `pages`.
    pub(crate) fn set(&mut self, pages: Range<u32>, here: bool) {
        for (i, mask) in words(pages) {
            if here {
                self.0[i] |= mask;
            } else {
                self.0[i] &= !mask;
            }
        }
    }

    /// How many pages are here.
    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The first of `pages` that is not here.
    pub(crate) fn first_missing(&self, pages: Range<u32>) -> Option<u32> {
        words(pages).find_map(|(i, mask)| {
            let missing = !self.0[i] & mask;
            (missing != 0).then(|| i as u32 * 64 + missing.trailing_zeros())
        })
    }

    /// The runs of `pages` that are not here.
    pub(crate) fn missing(&self, pages: Range<u32>) -> Vec<Range<u32>> {
        let mut runs = Vec::new();
        let mut next = pages.start;
        while let Some(start) = self.first_missing(next..pages.end) {
            let end = self.first_present(start..pages.end).unwrap_or(pages.end);
            runs.push(start..end);
            next = end;
        }
        runs
    }

    fn first_present(&self, pages: Range<u32>) -> Option<u32> {
        words(pages).find_map(|(i, mask)| {
            let present = self.0[i] & mask;
            (present != 0).then(|| i as u32 * 64 + present.trailing_zeros())
        })
    }
}

/// The words that hold the bits of `pages`, each with a mask of those bits.
fn words(pages: Range<u32>) -> impl Iterator<Item = (usize, u64)> {
    debug_assert!(pages.end <= PACK_PAGES, "a pack has no such page: {pages:?}");
    let (first, end) = (pages.start / 64, pages.end.div_ceil(64));
    (if pages.is_empty() { 0..0 } else { first..end }).map(move |i| {
        let low = pages.start.saturating_sub(i * 64).min(63);
        let high = (pages.end - i * 64).min(64);
        (i as usize, (u64::MAX >> (64 - high)) & (u64::MAX << low))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_list_of_booleans(steps in prop::collection::vec((0..400_u32, 1..300_u32, any::<bool>()), 1..20),
                                          ask in (0..600_u32, 0..200_u32)) {
            let mut model = vec![false; 1000];
            let mut presence = Presence::empty();
            for (first, len, here) in steps {
                presence.set(first..first + len, here);
                model[first as usize..(first + len) as usize].fill(here);
            }
            let ask = ask.0..ask.0 + ask.1;
            let asked = &model[ask.start as usize..ask.end as usize];
            prop_assert_eq!(presence.all(ask.clone()), asked.iter().all(|&b| b));
            prop_assert_eq!(presence.any(ask.clone()), asked.iter().any(|&b| b));
            prop_assert_eq!(presence.count() as usize, model.iter().filter(|&&b| b).count());
            let missing: Vec<u32> = presence.missing(ask.clone()).into_iter().flatten().collect();
            let expected: Vec<u32> = ask.clone().filter(|&page| !model[page as usize]).collect();
            prop_assert_eq!(missing, expected);
            let mut bytes = [0; PRESENCE_LEN];
            let (at, part) = presence.bytes_of(0..PACK_PAGES);
            bytes[at..at + part.len()].copy_from_slice(&part);
            prop_assert_eq!(Presence::from_bytes(&bytes).0, presence.0);
        }
    }

    #[test]
    fn the_last_page_has_a_bit() {
        let mut presence = Presence::empty();
        presence.set(PACK_PAGES - 1..PACK_PAGES, true);
        assert!(
            presence.all(PACK_PAGES - 1..PACK_PAGES),
            "the last bit of the last word"
        );
        assert_eq!(
            presence.bytes_of(PACK_PAGES - 1..PACK_PAGES),
            (PRESENCE_LEN - 1, vec![0x80])
        );
        assert_eq!(presence.first_missing(0..PACK_PAGES), Some(0));
        assert!(!presence.any(0..PACK_PAGES - 1), "no other bit is set");
    }
}
