//! What a read consists of: where each stretch of its bytes comes from, and how they become pieces.

use std::ops::Range;

use bytes::Bytes;
use livepc_format::limits::PAGE;

use super::Span;
use super::pages::Run;
use super::regions::Part;
use crate::block::Piece;

/// The stretches of a read. All stored pages go into one buffer, so that neighbours become one piece, without a copy.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    runs: Vec<Run>,
    /// Pages of the buffer.
    pages: usize,
    stretches: Vec<Stretch>,
}

#[derive(Debug)]
enum Stretch {
    Zero(u64),
    /// These bytes of the buffer.
    Data(Range<usize>),
}

impl Assembly {
    /// Adds the bytes of a region's part, whose pages lie in `spans`.
    pub(super) fn add(&mut self, part: &Part, spans: &[Span]) {
        for span in spans {
            // The first and the last page may be wanted in part.
            let begin = span.page * PAGE;
            let start = part.offset.max(begin);
            let stop = (part.offset + part.len).min((span.page + u64::from(span.pages)) * PAGE);
            match span.place {
                None => self.add_zero(stop - start),
                Some((pack, first)) => {
                    let base = self.pages * PAGE as usize;
                    self.add_data(base + (start - begin) as usize..base + (stop - begin) as usize);
                    self.add_run(Run {
                        pack,
                        first,
                        pages: span.pages,
                        at: self.pages,
                    });
                }
            }
        }
    }

    /// The pages to be read into the buffer, in its order.
    pub(super) fn take_runs(&mut self) -> Vec<Run> {
        std::mem::take(&mut self.runs)
    }

    /// The pieces of the read, from the buffer.
    pub(super) fn pieces(self, buffer: impl AsRef<[u8]> + Send + 'static) -> Vec<Piece> {
        let buffer = Bytes::from_owner(buffer);
        let piece = |stretch| match stretch {
            // A read's length fits in 32 bits.
            Stretch::Zero(len) => Piece::Zero(len as u32),
            Stretch::Data(bytes) => Piece::Data(buffer.slice(bytes)),
        };
        self.stretches.into_iter().map(piece).collect()
    }

    fn add_zero(&mut self, len: u64) {
        match self.stretches.last_mut() {
            Some(Stretch::Zero(last)) => *last += len,
            _ => self.stretches.push(Stretch::Zero(len)),
        }
    }

    fn add_data(&mut self, bytes: Range<usize>) {
        match self.stretches.last_mut() {
            Some(Stretch::Data(last)) if last.end == bytes.start => last.end = bytes.end,
            _ => self.stretches.push(Stretch::Data(bytes)),
        }
    }

    fn add_run(&mut self, run: Run) {
        self.pages += run.pages as usize;
        match self.runs.last_mut() {
            Some(last) if last.pack == run.pack && last.first + last.pages == run.first => {
                last.pages += run.pages;
            }
            _ => self.runs.push(run),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livepc_format::{Digest, PackId};

    const P: usize = PAGE as usize;

    #[test]
    fn neighbours_are_one_piece_and_partial_pages_are_cut() {
        let pack = PackId(Digest::of(b"pack"));
        let span = |page, pages, first: Option<u32>| Span {
            page,
            pages,
            place: first.map(|at| (pack, at)),
        };
        let mut assembly = Assembly::default();
        let part = Part {
            region: 0,
            offset: 100,
            len: 6 * PAGE,
        };
        let spans = [
            span(0, 1, Some(8)),
            span(1, 1, Some(9)),
            span(2, 2, Some(50)),
            span(4, 3, None),
        ];
        assembly.add(&part, &spans);
        let next = Part {
            region: 1,
            offset: 0,
            len: 50,
        };
        assembly.add(&next, &[span(0, 1, Some(52))]);

        let runs = assembly.take_runs();
        let run = |first, pages, at| Run {
            pack,
            first,
            pages,
            at,
        };
        assert_eq!(
            runs,
            [run(8, 2, 0), run(50, 3, 2)],
            "what lies together is read together"
        );

        let buffer: Vec<u8> = (0..5 * P).map(|i| (i / P) as u8 + 1).collect();
        let pieces = assembly.pieces(buffer.clone());
        let [Piece::Data(first), Piece::Zero(zeros), Piece::Data(last)] = pieces.as_slice() else {
            panic!("three pieces, not {pieces:?}");
        };
        assert_eq!(first, &buffer[100..4 * P], "from byte 100 on to the zeros");
        assert_eq!(*zeros as usize, 2 * P + 100);
        assert_eq!(
            last,
            &buffer[4 * P..4 * P + 50],
            "of the next region's first page 50 bytes"
        );
    }
}
