//! What makes no sense is neither written nor read.

use super::*;

#[test]
fn page_lists_have_whole_entries() {
    let bytes = vec![0; 16 * PACK_PAGES as usize + 16];
    let read = |len: usize| decode_pages(&bytes[..len], &Digest::of(&bytes[..len]));
    assert_eq!(read(16 * PACK_PAGES as usize).unwrap().len(), PACK_PAGES as usize);
    assert!(why(read(bytes.len())).contains("65,536"), "one page too many");
    assert!(why(read(15)).contains("16 bytes a page"));
    assert!(why(decode_pages(&bytes[..16], &Digest::of(b""))).contains("wrong digest"));
}

fn pack(byte: u8) -> PackId {
    PackId(Digest::from_bytes([byte; 32]))
}

fn extent(page: u32, len: u32, pack: u32, first_page: u32) -> Extent {
    Extent {
        page,
        len,
        pack,
        first_page,
    }
}

#[test]
fn shards_that_make_no_sense_are_neither_written_nor_read() {
    let shard = |extents: &[Extent]| Shard {
        packs: vec![pack(1)],
        extents: extents.to_vec(),
    };
    let last = SHARD_PAGES as u32 - 1;
    for good in [
        extent(0, 1, 0, 0),
        extent(last, 1, 0, PACK_PAGES - 1),
        extent(0, PACK_PAGES, 0, 0),
    ] {
        shard(&[good])
            .encode()
            .unwrap_or_else(|e| panic!("{good:?}: {e}"));
    }
    for bad in [
        extent(0, 0, 0, 0),
        extent(0, 1, 1, 0),
        extent(last, 2, 0, 0),
        extent(0, 2, 0, PACK_PAGES - 1),
        extent(u32::MAX, u32::MAX, 0, u32::MAX),
    ] {
        assert!(
            why(shard(&[bad]).encode()).contains("outside") || bad.page > last,
            "{bad:?}"
        );
    }
    shard(&[extent(0, 2, 0, 5), extent(2, 2, 0, 5)])
        .encode()
        .expect("in order");
    for second in [extent(1, 2, 0, 5), extent(0, 2, 0, 5)] {
        let error = why(shard(&[extent(0, 2, 0, 5), second]).encode());
        assert!(error.contains("not in order"), "{error}");
    }
    let fits = shard(&[extent(10, 5, 0, 0)]);
    fits.check_fits(15).expect("it ends where the region ends");
    assert!(fits.check_fits(14).is_err(), "a page too many");
}

#[test]
fn shards_are_searched_by_page() {
    let extents = vec![extent(5, 5, 0, 0), extent(20, 1, 0, 9)];
    let shard = Shard {
        packs: vec![pack(1)],
        extents: extents.clone(),
    };
    for (page, from) in [(0, 0), (5, 0), (9, 0), (10, 1), (20, 1), (21, 2), (u32::MAX, 2)] {
        assert_eq!(shard.from_page(page), &extents[from..], "page {page}");
    }
}

#[test]
fn disk_roots_are_in_order_and_fit_the_disk() {
    let object = ObjectRef {
        digest: Digest::of(b""),
        stored: 1,
        size: 1,
    };
    let root = |places: &[(u32, u32)]| DiskRoot {
        shards: places
            .iter()
            .map(|&(region, number)| ShardRef {
                region,
                number,
                object,
            })
            .collect(),
    };
    root(&[(0, 1), (1, 0), (1023, 0)]).encode().expect("in order");
    for bad in [
        &[(1, 0), (0, 0)][..],
        &[(0, 0), (0, 0)],
        &[(1024, 0)],
        &[(0, 20_000)],
    ] {
        assert!(root(bad).encode().is_err(), "{bad:?}");
    }
    let gib = (1 << 30) / 512;
    let regions = [
        Region {
            start: 0,
            sectors: gib + 1,
        },
        Region {
            start: gib + 1,
            sectors: 1,
        },
    ];
    root(&[(0, 0), (0, 1), (1, 0)])
        .check_fits(&regions)
        .expect("each has its place");
    for bad in [(0, 2), (1, 1), (2, 0)] {
        assert!(root(&[bad]).check_fits(&regions).is_err(), "{bad:?}");
    }
    assert_eq!(root(&[(0, 1)]).shard(0, 1), Some(&object));
    assert_eq!(root(&[(0, 1)]).shard(0, 0), None, "zero");
}

#[test]
fn pack_lists_are_in_order_and_hold_no_empty_packs() {
    let of = |byte: u8, stored: u64, pages: u32| PackRef {
        id: pack(byte),
        stored,
        pages,
        page_list: Digest::of(b""),
        sources: vec![],
    };
    let list = |packs: Vec<PackRef>| PackList { packs };
    let good = list(vec![of(1, 1, 1), of(2, 16 << 20, PACK_PAGES)]);
    good.encode().expect("in order");
    assert_eq!(good.get(&pack(2)), Some(&good.packs[1]));
    assert_eq!(good.get(&pack(3)), None);
    for bad in [
        vec![of(2, 1, 1), of(1, 1, 1)],
        vec![of(1, 1, 1), of(1, 1, 1)],
        vec![of(1, 0, 1)],
        vec![of(1, 1, 0)],
        vec![of(1, (16 << 20) + 1, 1)],
        vec![of(1, 1, PACK_PAGES + 1)],
    ] {
        assert!(list(bad.clone()).encode().is_err(), "{bad:?}");
    }
    let with = |first_page, to_page, len| {
        let source = PackSource {
            pack: pack(9),
            first_page,
            to_page,
            len,
        };
        let pack = PackRef {
            sources: vec![source],
            ..of(1, 1, 10)
        };
        list(vec![pack]).encode()
    };
    with(PACK_PAGES - 10, 0, 10).expect("inside both packs");
    for (first_page, to_page, len) in [
        (0, 0, 0),
        (0, 1, 10),
        (PACK_PAGES, 0, 1),
        (u32::MAX, u32::MAX, u32::MAX),
    ] {
        assert!(
            with(first_page, to_page, len).is_err(),
            "{first_page} {to_page} {len}"
        );
    }
}

fn boot_chunk(pack: u32, first_page: u32, pages: u32, offset: u64) -> BootChunk {
    let entry = ChunkEntry {
        stored: 100,
        pages,
        stored_digest: Digest::of(b""),
        content_digest: Digest::of(b""),
    };
    let chunk = Chunk {
        first_page,
        offset,
        entry,
    };
    BootChunk { pack, chunk }
}

fn boot_extent(pack: u32, first_page: u32, len: u32) -> BootExtent {
    BootExtent {
        disk: 0,
        region: 1,
        page: 7,
        len,
        pack,
        first_page,
    }
}

#[test]
fn boot_maps_name_only_pages_that_their_chunks_have() {
    let map = |extents: &[BootExtent]| BootMap {
        packs: vec![pack(1), pack(2), pack(3)],
        chunks: vec![
            boot_chunk(0, 0, 10, 0),
            boot_chunk(0, 10, 10, 100),
            boot_chunk(0, 30, 10, 300),
            boot_chunk(1, 40, 1, 0),
        ],
        extents: extents.to_vec(),
    };
    for (pack, first, len) in [(0, 0, 10), (0, 5, 15), (0, 19, 1), (0, 30, 10), (1, 40, 1)] {
        let good = map(&[boot_extent(pack, first, len)]);
        good.encode()
            .unwrap_or_else(|e| panic!("{pack} {first} {len}: {e}"));
    }
    for (pack, first, len) in [
        (0, 19, 2),
        (0, 25, 1),
        (0, 15, 20),
        (0, 39, 2),
        (1, 39, 2),
        (1, 0, 1),
        (2, 0, 1),
    ] {
        let error = why(map(&[boot_extent(pack, first, len)]).encode());
        assert!(
            error.contains("none of its chunks"),
            "{pack} {first} {len}: {error}"
        );
    }
    assert!(
        map(&[boot_extent(3, 0, 1)]).encode().is_err(),
        "there is no such pack"
    );
    assert!(
        map(&[boot_extent(0, 0, 0)]).encode().is_err(),
        "an extent has pages"
    );

    for chunks in [
        [boot_chunk(0, 10, 10, 100), boot_chunk(0, 0, 10, 0)],
        [boot_chunk(0, 0, 10, 0), boot_chunk(0, 9, 10, 100)],
        [boot_chunk(0, 0, 10, 0), boot_chunk(0, 10, 10, 99)],
        [boot_chunk(1, 0, 10, 0), boot_chunk(0, 10, 10, 100)],
    ] {
        let bad = BootMap {
            chunks: chunks.to_vec(),
            ..map(&[])
        };
        assert!(why(bad.encode()).contains("not in order"), "{chunks:?}");
    }
}

#[test]
fn boot_maps_are_checked_against_the_disks() {
    let map = |extent| BootMap {
        extents: vec![extent],
        ..BootMap::default()
    };
    let object = ObjectRef {
        digest: Digest::of(b""),
        stored: 1,
        size: 1,
    };
    let disk = |content| Disk {
        role: "system".into(),
        size: 12 << 12,
        controller: Controller::Virtio,
        content,
    };
    let region = |start| Region { start, sectors: 63 };
    let disks = [
        disk(Content::Published {
            regions: vec![region(0), region(63)],
            index: object,
            stored: 0,
        }),
        disk(Content::User {
            label: None,
            file_system: None,
        }),
    ];
    let place = |disk, region, page, len| BootExtent {
        disk,
        region,
        page,
        len,
        ..boot_extent(0, 0, 0)
    };
    map(place(0, 1, 7, 1))
        .check_fits(&disks)
        .expect("the last page, which is shorter on the disk");
    for bad in [
        place(0, 1, 7, 2),
        place(0, 1, 8, 1),
        place(0, 2, 0, 1),
        place(1, 0, 0, 1),
        place(2, 0, 0, 1),
        place(0, 0, u64::MAX, 1),
    ] {
        assert!(map(bad).check_fits(&disks).is_err(), "{bad:?}");
    }
}

#[test]
fn boot_maps_have_a_bounded_number_of_pages() {
    let map = BootMap {
        packs: vec![pack(1)],
        chunks: (0..PACK_PAGES / 8)
            .map(|n| boot_chunk(0, n * 8, 8, u64::from(n) * 100))
            .collect(),
        extents: vec![boot_extent(0, 0, PACK_PAGES)],
    };
    let (stored, _) = map.encode().unwrap();
    let body = body(&stored);
    // The count, and an extent of eight bytes.
    let (start, tail) = body.split_at(body.len() - 9);
    assert_eq!(tail[0], 1, "the count");
    let many = |count: &[u8], extents: usize| {
        let (stored, object) = store(&[start, count, &tail[1..].repeat(extents)].concat());
        BootMap::decode(&stored, &object).map(|map| map.extents.len())
    };
    assert_eq!(many(b"\x80\x02", 256).unwrap(), 256, "2^24 pages");
    let begin = std::time::Instant::now();
    for (count, extents) in [(&b"\x81\x02"[..], 257), (b"\x80\x80\x20", 1 << 19)] {
        assert!(why(many(count, extents)).contains("more than 16777216 pages"));
    }
    // Looking at each chunk of each extent would take minutes.
    assert!(begin.elapsed().as_secs() < 10, "it took {:?}", begin.elapsed());
}
