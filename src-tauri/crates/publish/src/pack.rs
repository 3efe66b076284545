//! The second reading of the disks: new pages become chunks, and chunks become packs.
//!
//! Chunks are compressed on all cores, batch by batch, and put into packs in disk order, so the same pages give the same
//! packs whatever the machine. A page whose digest is another one than at the first reading stops the publication.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};

use livepc_format::index::{ChunkEntry, ChunkTable, PackRef, PageDigest, encode_pages};
use livepc_format::limits::{CHUNK_PAGES, PACK_PAGES, PACK_STORED, PAGE};
use livepc_format::shown;
use livepc_format::{PackId, compress_chunk};
use rayon::prelude::*;

use crate::error::{Context as _, Result};
use crate::known::Packs;
use crate::layout::Layout;
use crate::os;
use crate::output::Output;
use crate::progress::{Counter, Phase, Progress};
use crate::scan::page_digest;
use crate::sort::{Merge, Sorted};

/// A chunk that has at least this many pages ends at a boundary of [`CHUNK_PAGES`] pages of its region, so that
/// regions that become equal again give equal chunks again.
const ENOUGH: usize = CHUNK_PAGES as usize / 2;

/// The packs that were made.
pub(crate) struct Packed {
    /// The number of each new pack, and the index of its first page; by rising index.
    starts: Vec<(u64, u32)>,
    tables: Tables,
    /// Chunks in them.
    pub(crate) chunks: u64,
    /// Bytes of the pack files.
    pub(crate) stored: u64,
}

impl Packed {
    /// Packs that were made.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Where the new page with this index lies: its pack's number, and its place there.
    pub(crate) fn locate(&self, index: u64) -> (u32, u32) {
        let place = self.starts.partition_point(|(first, _)| *first <= index);
        // The first pack begins with page 0, so there is one at or before every page.
        let (first, number) = self.starts[place.saturating_sub(1)];
        (number, (index - first) as u32)
    }

    /// The bytes of the chunk table of a new pack; `None` if the pack is not new.
    pub(crate) fn table(&self, number: u32) -> Result<Option<Vec<u8>>> {
        match self.starts.binary_search_by_key(&number, |(_, number)| *number) {
            Ok(place) => self.tables.read(place).map(Some),
            Err(_) => Ok(None),
        }
    }
}

/// Packs the pages in `new`, and adds the packs to `packs`. `level` is zstd's.
pub(crate) fn pack(
    layout: &Layout,
    new: &Sorted<24>,
    packs: &mut Packs,
    output: &Output<'_>,
    level: i32,
    scratch: &Path,
    progress: &dyn Progress,
) -> Result<Packed> {
    std::thread::scope(|scope| {
        // One pack is filled, one waits, one is written: the disk and the cores work at the same time.
        let (send, receive) = sync_channel::<Full>(1);
        let writer = scope.spawn(move || {
            receive
                .into_iter()
                .try_for_each(|full| output.put_pack(&full.id, &full.stored, &full.pages, &full.table))
        });
        let packer = Packer {
            packs,
            open: Open::default(),
            send,
            packed: Packed {
                starts: Vec::new(),
                tables: Tables::new(scratch)?,
                chunks: 0,
                stored: 0,
            },
            pages: 0,
        };
        let packed = packer.run(layout, new, level, progress);
        // The writer's error is the cause; that the packer could not hand over a pack follows from it.
        match writer.join() {
            Ok(written) => written.and(packed),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

struct Packer<'a> {
    packs: &'a mut Packs,
    open: Open,
    send: SyncSender<Full>,
    packed: Packed,
    /// Pages in the packs that are full.
    pages: u64,
}

/// The pack that is being filled.
#[derive(Default)]
struct Open {
    stored: Vec<u8>,
    entries: Vec<ChunkEntry>,
    digests: Vec<PageDigest>,
}

/// A pack that is to be written.
struct Full {
    id: PackId,
    stored: Vec<u8>,
    pages: Vec<u8>,
    table: Vec<u8>,
}

impl Packer<'_> {
    fn run(
        mut self,
        layout: &Layout,
        new: &Sorted<24>,
        level: i32,
        progress: &dyn Progress,
    ) -> Result<Packed> {
        let mut counter = Counter::new(progress, Phase::Pack, new.len() * PAGE);
        let mut plans = Plans {
            layout,
            pages: new
                .iter()
                .context(|| "reading the sorted pages back".to_owned())?,
            waiting: None,
        };
        let batch = rayon::current_num_threads() * 16;
        let mut done = 0;
        loop {
            let plans: Vec<Plan> = plans.by_ref().take(batch).collect::<Result<_>>()?;
            if plans.is_empty() {
                break;
            }
            let chunks: Vec<(Vec<u8>, ChunkEntry)> = plans
                .par_iter()
                .map(|plan| plan.compress(layout, level))
                .collect::<Result<_>>()?;
            for (plan, (stored, entry)) in plans.iter().zip(chunks) {
                self.add(plan, &stored, entry)?;
                done += plan.len() as u64 * PAGE;
            }
            counter.at(done)?;
        }
        self.close()?;
        Ok(self.packed)
    }

    fn add(&mut self, plan: &Plan, stored: &[u8], entry: ChunkEntry) -> Result<()> {
        let bytes = (self.open.stored.len() + stored.len()) as u64;
        let pages = self.open.digests.len() + plan.len();
        if bytes > PACK_STORED || pages > PACK_PAGES as usize {
            self.close()?;
        }
        self.open.stored.extend_from_slice(stored);
        self.open.entries.push(entry);
        self.open.digests.extend(plan.0.iter().map(|(_, digest)| *digest));
        Ok(())
    }

    /// Ends the pack that is being filled, if there is anything in it.
    fn close(&mut self) -> Result<()> {
        let open = std::mem::take(&mut self.open);
        if open.entries.is_empty() {
            return Ok(());
        }
        let (table, bytes) = ChunkTable::build(&open.entries)?;
        let (pages, page_list) = encode_pages(&open.digests);
        self.packed.tables.append(&bytes)?;
        let number = self.packs.add(PackRef {
            id: table.id(),
            stored: table.stored(),
            pages: table.pages(),
            page_list,
            sources: Vec::new(),
        });
        self.packed.starts.push((self.pages, number));
        self.pages += u64::from(table.pages());
        self.packed.chunks += open.entries.len() as u64;
        self.packed.stored += table.stored();
        let full = Full {
            id: table.id(),
            stored: open.stored,
            pages,
            table: bytes,
        };
        // It fails only when the writer has failed, whose error is the one that counts.
        self.send
            .send(full)
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
            .context(|| "writing a pack".to_owned())
    }
}

/// The pages of a chunk: their ordinals and digests.
struct Plan(Vec<(u64, PageDigest)>);

impl Plan {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn compress(&self, layout: &Layout, level: i32) -> Result<(Vec<u8>, ChunkEntry)> {
        let mut bytes = Vec::with_capacity(self.len() * PAGE as usize);
        for run in self.0.chunk_by(|(a, _), (b, _)| a + 1 == *b) {
            layout.read(run[0].0, run.len() as u64, &mut bytes)?;
        }
        for ((ordinal, digest), page) in self.0.iter().zip(bytes.chunks_exact(PAGE as usize)) {
            if page_digest(page) != *digest {
                return Err(layout.disks[layout.stretch(*ordinal).disk].source.changed());
            }
        }
        Ok(compress_chunk(&bytes, level)?)
    }
}

/// Cuts the row of new pages into chunks.
struct Plans<'a> {
    layout: &'a Layout,
    pages: Merge<'a, 24>,
    /// The page that begins the next chunk.
    waiting: Option<(u64, PageDigest)>,
}

impl Iterator for Plans<'_> {
    type Item = Result<Plan>;

    fn next(&mut self) -> Option<Self::Item> {
        self.plan()
            .context(|| "reading the sorted pages back".to_owned())
            .transpose()
    }
}

impl Plans<'_> {
    fn plan(&mut self) -> io::Result<Option<Plan>> {
        let Some(first) = self.page()? else {
            return Ok(None);
        };
        let stretch = *self.layout.stretch(first.0);
        let cell = |ordinal: u64| (ordinal - stretch.first) / u64::from(CHUNK_PAGES);
        let mut pages = vec![first];
        let mut last = cell(first.0);
        while pages.len() < CHUNK_PAGES as usize {
            let Some(page) = self.page()? else { break };
            let ends = page.0 >= stretch.end() || (cell(page.0) != last && pages.len() >= ENOUGH);
            if ends {
                self.waiting = Some(page);
                break;
            }
            last = cell(page.0);
            pages.push(page);
        }
        Ok(Some(Plan(pages)))
    }

    fn page(&mut self) -> io::Result<Option<(u64, PageDigest)>> {
        if let Some(page) = self.waiting.take() {
            return Ok(Some(page));
        }
        let Some(record) = self.pages.next().transpose()? else {
            return Ok(None);
        };
        let ordinal = u64::from_be_bytes(std::array::from_fn(|i| record[i]));
        Ok(Some((ordinal, std::array::from_fn(|i| record[8 + i]))))
    }
}

/// The chunk tables of the new packs, in a temporary file: a dry run puts them nowhere else.
struct Tables {
    file: File,
    /// Where each begins; the last one is where the next will.
    starts: Vec<u64>,
}

impl Tables {
    fn new(scratch: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(scratch)
            .context(|| format!("making a temporary file in {}", shown::path(scratch)))?;
        Ok(Self {
            file,
            starts: vec![0],
        })
    }

    fn append(&mut self, table: &[u8]) -> Result<()> {
        self.file
            .write_all(table)
            .context(|| "writing a temporary file".to_owned())?;
        let end = self.starts.last().copied().unwrap_or(0) + table.len() as u64;
        self.starts.push(end);
        Ok(())
    }

    fn read(&self, place: usize) -> Result<Vec<u8>> {
        let mut table = vec![0; (self.starts[place + 1] - self.starts[place]) as usize];
        os::read_at(&self.file, &mut table, self.starts[place])
            .context(|| "reading a temporary file".to_owned())?;
        Ok(table)
    }
}
