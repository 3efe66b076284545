//! What a machine's own last cold start read: fetched early for the next one, also when that is of another release, where the
//! same things mostly lie in the same places.

use livepc_format::limits::{CHUNK_PAGES, DISK_SIZE, DISKS, PAGE, REGIONS};
use serde::{Deserialize, Serialize};

/// Stretches that are noted at the most: 16 GiB.
pub(crate) const STRETCHES: usize = 1 << 16;
/// Pages of a stretch. What lies together is read together, and shipped in one chunk.
pub(crate) const STRETCH: u64 = CHUNK_PAGES as u64;
/// The last stretch that a region can have.
const LAST: u64 = DISK_SIZE / PAGE / STRETCH;

/// A stretch of a published disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(u32, u32, u64)", into = "(u32, u32, u64)")]
pub(crate) struct Stretch {
    /// The disk: its place in the manifest.
    pub(crate) disk: u32,
    /// The region: its place in the disk's list.
    pub(crate) region: u32,
    /// Which stretch of the region.
    pub(crate) number: u64,
}

impl From<(u32, u32, u64)> for Stretch {
    fn from((disk, region, number): (u32, u32, u64)) -> Self {
        Self { disk, region, number }
    }
}

impl From<Stretch> for (u32, u32, u64) {
    fn from(stretch: Stretch) -> Self {
        (stretch.disk, stretch.region, stretch.number)
    }
}

impl Stretch {
    /// The first page.
    pub(crate) fn first_page(self) -> u64 {
        self.number * STRETCH
    }
}

/// The stretches that a start read, in the order in which it read them first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnStart {
    pub(crate) stretches: Vec<Stretch>,
}

impl OwnStart {
    /// Whether it can be what a start read: the file may be anybody's.
    pub(crate) fn is_sound(&self) -> bool {
        let is_sound = |stretch: &Stretch| {
            (stretch.disk as usize) < DISKS && (stretch.region as usize) < REGIONS && stretch.number <= LAST
        };
        self.stretches.len() <= STRETCHES && self.stretches.iter().all(is_sound)
    }
}
