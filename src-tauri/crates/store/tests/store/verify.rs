//! Checking what is here against what was published.

use std::ops::Range;

use livepc_format::Digest;
use livepc_store::{NewChunk, ReadOutcome, Store};

use crate::support::{PAGE, Pack};

#[test]
fn only_what_differs_is_reported_and_repair_drops_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let pack = Pack::new(1, &[64, 10, 64, 3]);
    // Whole by its CRC, and yet not what the pack has.
    let other = vec![6; 10 * PAGE];
    let wrong = NewChunk {
        content_digest: Digest::of(&other),
        pages: other,
        ..pack.chunk(1)
    };
    store
        .write_chunks(vec![pack.chunk(0), wrong, pack.chunk(3)])
        .unwrap();

    let report = store.verify(&pack.table, false).unwrap();
    assert_eq!(
        (report.chunks, report.bytes),
        (3, 77 * PAGE as u64),
        "the third is not here"
    );
    assert_eq!(report.damaged, vec![Range { start: 64, end: 74 }]);
    assert!(store.reader().has(pack.id, 64, 10), "nothing was to be repaired");

    assert_eq!(store.verify(&pack.table, true).unwrap(), report);
    assert_eq!(
        store.reader().missing(pack.id, 0, 141),
        vec![Range { start: 64, end: 138 }]
    );
    store.write_chunks(pack.chunks()).unwrap();
    let report = store.verify(&pack.table, true).unwrap();
    assert_eq!((report.chunks, report.damaged.len()), (4, 0));
    assert_eq!(pack.read(&store.reader(), 0, 141), ReadOutcome::Complete);
}

/// A writer that still has the file open must not go on with it: no reader would find its pages.
#[test]
fn a_file_that_is_no_pack_any_more_is_told_and_makes_room_for_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let pack = Pack::new(1, &[64, 64]);
    store.write_chunks(pack.chunks()).unwrap();
    let name = pack.id.to_string();
    let file = folder.path().join(format!("packs/{}/{name}.pages", &name[..2]));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&file, bytes).unwrap();

    let report = store.verify(&pack.table, false).unwrap();
    assert!(report.lost && report.damaged.is_empty(), "{report:?}");
    store.write_chunks(pack.chunks()).unwrap();
    assert_eq!(pack.read(&store.reader(), 0, 128), ReadOutcome::Complete);
    assert!(!store.verify(&pack.table, false).unwrap().lost);
}

#[test]
fn damaged_objects_of_a_release_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let key = "a-1".parse().unwrap();
    let objects = [b"a", b"b", b"c"].map(|bytes| (Digest::of(bytes), bytes));
    store.keep(&key, &[], &objects.map(|(digest, _)| digest)).unwrap();
    for (digest, bytes) in &objects[..2] {
        store.put_object(digest, *bytes).unwrap();
    }
    assert_eq!(
        store.damaged_objects(&key).unwrap(),
        [],
        "one that is not here is not damaged"
    );
    let name = objects[1].0.to_string();
    std::fs::write(folder.path().join(format!("objects/{}/{name}", &name[..2])), "x").unwrap();
    assert_eq!(store.damaged_objects(&key).unwrap(), [objects[1].0]);
}
