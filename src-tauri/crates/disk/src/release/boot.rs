//! What a boot map says of one disk, by place instead of by time.

use livepc_format::PackId;
use livepc_format::index::BootMap;

use super::Span;

/// The extents of a boot map that lie on one disk, by region and page; none overlaps another.
#[derive(Debug, Default)]
pub(super) struct BootIndex {
    extents: Vec<(u32, u64, u32, PackId, u32)>,
}

impl BootIndex {
    pub(super) fn new(map: &BootMap, disk: u32) -> Self {
        let mut extents: Vec<_> = map
            .extents
            .iter()
            .filter(|extent| extent.disk == disk)
            .map(|e| (e.region, e.page, e.len, map.packs[e.pack as usize], e.first_page))
            .collect();
        extents.sort_unstable_by_key(|&(region, page, ..)| (region, page));
        // A page is in a map once; a map that says otherwise is believed where it speaks first.
        extents.dedup_by(|next, kept| next.0 == kept.0 && next.1 < kept.1 + u64::from(kept.2));
        Self { extents }
    }

    /// Where the pages `first..end` of a region lie, if the map has all of them.
    pub(super) fn spans(&self, region: u32, first: u64, end: u64) -> Option<Vec<Span>> {
        let start = self
            .extents
            .partition_point(|e| (e.0, e.1 + u64::from(e.2)) <= (region, first));
        let (mut spans, mut page) = (Vec::new(), first);
        for &(_, from, len, pack, at) in self.extents[start..].iter().take_while(|e| e.0 == region) {
            if page >= end || from > page {
                break;
            }
            let pages = (from + u64::from(len)).min(end) - page;
            spans.push(Span {
                page,
                pages: pages as u32,
                place: Some((pack, at + (page - from) as u32)),
            });
            page += pages;
        }
        (page >= end).then_some(spans)
    }
}
