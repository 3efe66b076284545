//! The proxy that connections would go through, if there is one.

use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use tokio::net::TcpStream;

use super::{Check, Finding, within};

const CHECK: Check = Check("proxy", "proxy");

/// How long it has to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

pub(super) async fn look() -> Vec<Finding> {
    // The same as the web client asks: the environment, then the system's settings.
    let matcher = Matcher::from_system();
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for address in ["https://example.org/", "http://example.org/"] {
        let Ok(address) = address.parse() else { continue };
        let Some(proxy) = matcher.intercept(&address) else {
            continue;
        };
        let uri = proxy.uri();
        let scheme = uri.scheme_str().unwrap_or("http");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let usual = match scheme {
            "https" => 443,
            "socks4" | "socks4a" | "socks5" | "socks5h" => 1080,
            _ => 80,
        };
        let port = uri.port_u16().unwrap_or(usual);
        if seen.contains(&(host.clone(), port)) {
            continue;
        }
        seen.push((host.clone(), port));
        // Its user and password are not shown.
        let shown = format!("{scheme}://{host}:{port}");
        findings.extend(
            within(CHECK, 2 * CONNECT, async {
                vec![reach(&shown, &host, port).await]
            })
            .await,
        );
    }
    if findings.is_empty() {
        findings.push(Finding::good(CHECK, "none"));
    }
    findings
}

async fn reach(shown: &str, host: &str, port: u16) -> Finding {
    let connected = tokio::time::timeout(CONNECT, TcpStream::connect((host, port))).await;
    let why = match connected {
        Ok(Ok(_)) => return Finding::good(CHECK, format!("{shown} accepts connections")),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "it refuses connections".into()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it did not answer within {} s", CONNECT.as_secs()),
    };
    Finding::bad(
        CHECK,
        format!("The proxy {shown} cannot be reached: {why}."),
        "Correct or remove it where it is set: https_proxy, http_proxy or all_proxy in the environment, or the system's \
         network settings. Then run “livepc agent stop”, so that the agent learns of it.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Health;

    #[tokio::test]
    async fn a_proxy_that_is_gone_is_named_and_one_that_is_there_is_good() {
        let there = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = there.local_addr().unwrap().port();
        let shown = format!("http://127.0.0.1:{port}");
        assert_eq!(reach(&shown, "127.0.0.1", port).await.health, Health::Good);
        drop(there);
        let found = reach(&shown, "127.0.0.1", port).await;
        assert_eq!(found.health, Health::Bad);
        assert!(found.found.contains(&shown), "{found:?}");
    }
}
