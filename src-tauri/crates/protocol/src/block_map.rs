//! Which parts of a release are here.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// How much of a release is here, part by part: cells in the order in which its disks first use their content. Each stands
/// for about as many chunks as any other; there are at most 640.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct BlockMap {
    /// The release's sequence.
    pub release: u64,
    /// Of each cell, how many hundredths are here; 100 only if all of it is.
    pub here: Vec<u8>,
    /// Of each cell, whether a start reads something of it.
    pub boot: Vec<bool>,
    /// Of each cell, whether something of it is on its way.
    pub fetching: Vec<bool>,
}
