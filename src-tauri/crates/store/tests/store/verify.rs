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
