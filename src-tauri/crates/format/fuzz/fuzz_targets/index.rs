//! Index objects, tables and chunks: nothing panics, and each value has one form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use livepc_format::index::{
    BootMap, ChunkEntry, ChunkTable, DiskRoot, ObjectRef, PackList, Shard, decode_pages,
};
use livepc_format::{Digest, PackId, Result, decompress_chunk};

fn store(body: &[u8]) -> (Vec<u8>, ObjectRef) {
    let stored = zstd::bulk::compress(body, 1).expect("memory");
    let object = ObjectRef {
        digest: Digest::of(&stored),
        stored: stored.len() as u64,
        size: body.len() as u64,
    };
    (stored, object)
}

fn one_form<T>(
    body: &[u8],
    decode: impl Fn(&[u8], &ObjectRef) -> Result<T>,
    encode: impl Fn(&T) -> Result<(Vec<u8>, ObjectRef)>,
) {
    let (stored, object) = store(body);
    if let Ok(value) = decode(&stored, &object) {
        let (again, _) = encode(&value).expect("it was checked");
        assert_eq!(zstd::bulk::decompress(&again, 1 << 27).expect("a frame"), body);
    }
}

fuzz_target!(|data: &[u8]| {
    match data.get(..4) {
        Some(b"LPXS") => one_form(data, Shard::decode, Shard::encode),
        Some(b"LPDR") => one_form(data, DiskRoot::decode, DiskRoot::encode),
        Some(b"LPPL") => one_form(data, PackList::decode, PackList::encode),
        Some(b"LPBM") => one_form(data, BootMap::decode, BootMap::encode),
        Some(b"LPCT") => {
            if let Ok(table) = ChunkTable::open(data, PackId(Digest::of(data))) {
                let entries: Vec<_> = table.chunks().iter().map(|chunk| chunk.entry).collect();
                assert_eq!(ChunkTable::build(&entries).expect("it was checked").1, data);
            }
        }
        _ => {
            let object = ObjectRef {
                digest: Digest::of(data),
                stored: data.len() as u64,
                size: 1000,
            };
            let _ = Shard::decode(data, &object);
            let _ = decode_pages(data, &Digest::of(data));
            for pages in [1, 64] {
                let entry = ChunkEntry {
                    stored: data.len() as u32,
                    pages,
                    stored_digest: Digest::of(data),
                    content_digest: Digest::of(&[0; 4096]),
                };
                let _ = decompress_chunk(data, &entry);
            }
        }
    }
});
