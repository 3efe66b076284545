//! Writing, reading, damage and objects.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use livepc_format::{Digest, PackId};
use livepc_store::{NewChunk, ReadOutcome, Reader, Store, StoreError};

use crate::support::{PAGE, Pack};

const PAGES_AT: u64 = 274_432;

fn pack_file(folder: &Path, pack: PackId) -> PathBuf {
    let name = pack.to_string();
    folder
        .join("packs")
        .join(&name[..2])
        .join(format!("{name}.pages"))
}

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at as usize] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_written_is_read_in_any_part() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let pack = Pack::new(1, &[64, 3, 64, 20]);
    store
        .write_chunks(vec![pack.chunk(0), pack.chunk(1), pack.chunk(3)])
        .unwrap();
    let reader = store.reader();
    for (first, count) in [(0, 67), (63, 2), (66, 1), (131, 20), (150, 1), (5, 0)] {
        assert_eq!(
            pack.read(&reader, first, count),
            ReadOutcome::Complete,
            "{first}+{count} is here"
        );
        assert!(reader.has(pack.id, first, count));
    }
    for (first, count, page) in [(66, 2, 67), (67, 1, 67), (0, 151, 67), (151, 1, 151)] {
        assert_eq!(
            pack.read(&reader, first, count),
            ReadOutcome::Missing { page },
            "{first}+{count} is not"
        );
        assert!(!reader.has(pack.id, first, count));
    }
    assert_eq!(reader.missing(pack.id, 0, 200), [67..131, 151..200]);
    assert_eq!(reader.missing(pack.id, 70, 2), vec![Range { start: 70, end: 72 }]);
    assert!(reader.missing(pack.id, 0, 67).is_empty());
    assert_eq!(reader.count(pack.id), 87);
}

#[test]
fn a_pack_that_was_never_written_is_absent_and_no_file_is_made_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let pack = Pack::new(1, &[2]);
    assert_eq!(pack.read(&store.reader(), 0, 2), ReadOutcome::Missing { page: 0 });
    assert_eq!(
        store.reader().missing(pack.id, 0, 2),
        vec![Range { start: 0, end: 2 }]
    );
    store.drop_pages(pack.id, 0, 2).unwrap();
    assert_eq!(store.verify(&pack.table, true).unwrap().chunks, 0);
    assert_eq!(store.local_bytes(pack.id), 0);
    assert!(
        !pack_file(folder.path(), pack.id).exists(),
        "asking must not make a file"
    );
}

#[test]
fn another_reader_sees_what_is_written_after_it_has_looked() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let other = Reader::open(folder.path()).unwrap();
    let pack = Pack::new(1, &[64, 64]);
    assert_eq!(pack.read(&other, 0, 1), ReadOutcome::Missing { page: 0 });
    store.write_chunks(vec![pack.chunk(0)]).unwrap();
    assert_eq!(
        pack.read(&other, 0, 64),
        ReadOutcome::Complete,
        "the file was made meanwhile"
    );
    assert_eq!(pack.read(&other, 0, 65), ReadOutcome::Missing { page: 64 });
    store.write_chunks(vec![pack.chunk(1)]).unwrap();
    assert_eq!(
        pack.read(&other, 0, 128),
        ReadOutcome::Complete,
        "bits were set meanwhile"
    );
}

#[test]
fn a_file_that_was_lost_or_replaced_is_noticed_when_something_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let pack = Pack::new(1, &[64, 64]);
    let other = {
        let store = Store::open(folder.path()).unwrap();
        store.write_chunks(vec![pack.chunk(0)]).unwrap();
        let other = Reader::open(folder.path()).unwrap();
        assert_eq!(pack.read(&other, 0, 64), ReadOutcome::Complete);
        other
    };
    fs::remove_file(pack_file(folder.path(), pack.id)).unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(
        pack.read(&store.reader(), 0, 64),
        ReadOutcome::Missing { page: 0 }
    );
    store.write_chunks(vec![pack.chunk(1)]).unwrap();
    assert_eq!(
        pack.read(&other, 64, 64),
        ReadOutcome::Complete,
        "it is in the new file"
    );
    assert_eq!(
        pack.read(&other, 0, 64),
        ReadOutcome::Missing { page: 0 },
        "the old file is no longer used"
    );
}

#[test]
fn a_damaged_page_is_reported_and_can_be_written_again() {
    for at in [PAGES_AT + 9 * PAGE as u64 + 77, 12_288 + 9 * 4] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let pack = Pack::new(1, &[64]);
        store.write_chunks(vec![pack.chunk(0)]).unwrap();
        let (reader, other) = (store.reader(), Reader::open(folder.path()).unwrap());
        flip(&pack_file(folder.path(), pack.id), at);
        let damaged = ReadOutcome::Damaged {
            pack: pack.id,
            page: 9,
        };
        assert_eq!(pack.read(&reader, 0, 64), damaged, "byte {at}");
        assert_eq!(
            pack.read(&reader, 0, 9),
            ReadOutcome::Complete,
            "the pages before are whole"
        );
        assert_eq!(pack.read(&other, 9, 1), damaged);

        store.drop_pages(pack.id, 0, 64).unwrap();
        assert_eq!(
            pack.read(&reader, 0, 1),
            ReadOutcome::Missing { page: 0 },
            "the chunk was dropped"
        );
        store.write_chunks(vec![pack.chunk(0)]).unwrap();
        assert_eq!(pack.read(&reader, 0, 64), ReadOutcome::Complete);
        assert_eq!(pack.read(&other, 0, 64), ReadOutcome::Complete);
    }
}

#[test]
fn a_file_with_a_damaged_header_counts_as_absent_and_is_made_anew() {
    for at in [0, 20, 50] {
        let folder = tempfile::tempdir().unwrap();
        let pack = Pack::new(1, &[64]);
        Store::open(folder.path())
            .unwrap()
            .write_chunks(vec![pack.chunk(0)])
            .unwrap();
        flip(&pack_file(folder.path(), pack.id), at);
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(
            pack.read(&store.reader(), 0, 1),
            ReadOutcome::Missing { page: 0 },
            "byte {at}"
        );
        store.write_chunks(vec![pack.chunk(0)]).unwrap();
        assert_eq!(pack.read(&store.reader(), 0, 64), ReadOutcome::Complete);
    }
}

#[test]
fn the_file_of_another_pack_is_not_taken_for_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (one, two) = (Pack::new(1, &[64]), Pack::new(2, &[64]));
    store.write_chunks(vec![one.chunk(0)]).unwrap();
    let wrong = pack_file(folder.path(), two.id);
    fs::create_dir_all(wrong.parent().unwrap()).unwrap();
    fs::copy(pack_file(folder.path(), one.id), wrong).unwrap();
    assert_eq!(two.read(&store.reader(), 0, 1), ReadOutcome::Missing { page: 0 });
}

#[test]
fn impossible_requests_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let pack = Pack::new(1, &[64]);
    let chunk = |first_page, len| NewChunk {
        first_page,
        pages: vec![1; len],
        ..pack.chunk(0)
    };
    for (first_page, len) in [
        (0, 0),
        (0, PAGE + 1),
        (0, 65 * PAGE),
        (65_535, 2 * PAGE),
        (u32::MAX, PAGE),
    ] {
        let refused = store.write_chunks(vec![chunk(first_page, len)]);
        assert!(
            matches!(refused, Err(StoreError::Invalid(_))),
            "{first_page}+{len} bytes: {refused:?}"
        );
    }
    assert!(store.reader().read(pack.id, 65_535, &mut [0; 2 * PAGE]).is_err());
    assert!(store.reader().read(pack.id, 0, &mut [0; 100]).is_err());
    assert!(!store.reader().has(pack.id, u32::MAX, 2));
    store.write_chunks(vec![chunk(65_535, PAGE)]).unwrap();
    assert!(
        store.reader().has(pack.id, 65_535, 1),
        "the last page is possible"
    );
}

#[test]
fn a_local_pack_file_takes_the_room_of_its_pages_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let pack = Pack::new(1, &[64]);
    let chunk = NewChunk {
        first_page: 60_000,
        ..pack.chunk(0)
    };
    store.write_chunks(vec![chunk]).unwrap();
    let bytes = store.local_bytes(pack.id);
    assert!(bytes >= 64 * PAGE as u64, "{bytes} bytes cannot hold the pages");
    if cfg!(target_os = "linux") {
        assert!(
            bytes < 64 * PAGE as u64 + (64 << 10),
            "{bytes} bytes: the holes take room"
        );
    }
    assert!(store.usage().unwrap() >= bytes);
}

#[test]
fn a_read_that_does_not_wait_gives_the_pages_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let pack = Pack::new(1, &[64]);
    store.write_chunks(vec![pack.chunk(0)]).unwrap();
    let reader = store.reader();
    let mut bytes = vec![0; 10 * PAGE];
    assert!(
        !reader.read_cached(pack.id, 60, &mut bytes),
        "not all of these are here"
    );
    assert_eq!(pack.read(&reader, 0, 64), ReadOutcome::Complete);
    let cached = reader.read_cached(pack.id, 50, &mut bytes);
    assert_eq!(
        cached,
        cfg!(target_os = "linux"),
        "what was just read is in memory"
    );
    assert!(!cached || bytes == pack.pages(50, 10), "other bytes were read");
    flip(&pack_file(folder.path(), pack.id), PAGES_AT + 50 * PAGE as u64);
    assert!(
        !reader.read_cached(pack.id, 50, &mut bytes),
        "a damaged page must not be given out"
    );
}

#[test]
fn objects_are_checked_when_written_and_when_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (bytes, reader) = (b"an object".as_slice(), store.reader());
    let digest = Digest::of(bytes);
    assert_eq!(reader.object(&digest, 100).unwrap(), None);
    assert!(matches!(
        store.put_object(&digest, b"another"),
        Err(StoreError::WrongDigest(_))
    ));
    store.put_object(&digest, bytes).unwrap();
    assert_eq!(reader.object(&digest, 100).unwrap().as_deref(), Some(bytes));
    assert_eq!(
        reader.object(&digest, 8).unwrap(),
        None,
        "it is longer than the caller would take"
    );

    let name = digest.to_string();
    let path = folder.path().join("objects").join(&name[..2]).join(&name);
    fs::write(&path, b"an 0bject").unwrap();
    assert_eq!(reader.object(&digest, 100).unwrap(), None, "it was damaged");
    store.put_object(&digest, bytes).unwrap();
    assert_eq!(
        reader.object(&digest, 100).unwrap().as_deref(),
        Some(bytes),
        "it was put again"
    );
}

#[test]
fn many_threads_write_and_read_the_same_packs() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let packs: Vec<Pack> = (0..4).map(|seed| Pack::new(seed, &[30; 12])).collect();
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, packs, start) = (&store, &packs, &start);
            scope.spawn(move || {
                start.wait();
                for i in 0..12 {
                    let batch = packs
                        .iter()
                        .map(|pack| pack.chunk((i * 5 + thread * 3) % 12))
                        .collect();
                    store.write_chunks(batch).unwrap();
                }
            });
            scope.spawn(move || {
                let reader = if thread < 2 {
                    store.reader()
                } else {
                    Reader::open(folder_of(store)).unwrap()
                };
                start.wait();
                for i in 0..400 {
                    let pack = &packs[i % packs.len()];
                    let outcome = pack.read(&reader, (i as u32 * 7) % 330, 30);
                    assert!(!matches!(outcome, ReadOutcome::Damaged { .. }), "{outcome:?}");
                }
            });
        }
    });
    for pack in &packs {
        assert_eq!(pack.read(&store.reader(), 0, 360), ReadOutcome::Complete);
    }

    fn folder_of(store: &Store) -> PathBuf {
        store.folder().to_owned()
    }
}
