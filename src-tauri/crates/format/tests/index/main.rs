//! Index objects and chunks: what is written is read again, each value has one form, and nothing that can be sent
//! panics.

#![allow(clippy::unwrap_used)]

mod chunks;
mod rules;

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
