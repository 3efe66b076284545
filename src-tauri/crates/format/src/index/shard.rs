//! An extent shard: where the pages of one GiB of a region lie.

use super::wire::{Reader, Writer};
use super::{ObjectRef, pack};
use crate::PackId;
use crate::error::{FormatError, Result};
use crate::limits::{PACK_PAGES, SHARD_PAGES};

const WHAT: &str = "an extent shard";
const LETTERS: &[u8; 4] = b"LPXS";

/// A run of pages and where it lies. Pages of a shard that no extent names are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first page, counted from the beginning of the shard.
    pub page: u32,
    /// Pages.
    pub len: u32,
    /// The pack: its place in [`Shard::packs`].
    pub pack: u32,
    /// The first page in the pack.
    pub first_page: u32,
}

/// The extents of one GiB of a region, by rising page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// The packs that the extents use.
    pub packs: Vec<PackId>,
    /// The extents; they do not overlap.
    pub extents: Vec<Extent>,
}

impl Shard {
    /// The stored bytes of the shard, and their name.
    pub fn encode(&self) -> Result<(Vec<u8>, ObjectRef)> {
        let mut writer = Writer::new(LETTERS);
        writer.uint(self.packs.len() as u64);
        for id in &self.packs {
            writer.digest(&id.0);
        }
        writer.uint(self.extents.len() as u64);
        let (mut next, mut next_in_pack) = (0_u64, 0_i64);
        for extent in &self.extents {
            let gap = u64::from(extent.page).checked_sub(next).ok_or_else(|| {
                FormatError::malformed(WHAT, "its extents are not in order, or they overlap")
            })?;
            let len = u64::from(extent.len);
            writer.uint(gap);
            writer.uint(len);
            writer.uint(u64::from(extent.pack));
            writer.sint(i64::from(extent.first_page) - next_in_pack);
            next = u64::from(extent.page) + len;
            next_in_pack = i64::from(extent.first_page) + len.cast_signed();
        }
        let body = writer.finish();
        // Nothing is published that readers would refuse.
        Self::parse(&body)?;
        pack(WHAT, &body)
    }

    /// Reads the stored bytes of the shard `object`.
    pub fn decode(stored: &[u8], object: &ObjectRef) -> Result<Self> {
        Self::parse(&object.unpack(WHAT, stored)?)
    }

    fn parse(body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(WHAT, LETTERS, body)?;
        let packs = reader.pack_ids(SHARD_PAGES as usize)?;
        let count = reader.count(SHARD_PAGES as usize, 4)?;
        let mut extents = Vec::with_capacity(count);
        let (mut next, mut next_in_pack) = (0_u64, 0_i64);
        for _ in 0..count {
            let page = next + reader.uint_to(SHARD_PAGES)?;
            let len = reader.uint_to(SHARD_PAGES)?;
            let pack = reader.uint()?;
            let first = next_in_pack.checked_add(reader.sint()?).unwrap_or(-1);
            let end = first.saturating_add(len.cast_signed());
            if len == 0 || page + len > SHARD_PAGES || pack >= packs.len() as u64 {
                return Err(reader.malformed("an extent lies outside the shard or its packs"));
            }
            if first < 0 || end > i64::from(PACK_PAGES) {
                return Err(reader.malformed("an extent lies outside its pack"));
            }
            (next, next_in_pack) = (page + len, end);
            // All four were checked to be at most 262,144.
            extents.push(Extent {
                page: page as u32,
                len: len as u32,
                pack: pack as u32,
                first_page: first as u32,
            });
        }
        reader.end()?;
        Ok(Self { packs, extents })
    }

    /// The extent that holds `page`, or the first one behind it.
    #[must_use]
    pub fn from_page(&self, page: u32) -> &[Extent] {
        let start = self
            .extents
            .partition_point(|extent| extent.page.saturating_add(extent.len) <= page);
        &self.extents[start..]
    }

    /// Checks that the shard describes no page behind the end of its region. `pages` is what the region has from the
    /// beginning of the shard on.
    pub fn check_fits(&self, pages: u64) -> Result<()> {
        match self.extents.last() {
            Some(last) if u64::from(last.page) + u64::from(last.len) > pages => Err(FormatError::malformed(
                WHAT,
                "it describes pages behind the end of its region",
            )),
            _ => Ok(()),
        }
    }
}
