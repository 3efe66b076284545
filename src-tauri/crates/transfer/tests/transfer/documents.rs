//! Whole documents: conditional requests, bounds, redirects.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::origin::{Fault, Rule};
use livepc_transfer::{Client, Config, Document, Size, TransferError, Validators};
use url::Url;

use crate::support::{Site, client, config};

fn site() -> (Site, Url) {
    let site = Site::new(&[]);
    std::fs::write(site.folder.path().join("feed.xml"), "a feed").unwrap();
    let url = site.url().join("feed.xml").unwrap();
    (site, url)
}

/// Has a file changed an hour ago.
fn settle(site: &Site, name: &str) {
    let before = std::time::SystemTime::now() - Duration::from_secs(3600);
    let file = std::fs::File::options()
        .write(true)
        .open(site.folder.path().join(name))
        .unwrap();
    file.set_modified(before).unwrap();
}

fn read(document: Document) -> (Vec<u8>, Validators) {
    match document {
        Document::New {
            bytes, validators, ..
        } => (bytes.to_vec(), validators),
        Document::NotModified { .. } => panic!("it should have come"),
    }
}

#[tokio::test]
async fn a_document_comes_once_and_then_when_it_changes() {
    let (site, url) = site();
    let folder = Url::from_directory_path(site.folder.path()).unwrap();
    let client = client();
    for url in [url, folder.join("feed.xml").unwrap()] {
        std::fs::write(site.folder.path().join("feed.xml"), "a feed").unwrap();
        settle(&site, "feed.xml");
        let (bytes, validators) = read(client.document(&url, 100, None).await.unwrap());
        assert_eq!(bytes, b"a feed", "{url}");
        let again = client.document(&url, 100, Some(&validators)).await.unwrap();
        assert_eq!(again, Document::NotModified { moved: None }, "{url}");
        std::fs::write(site.folder.path().join("feed.xml"), "another feed").unwrap();
        let (bytes, _) = read(client.document(&url, 100, Some(&validators)).await.unwrap());
        assert_eq!(bytes, b"another feed", "{url}");
    }
}

#[tokio::test]
async fn a_date_alone_is_a_validator_too() {
    let (site, url) = site();
    settle(&site, "feed.xml");
    let client = client();
    let (_, mut validators) = read(client.document(&url, 100, None).await.unwrap());
    validators.etag = None;
    assert_eq!(
        client.document(&url, 100, Some(&validators)).await.unwrap(),
        Document::NotModified { moved: None }
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
        Document::NotModified { .. } => panic!("nothing was said to be known"),
    }
    site.server.behave();
    let by_name = other.server.url().replace("127.0.0.1", "localhost");
    site.server
        .fail(Rule::first("feed.xml", 1, Fault::Redirect { to: by_name }));
    match client.document(&url, 100, None).await.unwrap() {
        Document::New { url, .. } => assert_eq!(url.host_str(), Some("localhost"), "to another host, too"),
        Document::NotModified { .. } => panic!("nothing was said to be known"),
    }
    let targets = [
        ("file:///etc".to_owned(), "a local file"),
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
        1 + 1 + 1 + 11,
        "ten redirects are followed, and no more"
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
        .fail(Rule::always("feed.xml", Fault::Truncate { after: 3 }));
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

/// Dates are of whole seconds: what is changed again within one looks as it did.
#[tokio::test]
async fn what_changes_twice_in_a_second_is_seen() {
    let (site, url) = site();
    site.server.fail(Rule::always("feed.xml", Fault::DatesOnly));
    let folder = Url::from_directory_path(site.folder.path()).unwrap();
    let file = site.folder.path().join("feed.xml");
    let client = client();
    for url in [url, folder.join("feed.xml").unwrap()] {
        std::fs::write(&file, "feed 1").unwrap();
        let changed = file.metadata().unwrap().modified().unwrap();
        let (_, validators) = read(client.document(&url, 100, None).await.unwrap());
        // Of the same length, at the same time.
        std::fs::write(&file, "feed 2").unwrap();
        let again = std::fs::File::options().write(true).open(&file).unwrap();
        again.set_modified(changed).unwrap();
        let (bytes, _) = read(client.document(&url, 100, Some(&validators)).await.unwrap());
        assert_eq!(bytes, b"feed 2", "{url}");

        settle(&site, "feed.xml");
        let (_, validators) = read(client.document(&url, 100, None).await.unwrap());
        let later = client.document(&url, 100, Some(&validators)).await.unwrap();
        assert_eq!(
            later,
            Document::NotModified { moved: None },
            "it is not asked for in vain for ever"
        );
    }
}

#[tokio::test]
async fn a_move_for_ever_is_told_and_one_for_now_is_not() {
    let (site, url) = site();
    settle(&site, "feed.xml");
    let client = client();
    let at = |path: &str| site.url().join(path).unwrap();
    let leads = |path: &str, code: u16, to: &str| {
        let to = to.to_owned();
        site.server.fail(Rule::always(path, Fault::Leads { code, to }));
    };
    let there = url.to_string();
    leads("/301", 301, &there);
    leads("/308", 308, "/feed.xml");
    leads("/302", 302, "feed.xml");
    leads("/303", 303, &there);
    leads("/307", 307, &there);
    leads("/twice", 301, "/308#part");
    leads("/then-now", 301, "/302");
    leads("/now-then", 307, "/301");
    for (path, moved) in [
        ("301", Some("feed.xml")),
        ("308", Some("feed.xml")),
        ("302", None),
        ("303", None),
        ("307", None),
        ("twice", Some("feed.xml")),
        ("then-now", Some("302")),
        ("now-then", None),
        ("feed.xml", None),
    ] {
        let moved = moved.map(&at);
        let Document::New {
            moved: told,
            url: found,
            validators,
            ..
        } = client.document(&at(path), 100, None).await.unwrap()
        else {
            panic!("nothing was said to be known");
        };
        assert_eq!((&told, &found), (&moved, &url), "{path}");
        let again = client.document(&at(path), 100, Some(&validators)).await.unwrap();
        assert_eq!(again, Document::NotModified { moved }, "{path}");
    }
}

#[tokio::test]
async fn the_encoding_that_http_says_is_told() {
    let (site, url) = site();
    let value = "application/xml; charset=\"ISO-8859-1\"";
    site.server.fail(Rule::always("feed.xml", Fault::Type { value }));
    match client().document(&url, 100, None).await.unwrap() {
        Document::New { charset, .. } => assert_eq!(charset.as_deref(), Some("ISO-8859-1")),
        Document::NotModified { .. } => panic!("nothing was said to be known"),
    }
}

/// A network that wants its user to sign in answers for every server.
#[tokio::test]
async fn a_page_instead_of_a_file_is_no_word_against_its_publisher() {
    let (site, url) = site();
    let digest = livepc_format::Digest::of(b"a feed");
    let origin = livepc_transfer::Origin::new([site.url()]);
    for fault in [Fault::Page, Fault::Nothing] {
        site.server.behave();
        site.server.fail(Rule::always("feed.xml", fault.clone()));
        let error = client()
            .verified(&origin, "feed.xml", &digest, Size::at_most(100))
            .await
            .unwrap_err();
        assert!(error.is_network() && !error.is_digest(), "{fault:?}: {error}");
    }
    let times = site.server.log().of("feed.xml").len();
    assert_eq!(times, 2 * 3, "it is asked for again, with pauses");
    site.server.behave();
    assert_eq!(
        client()
            .verified(&origin, "feed.xml", &digest, Size::at_most(100))
            .await
            .unwrap(),
        "a feed"
    );
    std::fs::write(site.folder.path().join("feed.xml"), "a fees").unwrap();
    let error = client()
        .verified(&origin, "feed.xml", &digest, Size::at_most(100))
        .await
        .unwrap_err();
    assert!(error.is_digest(), "other bytes are: {error}");
    // One that is being uploaded, of a size that was signed.
    let whole = vec![7; 1000];
    let digest = livepc_format::Digest::of(&whole);
    let path = site.folder.path().join("object");
    for there in [999, 500, 1] {
        std::fs::write(&path, &whole[..there]).unwrap();
        let error = client()
            .verified(&origin, "object", &digest, Size::exactly(1000))
            .await
            .unwrap_err();
        assert!(
            !error.is_digest() && error.to_string().contains(&format!("ends after {there} bytes")),
            "a part of it is not: {error}"
        );
    }
    std::fs::write(&path, vec![8; 1000]).unwrap();
    let error = client()
        .verified(&origin, "object", &digest, Size::exactly(1000))
        .await
        .unwrap_err();
    assert!(error.is_digest(), "as many other bytes are: {error}");
    let asks = Fault::Status {
        code: 511,
        retry_after: None,
    };
    site.server.fail(Rule::always("feed.xml", asks));
    let error = client().document(&url, 100, None).await.unwrap_err();
    assert!(
        error.is_network() && error.to_string().contains("sign in"),
        "{error}"
    );
}

/// A server that answers the first request of each connection, and closes the connection when a second one has come. It has
/// answered nothing if `never`.
fn closes(never: bool) -> (Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/feed.xml", listener.local_addr().unwrap())).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // It ends with the test's process.
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let count = Arc::clone(&count);
            std::thread::spawn(move || {
                for first in [!never, false] {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        if connection.read_exact(&mut byte).is_err() {
                            return;
                        }
                        head.push(byte[0]);
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    if !first {
                        return;
                    }
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\na feed";
                    connection.write_all(answer).unwrap();
                }
            });
        }
    });
    (url, asked)
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_meanwhile_is_no_failure() {
    let client = client();
    let (url, asked) = closes(false);
    for _ in 0..3 {
        let (bytes, _) = read(client.document(&url, 100, None).await.unwrap());
        assert_eq!(bytes, b"a feed");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 5, "the connection was kept");
    // One that never answers is told.
    let (url, asked) = closes(true);
    let error = client.document(&url, 100, None).await.unwrap_err();
    assert!(error.to_string().contains("broke off"), "{error}");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_document_that_breaks_off_once_is_asked_for_again() {
    for fault in [Fault::Truncate { after: 3 }, Fault::Reset { after: 3 }] {
        let (site, url) = site();
        site.server.fail(Rule::first("feed.xml", 1, fault.clone()));
        let (bytes, _) = read(client().document(&url, 100, None).await.unwrap());
        assert_eq!(bytes, b"a feed", "{fault:?}");
        site.server.fail(Rule::always("feed.xml", fault.clone()));
        let before = site.server.log().of("/feed.xml").len();
        let error = client().document(&url, 100, None).await.unwrap_err();
        assert!(error.is_network(), "{error}");
        assert_eq!(site.server.log().of("/feed.xml").len() - before, 2, "{fault:?}");
    }
}
