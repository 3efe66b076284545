//! Regions: stretches of a disk that pages are counted in. They need not begin at a multiple of the page size.

use std::ops::Range;

use livepc_format::limits::PAGE;
use livepc_format::manifest::Region;

/// A part of a read that lies in one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The region: its place in the list.
    pub(super) region: u32,
    /// Bytes from the beginning of the region.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) len: u64,
}

impl Part {
    /// The pages that its bytes lie in.
    pub(super) fn pages(&self) -> Range<u64> {
        self.offset / PAGE..(self.offset + self.len).div_ceil(PAGE)
    }
}

/// Splits a range of a disk at its regions, which cover it.
pub(super) fn split(regions: &[Region], offset: u64, len: u64) -> impl Iterator<Item = Part> + '_ {
    let end = offset + len;
    let first = regions.partition_point(|region| region.offset() + region.len() <= offset);
    regions
        .iter()
        .enumerate()
        .skip(first)
        .map_while(move |(i, region)| {
            let start = offset.max(region.offset());
            let stop = end.min(region.offset() + region.len());
            (start < stop).then(|| Part {
                region: i as u32,
                offset: start - region.offset(),
                len: stop - start,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_split_where_regions_meet() {
        let regions = [
            Region {
                start: 0,
                sectors: 63,
            },
            Region {
                start: 63,
                sectors: 100,
            },
        ];
        let at = 63 * 512;
        let parts: Vec<_> = split(&regions, at - 10, 30).collect();
        assert_eq!(
            parts,
            [
                Part {
                    region: 0,
                    offset: at - 10,
                    len: 10
                },
                Part {
                    region: 1,
                    offset: 0,
                    len: 20
                }
            ],
            "ten bytes before the border, twenty behind"
        );
        assert_eq!(
            split(&regions, at, 1).count(),
            1,
            "a range that begins at a border lies in one region"
        );
        assert_eq!(split(&regions, at, 0).count(), 0, "nothing lies nowhere");
    }
}
