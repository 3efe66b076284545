//! The two web clients: one for documents, one for ranges of packs.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use reqwest::Response;
use reqwest::redirect::{Action, Attempt, Policy};
use url::Url;

use crate::error::{Result, TransferError, shown};
use crate::login::{Login, Logins, NoLogins, is_private, without_login};

/// Redirects that are followed for one request.
const REDIRECTS: usize = 5;

/// Which proxy to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// The system's setting, or the usual environment variables.
    #[default]
    System,
    /// None.
    Direct,
    /// This one, for everything.
    Url(Url),
}

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
    /// Follows what a server does to documents: compression is undone.
    pub(crate) documents: reqwest::Client,
    /// Takes bytes as they lie on the server.
    pub(crate) ranges: reqwest::Client,
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
        let failed = |error: reqwest::Error| TransferError::Client {
            what: error.to_string(),
        };
        let builder = || {
            let builder = reqwest::Client::builder()
                .user_agent(config.user_agent.as_str())
                .connect_timeout(config.connect_timeout)
                .redirect(Policy::custom(redirect))
                .retry(reqwest::retry::never())
                .referer(false)
                .no_brotli()
                .no_zstd()
                .no_deflate();
            Ok(match &config.proxy {
                Proxy::System => builder,
                Proxy::Direct => builder.no_proxy(),
                Proxy::Url(url) => builder.proxy(reqwest::Proxy::all(url.as_str()).map_err(failed)?),
            })
        };
        Ok(Self {
            documents: builder()?.gzip(true).build().map_err(failed)?,
            ranges: builder()?.no_gzip().build().map_err(failed)?,
            config: Arc::new(config),
        })
    }

    /// Asks for `url` with one of the two clients, as who is known to its server. One try.
    pub(crate) async fn send(
        &self,
        with: &reqwest::Client,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Response> {
        let login = self.config.logins.of(url).await;
        self.send_as(with, url, headers, login.as_ref()).await
    }

    /// Whether a server lets this user have `url`. Nothing else that is wrong with the answer counts.
    ///
    /// # Errors
    /// [`TransferError::Login`] if it does not, and why the server could not be asked.
    pub async fn check_login(&self, url: &Url, login: &Login) -> Result<()> {
        let asked = self.send_as(&self.documents, url, HeaderMap::new(), Some(login));
        asked.await.map(drop)
    }

    async fn send_as(
        &self,
        with: &reqwest::Client,
        url: &Url,
        headers: HeaderMap,
        login: Option<&Login>,
    ) -> Result<Response> {
        let login = login.filter(|_| is_private(url));
        let mut request = with.get(without_login(url)).headers(headers);
        if let Some(Login { user, password }) = login {
            request = request.basic_auth(user, Some(password));
        }
        // Connecting has its own limit.
        let patience = self.config.connect_timeout + self.config.stall_timeout;
        let response = tokio::time::timeout(patience, request.send())
            .await
            .map_err(|_| {
                TransferError::network(url, format!("no answer for {} seconds", patience.as_secs_f32()))
            })?
            .map_err(|error| TransferError::reqwest(url, error))?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // After a redirect it is another server that asks, and a login was not sent to that.
            let known = login.is_some() && response.url().origin() == url.origin();
            return Err(TransferError::login(url, response.url(), known));
        }
        Ok(response)
    }
}

/// Follows a redirect to HTTPS, or from plain HTTP to the same host.
fn redirect(attempt: Attempt<'_>) -> Action {
    let refuse = match attempt.previous().last() {
        _ if attempt.previous().len() > REDIRECTS => Some(format!("more than {REDIRECTS} redirects")),
        Some(last) if !allowed(last, attempt.url()) => {
            Some(format!("to {}, which is not followed", shown(attempt.url())))
        }
        _ => None,
    };
    match refuse {
        Some(why) => attempt.error(why),
        None => attempt.follow(),
    }
}

fn allowed(from: &Url, to: &Url) -> bool {
    match to.scheme() {
        "https" => true,
        "http" => from.scheme() == "http" && from.host() == to.host(),
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
            !may("http://a.example/", "http://b.example/"),
            "not to another host"
        );
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
