//! Removing what nobody needs.

use std::fs;

use livepc_format::Digest;
use livepc_store::{PruneReport, ReadOutcome, Reader, ReleaseKey, Store};

use crate::support::Pack;

struct Kept {
    folder: tempfile::TempDir,
    store: Store,
    packs: [Pack; 3],
    objects: [Digest; 3],
}

fn key(name: &str) -> ReleaseKey {
    name.parse().unwrap()
}

/// Two releases: the first has packs and objects 0 and 1, the second 1 and 2.
fn two_releases() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let packs = [1, 2, 3].map(|seed| Pack::new(seed, &[64]));
    let objects = [b"a", b"b", b"c"].map(|bytes| {
        let digest = Digest::of(bytes);
        store.put_object(&digest, bytes).unwrap();
        digest
    });
    for pack in &packs {
        store.write_chunks(pack.chunks()).unwrap();
    }
    store
        .keep(&key("a-1"), &[packs[0].id, packs[1].id], &objects[..2])
        .unwrap();
    store
        .keep(&key("a-2"), &[packs[1].id, packs[2].id], &objects[1..])
        .unwrap();
    Kept {
        folder,
        store,
        packs,
        objects,
    }
}

impl Kept {
    fn here(&self) -> [bool; 3] {
        let reader = self.store.reader();
        let objects = self
            .objects
            .map(|digest| reader.object(&digest, 10).unwrap().is_some());
        let packs = [0, 1, 2].map(|i| self.packs[i].read(&reader, 0, 64) == ReadOutcome::Complete);
        assert_eq!(
            packs, objects,
            "packs and objects are needed by the same releases here"
        );
        packs
    }
}

#[test]
fn what_a_kept_release_needs_stays_and_the_rest_goes() {
    let kept = two_releases();
    assert_eq!(kept.store.prune(false).unwrap(), PruneReport::default());
    let would = kept.store.would_prune(&[key("a-1")]).unwrap();
    assert_eq!(kept.store.kept().unwrap().len(), 2, "only asked");
    assert!(kept.store.forget(&key("a-1")).unwrap());
    assert!(
        !kept.store.forget(&key("a-1")).unwrap(),
        "it is forgotten already"
    );
    assert_eq!(kept.store.kept().unwrap(), [key("a-2")]);

    let before = kept.store.usage().unwrap();
    let dry = kept.store.prune(true).unwrap();
    assert_eq!((dry.packs, dry.objects), (1, 1));
    assert_eq!(
        dry.releases,
        [(key("a-1"), dry.bytes)],
        "what the other needs too is not its own"
    );
    assert_eq!(would, dry);
    assert_eq!(kept.here(), [true; 3], "a dry run removes nothing");
    assert_eq!(
        kept.store.prune(false).unwrap(),
        dry,
        "a dry run says what will happen"
    );
    assert_eq!(kept.here(), [false, true, true]);
    assert!(dry.bytes >= 64 * 4096 && kept.store.usage().unwrap() + dry.bytes <= before + (1 << 20));
    assert_eq!(kept.store.prune(false).unwrap(), PruneReport::default());

    kept.store.write_chunks(kept.packs[0].chunks()).unwrap();
    assert_eq!(
        kept.packs[0].read(&kept.store.reader(), 0, 64),
        ReadOutcome::Complete,
        "it can come back"
    );
}

#[test]
fn a_lease_protects_a_forgotten_release_until_it_ends() {
    let kept = two_releases();
    let runner = Reader::open(kept.folder.path()).unwrap();
    let (lease, second) = (
        runner.lease(&key("a-1")).unwrap(),
        runner.lease(&key("a-1")).unwrap(),
    );
    assert_eq!(lease.release(), &key("a-1"));
    kept.store.forget(&key("a-1")).unwrap();
    assert_eq!(kept.store.prune(false).unwrap(), PruneReport::default());
    drop(lease);
    assert_eq!(
        kept.store.would_prune(&[key("a-1")]).unwrap(),
        PruneReport::default(),
        "a second machine runs it"
    );
    assert_eq!(kept.here(), [true; 3]);
    drop(second);
    assert_eq!(kept.store.prune(false).unwrap().packs, 1);
    assert_eq!(kept.here(), [false, true, true]);
    let leases = fs::read_dir(kept.folder.path().join("leases")).unwrap().count();
    assert_eq!(leases, 0, "the file of a lease that ended is removed");
}

#[test]
fn a_lease_of_an_unknown_release_protects_everything() {
    let kept = two_releases();
    kept.store.forget(&key("a-1")).unwrap();
    let lease = kept.store.reader().lease(&key("b-9")).unwrap();
    assert_eq!(kept.store.prune(false).unwrap(), PruneReport::default());
    assert_eq!(kept.here(), [true; 3]);
    drop(lease);
    assert_eq!(kept.store.prune(false).unwrap().packs, 1);
}

#[test]
fn what_a_release_needs_can_be_said_anew() {
    let kept = two_releases();
    kept.store
        .keep(&key("a-1"), &[kept.packs[1].id], &[kept.objects[1]])
        .unwrap();
    assert_eq!(kept.store.prune(false).unwrap().packs, 1);
    assert_eq!(kept.here(), [false, true, true]);
    kept.store.forget(&key("a-1")).unwrap();
    kept.store.forget(&key("a-2")).unwrap();
    kept.store
        .keep(&key("a-1"), &[kept.packs[2].id], &[kept.objects[2]])
        .unwrap();
    kept.store.prune(false).unwrap();
    assert_eq!(
        kept.here(),
        [false, false, true],
        "a release that was forgotten can be kept again"
    );
}

#[test]
fn what_crashes_leave_behind_is_removed() {
    let kept = two_releases();
    let name = kept.packs[0].id.to_string();
    let folder = kept.folder.path().join("packs").join(&name[..2]);
    fs::write(folder.join(".new-abc"), [1; 5000]).unwrap();
    fs::write(folder.join(format!("{name}.pages.damaged")), [1; 5000]).unwrap();
    fs::write(folder.join("note.txt"), "not ours").unwrap();
    let report = kept.store.prune(false).unwrap();
    assert_eq!((report.packs, report.objects), (0, 0));
    assert!(report.bytes >= 10_000, "the room is counted");
    let left: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "what is not the store's is left alone: {left:?}");
    assert_eq!(kept.here(), [true; 3]);
}
