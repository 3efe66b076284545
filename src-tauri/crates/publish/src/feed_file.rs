//! `feed.xml`: the releases, for people and feed readers.

use livepc_format::feed::{Feed, FeedEntry, write_feed};
use livepc_format::head::ReleaseState;
use livepc_format::{FormatError, Head, Manifest, Release, paths};
use url::Url;

use crate::error::Result;
use crate::project::Project;

/// Entries that a feed has at the most: it tells news, the head tells all.
const ENTRIES: usize = 50;

/// The bytes of the feed that announces `releases`, newest first, which `head` lists. `logo` is the logo's path.
pub(crate) fn feed<'a>(
    project: &Project,
    head: &Head,
    releases: impl Iterator<Item = (&'a Release, &'a Manifest)>,
    logo: Option<&str>,
) -> Result<Vec<u8>> {
    // The folder can lie anywhere: all addresses in it are written relative to this one.
    let base = |path: &str| {
        Url::parse("https://livepc.invalid/")
            .and_then(|url| url.join(path))
            .map_err(|error| FormatError::Malformed {
                what: "the feed",
                why: error.to_string(),
            })
    };
    let current = releases
        .filter(|(release, _)| release.state == ReleaseState::Current)
        .take(ENTRIES);
    let feed = Feed {
        title: project.title.clone(),
        summary: project.summary.clone(),
        publisher: project.publisher.clone(),
        logo: logo.map(base).transpose()?,
        updated: head.releases.first().map(|release| release.created),
        categories: project.categories.clone(),
        head: base(paths::HEAD)?,
        address: None,
        moved_to: None,
        entries: current
            .map(|(release, manifest)| FeedEntry {
                id: format!("urn:livepc:{}:{}", head.livepc, release.sequence),
                label: release.label.clone(),
                updated: Some(release.created),
                changelog: manifest.changelog.clone(),
            })
            .collect(),
    };
    Ok(write_feed(head.livepc, &feed, &base(paths::FEED)?))
}
