//! Reading pages out of the chunk store, and having fetched what is not there.

use std::io;
use std::ops::Range;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use livepc_format::PackId;
use livepc_format::limits::PAGE;
use livepc_store::{ReadOutcome, Reader};

use super::Backend;
use super::buffers::{Buffer, Buffers};
use crate::block::ReadError;

const PAGE_LEN: usize = PAGE as usize;
/// How often what is missing or damaged is fetched before that is an error.
const FETCHES: u32 = 3;
/// Pages that are asked for at a time: a large read then shows progress, and lets others in between.
const ASKED_TOGETHER: u32 = (1 << 20) / PAGE as u32;
/// Fetches of one read that are asked for at a time.
const ASKED_AT_ONCE: usize = 32;

/// Pages that lie together in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) pack: PackId,
    pub(super) first: u32,
    pub(super) pages: u32,
    /// Where they go: pages from the beginning of the buffer.
    pub(super) at: usize,
}

impl Run {
    fn bytes(&self) -> Range<usize> {
        self.at * PAGE_LEN..(self.at + self.pages as usize) * PAGE_LEN
    }
}

/// What pages are read from: a store, which others write to at the same time.
pub(super) trait Source: Clone + Send + 'static {
    /// As [`Reader::read_cached`].
    fn read_cached(&self, pack: PackId, first: u32, buf: &mut [u8]) -> bool;
    /// As [`Reader::read`].
    fn read(&self, pack: PackId, first: u32, buf: &mut [u8]) -> livepc_store::Result<ReadOutcome>;
    /// As [`Reader::missing`].
    fn missing(&self, pack: PackId, first: u32, pages: u32) -> Vec<Range<u32>>;
}

impl Source for Reader {
    fn read_cached(&self, pack: PackId, first: u32, buf: &mut [u8]) -> bool {
        self.read_cached(pack, first, buf)
    }

    fn read(&self, pack: PackId, first: u32, buf: &mut [u8]) -> livepc_store::Result<ReadOutcome> {
        self.read(pack, first, buf)
    }

    fn missing(&self, pack: PackId, first: u32, pages: u32) -> Vec<Range<u32>> {
        self.missing(pack, first, pages)
    }
}

/// Pages of a pack to be fetched.
type Wanted = (PackId, Range<u32>);

/// Reads all runs into one buffer.
///
/// What the system has in memory is read at once: handing that to another thread would take many times as long as the
/// read (10 µs against 90 for a page, measured). What must come from the disk is read where it may block.
pub(super) async fn read(
    reader: &impl Source,
    backend: &dyn Backend,
    buffers: &Buffers,
    mut runs: Vec<Run>,
) -> Result<Buffer, ReadError> {
    let pages: usize = runs.iter().map(|run| run.pages as usize).sum();
    let mut buffer = buffers.take(pages * PAGE_LEN);
    runs.retain(|run| !reader.read_cached(run.pack, run.first, &mut buffer[run.bytes()]));
    let mut fetches = 0;
    while !runs.is_empty() {
        let (reader, moved) = (reader.clone(), (buffer, runs));
        let work = move || {
            let (mut buffer, runs) = moved;
            let (left, wanted) = read_blocking(&reader, &mut buffer, runs)?;
            Ok::<_, io::Error>((buffer, left, wanted))
        };
        let wanted;
        (buffer, runs, wanted) = livepc_panics::blocking("Reading the store", work)
            .await
            .map_err(io::Error::from)??;
        // Nothing is left to read, or what was missing has come meanwhile: then it is read now.
        if wanted.is_empty() {
            continue;
        }
        if fetches == FETCHES {
            let (pack, pages) = &wanted[0];
            let why = format!("pages {pages:?} of pack {pack} cannot be read back after they were fetched");
            return Err(ReadError::Io(io::Error::other(why)));
        }
        fetches += 1;
        stream::iter(wanted)
            .map(Ok)
            .try_for_each_concurrent(ASKED_AT_ONCE, |(pack, pages)| {
                backend.fetch(pack, pages.start, pages.end - pages.start)
            })
            .await?;
    }
    Ok(buffer)
}

/// Reads what is there; gives the runs that are not, and what must be fetched for them.
fn read_blocking(
    reader: &impl Source,
    buffer: &mut [u8],
    mut runs: Vec<Run>,
) -> io::Result<(Vec<Run>, Vec<Wanted>)> {
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut failed = None;
    runs.retain(|run| {
        match reader.read(run.pack, run.first, &mut buffer[run.bytes()]) {
            Ok(ReadOutcome::Complete) => return false,
            Ok(ReadOutcome::Missing { .. }) => {
                let missing = reader.missing(run.pack, run.first, run.pages);
                wanted.extend(missing.into_iter().map(|pages| (run.pack, pages)));
            }
            // Only the first damaged page is known; where one is, the next may be too.
            Ok(ReadOutcome::Damaged { page, .. }) => wanted.push((run.pack, page..run.first + run.pages)),
            Err(error) => failed = Some(error),
        }
        true
    });
    match failed {
        Some(error) => Err(io::Error::other(error)),
        None => Ok((runs, split(merge(wanted)))),
    }
}

/// Puts together what lies together, so that it is asked for once.
fn merge(mut wanted: Vec<Wanted>) -> Vec<Wanted> {
    wanted.sort_unstable_by_key(|(pack, pages)| (*pack, pages.start));
    wanted.dedup_by(|(next_pack, next), (pack, pages)| {
        let together = next_pack == pack && next.start <= pages.end;
        if together {
            pages.end = pages.end.max(next.end);
        }
        together
    });
    wanted
}

/// Parts what would be asked for at once.
fn split(wanted: Vec<Wanted>) -> Vec<Wanted> {
    let parts = |(pack, pages): Wanted| {
        let part = move |start: u32| (pack, start..pages.end.min(start + ASKED_TOGETHER));
        pages.clone().step_by(ASKED_TOGETHER as usize).map(part)
    };
    wanted.into_iter().flat_map(parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::{BoxFuture, FetchError};
    use livepc_format::Digest;
    use livepc_format::index::ObjectRef;

    /// A store that gets the pages between two looks at it.
    #[derive(Clone, Default)]
    struct Filling(std::sync::Arc<std::sync::atomic::AtomicBool>);

    impl Source for Filling {
        fn read_cached(&self, _: PackId, _: u32, _: &mut [u8]) -> bool {
            false
        }

        fn read(&self, _: PackId, first: u32, buf: &mut [u8]) -> livepc_store::Result<ReadOutcome> {
            if !self.0.swap(true, std::sync::atomic::Ordering::SeqCst) {
                return Ok(ReadOutcome::Missing { page: first });
            }
            buf.fill(7);
            Ok(ReadOutcome::Complete)
        }

        fn missing(&self, _: PackId, _: u32, _: u32) -> Vec<Range<u32>> {
            Vec::new()
        }
    }

    struct Nobody;

    impl Backend for Nobody {
        fn fetch(&self, _: PackId, _: u32, _: u32) -> BoxFuture<'_, Result<(), FetchError>> {
            unreachable!("nothing is missing")
        }

        fn object(&self, _: ObjectRef) -> BoxFuture<'_, Result<(), FetchError>> {
            unreachable!("no object is asked for")
        }

        fn read_ahead(&self, _: PackId, _: u32, _: u32) {}
    }

    #[tokio::test]
    async fn what_comes_while_it_is_looked_for_is_read() {
        let run = Run {
            pack: PackId(Digest::of(b"a")),
            first: 3,
            pages: 2,
            at: 0,
        };
        let read = read(&Filling::default(), &Nobody, &Buffers::default(), vec![run])
            .await
            .unwrap();
        assert!(
            read.iter().all(|byte| *byte == 7),
            "zeros are not what was published"
        );
        assert_eq!(read.len(), 2 * PAGE_LEN);
    }

    #[test]
    fn what_lies_together_is_asked_for_once() {
        let [a, b] = [b"a", b"b"].map(|name| PackId(Digest::of(name)));
        let (a, b) = (a.min(b), a.max(b));
        let wanted = vec![(b, 0..5), (a, 10..20), (a, 0..10), (a, 12..15), (a, 21..22)];
        assert_eq!(merge(wanted), [(a, 0..20), (a, 21..22), (b, 0..5)]);
        let parts = split(vec![(a, 10..600), (b, 0..256)]);
        assert_eq!(parts, [(a, 10..266), (a, 266..522), (a, 522..600), (b, 0..256)]);
    }
}
