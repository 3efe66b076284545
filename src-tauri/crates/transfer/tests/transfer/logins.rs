//! Servers that ask who one is.

use std::sync::Arc;

use crate::origin::{Fault, Rule};
use livepc_transfer::{
    Client, Config, Document, Found, Login, LoginNeeded, Logins, Origin, Priority, Proxy, TransferError,
    server,
};
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
    fn of<'a>(&'a self, url: &'a Url) -> Found<'a> {
        let login = Login {
            user: "ada".to_owned(),
            password: "p:w".to_owned(),
        };
        Box::pin(async move { Ok(server(url).filter(|server| *server == self.0).map(|_| login)) })
    }
}

/// As RFC 7617 has it: `ada:p:w` in Base64.
const BASIC: &str = "Basic YWRhOnA6dw==";

const ASKS: Fault = Fault::Asks {
    scheme: "Basic realm=\"labs\"",
};

/// True if the error says to sign in for this URL, for this reason.
fn is_login(error: &TransferError, url: &Url, reason: LoginNeeded) -> bool {
    matches!(error, TransferError::Login { at, why, .. } if **at == *url && *why == reason)
}

#[tokio::test]
async fn documents_and_packs_are_asked_for_as_who_is_known() {
    let site = Site::new(&[(8, SMALL)]);
    let pack = &site.packs[0];
    site.server.fail(Rule::always("packs/", ASKS));
    let sink = Arc::new(Memory::default());
    let fetcher = fetcher_into(&sink, Ada::at(&site));
    let fetch = fetcher.fetch(&site.origin(), pack.id, &pack.chunks, Priority::Fill);
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
    let url = site.url().join(&pack.path()).unwrap();
    let refuses = Fault::Status {
        code: 401,
        retry_after: None,
    };
    for (fault, config, reason) in [
        (ASKS, config(), LoginNeeded::Unknown),
        (refuses, Ada::at(&site), LoginNeeded::Refused),
    ] {
        site.server.behave();
        site.server.fail(Rule::always("packs/", fault));
        let fetcher = fetcher_into(&Arc::new(Memory::default()), config);
        let fetch = fetcher.fetch(&site.origin(), pack.id, &pack.chunks, Priority::Demand);
        let error = fetch.await.unwrap_err();
        assert!(is_login(&error, &url, reason), "{error:?}");
        assert!(error.is_login() && !error.is_network());
    }
    assert_eq!(site.requests(pack).len(), 2, "asking again would not help");

    site.server.behave();
    site.server
        .fail(Rule::always("packs/", Fault::Asks { scheme: "Negotiate" }));
    let error = client().document(&url, 1 << 20, None).await.unwrap_err();
    assert!(matches!(error, TransferError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_login_is_tried_with_what_is_not_for_everybody() {
    let site = Site::new(&[(8, SMALL)]);
    let url = site.url().join(&site.packs[0].path()).unwrap();
    let ada = Login {
        user: "ada".to_owned(),
        password: "pw".to_owned(),
    };
    let client = client();
    assert!(
        !client.check_login(&url, &ada).await.unwrap(),
        "everybody gets it"
    );
    site.server.fail(Rule::always("packs/", ASKS));
    assert!(client.check_login(&url, &ada).await.unwrap());
    let gone = site.url().join("packs/nothing").unwrap();
    client.check_login(&gone, &ada).await.unwrap_err();
    let refuses = Fault::Status {
        code: 401,
        retry_after: None,
    };
    site.server.behave();
    site.server.fail(Rule::always("packs/", refuses));
    let error = client.check_login(&url, &ada).await.unwrap_err();
    assert!(is_login(&error, &url, LoginNeeded::Refused), "{error}");
}

#[tokio::test]
async fn a_redirect_takes_no_password_along_and_where_it_leads_is_asked_for_itself() {
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
    assert!(is_login(&error, &there, LoginNeeded::Unknown), "{error:?}");

    site.server.log().clear();
    let client = Client::new(Ada::at(&other)).unwrap();
    client.document(&url, 1 << 20, None).await.unwrap();
    assert_eq!(
        site.requests(pack)[0].header("authorization"),
        "",
        "it is for the other"
    );
}

/// Also for a machine: it would wait for the mirror for ever, and somebody can do something about the other server.
#[tokio::test]
async fn what_can_be_done_is_told_although_a_mirror_is_down() {
    let (site, mirror) = (Site::new(&[(8, SMALL)]), Site::new(&[(8, SMALL)]));
    let pack = &site.packs[0];
    let both = Arc::new(Origin::new([site.url(), mirror.url()]));
    mirror.server.stop();
    site.server.fail(Rule::always("packs/", ASKS));
    let fetcher = fetcher_into(&Arc::new(Memory::default()), config());
    for priority in [Priority::Fill, Priority::Demand] {
        let error = fetcher
            .fetch(&both, pack.id, &pack.chunks, priority)
            .await
            .unwrap_err();
        assert!(error.is_login() && error.is_network(), "{priority:?}: {error}");
    }
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

/// What is on this computer is asked without a proxy, which would see the password.
#[tokio::test]
async fn no_proxy_sees_what_is_asked_of_this_computer() {
    let site = Site::new(&[(8, SMALL)]);
    let url = site.url().join(&site.packs[0].path()).unwrap();
    let nowhere = Config {
        proxy: Proxy::Url(Url::parse("http://127.0.0.1:1/").unwrap()),
        ..Ada::at(&site)
    };
    let client = Client::new(nowhere).unwrap();
    client.document(&url, 1 << 20, None).await.unwrap();
}
