//! When data does not come, and when what is here is damaged.

use std::fs;
use std::path::PathBuf;

use livepc_disk::block::{BlockDevice as _, ReadError};
use livepc_format::{Digest, PackId};

use crate::backend::{Asked, Bench, Mood, PATIENCE};
use crate::published::{Data, PAGE, Published};

/// Where pages begin in a local pack file.
const PAGES_AT: usize = 274_432;

fn bench() -> Bench {
    let runs = [Data {
        region: 0,
        page: 0,
        pages: 200,
        pack: 0,
        gap: 0,
    }];
    Bench::new(Published::new(&[1600], &runs), None)
}

fn pack(bench: &Bench) -> PackId {
    *bench.published().packs.keys().next().unwrap()
}

fn pack_file(bench: &Bench) -> PathBuf {
    let name = pack(bench).to_string();
    bench
        .folder
        .path()
        .join("packs")
        .join(&name[..2])
        .join(format!("{name}.pages"))
}

fn object_file(bench: &Bench, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    bench.folder.path().join("objects").join(&name[..2]).join(&name)
}

#[tokio::test]
async fn a_read_that_waited_says_so_and_can_be_repeated() {
    let bench = bench();
    for give_index in [false, true] {
        if give_index {
            bench.backend.give_index();
        }
        *bench.backend.mood.lock().unwrap() = Mood::Waited;
        let waited = bench.disk.read_at(0, 4096).await;
        assert!(
            matches!(waited, Err(ReadError::Waited { limit }) if limit == PATIENCE),
            "{waited:?}"
        );
    }
    *bench.backend.mood.lock().unwrap() = Mood::Willing;
    let read = bench.disk.read_at(0, 4096).await.unwrap();
    assert!(
        read == bench.published().expected(0, 4096),
        "after the network came back"
    );
}

#[tokio::test]
async fn a_backend_that_does_not_deliver_is_not_asked_forever() {
    let bench = bench();
    *bench.backend.mood.lock().unwrap() = Mood::Lying;
    let failed = bench.disk.read_at(0, 4096).await;
    assert!(
        matches!(failed, Err(ReadError::Io(_))),
        "the index does not come: {failed:?}"
    );
    bench.backend.give_index();
    bench.backend.take_asked();
    let failed = bench.disk.read_at(0, 4096).await;
    assert!(
        matches!(failed, Err(ReadError::Io(_))),
        "the pages do not come: {failed:?}"
    );
    let asked = bench.backend.take_asked().len();
    assert!((1..10).contains(&asked), "it was asked {asked} times");
}

#[tokio::test]
async fn damaged_pages_are_fetched_again_and_never_given_out() {
    let bench = bench();
    bench.backend.give_index();
    bench.backend.give_packs();
    let whole = bench.published().expected(0, 200 * PAGE);
    assert!(bench.disk.read_at(0, 200 * PAGE as u32).await.unwrap() == whole);
    assert_eq!(bench.backend.take_asked(), []);

    let mut bytes = fs::read(pack_file(&bench)).unwrap();
    for page in [3, 70, 71, 199] {
        bytes[PAGES_AT + page * PAGE + 100] ^= 1;
    }
    fs::write(pack_file(&bench), bytes).unwrap();
    let read = bench.disk.read_at(0, 200 * PAGE as u32).await.unwrap();
    assert!(read == whole, "what is damaged must not be read");
    assert_eq!(bench.backend.take_asked(), [Asked::Pages(pack(&bench), 3, 197)]);
    assert!(bench.disk.read_at(0, 200 * PAGE as u32).await.unwrap() == whole);
    assert_eq!(bench.backend.take_asked(), [], "it is whole again");
}

#[tokio::test]
async fn a_damaged_object_is_fetched_again() {
    let mut bench = bench();
    bench.backend.give_index();
    let digests: Vec<Digest> = bench.published().objects.keys().copied().collect();
    for digest in digests {
        fs::write(object_file(&bench, &digest), b"something else").unwrap();
        bench.reopen(None, None);
        let read = bench.disk.read_at(0, 4096).await.unwrap();
        assert!(read == bench.published().expected(0, 4096));
        let asked = bench.backend.take_asked();
        assert!(
            matches!(asked[0], Asked::Object(object) if object.digest == digest),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn a_read_that_is_given_up_harms_no_other() {
    let bench = bench();
    for polls in 0..12 {
        let mut read = Box::pin(bench.disk.read_at(polls * 5 * PAGE as u64, PAGE as u32));
        for _ in 0..polls {
            if futures_util::poll!(read.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let read = bench.disk.read_at(0, 200 * PAGE as u32).await.unwrap();
    assert!(read == bench.published().expected(0, 200 * PAGE));
}
