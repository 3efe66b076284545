//! Proxies that are between, and those that should be.

use livepc_transfer::{Client, Config, Document, Proxy};
use url::Url;

use crate::odd_server::{Odd, Reply};
use crate::socks::Socks;
use crate::support::config;

fn through(proxy: &str) -> Client {
    let proxy = Proxy::Url(Url::parse(proxy).unwrap());
    Client::new(Config { proxy, ..config() }).unwrap()
}

fn server() -> Odd {
    Odd::start(std::sync::Arc::new(|_| Reply::new("200 OK", &[], b"it"))).unwrap()
}

async fn get(client: &Client, url: &str) -> Result<Vec<u8>, String> {
    let url = Url::parse(url).unwrap();
    match client.document(&url, 100, None).await {
        Ok(Document::New { bytes, .. }) => Ok(bytes.to_vec()),
        other => Err(format!("{}", other.expect_err("it was not asked for before"))),
    }
}

#[tokio::test]
async fn every_kind_of_socks_is_used() {
    let server = server();
    let socks = Socks::to(server.address(), None).unwrap();
    for kind in ["socks5h", "socks"] {
        let client = through(&format!("{kind}://{}", socks.address()));
        assert_eq!(
            get(&client, "http://labs.invalid:8080/feed.xml").await.unwrap(),
            b"it",
            "{kind}"
        );
    }
    assert_eq!(
        socks.asked(),
        ["labs.invalid:8080", "labs.invalid:8080"],
        "names are resolved where the proxy is"
    );
    let client = through(&format!("socks5://{}", socks.address()));
    assert_eq!(get(&client, "http://192.0.2.7/feed.xml").await.unwrap(), b"it");
    assert_eq!(socks.asked()[2], "192.0.2.7:80");
    // A server on this computer is asked directly.
    assert_eq!(get(&client, &server.url()).await.unwrap(), b"it");
    assert_eq!(socks.asked().len(), 3);
}

#[tokio::test]
async fn a_proxy_may_ask_who_one_is() {
    let server = server();
    let socks = Socks::to(server.address(), Some(("me", "p@ss"))).unwrap();
    let client = through(&format!("socks5h://me:p%40ss@{}", socks.address()));
    assert_eq!(get(&client, "http://labs.invalid/x").await.unwrap(), b"it");
    for login in ["", "me:wrong@"] {
        let client = through(&format!("socks5h://{login}{}", socks.address()));
        let told = get(&client, "http://labs.invalid/x").await.unwrap_err();
        assert!(
            told.contains(&format!("proxy socks5h://{}", socks.address())),
            "{told}"
        );
        assert!(!told.contains("wrong"), "no password is shown: {told}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_gone_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for kind in ["http", "socks5", "socks5h", "socks"] {
        for url in ["http://192.0.2.7/x", "https://192.0.2.7/x"] {
            let told = get(&through(&format!("{kind}://{free}")), url).await.unwrap_err();
            assert!(
                told.contains("the proxy ")
                    && told.contains(&free.to_string())
                    && told.contains("cannot be reached"),
                "{kind} for {url}: {told}"
            );
        }
    }
    let told = get(&through("http://proxy.invalid:3128"), "https://labs.example/x")
        .await
        .unwrap_err();
    assert!(
        told.contains("the proxy http://proxy.invalid:3128/") && told.contains("cannot be reached"),
        "{told}"
    );
}

#[tokio::test]
async fn a_server_that_is_gone_behind_a_proxy_is_not_the_proxy() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let socks = Socks::to(free, None).unwrap();
    let told = get(
        &through(&format!("socks5h://{}", socks.address())),
        "http://labs.invalid/x",
    )
    .await;
    let told = told.unwrap_err();
    assert!(
        told.contains("no connection through the proxy socks5h://"),
        "{told}"
    );
    assert!(!told.contains("cannot be reached"), "{told}");
    // One that is a web server: it sends what is asked for, or says who may have it.
    let proxy = Odd::start(std::sync::Arc::new(|_| {
        Reply::new("407 Proxy Authentication Required", &[], b"")
    }))
    .unwrap();
    let told = get(&through(&proxy.url()), "http://labs.invalid/x")
        .await
        .unwrap_err();
    assert!(
        told.contains("proxy") && told.contains(&proxy.url()) && told.contains("password"),
        "{told}"
    );
}

#[tokio::test]
async fn a_proxy_of_an_unknown_kind_is_told_and_not_passed_by() {
    let server = server();
    let told = get(&through("gopher://127.0.0.1:70"), "http://192.0.2.7/x")
        .await
        .unwrap_err();
    assert!(told.contains("gopher"), "{told}");
    assert_eq!(server.asked("").len(), 0);
}
