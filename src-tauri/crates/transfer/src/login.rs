//! Servers that ask who one is: a user and a password for each (HTTP's Basic scheme, RFC 7617).

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;

use url::{Host, Url};

/// A user of a server, and the password. Neither is shown by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// What [`Logins::of`] finds: a login, that nobody is known, or why the one that is known cannot be had now.
pub type Found<'a> = Pin<Box<dyn Future<Output = Result<Option<Login>, String>> + Send + 'a>>;

/// Who is known to which server. It is asked before every request.
pub trait Logins: fmt::Debug + Send + Sync {
    /// The login for the server of a URL: for its scheme, host and port together, so that no other server ever sees it.
    fn of<'a>(&'a self, url: &'a Url) -> Found<'a>;
}

/// Nobody is known to any server.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLogins;

impl Logins for NoLogins {
    fn of<'a>(&'a self, _url: &'a Url) -> Found<'a> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// The server of a URL, as `https://example.org` or `http://localhost:8080`; `None` for what is on no server.
#[must_use]
pub fn server(url: &Url) -> Option<String> {
    matches!(url.scheme(), "http" | "https").then(|| url.origin().ascii_serialization())
}

/// True if a password on its way to this URL can be read by nobody else: over HTTPS, or within this computer.
#[must_use]
pub fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_here(url))
}

/// True if the URL's host is this computer.
pub(crate) fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

/// The user and the password in a URL, if it has both.
#[must_use]
pub fn login_in(url: &Url) -> Option<Login> {
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    Some(Login {
        user: decoded(url.username()),
        password: decoded(url.password()?),
    })
}

/// The URL without a user and a password in it, which belong into [`Logins`].
#[must_use]
pub fn without_login(url: &Url) -> Url {
    let mut url = url.clone();
    // A URL that can have none keeps none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_server_is_scheme_host_and_port() {
        assert_eq!(
            server(&url("https://me:pw@A.example:443/x?y")).unwrap(),
            "https://a.example"
        );
        assert_eq!(
            server(&url("http://a.example:8080/")).unwrap(),
            "http://a.example:8080"
        );
        assert_eq!(server(&url("file:///srv/feed.xml")), None);
        assert_eq!(
            without_login(&url("https://me:pw@a.example/x")).as_str(),
            "https://a.example/x"
        );
    }

    #[test]
    fn passwords_travel_encrypted_or_not_at_all() {
        for fine in [
            "https://a.example/",
            "http://localhost:1/",
            "http://127.8.0.1/",
            "http://[::1]:80/",
        ] {
            assert!(is_private(&url(fine)), "{fine}");
        }
        for bare in [
            "http://a.example/",
            "http://192.168.1.2/",
            "http://localhost.example/",
            "file:///x",
        ] {
            assert!(!is_private(&url(bare)), "{bare}");
        }
        let login = Login {
            user: "me".to_owned(),
            password: "secret".to_owned(),
        };
        assert_eq!(format!("{login:?}"), "Login(…)");
        let given = login_in(&url("https://a%40b:p%3Aw@a.example/x")).unwrap();
        assert_eq!((given.user.as_str(), given.password.as_str()), ("a@b", "p:w"));
        assert_eq!(login_in(&url("https://me@a.example/")), None);
    }
}
