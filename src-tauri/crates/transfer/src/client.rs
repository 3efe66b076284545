//! The web clients, for documents and for ranges of packs, and as whom they ask.

use std::sync::Arc;
use std::time::Duration;

use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use reqwest::Response;
use reqwest::redirect::Policy;
use url::Url;

use crate::body;
use crate::error::{LoginNeeded, Result, TransferError, shown};
use crate::login::{Login, Logins, NoLogins, is_here, is_private, without_login};
use crate::proxy::{Proxies, Proxy};
use crate::trouble::{Names, is_closed_unanswered};

/// Redirects that are followed for one request.
const REDIRECTS: usize = 10;

/// How the clients behave.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// Time to establish a connection.
    pub connect_timeout: Duration,
    /// Time without a byte after which a request counts as broken.
    pub stall_timeout: Duration,
    /// The first pause after a failure; it doubles with each further one, up to sixteen times this.
    pub backoff: Duration,
    /// The proxy.
    pub proxy: Proxy,
    /// Who is known to which server.
    pub logins: Arc<dyn Logins>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            user_agent: concat!("LivePC/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(10),
            backoff: Duration::from_millis(250),
            proxy: Proxy::System,
            logins: Arc::new(NoLogins),
        }
    }
}

/// Asks web servers, and local folders (`file://` URLs) in the same way. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    web: reqwest::Client,
    /// For servers on this computer: no proxy is between.
    here: reqwest::Client,
    proxies: Arc<Proxies>,
    pub(crate) config: Arc<Config>,
}

impl Client {
    /// Makes the clients.
    ///
    /// # Errors
    /// [`TransferError::Client`] if the proxy or the system's certificates cannot be used.
    pub fn new(config: Config) -> Result<Self> {
        // An error says that the process has a provider already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .user_agent(config.user_agent.as_str())
                .connect_timeout(config.connect_timeout)
                .redirect(Policy::none())
                .retry(reqwest::retry::never())
                .dns_resolver(Arc::new(Names))
                .referer(false)
                // Headers that are nearly as they should be say what they say.
                .http1_allow_spaces_after_header_name_in_responses(true)
                .http1_allow_obsolete_multiline_headers_in_responses(true)
                .http1_ignore_invalid_headers_in_responses(true)
        };
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| TransferError::Client {
                what: error.to_string(),
            })
        };
        let proxies = Arc::new(Proxies::new(&config.proxy));
        let chosen = Arc::clone(&proxies);
        let proxy = reqwest::Proxy::custom(move |url| chosen.of(url).ok().flatten());
        Ok(Self {
            web: build(builder().proxy(proxy))?,
            here: build(builder().no_proxy())?,
            proxies,
            config: Arc::new(config),
        })
    }

    /// The proxy between this computer and the server of `url`, if there is one; its password, if it has one, is in it.
    ///
    /// # Errors
    /// The setting names a proxy that cannot be used; the text says which, and why.
    pub fn proxy_of(&self, url: &Url) -> Result<Option<Url>, String> {
        if is_here(url) {
            return Ok(None);
        }
        self.proxies.of(url)
    }

    /// Asks for `url` as who is known to its server. One try; but where a redirect leads to another server, which asks who
    /// one is, that one is asked for itself.
    pub(crate) async fn send(&self, url: &Url, headers: HeaderMap) -> Result<Response> {
        self.send_and_tell(url, headers, &mut Trail::default()).await
    }

    /// As [`Client::send`]; `trail` tells over which redirects the answer came.
    pub(crate) async fn send_and_tell(
        &self,

        url: &Url,
        headers: HeaderMap,
        trail: &mut Trail,
    ) -> Result<Response> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS {
            let login = self.login(url, &at).await?;
            let response = self
                .send_as(url, &at, headers.clone(), login.as_ref(), trail)
                .await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            let asks = response.url();
            let elsewhere = asks.origin() != at.origin();
            if elsewhere && is_private(asks) && self.login(url, asks).await?.is_some() {
                at = asks.clone();
                continue;
            }
            let why = match login {
                Some(_) if !elsewhere => LoginNeeded::Refused,
                _ => LoginNeeded::Unknown,
            };
            return Err(asks_who(url, &response, why));
        }
        Err(TransferError::refused(url, "it leads from server to server"))
    }

    /// Who is known to the server of `at`, when `url` is asked for.
    async fn login(&self, url: &Url, at: &Url) -> Result<Option<Login>> {
        if !is_private(at) {
            return Ok(None);
        }
        let found = self.config.logins.of(at).await;
        found.map_err(|why| TransferError::login(url, at, LoginNeeded::Unavailable(why)))
    }

    /// Whether a server wants to know who asks for `url`, and gives it to this user. False if it gives it to everybody: the
    /// server is not told the login then, so nothing shows whether it is right.
    ///
    /// # Errors
    /// [`TransferError::Login`] if it gives it to others and not to this user, or if a redirect leads to another server that
    /// asks; else why it gives nothing.
    pub async fn check_login(&self, url: &Url, login: &Login) -> Result<bool> {
        let to_nobody = self
            .send_as(url, url, HeaderMap::new(), None, &mut Trail::default())
            .await?;
        let status = to_nobody.status();
        if status.is_success() {
            return Ok(false);
        }
        if status != StatusCode::UNAUTHORIZED {
            return Err(body::failed(url, status, to_nobody.headers()));
        }
        let asks = to_nobody.url();
        if asks.origin() != url.origin() {
            return Err(asks_who(url, &to_nobody, LoginNeeded::Unknown));
        }
        let trail = &mut Trail::default();
        let asked = self.send_as(url, url, HeaderMap::new(), Some(login), trail);
        let response = asked.await?;
        match response.status() {
            status if status.is_success() => Ok(true),
            StatusCode::UNAUTHORIZED => Err(asks_who(url, &response, LoginNeeded::Refused)),
            status => Err(body::failed(url, status, response.headers())),
        }
    }

    /// Asks for `at`, which stands for `url`, without a login or with this one, and follows redirects.
    async fn send_as(
        &self,
        url: &Url,
        at: &Url,
        headers: HeaderMap,
        login: Option<&Login>,
        trail: &mut Trail,
    ) -> Result<Response> {
        let (first, mut at) = (at.origin(), at.clone());
        for _ in 0..=REDIRECTS {
            // No other server sees it.
            let login = login.filter(|_| at.origin() == first);
            let response = self.send_once(url, &at, headers.clone(), login).await;
            let response = response.map_err(|error| led_away(url, &at, error))?;
            let Some(to) = leads_to(&response) else {
                return Ok(response);
            };
            if !allowed(&at, &to) {
                let why = format!(
                    "it leads to {}, which is not followed; the network may want one to sign in to it",
                    shown(&to)
                );
                return Err(TransferError::refused(url, why));
            }
            trail.follow(response.status(), &to);
            at = to;
        }
        Err(TransferError::refused(
            url,
            format!("more than {REDIRECTS} redirects"),
        ))
    }

    /// Makes one request.
    async fn send_once(
        &self,
        url: &Url,
        at: &Url,
        headers: HeaderMap,
        login: Option<&Login>,
    ) -> Result<Response> {
        let client = if is_here(at) { &self.here } else { &self.web };
        let proxy = self
            .proxy_of(at)
            .map_err(|why| TransferError::network(url, why))?;
        let mut request = client.get(without_login(at)).headers(headers);
        if let Some(Login { user, password }) = login {
            request = request.basic_auth(user, Some(password));
        }
        let again = request.try_clone();
        // Connecting has its own limit.
        let patience = self.config.connect_timeout + self.config.stall_timeout;
        let through = proxy.as_ref().map_or_else(String::new, |proxy| {
            format!(" through the proxy {}", shown(proxy))
        });
        let send = async {
            match (request.send().await, again) {
                (Err(error), Some(again)) if is_closed_unanswered(&error) => again.send().await,
                (response, _) => response,
            }
        };
        let response = tokio::time::timeout(patience, send).await.map_err(|_| {
            let what = format!("no answer{through} for {} seconds", patience.as_secs_f32());
            TransferError::network(url, what)
        })?;
        match response {
            Ok(response) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                let what = format!(
                    "no way{through}: it asks for a user and a password, which belong into its address"
                );
                Err(TransferError::network(url, what))
            }
            Ok(response) => Ok(response),
            Err(error) => Err(TransferError::reqwest_through(url, proxy.as_ref(), error)),
        }
    }
}

/// What it means that a server asks who one is: Basic, the one scheme that is known here, may be one of several.
fn asks_who(url: &Url, response: &Response, why: LoginNeeded) -> TransferError {
    let schemes = response.headers().get_all(WWW_AUTHENTICATE).iter();
    let schemes: Vec<&str> = schemes.filter_map(|scheme| scheme.to_str().ok()).collect();
    let is_basic = schemes
        .iter()
        .any(|scheme| scheme.to_ascii_lowercase().contains("basic"));
    if !schemes.is_empty() && !is_basic {
        return TransferError::refused(url, "it asks who one is in a way that LivePC does not know");
    }
    TransferError::login(url, response.url(), why)
}

/// The redirects on the way to an answer.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// Where the first redirects lead that are for ever (301, 308): what was asked for is to be asked for there from now on.
    pub(crate) moved: Option<Url>,
    /// True once there was one that is for this time.
    passing: bool,
}

impl Trail {
    fn follow(&mut self, status: StatusCode, to: &Url) {
        let for_ever = matches!(
            status,
            StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT
        );
        self.passing |= !for_ever;
        if !self.passing {
            let mut to = without_login(to);
            to.set_fragment(None);
            self.moved = Some(to);
        }
    }
}

/// Where an answer sends its client, if it does.
fn leads_to(response: &Response) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let to = response.headers().get(LOCATION)?.as_bytes();
    // Some servers send what is no ASCII as it is.
    response.url().join(&String::from_utf8_lossy(to)).ok()
}

/// What it means that a server does not answer to which another one has led over plain HTTP, as networks do in which one has to
/// sign in first.
fn led_away(asked: &Url, at: &Url, error: TransferError) -> TransferError {
    let is_away = at.scheme() == "http" && at.host() != asked.host();
    match error {
        TransferError::Network {
            url,
            what,
            advice,
            retry_after,
        } if is_away => TransferError::Network {
            what: format!(
                "{what} (it led to {}: the network may want one to sign in to it)",
                shown(at)
            ),
            url,
            advice,
            retry_after,
        },
        error => error,
    }
}

/// To HTTPS, and from plain HTTP to plain HTTP: never to less than there was. What comes is checked, wherever it comes from. And
/// never from elsewhere to this computer, whose services trust who asks.
fn allowed(from: &Url, to: &Url) -> bool {
    if is_here(to) && !is_here(from) {
        return false;
    }
    match to.scheme() {
        "https" => true,
        "http" => from.scheme() == "http",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_never_weaken_a_request() {
        let may = |from: &str, to: &str| allowed(&Url::parse(from).unwrap(), &Url::parse(to).unwrap());
        assert!(
            may("http://a.example/", "https://b.example/"),
            "to HTTPS, wherever"
        );
        assert!(
            may("http://a.example/x", "http://a.example:8080/y"),
            "on the same host"
        );
        assert!(
            may("http://a.example/", "http://b.example/"),
            "to another host, as to a storage in the same network"
        );
        for here in ["http://127.0.0.1:631/", "http://localhost/", "https://[::1]/"] {
            assert!(
                !may("http://a.example/", here),
                "{here}: not to what only this computer asks"
            );
            assert!(may("http://127.0.0.2/", here), "{here}");
        }
        assert!(
            !may("https://a.example/", "http://a.example/"),
            "not back to plain HTTP"
        );
        assert!(
            !may("http://a.example/", "file:///etc/passwd"),
            "never to a local file"
        );
    }
}
