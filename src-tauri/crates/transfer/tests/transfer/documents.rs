//! Whole documents: conditional requests, bounds, redirects.

use std::time::Duration;

use crate::origin::{Fault, Rule};
use livepc_transfer::{Client, Config, Document, TransferError, Validators};
use url::Url;

use crate::support::{Site, client, config};

fn site() -> (Site, Url) {
    let site = Site::new(&[]);
    std::fs::write(site.folder.path().join("feed.xml"), "a feed").unwrap();
    let url = site.url().join("feed.xml").unwrap();
    (site, url)
}

fn read(document: Document) -> (Vec<u8>, Validators) {
    match document {
        Document::New {
            bytes, validators, ..
        } => (bytes.to_vec(), validators),
        Document::NotModified => panic!("it should have come"),
    }
}

#[tokio::test]
async fn a_document_comes_once_and_then_when_it_changes() {
    let (site, url) = site();
    let folder = Url::from_directory_path(site.folder.path()).unwrap();
    let client = client();
    for url in [url, folder.join("feed.xml").unwrap()] {
        std::fs::write(site.folder.path().join("feed.xml"), "a feed").unwrap();
        let (bytes, validators) = read(client.document(&url, 100, None).await.unwrap());
        assert_eq!(bytes, b"a feed", "{url}");
        let again = client.document(&url, 100, Some(&validators)).await.unwrap();
        assert_eq!(again, Document::NotModified, "{url}");
        std::fs::write(site.folder.path().join("feed.xml"), "another feed").unwrap();
        let (bytes, _) = read(client.document(&url, 100, Some(&validators)).await.unwrap());
        assert_eq!(bytes, b"another feed", "{url}");
    }
}

#[tokio::test]
async fn a_date_alone_is_a_validator_too() {
    let (_site, url) = site();
    let client = client();
    let (_, mut validators) = read(client.document(&url, 100, None).await.unwrap());
    validators.etag = None;
    assert_eq!(
        client.document(&url, 100, Some(&validators)).await.unwrap(),
        Document::NotModified
    );
}

#[tokio::test]
async fn no_document_is_longer_than_its_bound() {
    let (site, url) = site();
    let client = client();
    let is_too_large = |result| matches!(result, Err(TransferError::TooLarge { .. }));
    assert!(
        is_too_large(client.document(&url, 5, None).await),
        "the server says its length"
    );
    assert!(
        client.document(&url, 6, None).await.is_ok(),
        "just as long is not too long"
    );
    site.server
        .fail(Rule::nth("feed.xml", 1, Fault::Extra { bytes: 200_000 }));
    assert!(
        is_too_large(client.document(&url, 100, None).await),
        "it says none, and sends more"
    );
    site.server.behave();
    site.server
        .fail(Rule::always("feed.xml", Fault::GzipBomb { size: 64 << 20 }));
    assert!(
        is_too_large(client.document(&url, 1 << 20, None).await),
        "it grows when it is decompressed"
    );
    let folder = Url::from_directory_path(site.folder.path()).unwrap();
    let local = folder.join("feed.xml").unwrap();
    assert!(
        is_too_large(client.document(&local, 5, None).await),
        "it is a local file"
    );
}

#[tokio::test]
async fn redirects_are_followed_within_bounds() {
    let (site, url) = site();
    let (other, _) = self::site();
    let client = client();
    site.server.fail(Rule::first(
        "feed.xml",
        1,
        Fault::Redirect {
            to: other.server.url(),
        },
    ));
    match client.document(&url, 100, None).await.unwrap() {
        Document::New { url, .. } => assert_eq!(url.port(), other.url().port(), "it says where it was found"),
        Document::NotModified => panic!("nothing was said to be known"),
    }
    site.server.behave();
    let targets = [
        ("file:///etc".to_owned(), "a local file"),
        (
            other.server.url().replace("127.0.0.1", "localhost"),
            "another host",
        ),
        (site.server.url(), "the same again and again"),
    ];
    for (to, what) in targets {
        site.server.behave();
        site.server.fail(Rule::always("feed.xml", Fault::Redirect { to }));
        let result = client.document(&url, 100, None).await;
        assert!(
            matches!(result, Err(TransferError::Refused { .. })),
            "{what}: {result:?}"
        );
    }
    assert_eq!(
        site.server.log().of("feed.xml").len(),
        1 + 1 + 1 + 6,
        "five redirects are followed, and no more"
    );
}

#[tokio::test]
async fn failures_say_what_they_are() {
    let (site, url) = site();
    let short = Config {
        stall_timeout: Duration::from_millis(300),
        ..config()
    };
    let client = Client::new(short).unwrap();
    let missing = site.url().join("no.xml").unwrap();
    assert!(
        client
            .document(&missing, 100, None)
            .await
            .is_err_and(|error| error.is_not_found())
    );
    let folder = Url::from_directory_path(site.folder.path()).unwrap();
    let missing = folder.join("no.xml").unwrap();
    assert!(
        client
            .document(&missing, 100, None)
            .await
            .is_err_and(|error| error.is_not_found())
    );
    let refused = client.document(&folder, 100, None).await;
    assert!(
        matches!(refused, Err(TransferError::Refused { .. })),
        "a folder is no document: {refused:?}"
    );
    site.server
        .fail(Rule::first("feed.xml", 1, Fault::Stall { after: 3 }));
    let stalled = client.document(&url, 100, None).await;
    assert!(
        stalled.is_err_and(|error| error.is_network()),
        "it does not wait for ever"
    );
    site.server.behave();
    site.server
        .fail(Rule::first("feed.xml", 1, Fault::Truncate { after: 3 }));
    let truncated = client.document(&url, 100, None).await;
    assert!(
        truncated.is_err_and(|error| error.is_network()),
        "half a document is none"
    );
    site.server.stop();
    assert!(
        client
            .document(&url, 100, None)
            .await
            .is_err_and(|error| error.is_network())
    );
}
