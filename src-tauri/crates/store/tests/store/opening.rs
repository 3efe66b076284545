//! Who may open a store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use livepc_store::{ReadOutcome, Reader, Store, StoreError};

use crate::support::Pack;

/// Every file in `folder` with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
fn two_writers_are_refused_and_readers_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let second = Store::open(folder.path());
    assert!(matches!(second, Err(StoreError::InUse(_))), "the store is locked");
    Reader::open(folder.path()).unwrap();
    drop(store);
    Store::open(folder.path()).unwrap();
}

#[test]
fn a_newer_store_is_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("store.json"),
        r#"{"version": 2, "what": "nobody knows yet"}"#,
    )
    .unwrap();
    let before = files(folder.path());
    let refused = Store::open(folder.path()).err();
    assert!(
        matches!(
            refused,
            Some(StoreError::Newer {
                found: 2,
                known: 1,
                ..
            })
        ),
        "{refused:?}"
    );
    assert!(matches!(
        Reader::open(folder.path()).err(),
        Some(StoreError::Newer { .. })
    ));
    assert_eq!(files(folder.path()), before, "nothing may be touched");
}

#[test]
fn a_newer_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path()).unwrap());
    let database = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let refused = Store::open(folder.path()).err();
    assert!(matches!(refused, Some(StoreError::Newer { .. })), "{refused:?}");
}

#[test]
fn a_folder_that_is_no_store_has_nothing_to_read() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        Reader::open(folder.path()).err(),
        Some(StoreError::NoStore(_))
    ));
    assert!(files(folder.path()).is_empty(), "a reader makes no store");
    fs::write(folder.path().join("store.json"), "{").unwrap();
    assert!(matches!(
        Reader::open(folder.path()).err(),
        Some(StoreError::Damaged { .. })
    ));
}

#[test]
fn a_version_that_cannot_be_read_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let pack = Pack::new(1, &[64]);
    Store::open(folder.path())
        .unwrap()
        .write_chunks(vec![pack.chunk(0)])
        .unwrap();
    let path = folder.path().join("store.json");
    let whole = fs::read(&path).unwrap();
    for damage in [&b"{"[..], b"", &[0; 19], b"[]", &[b' '; 5000]] {
        fs::write(&path, damage).unwrap();
        assert!(matches!(
            Reader::open(folder.path()).err(),
            Some(StoreError::Damaged { .. })
        ));
        let store = Store::open(folder.path()).unwrap();
        assert!(store.reader().has(pack.id, 0, 64), "nothing of it is lost");
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!(
            fs::read(folder.path().join("store.json.damaged")).unwrap(),
            damage
        );
    }
}

#[test]
fn a_lost_database_loses_no_page_and_stops_pruning() {
    for damage in ["no database", "a page of zeros", "gone"] {
        let folder = tempfile::tempdir().unwrap();
        let pack = Pack::new(1, &[64]);
        Store::open(folder.path())
            .unwrap()
            .write_chunks(vec![pack.chunk(0)])
            .unwrap();
        let path = folder.path().join("store.db");
        match damage {
            "no database" => {
                fs::write(&path, b"this is no database, and long enough to be looked at").unwrap();
            }
            "gone" => fs::remove_file(&path).unwrap(),
            _ => {
                let mut bytes = fs::read(&path).unwrap();
                bytes[4096..].fill(0);
                fs::write(&path, bytes).unwrap();
            }
        }

        let store = Store::open(folder.path()).unwrap();
        assert_eq!(pack.read(&store.reader(), 0, 64), ReadOutcome::Complete);
        assert!(store.references_lost().unwrap());
        assert!(
            matches!(store.prune(false), Err(StoreError::ReferencesLost)),
            "nobody knows what is needed"
        );
        store.keep(&"a-1".parse().unwrap(), &[pack.id], &[]).unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert!(
            store.references_lost().unwrap(),
            "it is lost until somebody says otherwise"
        );
        store.references_restored().unwrap();
        assert_eq!(store.prune(false).unwrap().packs, 0);
        assert_eq!(pack.read(&store.reader(), 0, 64), ReadOutcome::Complete);
    }
}
