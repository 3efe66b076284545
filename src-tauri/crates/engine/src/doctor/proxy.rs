//! The proxy that connections would go through, if there is one.

use std::time::Duration;

use livepc_transfer::{Client, Config};
use tokio::net::TcpStream;
use url::Url;

use super::{Check, Finding, within};
use crate::problems::of_transfer;

const CHECK: Check = Check("proxy", "proxy");
/// What helps with any proxy.
const CORRECT: &str = "Correct or remove it where it is set: https_proxy, http_proxy or all_proxy in the environment, or the \
                       system's network settings. Then run “livepc agent stop”, so that the agent learns of it.";

/// How long it has to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

pub(super) async fn look() -> Vec<Finding> {
    // The same as what fetches asks.
    let client = match Client::new(Config::default()) {
        Ok(client) => client,
        Err(error) => return vec![Finding::of_problem(CHECK, of_transfer(&error))],
    };
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for address in ["https://example.org/", "http://example.org/"] {
        let Ok(address) = Url::parse(address) else {
            continue;
        };
        let proxy = match client.proxy_of(&address) {
            Ok(Some(proxy)) => proxy,
            Ok(None) => continue,
            Err(why) => {
                findings.push(Finding::bad(CHECK, why, CORRECT));
                break;
            }
        };
        let host = proxy
            .host_str()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        // What has no port of its own in the web's standards is SOCKS.
        let port = proxy.port_or_known_default().unwrap_or(1080);
        if seen.contains(&(host.clone(), port)) {
            continue;
        }
        seen.push((host.clone(), port));
        // Its user and password are not shown.
        let shown = format!("{}://{host}:{port}", proxy.scheme());
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
        CORRECT,
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
