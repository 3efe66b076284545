//! Copying what another pack has.

use std::fs;

use livepc_format::Digest;
use livepc_store::{NewChunk, ReadOutcome, Store, StoreError};

use crate::support::{PAGE, Pack};

#[test]
fn a_chunk_is_copied_from_another_pack() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    // The same pages from the beginning, so the first chunks are equal; the third differs in length.
    let (old, new) = (Pack::new(7, &[64, 20, 64]), Pack::new(7, &[64, 20, 30]));
    assert_ne!(old.id, new.id);
    store.write_chunks(old.chunks()).unwrap();
    let entry = new.table.chunks()[0].entry;
    assert!(
        store.adopt(&entry.content_digest, new.id, 0, 64).unwrap(),
        "the old pack has it"
    );
    assert!(
        store.adopt(&entry.content_digest, new.id, 0, 64).unwrap(),
        "it is here already"
    );
    let chunks = new.table.chunks();
    assert_eq!(store.adopt_chunks(new.id, chunks).unwrap(), chunks[..2]);
    assert_eq!(new.read(&store.reader(), 0, 84), ReadOutcome::Complete);
    assert_eq!(
        new.read(&store.reader(), 84, 1),
        ReadOutcome::Missing { page: 84 }
    );
    assert!(!store.adopt(&Digest::of(b"nothing"), new.id, 84, 30).unwrap());
}

#[test]
fn what_is_listed_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Pack::new(7, &[64]), Pack::new(7, &[64, 1]));
    Store::open(folder.path())
        .unwrap()
        .write_chunks(old.chunks())
        .unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.adopt_chunks(new.id, new.table.chunks()).unwrap().len(), 1);
}

#[test]
fn a_source_that_is_not_what_was_listed_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (old, new) = (Pack::new(7, &[64]), Pack::new(7, &[64, 1]));
    // Somebody's boot map said that its pack has this content, and it has not.
    let lie = NewChunk {
        pages: vec![6; 64 * PAGE],
        ..old.chunk(0)
    };
    store.write_chunks(vec![lie]).unwrap();
    let content = new.table.chunks()[0].entry.content_digest;
    assert!(
        !store.adopt(&content, new.id, 0, 64).unwrap(),
        "the copy is hashed"
    );
    assert_eq!(new.read(&store.reader(), 0, 1), ReadOutcome::Missing { page: 0 });
}

#[test]
fn a_damaged_source_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Pack::new(7, &[64]), Pack::new(7, &[64, 1]));
    let store = Store::open(folder.path()).unwrap();
    store.write_chunks(old.chunks()).unwrap();
    let name = old.id.to_string();
    let path = folder
        .path()
        .join("packs")
        .join(&name[..2])
        .join(format!("{name}.pages"));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
    assert!(store.adopt_chunks(new.id, new.table.chunks()).unwrap().is_empty());
}

#[test]
fn with_its_table_here_a_pack_takes_only_what_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let pack = Pack::new(1, &[64, 64]);
    store.put_object(&pack.id.0, &pack.table_bytes).unwrap();
    let other = vec![6; 64 * PAGE];
    let lies = [
        NewChunk {
            content_digest: Digest::of(&other),
            pages: other,
            ..pack.chunk(0)
        },
        NewChunk {
            first_page: 1,
            ..pack.chunk(0)
        },
        NewChunk {
            first_page: 128,
            ..pack.chunk(0)
        },
        NewChunk {
            pages: pack.pages(0, 32),
            ..pack.chunk(0)
        },
    ];
    for lie in lies {
        let refused = store.write_chunks(vec![lie.clone()]);
        assert!(
            matches!(refused, Err(StoreError::NotOfPack { .. })),
            "{lie:?}: {refused:?}"
        );
    }
    assert_eq!(store.reader().count(pack.id), 0);
    store.write_chunks(pack.chunks()).unwrap();
    assert_eq!(pack.read(&store.reader(), 0, 128), ReadOutcome::Complete);
}

#[test]
fn when_its_table_comes_a_pack_loses_what_it_does_not_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let pack = Pack::new(1, &[64, 64]);
    let other = vec![6; 64 * PAGE];
    let lie = NewChunk {
        content_digest: Digest::of(&other),
        pages: other,
        ..pack.chunk(0)
    };
    store.write_chunks(vec![lie, pack.chunk(1)]).unwrap();
    assert!(store.reader().has(pack.id, 0, 128));
    store.put_object(&pack.id.0, &pack.table_bytes).unwrap();
    assert_eq!(
        pack.read(&store.reader(), 0, 1),
        ReadOutcome::Missing { page: 0 },
        "that was a lie"
    );
    assert_eq!(
        pack.read(&store.reader(), 64, 64),
        ReadOutcome::Complete,
        "that was true"
    );
}
