//! Several servers with the same files.

use std::sync::Arc;

use crate::origin::{Fault, Rule};
use livepc_format::{Digest, paths};
use livepc_transfer::{Origin, Priority, Size, TransferError};

use crate::support::{Pack, SMALL, Site, client, fetcher, ranges};

/// Two servers with the same pack of eight chunks.
fn pair() -> (Site, Site, Arc<Origin>) {
    let site = || Site::with(vec![Pack::of_noise(1, 8, SMALL)]);
    let (first, second) = (site(), site());
    let origin = Arc::new(Origin::of_head(
        &first.url().join("head.json").unwrap(),
        &[second.url()],
    ));
    (first, second, origin)
}

#[tokio::test]
async fn the_next_one_is_asked_if_one_fails() {
    let not_there = Fault::Status {
        code: 404,
        retry_after: None,
    };
    let trouble = Fault::Status {
        code: 500,
        retry_after: None,
    };
    for fault in [not_there, trouble] {
        let (first, second, origin) = pair();
        let pack = &first.packs[0];
        first.server.fail(Rule::always("packs/", fault.clone()));
        let (fetcher, sink) = fetcher();
        fetcher
            .fetch(&origin, pack.id, &pack.chunks, Priority::Fill)
            .await
            .unwrap();
        assert_eq!(sink.count(pack), 8, "{fault:?}");
        assert_eq!(
            (first.requests(pack).len(), second.requests(pack).len()),
            (1, 1),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn the_next_one_is_asked_if_one_is_gone() {
    let (first, second, origin) = pair();
    let pack = &first.packs[0];
    first.server.stop();
    let (fetcher, sink) = fetcher();
    fetcher
        .fetch(&origin, pack.id, &pack.chunks, Priority::Fill)
        .await
        .unwrap();
    assert_eq!((sink.count(pack), second.requests(pack).len()), (8, 1));
}

#[tokio::test]
async fn only_the_wrong_chunk_is_asked_elsewhere() {
    let (first, second, origin) = pair();
    let pack = &first.packs[0];
    first
        .server
        .fail(Rule::always("packs/", Fault::Flip { at: 20_000 }));
    let (fetcher, sink) = fetcher();
    fetcher
        .fetch(&origin, pack.id, &pack.chunks, Priority::Fill)
        .await
        .unwrap();
    assert_eq!(sink.count(pack), 8);
    let wrong = pack.chunks[1];
    assert_eq!(
        ranges(&second.requests(pack)),
        [Some((wrong.offset, wrong.end_offset()))]
    );
}

#[tokio::test]
async fn the_error_names_every_server() {
    let (first, second, origin) = pair();
    let pack = &first.packs[0];
    first
        .server
        .fail(Rule::always("packs/", Fault::Flip { at: 20_000 }));
    std::fs::remove_file(second.folder.path().join(pack.path())).unwrap();
    let (fetcher, sink) = fetcher();
    let error = fetcher
        .fetch(&origin, pack.id, &pack.chunks, Priority::Fill)
        .await
        .unwrap_err();
    assert!(
        error.is_digest() && matches!(error, TransferError::Everywhere { .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains(&first.server.url()) && text.contains(&second.server.url()),
        "{text}"
    );
    assert!(sink.count(pack) < 8);
}

#[tokio::test]
async fn a_file_by_digest_comes_from_whoever_has_it() {
    let (first, second, origin) = pair();
    let bytes = b"a manifest".as_slice();
    let digest = Digest::of(bytes);
    let path = paths::manifest(&digest);
    let write = |site: &Site, bytes: &[u8]| {
        std::fs::create_dir_all(site.folder.path().join("manifests")).unwrap();
        std::fs::write(site.folder.path().join(&path), bytes).unwrap();
    };
    let client = client();
    let error = client
        .verified(&origin, &path, &digest, Size::at_most(100))
        .await
        .unwrap_err();
    assert!(error.is_not_found(), "neither has it: {error}");
    write(&second, bytes);
    assert_eq!(
        client
            .verified(&origin, &path, &digest, Size::at_most(100))
            .await
            .unwrap(),
        bytes,
        "the second one has it"
    );
    write(&first, br#"{"something":"else"}"#);
    assert_eq!(
        client
            .verified(&origin, &path, &digest, Size::at_most(100))
            .await
            .unwrap(),
        bytes,
        "the first one has other bytes"
    );
    write(&second, br#"{"other":"bytes"}"#);
    first.server.log().clear();
    let error = client
        .verified(&origin, &path, &digest, Size::at_most(100))
        .await
        .unwrap_err();
    assert!(error.is_digest(), "{error}");
    let asked = first.server.log().of("manifests/");
    assert_eq!(asked.len(), 2, "wrong bytes are asked again once");
    assert_eq!(asked[1].header("cache-control"), "no-cache", "past all caches");
    let error = client
        .verified(&origin, &path, &digest, Size::at_most(5))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("more than 5 B"), "{error}");
}

#[tokio::test]
async fn a_file_by_digest_survives_trouble() {
    let (first, _second, _) = pair();
    let bytes = b"a manifest".as_slice();
    std::fs::write(first.folder.path().join("it"), bytes).unwrap();
    let trouble = Fault::Status {
        code: 503,
        retry_after: None,
    };
    first.server.fail(Rule::first("it", 2, trouble));
    let got = client()
        .verified(&first.origin(), "it", &Digest::of(bytes), Size::at_most(100))
        .await
        .unwrap();
    assert_eq!((got.as_ref(), first.server.log().of("it").len()), (bytes, 3));
}
