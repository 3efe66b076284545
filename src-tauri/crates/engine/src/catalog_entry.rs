//! What a catalog says of a LivePC, taken from the LivePC itself.

use std::sync::Arc;

use livepc_format::feed::CatalogEntry;
use livepc_format::{LivePcId, Manifest, paths};
use livepc_protocol::{Code, Problem};
use livepc_transfer::{Client, Config, Found, Logins, Origin, login_in, without_login};
use url::Url;

use crate::problems::{of_format, of_transfer};
use crate::{published, subscription};

/// Reads a LivePC's feed, verifies its head and newest manifest, and makes the entry of a catalog from them.
///
/// Gives also which LivePC it is, wherever it lies.
///
/// # Errors
/// [`Code::Network`], [`Code::NotFound`] and [`Code::Trust`], as for subscribing to it.
pub async fn read(feed_url: &str) -> Result<(CatalogEntry, LivePcId), Problem> {
    let given = published::address(feed_url)?;
    let url = without_login(&given);
    let config = Config {
        logins: Arc::new(Given(given)),
        ..Config::default()
    };
    let client = Client::new(config).map_err(|e| of_transfer(&e))?;
    let looked = published::first_look(&client, &url).await.map_err(|problem| match problem.code {
        Code::Login => Problem {
            hint: "Give the user and the password in the address, as https://USER:PASSWORD@…; they are not kept.".to_owned(),
            ..problem
        },
        _ => problem,
    })?;
    let Some((published, feed)) = looked.and_then(|p| p.feed.clone().map(|feed| (p, feed))) else {
        return Err(published::gave_no_feed());
    };
    let mut entry = CatalogEntry {
        title: feed.title,
        summary: feed.summary,
        description: String::new(),
        publisher: feed.publisher,
        feed: published.feed_url.clone(),
        thumbnail: feed.logo,
        categories: feed.categories,
        guest_os: None,
        updated: feed.updated,
        boot_ready_bytes: None,
        full_bytes: None,
    };
    if let Some(release) = published.head.newest(subscription::CHANNEL) {
        let origin = Origin::of_head(&published.head_url, &published.head.mirrors);
        let path = paths::manifest(&release.manifest);
        let bytes = client
            .verified(
                &origin,
                &path,
                &release.manifest,
                published::size_of_manifest(release),
            )
            .await;
        let manifest = Manifest::open(
            &bytes.map_err(|e| of_transfer(&e))?,
            published.head.livepc,
            release,
        )
        .map_err(|e| of_format(&e))?;
        entry.guest_os = Some(manifest.machine.guest_os);
        entry.boot_ready_bytes = Some(release.bytes.boot_ready);
        entry.full_bytes = Some(release.bytes.new);
    }
    Ok((entry, published.head.livepc))
}

/// Those of the LivePCs in `listed` with the title of `entry` that are the same one at another place, and those of which that
/// cannot be found out.
///
/// # Errors
/// What keeps the web client from being made.
pub async fn elsewhere(
    listed: &[CatalogEntry],
    entry: &CatalogEntry,
    livepc: LivePcId,
) -> Result<(Vec<Url>, Vec<Url>), Problem> {
    let client = Client::new(Config::default()).map_err(|e| of_transfer(&e))?;
    let (mut same, mut unknown) = (Vec::new(), Vec::new());
    for other in listed {
        if other.title != entry.title || other.feed == entry.feed {
            continue;
        }
        match published::first_look(&client, &other.feed).await {
            Ok(Some(found)) if found.head.livepc == livepc => same.push(other.feed.clone()),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => unknown.push(other.feed.clone()),
        }
    }
    Ok((same, unknown))
}

/// The address of a feed as a person gives it: a URL, or a path of this computer.
///
/// # Errors
/// [`Code::Usage`] if it is neither.
pub fn feed_address(text: &str) -> Result<Url, Problem> {
    published::address(text).map(|url| without_login(&url))
}

/// Who is known to the server of an address, by what the address says.
#[derive(Debug)]
struct Given(Url);

impl Logins for Given {
    fn of<'a>(&'a self, url: &'a Url) -> Found<'a> {
        let login = login_in(&self.0).filter(|_| self.0.origin() == url.origin());
        Box::pin(std::future::ready(Ok(login)))
    }
}
