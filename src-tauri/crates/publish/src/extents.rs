//! The index of the disks: where each page lies, as extent shards and disk roots.

use std::collections::HashMap;
use std::io;

use livepc_format::index::{DiskRoot, Extent, ObjectRef, Shard, ShardRef};
use livepc_format::limits::SHARD_PAGES;
use rayon::prelude::*;

use crate::cost::{Cost, User};
use crate::error::{Context as _, Result};
use crate::known::Packs;
use crate::layout::{Layout, Stretch};
use crate::output::Output;
use crate::pack::Packed;
use crate::progress::{Counter, Phase, Progress};
use crate::resolve::Resolved;
use crate::sort::Merge;

/// Writes the index of all disks; gives the name of each disk's root. Says to `cost` what the disks use.
pub(crate) fn write_index(
    layout: &Layout,
    resolved: &Resolved,
    packed: &Packed,
    packs: &Packs,
    cost: &mut Cost,
    output: &Output<'_>,
    progress: &dyn Progress,
) -> Result<Vec<ObjectRef>> {
    let what = || "reading the sorted pages back".to_owned();
    let mut counter = Counter::new(progress, Phase::Index, layout.stretches().len() as u64);
    let mut located = Located::new(resolved, packed).context(what)?;
    let mut roots = vec![DiskRoot::default(); layout.disks.len()];
    let mut batch = Vec::new();
    let mut next = located.next().context(what)?;
    for stretch in layout.stretches() {
        while let Some(page) = next.filter(|page| page.ordinal < stretch.end()) {
            let mut shard = OpenShard::new(stretch, page.ordinal);
            while let Some(page) = next.filter(|page| shard.holds(page)) {
                shard.push(page, packs);
                next = located.next().context(what)?;
            }
            batch.push(shard);
            if batch.len() == rayon::current_num_threads() * 2 {
                write_shards(&mut batch, &mut roots, cost, output)?;
            }
        }
        counter.add(1)?;
    }
    write_shards(&mut batch, &mut roots, cost, output)?;
    let mut names = Vec::with_capacity(roots.len());
    for (disk, root) in roots.iter().enumerate() {
        let (bytes, name) = root.encode()?;
        output.put_object(&name.digest, &bytes)?;
        cost.object(&name, User::disk(disk));
        names.push(name);
    }
    Ok(names)
}

/// Compresses shards on all cores; at most two a core are in memory.
fn write_shards(
    batch: &mut Vec<OpenShard>,
    roots: &mut [DiskRoot],
    cost: &mut Cost,
    output: &Output<'_>,
) -> Result<()> {
    let encoded: Vec<_> = batch
        .par_iter()
        .map(|open| Ok((open.shard.encode()?, open)))
        .collect::<Result<_>>()?;
    for ((bytes, name), open) in encoded {
        output.put_object(&name.digest, &bytes)?;
        roots[open.disk].shards.push(ShardRef {
            region: open.region,
            number: open.number,
            object: name,
        });
        if let Some(tag) = cost.object(&name, User::disk(open.disk)) {
            for extent in &open.shard.extents {
                let number = open.numbers[extent.pack as usize];
                cost.extent(tag, number, extent.first_page, extent.len)?;
            }
        }
    }
    batch.clear();
    Ok(())
}

/// A shard that is being filled.
struct OpenShard {
    disk: usize,
    region: u32,
    number: u32,
    /// The ordinals of its pages.
    first: u64,
    end: u64,
    shard: Shard,
    /// The numbers of the shard's packs, and the other way round.
    numbers: Vec<u32>,
    places: HashMap<u32, u32>,
}

impl OpenShard {
    /// The shard that the page `ordinal` of the stretch lies in.
    fn new(stretch: &Stretch, ordinal: u64) -> Self {
        let number = stretch.shard(ordinal);
        let first = stretch.first + u64::from(number) * SHARD_PAGES;
        Self {
            disk: stretch.disk,
            region: stretch.region,
            number,
            first,
            end: (first + SHARD_PAGES).min(stretch.end()),
            shard: Shard::default(),
            numbers: Vec::new(),
            places: HashMap::new(),
        }
    }

    fn holds(&self, page: &LocatedPage) -> bool {
        (self.first..self.end).contains(&page.ordinal)
    }

    fn push(&mut self, page: LocatedPage, packs: &Packs) {
        let at = (page.ordinal - self.first) as u32;
        let pack = *self.places.entry(page.pack).or_insert_with(|| {
            self.shard.packs.push(packs.get(page.pack).id);
            self.numbers.push(page.pack);
            self.numbers.len() as u32 - 1
        });
        match self.shard.extents.last_mut() {
            Some(last)
                if last.pack == pack
                    && last.page + last.len == at
                    && last.first_page + last.len == page.place =>
            {
                last.len += 1;
            }
            _ => self.shard.extents.push(Extent {
                page: at,
                len: 1,
                pack,
                first_page: page.place,
            }),
        }
    }
}

/// A page of a disk and where it lies.
#[derive(Clone, Copy)]
struct LocatedPage {
    ordinal: u64,
    /// The pack's number.
    pack: u32,
    place: u32,
}

/// All pages that are not zero, in disk order, with the places where they lie.
struct Located<'a> {
    packed: &'a Packed,
    new: Merge<'a, 24>,
    known: Merge<'a, 16>,
    repeats: Merge<'a, 16>,
    next_new: Option<LocatedPage>,
    next_known: Option<LocatedPage>,
    next_repeat: Option<LocatedPage>,
    /// The index of the new page behind `next_new`.
    index: u64,
}

impl<'a> Located<'a> {
    fn new(resolved: &'a Resolved, packed: &'a Packed) -> io::Result<Self> {
        let mut located = Self {
            packed,
            new: resolved.new.iter()?,
            known: resolved.known.iter()?,
            repeats: resolved.repeats.iter()?,
            next_new: None,
            next_known: None,
            next_repeat: None,
            index: 0,
        };
        located.advance_new()?;
        located.advance_known()?;
        located.advance_repeat()?;
        Ok(located)
    }

    fn next(&mut self) -> io::Result<Option<LocatedPage>> {
        let ordinal = |page: Option<LocatedPage>| page.map_or(u64::MAX, |page| page.ordinal);
        let (new, known, repeat) = (
            ordinal(self.next_new),
            ordinal(self.next_known),
            ordinal(self.next_repeat),
        );
        if new < known.min(repeat) {
            let page = self.next_new;
            self.advance_new()?;
            Ok(page)
        } else if known < repeat {
            let page = self.next_known;
            self.advance_known()?;
            Ok(page)
        } else {
            let page = self.next_repeat;
            self.advance_repeat()?;
            Ok(page)
        }
    }

    fn advance_new(&mut self) -> io::Result<()> {
        self.next_new = self.new.next().transpose()?.map(|record| {
            let (pack, place) = self.packed.locate(self.index);
            self.index += 1;
            LocatedPage {
                ordinal: u64::from_be_bytes(std::array::from_fn(|i| record[i])),
                pack,
                place,
            }
        });
        Ok(())
    }

    fn advance_known(&mut self) -> io::Result<()> {
        self.next_known = self.known.next().transpose()?.map(|record| LocatedPage {
            ordinal: u64::from_be_bytes(std::array::from_fn(|i| record[i])),
            pack: u32::from_be_bytes(std::array::from_fn(|i| record[8 + i])),
            place: u32::from_be_bytes(std::array::from_fn(|i| record[12 + i])),
        });
        Ok(())
    }

    fn advance_repeat(&mut self) -> io::Result<()> {
        self.next_repeat = self.repeats.next().transpose()?.map(|record| {
            let index = u64::from_be_bytes(std::array::from_fn(|i| record[8 + i]));
            let (pack, place) = self.packed.locate(index);
            LocatedPage {
                ordinal: u64::from_be_bytes(std::array::from_fn(|i| record[i])),
                pack,
                place,
            }
        });
        Ok(())
    }
}
