//! What a boot map says of one disk, by place instead of by time.

use livepc_format::PackId;
use livepc_format::index::BootMap;

use super::Span;

/// The extents of a boot map that lie on one disk, by region and page; none overlaps another.
#[derive(Debug, Default)]
pub(super) struct BootIndex {
    extents: Vec<BootExtent>,
}

#[derive(Debug)]
struct BootExtent {
    region: u32,
    page: u64,
    len: u32,
    pack: PackId,
    first_page: u32,
}

impl BootExtent {
    fn end(&self) -> u64 {
        self.page + u64::from(self.len)
    }
}

/// What a boot map knows of a stretch of pages, from its beginning on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Where the first of them lie.
    Here(Span),
    /// Nothing up to this page.
    NothingTo(u64),
}

impl BootIndex {
    pub(super) fn new(map: &BootMap, disk: u32) -> Self {
        let mut extents: Vec<BootExtent> = map
            .extents
            .iter()
            .filter(|extent| extent.disk == disk)
            .map(|extent| BootExtent {
                region: extent.region,
                page: extent.page,
                len: extent.len,
                pack: map.packs[extent.pack as usize],
                first_page: extent.first_page,
            })
            .collect();
        extents.sort_by_key(|extent| (extent.region, extent.page));
        // A page is in a map once; what a map says of it a second time is not needed.
        extents.dedup_by(|next, kept| next.region == kept.region && next.page < kept.end());
        Self { extents }
    }

    /// What the map knows of the pages `first..end` of a region, of which there is at least one.
    pub(super) fn look(&self, region: u32, first: u64, end: u64) -> Known {
        let place = self
            .extents
            .partition_point(|e| (e.region, e.end()) <= (region, first));
        match self.extents.get(place) {
            Some(extent) if extent.region == region && extent.page <= first => {
                let skip = first - extent.page;
                Known::Here(Span {
                    page: first,
                    // Both are at most the extent's length.
                    pages: (extent.end().min(end) - first) as u32,
                    place: Some((extent.pack, extent.first_page + skip as u32)),
                })
            }
            Some(extent) if extent.region == region => Known::NothingTo(extent.page.min(end)),
            _ => Known::NothingTo(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livepc_format::Digest;
    use livepc_format::index::BootExtent;

    #[test]
    fn extents_are_found_by_place_and_what_overlaps_is_dropped() {
        let pack = PackId(Digest::of(b"pack"));
        let extent = |disk, region, page, len, first_page| BootExtent {
            disk,
            region,
            page,
            len,
            pack: 0,
            first_page,
        };
        let extents = vec![
            extent(1, 2, 50, 10, 300),
            extent(1, 2, 20, 10, 100),
            extent(0, 2, 30, 10, 900),
            extent(1, 2, 55, 10, 800),
            extent(1, 3, 0, 1, 7),
        ];
        let map = BootMap {
            packs: vec![pack],
            chunks: vec![],
            extents,
        };
        let index = BootIndex::new(&map, 1);
        let here = |page, pages, first| {
            Known::Here(Span {
                page,
                pages,
                place: Some((pack, first)),
            })
        };
        assert_eq!(index.look(2, 0, 100), Known::NothingTo(20));
        assert_eq!(
            index.look(2, 0, 10),
            Known::NothingTo(10),
            "no further than was asked"
        );
        assert_eq!(index.look(2, 25, 100), here(25, 5, 105));
        assert_eq!(index.look(2, 25, 28), here(25, 3, 105));
        assert_eq!(
            index.look(2, 30, 100),
            Known::NothingTo(50),
            "the other disk's extent is not here"
        );
        assert_eq!(index.look(2, 50, 100), here(50, 10, 300));
        assert_eq!(
            index.look(2, 60, 100),
            Known::NothingTo(100),
            "the region ends before the next extent"
        );
        assert_eq!(index.look(3, 0, 5), here(0, 1, 7));
        assert_eq!(index.look(4, 0, 5), Known::NothingTo(5));
    }
}
