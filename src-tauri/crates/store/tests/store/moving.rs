//! Moving a store, and what is told of the room that it takes.

use std::fs;
use std::path::Path;

use livepc_store::{ReadOutcome, Reader, ReleaseKey, Share, Store, StoreError, remove_store};

use crate::support::Pack;

fn key(name: &str) -> ReleaseKey {
    name.parse().unwrap()
}

/// A store with a pack that a release needs.
fn store_in(folder: &Path) -> (Store, Pack) {
    let store = Store::open(folder).unwrap();
    let pack = Pack::new(1, &[64, 10]);
    store.keep(&key("a-1"), &[pack.id], &[]).unwrap();
    store.write_chunks(pack.chunks()).unwrap();
    (store, pack)
}

#[test]
fn a_store_is_the_same_where_it_is_renamed_or_copied_to() {
    let work = tempfile::tempdir().unwrap();
    let (first, second, third) = (
        work.path().join("1"),
        work.path().join("2"),
        work.path().join("3"),
    );
    let (store, pack) = store_in(&first);
    fs::create_dir(&second).unwrap();
    let renamed = store.move_to(&second, &mut |_, _| {}).unwrap();
    assert_eq!(renamed, cfg!(unix), "an empty folder makes room");
    if !renamed {
        // No folder gets another name on Windows while its files are open, so it was copied.
        remove_store(&first).unwrap();
    }
    assert!(!first.exists());

    // No folder gets the name of one that is not empty, so it is copied.
    fs::create_dir(&third).unwrap();
    fs::write(third.join("note.txt"), "not ours").unwrap();
    let store = Store::open(&second).unwrap();
    let (before, mut told) = (store.usage().unwrap(), Vec::new());
    assert!(
        !store
            .move_to(&third, &mut |done, total| told.push((done, total)))
            .unwrap()
    );
    assert!(
        told.iter().all(|(done, total)| done <= total) && told.len() > 1,
        "{told:?}"
    );
    // What a kill leaves of a file that is being written, and of one that was damaged.
    for left in [".new-aBcDeF", "store.json.damaged"] {
        fs::write(second.join(left), "a part").unwrap();
    }
    remove_store(&second).unwrap();
    assert!(!second.exists(), "nothing of the old one is left");
    let store = Store::open(&third).unwrap();
    assert_eq!(pack.read(&store.reader(), 0, 74), ReadOutcome::Complete);
    assert_eq!(store.kept().unwrap(), [key("a-1")]);
    assert!(
        store.usage().unwrap() <= before + (64 << 10),
        "what takes no room takes none in the copy"
    );
    drop(store);
    remove_store(&third).unwrap();
    assert_eq!(
        fs::read_dir(&third).unwrap().count(),
        1,
        "what is not the store's stays"
    );
}

#[test]
fn a_store_that_is_read_stays() {
    let work = tempfile::tempdir().unwrap();
    let (store, pack) = store_in(&work.path().join("1"));
    let reader = Reader::open(work.path().join("1")).unwrap();
    let lease = reader.lease(&key("a-1")).unwrap();
    let to = work.path().join("2");
    let refused = store.move_to(&to, &mut |_, _| {});
    assert!(matches!(refused, Err(StoreError::BeingRead(_))), "{refused:?}");
    assert!(!to.exists());
    assert_eq!(pack.read(&reader, 0, 74), ReadOutcome::Complete);
    drop(lease);
}

#[test]
fn room_is_private_to_one_owner_or_shared_by_several() {
    let work = tempfile::tempdir().unwrap();
    let (store, pack) = store_in(work.path());
    let other = Pack::new(2, &[64]);
    store.write_chunks(other.chunks()).unwrap();
    let owner = |key: &ReleaseKey| key.as_str().split_once('-').map(|(owner, _)| owner.to_owned());
    let shares = |name: &str| {
        let usage = store.usage_of(owner).unwrap();
        let share = usage.shares.get(name).copied().unwrap_or_default();
        (share.private, share.shared)
    };
    let (one, two) = (store.local_bytes(pack.id), store.local_bytes(other.id));
    assert_eq!(shares("a"), (one, 0), "the other pack is nobody's");
    store.keep(&key("a-2"), &[pack.id], &[]).unwrap();
    assert_eq!(shares("a"), (one, 0), "two releases of one owner");
    store.keep(&key("b-1"), &[pack.id, other.id], &[]).unwrap();
    assert_eq!((shares("a"), shares("b")), ((0, one), (two, one)));
    assert_eq!(store.usage_of(|_| None).unwrap().shares.get("a"), None::<&Share>);
}
