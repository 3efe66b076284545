//! Servers that ask who one is.

use std::pin::Pin;
use std::sync::Arc;

use crate::origin::{Fault, Rule};
use livepc_transfer::{Client, Config, Document, Login, Logins, Origin, Priority, TransferError, server};
use url::Url;

use crate::support::{Memory, SMALL, Site, client, config, fetcher_into};

/// Ada is known to one server.
#[derive(Debug)]
struct Ada(String);

impl Ada {
    fn at(site: &Site) -> Config {
        let logins = Arc::new(Self(server(&site.url()).unwrap()));
        Config { logins, ..config() }
    }
}

impl Logins for Ada {
    fn of<'a>(&'a self, url: &'a Url) -> Pin<Box<dyn Future<Output = Option<Login>> + Send + 'a>> {
        let login = Login {
            user: "ada".to_owned(),
            password: "p:w".to_owned(),
        };
        Box::pin(async move { server(url).filter(|server| *server == self.0).map(|_| login) })
    }
}

/// As RFC 7617 has it: `ada:p:w` in Base64.
const BASIC: &str = "Basic YWRhOnA6dw==";

const ASKS: Fault = Fault::Status {
    code: 401,
    retry_after: None,
};

#[tokio::test]
async fn documents_and_packs_are_asked_for_as_who_is_known() {
    let site = Site::new(&[(8, SMALL)]);
    let pack = &site.packs[0];
    let sink = Arc::new(Memory::default());
    let fetch =
        fetcher_into(&sink, Ada::at(&site)).fetch(&site.origin(), pack.id, &pack.chunks, Priority::Fill);
    fetch.await.unwrap();
    let url = site.url().join(&pack.path()).unwrap();
    let client = Client::new(Ada::at(&site)).unwrap();
    let got = client.document(&url, 1 << 20, None).await.unwrap();
    assert!(matches!(got, Document::New { .. }));
    let requests = site.requests(pack);
    assert_eq!(requests.len(), 2);
    assert!(
        requests
            .iter()
            .all(|request| request.header("authorization") == BASIC)
    );
}

#[tokio::test]
async fn a_server_that_asks_is_an_error_that_says_where_to_sign_in() {
    let site = Site::new(&[(8, SMALL)]);
    let pack = &site.packs[0];
    let path = pack.path();
    site.server.fail(Rule::always(&path, ASKS));
    let url = site.url().join(&path).unwrap();
    for (config, is_known) in [(config(), false), (Ada::at(&site), true)] {
        let fetcher = fetcher_into(&Arc::new(Memory::default()), config);
        let fetch = fetcher.fetch(&site.origin(), pack.id, &pack.chunks, Priority::Demand);
        let error = fetch.await.unwrap_err();
        assert!(
            matches!(&error, TransferError::Login { at, known, .. } if at == url.as_str() && *known == is_known),
            "{error:?}"
        );
        assert!(error.is_login() && !error.is_network());
    }
    assert_eq!(site.requests(pack).len(), 2, "asking again would not help");
}

#[tokio::test]
async fn a_redirect_takes_no_password_along() {
    let (site, other) = (Site::new(&[(8, SMALL)]), Site::new(&[(8, SMALL)]));
    let pack = &site.packs[0];
    let to = other.server.url();
    site.server.fail(Rule::always("packs/", Fault::Redirect { to }));
    let url = site.url().join(&pack.path()).unwrap();
    let client = Client::new(Ada::at(&site)).unwrap();
    client.document(&url, 1 << 20, None).await.unwrap();
    assert_eq!(site.requests(pack)[0].header("authorization"), BASIC);
    assert_eq!(
        other.requests(pack)[0].header("authorization"),
        "",
        "it is another server"
    );
    other.server.fail(Rule::always("packs/", ASKS));
    let error = client.document(&url, 1 << 20, None).await.unwrap_err();
    let there = other.url().join(&pack.path()).unwrap();
    assert!(
        matches!(&error, TransferError::Login { at, known: false, .. } if at == there.as_str()),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_an_address_says_of_a_user_is_not_sent() {
    let site = Site::new(&[(8, SMALL)]);
    let pack = &site.packs[0];
    let mut url = site.url();
    url.set_username("eve").unwrap();
    url.set_password(Some("pw")).unwrap();
    let file = url.join(&pack.path()).unwrap();
    client().document(&file, 1 << 20, None).await.unwrap();
    let origin = Arc::new(Origin::new([url]));
    let fetcher = fetcher_into(&Arc::new(Memory::default()), config());
    let fetch = fetcher.fetch(&origin, pack.id, &pack.chunks, Priority::Fill);
    fetch.await.unwrap();
    let requests = site.requests(pack);
    assert_eq!(requests.len(), 2);
    assert!(
        requests
            .iter()
            .all(|request| request.header("authorization").is_empty())
    );
}
