//! Chunks and their tables have bounds, whoever signed them.

use super::*;

#[test]
fn tables_have_bounds() {
    let of = |stored, pages| ChunkEntry {
        stored,
        pages,
        stored_digest: Digest::of(b""),
        content_digest: Digest::of(b""),
    };
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
    assert!(why(ChunkTable::open(&bytes, PackId(Digest::of(b"")))).contains("wrong digest"));
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
