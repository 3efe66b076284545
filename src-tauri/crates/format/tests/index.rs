//! Index objects and chunks: what is written is read again, each value has one form, and nothing that can be sent
//! panics.

#![allow(clippy::unwrap_used)]

use livepc_format::index::{
    BootChunk, BootExtent, BootMap, Chunk, ChunkEntry, ChunkTable, DiskRoot, Extent, ObjectRef, PackList,
    PackRef, PackSource, Shard, ShardRef, decode_pages, encode_pages,
};
use livepc_format::limits::{CHUNK_PAGES, CHUNK_STORED, OBJECT_BYTES, PACK_PAGES, PAGE, SHARD_PAGES};
use livepc_format::machine::Controller;
use livepc_format::manifest::{Content, Disk, Region};
use livepc_format::{Digest, FormatError, PackId, Result, compress_chunk, decompress_chunk};
use proptest::prelude::*;

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn pack_ids(count: usize) -> impl Strategy<Value = Vec<PackId>> {
    proptest::collection::vec(digest().prop_map(PackId), count)
}

fn object() -> impl Strategy<Value = ObjectRef> {
    (digest(), 0..=OBJECT_BYTES, 0..=OBJECT_BYTES).prop_map(|(digest, stored, size)| ObjectRef {
        digest,
        stored,
        size,
    })
}

fn chunk_entry() -> impl Strategy<Value = ChunkEntry> {
    (1..=CHUNK_STORED, 1..=CHUNK_PAGES, digest(), digest()).prop_map(
        |(stored, pages, stored_digest, content_digest)| ChunkEntry {
            stored,
            pages,
            stored_digest,
            content_digest,
        },
    )
}

fn shard() -> impl Strategy<Value = Shard> {
    let extent = (0_u32..9000, 1_u32..9000, 0_u32..3, 0..PACK_PAGES - 9000);
    (pack_ids(3), proptest::collection::vec(extent, 0..14)).prop_map(|(packs, raw)| {
        let mut next = 0;
        let extents = raw
            .into_iter()
            .map(|(gap, len, pack, first_page)| {
                let page = next + gap;
                next = page + len;
                Extent {
                    page,
                    len,
                    pack,
                    first_page,
                }
            })
            .collect();
        Shard { packs, extents }
    })
}

fn disk_root() -> impl Strategy<Value = DiskRoot> {
    proptest::collection::btree_map((0_u32..1024, 0_u32..16_384), object(), 0..20).prop_map(|shards| {
        DiskRoot {
            shards: shards
                .into_iter()
                .map(|((region, number), object)| ShardRef {
                    region,
                    number,
                    object,
                })
                .collect(),
        }
    })
}

fn pack_list() -> impl Strategy<Value = PackList> {
    let source =
        (digest(), 0_u32..60_000, 0_u32..400, 1_u32..100).prop_map(|(pack, first_page, to_page, len)| {
            PackSource {
                pack: PackId(pack),
                first_page,
                to_page,
                len,
            }
        });
    let pack = (
        1_u64..16 << 20,
        500..=PACK_PAGES,
        digest(),
        proptest::collection::vec(source, 0..4),
    );
    proptest::collection::btree_map(digest().prop_map(PackId), pack, 0..10).prop_map(|packs| PackList {
        packs: packs
            .into_iter()
            .map(|(id, (stored, pages, page_list, sources))| PackRef {
                id,
                stored,
                pages,
                page_list,
                sources,
            })
            .collect(),
    })
}

/// Chunks that follow each other with gaps, and extents of their pages.
fn boot_map() -> impl Strategy<Value = BootMap> {
    let chunk = (chunk_entry(), 0_u32..2, proptest::bool::weighted(0.2));
    let chunks = proptest::collection::vec(chunk, 1..20).prop_map(|raw| {
        let (mut pack, mut page, mut offset) = (0, 0, 0);
        raw.into_iter()
            .map(|(entry, gap, next_pack)| {
                if next_pack && pack < 2 {
                    (pack, page, offset) = (pack + 1, 0, 0);
                }
                let chunk = Chunk {
                    first_page: page + gap,
                    offset: offset + u64::from(gap),
                    entry,
                };
                (page, offset) = (chunk.end_page(), chunk.end_offset());
                BootChunk { pack, chunk }
            })
            .collect::<Vec<_>>()
    });
    let extent = (
        any::<proptest::sample::Index>(),
        0_u32..64,
        1_u32..64,
        0_u32..8,
        0_u64..1 << 32,
    );
    (pack_ids(3), chunks, proptest::collection::vec(extent, 0..20)).prop_map(|(packs, chunks, raw)| {
        let extents = raw
            .into_iter()
            .map(|(index, skip, len, disk, page)| {
                let BootChunk { pack, chunk } = chunks[index.index(chunks.len())];
                let skip = skip % chunk.entry.pages;
                BootExtent {
                    disk,
                    region: disk * 100,
                    page,
                    len: len.min(chunk.entry.pages - skip),
                    pack,
                    first_page: chunk.first_page + skip,
                }
            })
            .collect();
        BootMap {
            packs,
            chunks,
            extents,
        }
    })
}

type Written = Result<(Vec<u8>, ObjectRef)>;

/// What the stored bytes decompress to.
fn body(stored: &[u8]) -> Vec<u8> {
    zstd::bulk::decompress(stored, OBJECT_BYTES as usize).unwrap()
}

/// Stores any body as a publisher could.
fn store(body: &[u8]) -> (Vec<u8>, ObjectRef) {
    let stored = zstd::bulk::compress(body, 1).unwrap();
    let object = ObjectRef {
        digest: Digest::of(&stored),
        stored: stored.len() as u64,
        size: body.len() as u64,
    };
    (stored, object)
}

/// What makes one byte of a body, or its length, something else.
type Damage = (proptest::sample::Index, u8, bool);

fn damaged(mut body: Vec<u8>, (at, byte, cut): &Damage) -> Vec<u8> {
    let at = at.index(body.len());
    body[at] = *byte;
    if *cut {
        body.truncate(at);
    }
    body
}

/// Reading a damaged body gives an error, or a value whose only form it is.
fn one_form<T>(
    body: &[u8],
    decode: impl Fn(&[u8], &ObjectRef) -> Result<T>,
    encode: impl Fn(&T) -> Written,
) -> Result<(), TestCaseError> {
    let (stored, object) = store(body);
    if let Ok(value) = decode(&stored, &object) {
        let (again, _) = encode(&value).expect("what was read can be written");
        prop_assert_eq!(self::body(&again), body);
    }
    Ok(())
}

macro_rules! object_tests {
    ($name:ident, $type:ident, $values:expr) => {
        mod $name {
            use super::*;

            proptest! {
                #[test]
                fn is_read_as_it_was_written(value in $values, damage in any::<[Damage; 8]>()) {
                    let (stored, object) = value.encode().unwrap();
                    prop_assert_eq!(object.digest, Digest::of(&stored));
                    prop_assert_eq!(object.stored, stored.len() as u64);
                    prop_assert_eq!(&$type::decode(&stored, &object).unwrap(), &value);
                    prop_assert!(
                        $type::decode(&stored[1..], &object).is_err(),
                        "other bytes than were named"
                    );
                    for damage in &damage {
                        let body = damaged(body(&stored), damage);
                        one_form(&body, $type::decode, $type::encode)?;
                    }
                }

                #[test]
                fn noise_does_not_panic(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
                    let (stored, object) = value_head(&noise);
                    let _ = $type::decode(&stored, &object);
                }
            }

            /// Noise behind the letters and version of this kind of object.
            fn value_head(noise: &[u8]) -> (Vec<u8>, ObjectRef) {
                let (empty, _) = $type::default().encode().unwrap();
                store(&[&body(&empty)[..5], noise].concat())
            }

            #[test]
            fn its_size_is_what_was_promised() {
                let (stored, object) = $type::default().encode().unwrap();
                $type::decode(&stored, &object).expect("the right size");
                for size in [
                    0,
                    object.size - 1,
                    object.size + 1,
                    OBJECT_BYTES + 1,
                    u64::MAX,
                ] {
                    let wrong = ObjectRef { size, ..object };
                    assert!($type::decode(&stored, &wrong).is_err(), "not {size} bytes");
                }
                let wrong = ObjectRef {
                    stored: object.stored + 1,
                    ..object
                };
                assert!(
                    $type::decode(&stored, &wrong).is_err(),
                    "the stored length counts too"
                );
            }

            #[test]
            fn a_later_version_asks_for_an_update() {
                let (stored, _) = $type::default().encode().unwrap();
                let mut body = body(&stored);
                body[4] = 2;
                let (stored, object) = store(&body);
                let error = $type::decode(&stored, &object).unwrap_err().to_string();
                assert!(error.contains("update LivePC"), "{error}");
                body[4] = 1;
                body[0] ^= 1;
                let (stored, object) = store(&body);
                let error = $type::decode(&stored, &object).unwrap_err().to_string();
                assert!(error.contains("another kind"), "{error}");
            }
        }
    };
}

object_tests!(shards, Shard, shard());
object_tests!(disk_roots, DiskRoot, disk_root());
object_tests!(pack_lists, PackList, pack_list());
object_tests!(boot_maps, BootMap, boot_map());

proptest! {
    #[test]
    fn tables_are_read_as_they_were_written(
        entries in proptest::collection::vec(chunk_entry(), 1..60),
        damage in any::<[Damage; 8]>(),
    ) {
        let (table, bytes) = ChunkTable::build(&entries).unwrap();
        prop_assert_eq!(&ChunkTable::open(&bytes, table.id()).unwrap(), &table);
        prop_assert_eq!(table.chunks().iter().map(|c| c.entry).collect::<Vec<_>>(), entries);
        prop_assert_eq!(table.pages(), table.chunks().iter().map(|c| c.entry.pages).sum::<u32>());
        for page in [0, table.pages() / 2, table.pages() - 1] {
            let found = table.covering(page, 1);
            prop_assert!(found.len() == 1 && (found[0].first_page..found[0].end_page()).contains(&page));
        }
        prop_assert!(table.covering(table.pages(), u32::MAX).is_empty());
        for damage in &damage {
            let bytes = damaged(bytes.clone(), damage);
            if let Ok(table) = ChunkTable::open(&bytes, PackId(Digest::of(&bytes))) {
                let entries: Vec<_> = table.chunks().iter().map(|c| c.entry).collect();
                prop_assert_eq!(ChunkTable::build(&entries).unwrap().1, bytes);
            }
        }
    }

    #[test]
    fn whatever_shard_is_made_encoding_never_panics(extents in proptest::collection::vec(any::<[u32; 4]>(), 0..4)) {
        let extents = extents
            .into_iter()
            .map(|[page, len, pack, first_page]| Extent { page, len, pack, first_page })
            .collect();
        let _ = Shard { packs: vec![PackId(Digest::of(b""))], extents }.encode();
    }

    #[test]
    fn page_lists_are_read_as_they_were_written(pages in proptest::collection::vec(any::<[u8; 16]>(), 0..50)) {
        let (bytes, digest) = encode_pages(&pages);
        prop_assert_eq!(decode_pages(&bytes, &digest).unwrap(), pages);
    }

    #[test]
    fn chunks_are_read_as_they_were_written(pages in proptest::collection::vec(any::<[u8; 4]>(), 1..64), level in 1..20) {
        let pages: Vec<u8> = pages.iter().flat_map(|seed| seed.repeat(1024)).collect();
        let (stored, entry) = compress_chunk(&pages, level).unwrap();
        prop_assert_eq!(decompress_chunk(&stored, &entry).unwrap(), pages);
    }
}

fn why(result: Result<impl std::fmt::Debug>) -> String {
    result.expect_err("this must be refused").to_string()
}

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
        disk(Content::User { label: None }),
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

#[test]
fn tables_have_bounds() {
    let of = |stored, pages| boot_chunk(0, 0, pages, 0).chunk.entry.with(stored);
    let full = vec![of(256, 1); PACK_PAGES as usize];
    let (table, bytes) = ChunkTable::build(&full).expect("16 MiB in 65,536 chunks");
    assert_eq!((table.pages(), table.stored()), (PACK_PAGES, 16 << 20));
    assert_eq!(bytes.len() as u64, ChunkTable::MAX_BYTES);
    let entries = |entry: ChunkEntry, count: usize| ChunkTable::build(&vec![entry; count]);
    for (what, refused) in [
        ("no chunk", entries(of(1, 1), 0)),
        ("no page", entries(of(1, 0), 1)),
        ("65 pages", entries(of(1, 65), 1)),
        ("no bytes", entries(of(0, 1), 1)),
        ("more than 264 KiB", entries(of(CHUNK_STORED + 1, 1), 1)),
        ("more than 16 MiB", entries(of(CHUNK_STORED, 1), 64)),
        ("too many pages", entries(of(1, 64), 1025)),
        ("too many chunks", entries(of(1, 1), PACK_PAGES as usize + 1)),
        ("numbers that overflow", entries(of(u32::MAX, u32::MAX), 3)),
    ] {
        assert!(refused.is_err(), "{what}");
    }
    let mut promises = bytes[..9].to_vec();
    promises[5..].copy_from_slice(&PACK_PAGES.to_le_bytes());
    let error = why(ChunkTable::open(&promises, PackId(Digest::of(&promises))));
    assert!(error.contains("ends early"), "{error}");
    assert!(why(ChunkTable::open(&bytes, pack(1))).contains("wrong digest"));
}

trait With {
    fn with(self, stored: u32) -> Self;
}

impl With for ChunkEntry {
    fn with(self, stored: u32) -> Self {
        Self { stored, ..self }
    }
}

#[test]
fn chunks_decompress_to_what_their_entry_says_and_no_more() {
    let page = PAGE as usize;
    let (stored, entry) = compress_chunk(&vec![7; 64 * page], 3).unwrap();
    assert_eq!(decompress_chunk(&stored, &entry).unwrap(), vec![7; 64 * page]);
    for size in [0, 1, page + 1, 65 * page] {
        assert!(compress_chunk(&vec![0; size], 3).is_err(), "{size} bytes");
    }

    let damaged = [&stored[..stored.len() - 1], b"x"].concat();
    let error = decompress_chunk(&damaged, &entry).unwrap_err();
    assert!(
        matches!(error, FormatError::WrongDigest { .. }),
        "nothing is decompressed before it is checked: {error}"
    );

    // Frames that a publisher signed, but which are not what it says.
    let signed = |stored: &[u8], pages: u32, content: &[u8]| ChunkEntry {
        stored: stored.len() as u32,
        pages,
        stored_digest: Digest::of(stored),
        content_digest: Digest::of(content),
    };
    let bomb = bomb(64 << 20);
    assert!(
        bomb.len() < CHUNK_STORED as usize,
        "it looks harmless: {}",
        bomb.len()
    );
    for pages in [0, 1, 64, 65, u32::MAX] {
        assert!(decompress_chunk(&bomb, &signed(&bomb, pages, b"")).is_err());
    }
    for other in [1, 63] {
        let entry = signed(&stored, other, &vec![7; other as usize * page]);
        assert!(
            decompress_chunk(&stored, &entry).is_err(),
            "64 pages are not {other}"
        );
    }
    let error = why(decompress_chunk(&stored, &signed(&stored, 64, b"other")));
    assert!(error.contains("wrong digest"), "{error}");
    let noise = b"no zstd frame";
    assert!(decompress_chunk(noise, &signed(noise, 1, b"")).is_err());
}

/// A zstd frame of `size` zero bytes, which does not say its size.
fn bomb(size: u64) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), size), &mut encoder).unwrap();
    encoder.finish().unwrap()
}
