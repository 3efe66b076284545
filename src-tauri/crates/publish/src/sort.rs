//! Sorting more records than fit in memory: runs in a temporary file, merged.
//!
//! Records are byte strings of one length, sorted as such: whoever makes them writes numbers with the highest byte first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rayon::slice::ParallelSliceMut as _;

use crate::os;

/// Records that are sorted in memory at a time.
const RUN: usize = 1 << 20;
/// Runs that are merged at a time.
const FAN_IN: usize = 256;
/// Bytes that are read of a run at a time.
const BLOCK: usize = 64 << 10;

/// Takes records in any order.
pub(crate) struct Sorter<const N: usize> {
    scratch: PathBuf,
    run: usize,
    memory: Vec<[u8; N]>,
    file: Option<File>,
    end: u64,
    /// Where the runs in the file lie, those of level 0 (as sorted in memory) first; a level above holds merges.
    levels: Vec<Vec<Run>>,
}

#[derive(Clone, Copy)]
struct Run {
    offset: u64,
    records: u64,
}

impl<const N: usize> Sorter<N> {
    /// A sorter that writes its temporary file, if it needs one, into the folder `scratch`.
    pub(crate) fn new(scratch: &Path) -> Self {
        Self::with_run(scratch, RUN)
    }

    fn with_run(scratch: &Path, run: usize) -> Self {
        Self {
            scratch: scratch.to_owned(),
            run,
            memory: Vec::new(),
            file: None,
            end: 0,
            levels: vec![Vec::new()],
        }
    }

    pub(crate) fn push(&mut self, record: [u8; N]) -> io::Result<()> {
        self.memory.push(record);
        if self.memory.len() == self.run {
            self.spill()?;
        }
        Ok(())
    }

    /// Ends the taking of records.
    pub(crate) fn finish(mut self) -> Sorted<N> {
        self.memory.par_sort_unstable();
        self.memory.shrink_to_fit();
        Sorted {
            memory: self.memory,
            file: self.file,
            runs: self.levels.concat(),
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.memory.par_sort_unstable();
        let memory = std::mem::take(&mut self.memory);
        let run = self.write(memory.iter().map(|record| Ok(*record)))?;
        self.memory = memory;
        self.memory.clear();
        self.levels[0].push(run);
        for level in 0.. {
            if self.levels[level].len() < FAN_IN {
                break;
            }
            let runs = std::mem::take(&mut self.levels[level]);
            let merged = match &self.file {
                Some(file) => {
                    let file = file.try_clone()?;
                    self.write(Merge::new(&[], Some(&file), &runs)?)?
                }
                None => break,
            };
            if self.levels.len() == level + 1 {
                self.levels.push(Vec::new());
            }
            self.levels[level + 1].push(merged);
        }
        Ok(())
    }

    /// Appends records that come in order.
    fn write(&mut self, records: impl Iterator<Item = io::Result<[u8; N]>>) -> io::Result<Run> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(&self.scratch)?),
        };
        // Reads are positional, but on Windows they move the place where the next write goes.
        let mut at = file.try_clone()?;
        io::Seek::seek(&mut at, io::SeekFrom::Start(self.end))?;
        let mut run = Run {
            offset: self.end,
            records: 0,
        };
        let mut block = Vec::with_capacity(BLOCK + N);
        for record in records {
            block.extend_from_slice(&record?);
            run.records += 1;
            if block.len() >= BLOCK {
                io::Seek::seek(&mut at, io::SeekFrom::Start(self.end))?;
                at.write_all(&block)?;
                self.end += block.len() as u64;
                block.clear();
            }
        }
        io::Seek::seek(&mut at, io::SeekFrom::Start(self.end))?;
        at.write_all(&block)?;
        self.end += block.len() as u64;
        Ok(run)
    }
}

/// Sorted records; they can be read several times.
pub(crate) struct Sorted<const N: usize> {
    memory: Vec<[u8; N]>,
    file: Option<File>,
    runs: Vec<Run>,
}

impl<const N: usize> Sorted<N> {
    /// How many records there are.
    pub(crate) fn len(&self) -> u64 {
        self.memory.len() as u64 + self.runs.iter().map(|run| run.records).sum::<u64>()
    }

    /// The records in order.
    pub(crate) fn iter(&self) -> io::Result<Merge<'_, N>> {
        Merge::new(&self.memory, self.file.as_ref(), &self.runs)
    }
}

/// Merges runs.
pub(crate) struct Merge<'a, const N: usize> {
    runs: Vec<Cursor<'a, N>>,
    next: BinaryHeap<Reverse<([u8; N], usize)>>,
}

impl<'a, const N: usize> Merge<'a, N> {
    fn new(memory: &'a [[u8; N]], file: Option<&'a File>, runs: &[Run]) -> io::Result<Self> {
        let mut cursors = vec![Cursor::Memory(memory.iter())];
        if let Some(file) = file {
            cursors.extend(runs.iter().map(|run| Cursor::File {
                file,
                rest: *run,
                block: Vec::new(),
                place: 0,
            }));
        }
        let mut merge = Self {
            runs: cursors,
            next: BinaryHeap::new(),
        };
        for number in 0..merge.runs.len() {
            merge.advance(number)?;
        }
        Ok(merge)
    }

    fn advance(&mut self, number: usize) -> io::Result<()> {
        if let Some(record) = self.runs[number].next()? {
            self.next.push(Reverse((record, number)));
        }
        Ok(())
    }
}

impl<const N: usize> Iterator for Merge<'_, N> {
    type Item = io::Result<[u8; N]>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((record, number)) = self.next.pop()?;
        Some(self.advance(number).map(|()| record))
    }
}

enum Cursor<'a, const N: usize> {
    Memory(std::slice::Iter<'a, [u8; N]>),
    File {
        file: &'a File,
        rest: Run,
        block: Vec<[u8; N]>,
        place: usize,
    },
}

impl<const N: usize> Cursor<'_, N> {
    fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        match self {
            Self::Memory(records) => Ok(records.next().copied()),
            Self::File {
                file,
                rest,
                block,
                place,
            } => {
                if *place == block.len() {
                    let count = rest.records.min((BLOCK / N).max(1) as u64) as usize;
                    if count == 0 {
                        return Ok(None);
                    }
                    block.resize(count, [0; N]);
                    os::read_at(file, block.as_flattened_mut(), rest.offset)?;
                    rest.offset += (count * N) as u64;
                    rest.records -= count as u64;
                    *place = 0;
                }
                *place += 1;
                Ok(Some(block[*place - 1]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted_by(run: usize, input: &[[u8; 3]]) -> Vec<[u8; 3]> {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::with_run(dir.path(), run);
        for record in input {
            sorter.push(*record).unwrap();
        }
        let sorted = sorter.finish();
        assert_eq!(sorted.len(), input.len() as u64);
        let once: Vec<_> = sorted.iter().unwrap().map(Result::unwrap).collect();
        let again: Vec<_> = sorted.iter().unwrap().map(Result::unwrap).collect();
        assert_eq!(once, again, "sorted records can be read again");
        once
    }

    #[test]
    fn any_number_of_runs_comes_out_in_order() {
        let input: Vec<[u8; 3]> = (0_u32..3000)
            .map(|i| {
                let mixed = i.wrapping_mul(2_654_435_761).to_be_bytes();
                [mixed[0], mixed[1] & 3, mixed[2]]
            })
            .collect();
        let mut expected = input.clone();
        expected.sort_unstable();
        assert_eq!(sorted_by(10_000, &input), expected, "in memory");
        assert_eq!(sorted_by(1000, &input), expected, "a few runs, none in memory");
        assert_eq!(
            sorted_by(7, &input),
            expected,
            "so many runs that runs of runs are made"
        );
        assert_eq!(sorted_by(7, &[]), Vec::<[u8; 3]>::new());
    }
}
