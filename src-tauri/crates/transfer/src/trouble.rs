//! What is wrong between here and a server, in words: told by what the errors of the layers below are, not by what they say.

use std::error::Error;
use std::fmt;
use std::io;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::{CertificateError, InvalidMessage};
use url::Url;

/// What to do when the way to the server seems to be at fault.
pub(crate) const CHECK_CONNECTION: &str = "check the connection, or try again later";
/// What to do when the server itself says that it has trouble.
pub(crate) const TRY_LATER: &str = "try again later, or tell who runs the server";
/// What to do when a proxy is not there.
const CHECK_PROXY: &str = "check the proxy setting of this computer, or try again later";
/// What is said when there is no line at all; the last of them for SOCKS.
const NO_LINE: [&str; 4] = [
    "tcp connect error",
    "tcp open error",
    "dns error",
    "failed to create underlying connection",
];
const CHECK_ADDRESS: &str =
    "check the address and its port, or try again later: its server may be down for a while";
const CHECK_NAME: &str = "check the spelling of the address, and that this computer is online";
const CHECK_CLOCK: &str = "check the date and the time of this computer";
const TELL_OPERATOR: &str = "tell who runs the server, and check the date and the time of this computer";
const CHECK_PORTAL: &str =
    "check the address; where a network asks to sign in first, do that in a web browser";
const CHECK_AUTHORITY: &str = "if it is the one of your organisation, add it to the certificates that this computer \
                               trusts; where a network asks to sign in first, do that in a web browser";
const SERVER_CERTIFICATE: &str =
    "who runs the server has to make it one that is no authority (with “CA:FALSE”)";
const DO_NOT_USE: &str = "do not use this server until who runs it explains it";
const TRY_HTTP: &str = "check the address and its port: it may have to begin with http://";
const TRY_HTTPS: &str = "check the address and its port: it may have to begin with https://";
const NO_COMMON_TLS: &str = "tell who runs the server that it needs TLS 1.2 or 1.3";

/// True if a connection was closed before anything was answered. One that was kept may be closed in the very moment in which it
/// is used again, which says nothing of the server: a GET may be sent once more then (RFC 9112, 9.3.1).
pub(crate) fn is_closed_unanswered(error: &reqwest::Error) -> bool {
    let is_closed = |cause: &&(dyn Error + 'static)| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let closed = [
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::BrokenPipe,
        ];
        kind.is_some_and(|kind| closed.contains(&kind))
            || cause
                .downcast_ref::<hyper::Error>()
                .is_some_and(hyper::Error::is_incomplete_message)
    };
    error.is_request() && !error.is_connect() && causes(error).iter().any(is_closed)
}

/// What happened, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) what: String,
    pub(crate) advice: &'static str,
}

impl Trouble {
    fn new(what: impl Into<String>, advice: &'static str) -> Self {
        Self {
            what: what.into(),
            advice,
        }
    }

    /// What is known by its type of an error or its causes, when `url` was asked for.
    pub(crate) fn of(url: &Url, error: &(dyn Error + 'static)) -> Option<Self> {
        let host = url.host_str().unwrap_or_default();
        // The innermost cause that is known says most.
        causes(error)
            .into_iter()
            .rev()
            .find_map(|cause| Self::of_one(url, host, cause))
    }

    /// What is wrong between here and a proxy, or behind it; nothing if it is about the server, which was reached.
    pub(crate) fn of_proxy(proxy: &Url, error: &(dyn Error + 'static)) -> Option<Self> {
        let causes = causes(error);
        if causes.iter().any(|cause| cause.is::<rustls::Error>()) && proxy.scheme() != "https" {
            return None;
        }
        let shown = crate::error::shown(proxy);
        // The layers below have no types for these: there is no line to the proxy, or the proxy makes none.
        let says = |words: &[&str]| {
            let texts = causes.iter().map(ToString::to_string);
            texts
                .into_iter()
                .any(|text| words.iter().any(|word| text.contains(word)))
        };
        let known = Self::of(proxy, error).map(|trouble| trouble.what);
        let (what, advice) = if says(&NO_LINE) {
            let why = known.map_or_else(String::new, |why| format!(": {why}"));
            let what = format!("the proxy {shown}, which is set for this computer, cannot be reached{why}");
            (what, CHECK_PROXY)
        } else {
            let why = causes.last().map_or_else(String::new, ToString::to_string);
            (
                format!("no connection through the proxy {shown}: {why}"),
                CHECK_CONNECTION,
            )
        };
        Some(Self::new(what, advice))
    }

    fn of_one(url: &Url, host: &str, cause: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(Unresolved { name, error }) = cause.downcast_ref() {
            let why = error
                .as_ref()
                .map_or_else(String::new, |error| format!(" ({error})"));
            return Some(Self::new(
                format!("the name {name} could not be resolved to an address{why}"),
                CHECK_NAME,
            ));
        }
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return of_tls(host, error);
        }
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            return if error.is_parse() && url.scheme() == "http" {
                let what = format!("{host} does not answer with HTTP at this port");
                Some(Self::new(what, TRY_HTTPS))
            } else if error.is_incomplete_message() {
                let what = format!("{host} broke off the connection");
                Some(Self::new(what, CHECK_CONNECTION))
            } else {
                None
            };
        }
        of_system(url, host, cause.downcast_ref::<io::Error>()?)
    }
}

/// An error and its causes, the outermost first. What a system's error wraps is a cause of its own, which its `source`
/// passes over.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut causes: Vec<&'a (dyn Error + 'static)> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        causes.push(cause);
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    causes
}

fn of_system(url: &Url, host: &str, error: &io::Error) -> Option<Trouble> {
    let port = url.port_or_known_default().unwrap_or_default();
    let (what, advice) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            format!("{host} refuses connections at port {port}"),
            CHECK_ADDRESS,
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::AddrNotAvailable => {
            (format!("there is no way to {host}"), CHECK_CONNECTION)
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => (
            format!("this computer has no network that leads to {host}"),
            CHECK_CONNECTION,
        ),
        io::ErrorKind::TimedOut => (format!("{host} did not answer in time"), CHECK_CONNECTION),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => (format!("{host} broke off the connection"), CHECK_CONNECTION),
        _ => return None,
    };
    Some(Trouble::new(what, advice))
}

fn of_tls(host: &str, error: &rustls::Error) -> Option<Trouble> {
    Some(match error {
        rustls::Error::InvalidCertificate(error) => of_certificate(host, error),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Trouble::new(
            format!("{host} does not answer with TLS, which https:// needs, at this port"),
            TRY_HTTP,
        ),
        rustls::Error::PeerIncompatible(_) => Trouble::new(
            format!("{host} and LivePC have no version of TLS in common"),
            NO_COMMON_TLS,
        ),
        rustls::Error::AlertReceived(alert) => Trouble::new(
            format!("{host} refuses a secure connection ({alert:?})"),
            CHECK_ADDRESS,
        ),
        rustls::Error::NoCertificatesPresented => {
            Trouble::new(format!("{host} shows no certificate"), CHECK_ADDRESS)
        }
        _ => return None,
    })
}

fn of_certificate(host: &str, error: &CertificateError) -> Trouble {
    use CertificateError as E;
    let day = |time: rustls::pki_types::UnixTime| {
        let second = i64::try_from(time.as_secs()).ok()?;
        let time = jiff::Timestamp::from_second(second).ok()?;
        Some(time.strftime("%Y-%m-%d").to_string())
    };
    let (what, advice) = match error {
        E::Expired => (format!("the certificate of {host} has expired"), TELL_OPERATOR),
        E::ExpiredContext { time, not_after } => (
            match (day(*not_after), day(*time)) {
                (Some(end), Some(now)) => {
                    format!("the certificate of {host} has expired on {end}, and here it is {now}")
                }
                _ => format!("the certificate of {host} has expired"),
            },
            TELL_OPERATOR,
        ),
        E::NotValidYet => (format!("the certificate of {host} is not valid yet"), CHECK_CLOCK),
        E::NotValidYetContext { time, not_before } => (
            match (day(*not_before), day(*time)) {
                (Some(begin), Some(now)) => {
                    format!("the certificate of {host} is valid from {begin} on, and here it is {now}")
                }
                _ => format!("the certificate of {host} is not valid yet"),
            },
            CHECK_CLOCK,
        ),
        E::Revoked => (format!("the certificate of {host} was revoked"), DO_NOT_USE),
        E::NotValidForName => (
            format!("the certificate that the server shows is for another name than {host}"),
            CHECK_PORTAL,
        ),
        E::NotValidForNameContext { presented, .. } => {
            // They are of the server: no more of them than a line can bear.
            let names: Vec<String> = presented
                .iter()
                .take(3)
                .map(|name| livepc_format::text::line(&name_of(name), 100))
                .collect();
            let names = if names.is_empty() {
                String::new()
            } else {
                format!(" ({})", names.join(", "))
            };
            (
                format!("the certificate that the server shows is for another name{names} than {host}"),
                CHECK_PORTAL,
            )
        }
        E::UnknownIssuer => (
            format!("the certificate of {host} is of an authority that this computer does not trust"),
            CHECK_AUTHORITY,
        ),
        // The library has no name of its own for it.
        other if other.to_string().contains("CaUsedAsEndEntity") => (
            format!("the certificate of {host} is an authority's own, which no server may show"),
            SERVER_CERTIFICATE,
        ),
        other => (
            format!("the certificate of {host} cannot be used: {other}"),
            DO_NOT_USE,
        ),
    };
    Trouble::new(what, advice)
}

/// `a.example` of `DnsName("a.example")`, as certificates' names are told.
fn name_of(told: &str) -> String {
    told.split('"').nth(1).unwrap_or(told).to_owned()
}

/// A name that has no address, as far as this computer can find out.
#[derive(Debug)]
struct Unresolved {
    name: String,
    /// What the system says; nothing if it just knows none.
    error: Option<io::Error>,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name {} could not be resolved", self.name)
    }
}

impl Error for Unresolved {}

/// The system's resolver, whose failures are told by their type.
#[derive(Debug)]
pub(crate) struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            match found.map(Iterator::collect::<Vec<_>>) {
                Ok(found) if !found.is_empty() => Ok(Box::new(found.into_iter()) as Addrs),
                unresolved => Err(Unresolved {
                    name,
                    error: unresolved.err(),
                }
                .into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(url: &str, error: &(dyn Error + 'static)) -> Trouble {
        let url = Url::parse(url).expect("an address");
        Trouble::of(&url, error).expect("it is known")
    }

    #[test]
    fn what_a_systems_error_wraps_is_found() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::Revoked);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        let trouble = told("https://a.example/", &wrapped);
        assert_eq!(trouble.what, "the certificate of a.example was revoked");
        assert_eq!(trouble.advice, DO_NOT_USE, "no network is to blame");
    }

    #[test]
    fn each_certificate_has_its_own_words() {
        use rustls::pki_types::UnixTime;
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        for (error, words, advice) in [
            (CertificateError::Expired, "has expired", TELL_OPERATOR),
            (
                CertificateError::ExpiredContext {
                    time: at(1_800_000_000),
                    not_after: at(1_700_000_000),
                },
                "expired on 2023-11-14, and here it is 2027-01-15",
                TELL_OPERATOR,
            ),
            (
                CertificateError::NotValidYetContext {
                    time: at(0),
                    not_before: at(1_700_000_000),
                },
                "valid from 2023-11-14 on, and here it is 1970-01-01",
                CHECK_CLOCK,
            ),
            (
                CertificateError::NotValidForNameContext {
                    expected: rustls::pki_types::ServerName::try_from("a.example").expect("a name"),
                    presented: vec!["DnsName(\"portal.hotel\")".into()],
                },
                "for another name (portal.hotel) than a.example",
                CHECK_PORTAL,
            ),
            (CertificateError::UnknownIssuer, "does not trust", CHECK_AUTHORITY),
            (CertificateError::BadSignature, "cannot be used", DO_NOT_USE),
        ] {
            let trouble = told("https://a.example/", &rustls::Error::InvalidCertificate(error));
            assert!(trouble.what.contains(words), "{}", trouble.what);
            assert_eq!(trouble.advice, advice, "{words}");
        }
    }

    #[test]
    fn the_systems_errors_name_the_host() {
        for kind in [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::TimedOut,
            io::ErrorKind::ConnectionReset,
        ] {
            let trouble = told("http://a.example:81/", &io::Error::from(kind));
            assert!(trouble.what.contains("a.example"), "{}", trouble.what);
        }
        let url = Url::parse("http://a.example/").expect("an address");
        assert_eq!(
            Trouble::of(&url, &fmt::Error),
            None,
            "what is not known is told as it is"
        );
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_told_as_that() {
        let name: Name = "nowhere.invalid".parse().expect("a name");
        let Err(error) = Names.resolve(name).await else {
            panic!("nobody has this name");
        };
        let trouble = told("http://nowhere.invalid/", &*error);
        assert!(trouble.what.contains("nowhere.invalid"), "{}", trouble.what);
        assert_eq!(trouble.advice, CHECK_NAME);
    }
}
