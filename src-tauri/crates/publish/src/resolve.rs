//! Which pages of the disks are known, which are new, and which repeat a new one.
//!
//! Both lists, of the disks' pages and of the known ones, are sorted by digest and merged; what comes out is sorted by
//! ordinal again. All of it goes through [`crate::sort`], so memory stays bounded whatever the disk's size.

use std::io;
use std::path::Path;

use crate::error::{Context as _, Result};
use crate::sort::{Sorted, Sorter};

/// The pages of the disks, by what is to be done with them. All lists are by ordinal (the first 8 bytes).
pub(crate) struct Resolved {
    /// Pages that no kept release has, the first of equal ones: ordinal, digest (16 bytes). A page's place in this list is
    /// its *index*.
    pub(crate) new: Sorted<24>,
    /// Pages that a kept release has: ordinal, number of the pack (4 bytes), place there (4 bytes).
    pub(crate) known: Sorted<16>,
    /// Pages that are equal to a new one before them: ordinal, index of that one (8 bytes).
    pub(crate) repeats: Sorted<16>,
}

/// Resolves the pages that were found on the disks.
pub(crate) fn resolve(found: &Sorted<24>, known: &Sorted<24>, scratch: &Path) -> Result<Resolved> {
    by_digest(found, known, scratch).context(|| "sorting the pages in the folder for temporary files".into())
}

fn by_digest(found: &Sorted<24>, known: &Sorted<24>, scratch: &Path) -> io::Result<Resolved> {
    let mut new = Sorter::new(scratch);
    let mut old = Sorter::new(scratch);
    let mut repeats = Sorter::new(scratch);
    let mut known = known.iter()?;
    let mut place = known.next().transpose()?;
    // The digest and the ordinal of the new page before.
    let mut first: Option<([u8; 16], [u8; 8])> = None;
    for page in found.iter()? {
        let (digest, ordinal) = split::<24, 16, 8>(&page?);
        while place.is_some_and(|known| known[..16] < digest[..]) {
            place = known.next().transpose()?;
        }
        if let Some(place) = place.filter(|known| known[..16] == digest) {
            old.push(join(&ordinal, &split::<24, 16, 8>(&place).1))?;
        } else if let Some((_, original)) = first.filter(|(before, _)| *before == digest) {
            repeats.push(join(&original, &ordinal))?;
        } else {
            first = Some((digest, ordinal));
            new.push(join(&ordinal, &digest))?;
        }
    }
    let new = new.finish();
    let repeats = with_index(&new, &repeats.finish(), scratch)?;
    Ok(Resolved {
        new,
        known: old.finish(),
        repeats,
    })
}

/// Turns (ordinal of the original, ordinal of the repeat) into (ordinal of the repeat, index of the original).
fn with_index(new: &Sorted<24>, repeats: &Sorted<16>, scratch: &Path) -> io::Result<Sorted<16>> {
    let mut out = Sorter::new(scratch);
    let mut new = new.iter()?;
    let mut index = 0_u64;
    let mut current = new.next().transpose()?;
    for repeat in repeats.iter()? {
        let (original, ordinal) = split::<16, 8, 8>(&repeat?);
        while current.is_some_and(|page| page[..8] < original[..]) {
            current = new.next().transpose()?;
            index += 1;
        }
        out.push(join(&ordinal, &index.to_be_bytes()))?;
    }
    Ok(out.finish())
}

fn split<const N: usize, const A: usize, const B: usize>(record: &[u8; N]) -> ([u8; A], [u8; B]) {
    const { assert!(A + B == N) };
    (
        std::array::from_fn(|i| record[i]),
        std::array::from_fn(|i| record[A + i]),
    )
}

fn join<const N: usize, const A: usize, const B: usize>(a: &[u8; A], b: &[u8; B]) -> [u8; N] {
    const { assert!(A + B == N) };
    std::array::from_fn(|i| if i < A { a[i] } else { b[i - A] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted<const N: usize>(records: impl IntoIterator<Item = [u8; N]>) -> Sorted<N> {
        let mut sorter = Sorter::new(Path::new("."));
        for record in records {
            sorter.push(record).unwrap();
        }
        sorter.finish()
    }

    fn digest(letter: u8) -> [u8; 16] {
        [letter; 16]
    }

    fn read<const N: usize>(sorted: &Sorted<N>) -> Vec<[u8; N]> {
        sorted.iter().unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn pages_are_known_new_or_repeats() {
        let disk = b"cabcakzzbk";
        let found = sorted(
            disk.iter()
                .enumerate()
                .map(|(i, letter)| join(&digest(*letter), &(i as u64).to_be_bytes())),
        );
        let known = sorted([
            join(&digest(b'k'), &[0, 0, 0, 1, 0, 0, 0, 9]),
            join(&digest(b'k'), &[0, 0, 0, 2, 0, 0, 0, 3]),
            join(&digest(b'0'), &[0; 8]),
            join(&digest(b'x'), &[0; 8]),
        ]);
        let resolved = resolve(&found, &known, Path::new(".")).unwrap();
        let new: Vec<(u8, u8)> = read(&resolved.new).iter().map(|r| (r[7], r[8])).collect();
        assert_eq!(
            new,
            [(0, b'c'), (1, b'a'), (2, b'b'), (6, b'z')],
            "the first of each, in disk order"
        );
        let old: Vec<(u8, u8, u8)> = read(&resolved.known)
            .iter()
            .map(|r| (r[7], r[11], r[15]))
            .collect();
        assert_eq!(
            old,
            [(5, 1, 9), (9, 1, 9)],
            "every one, at the first place that is known"
        );
        let repeats: Vec<(u8, u8)> = read(&resolved.repeats).iter().map(|r| (r[7], r[15])).collect();
        assert_eq!(
            repeats,
            [(3, 0), (4, 1), (7, 3), (8, 2)],
            "with the index of the first"
        );
    }
}
