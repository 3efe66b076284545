//! The disks of a release, and the number of each of their pages.
//!
//! All pages of all regions of all disks are numbered in one row, in disk order: a page's *ordinal*. Records that are
//! sorted by ordinal come in the order in which the disks are read.

use livepc_format::limits::{PAGE, SHARD_PAGES};
use livepc_format::manifest::Region;

use crate::error::Result;
use crate::regions;
use crate::source::Source;

/// The sources of a release's published disks, and their regions.
pub(crate) struct Layout {
    pub(crate) disks: Vec<LaidDisk>,
    stretches: Vec<Stretch>,
}

/// A disk that is to be published.
pub(crate) struct LaidDisk {
    pub(crate) source: Source,
    pub(crate) regions: Vec<Region>,
}

/// A region of a disk, and the ordinals of its pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    /// The disk: its place among the published ones.
    pub(crate) disk: usize,
    /// The region: its place in the disk's list.
    pub(crate) region: u32,
    /// The first byte on the disk.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) len: u64,
    /// The ordinal of its first page.
    pub(crate) first: u64,
}

impl Stretch {
    /// One past the ordinal of its last page.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.len.div_ceil(PAGE)
    }

    /// The GiB of the region that a page of it lies in.
    pub(crate) fn shard(&self, ordinal: u64) -> u32 {
        // A disk has at most 16 TiB.
        ((ordinal - self.first) / SHARD_PAGES) as u32
    }

    /// The first byte on the disk of `count` pages, and how many bytes the disk has of them.
    pub(crate) fn bytes(&self, ordinal: u64, count: u64) -> (u64, usize) {
        let start = (ordinal - self.first) * PAGE;
        let len = (count * PAGE).min(self.len - start);
        (self.offset + start, len as usize)
    }
}

impl Layout {
    /// Reads the partition tables of the disks.
    pub(crate) fn new(sources: Vec<Source>) -> Result<Self> {
        let mut disks = Vec::with_capacity(sources.len());
        let mut stretches = Vec::new();
        let mut first = 0;
        for (number, source) in sources.into_iter().enumerate() {
            let regions = regions::regions(source.len(), &|offset, buffer: &mut [u8]| {
                source.read_at(buffer, offset)
            })?;
            for (place, region) in regions.iter().enumerate() {
                let stretch = Stretch {
                    disk: number,
                    region: place as u32,
                    offset: region.offset(),
                    len: region.len(),
                    first,
                };
                first = stretch.end();
                stretches.push(stretch);
            }
            disks.push(LaidDisk { source, regions });
        }
        Ok(Self { disks, stretches })
    }

    pub(crate) fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// Where the page with this ordinal lies.
    pub(crate) fn stretch(&self, ordinal: u64) -> &Stretch {
        let place = self.stretches.partition_point(|stretch| stretch.end() <= ordinal);
        // Ordinals come from these stretches; one behind them all cannot be.
        &self.stretches[place.min(self.stretches.len() - 1)]
    }

    /// Bytes of all disks.
    pub(crate) fn bytes(&self) -> u64 {
        self.disks.iter().map(|disk| disk.source.len()).sum()
    }

    /// Reads `count` pages of one stretch; the end of the region's last page is zero.
    pub(crate) fn read(&self, ordinal: u64, count: u64, pages: &mut Vec<u8>) -> Result<()> {
        let stretch = self.stretch(ordinal);
        let (offset, len) = stretch.bytes(ordinal, count);
        let start = pages.len();
        pages.resize(start + (count * PAGE) as usize, 0);
        self.disks[stretch.disk]
            .source
            .read_at(&mut pages[start..start + len], offset)
    }
}
