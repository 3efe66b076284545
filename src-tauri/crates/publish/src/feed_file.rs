//! `feed.xml`: the releases, for people and feed readers.

use livepc_format::feed::{Feed, FeedEntry, write_feed};
use livepc_format::head::ReleaseState;
use livepc_format::{Digest, FormatError, Head, Manifest, Release, limits, paths};
use url::Url;

use crate::destination::Destination;
use crate::error::Result;
use crate::project::Project;

/// Entries that a feed has at the most: it tells news, the head tells all.
const ENTRIES: usize = 50;

/// Those releases of the head that the feed tells, newest first.
pub(crate) fn told(head: &Head) -> impl Iterator<Item = &Release> {
    head.releases
        .iter()
        .filter(|release| is_told(release))
        .take(ENTRIES)
}

fn is_told(release: &Release) -> bool {
    release.state == ReleaseState::Current
}

/// Replaces the feed in `dest`, if it has something new to say. It announces `releases`, newest first, which `head` lists;
/// `logo` is the logo's path.
pub(crate) fn write<'a>(
    dest: &dyn Destination,
    project: &Project,
    head: &Head,
    releases: impl Iterator<Item = (&'a Release, &'a Manifest)>,
    logo: Option<&str>,
) -> Result<()> {
    let bytes = feed(project, head, releases, logo)?;
    let old = dest.read(paths::FEED, limits::FEED_BYTES)?;
    if old.as_deref() == Some(&bytes) {
        return Ok(());
    }
    dest.replace(paths::FEED, &bytes, old.as_deref().map(Digest::of))
}

fn feed<'a>(
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
    let current = releases.filter(|(release, _)| is_told(release)).take(ENTRIES);
    let feed = Feed {
        title: project.title.clone(),
        summary: project.summary.clone(),
        publisher: project.publisher.clone(),
        logo: logo.map(base).transpose()?,
        updated: head.releases.first().map(|release| release.created),
        categories: project.categories.clone(),
        head: base(paths::HEAD)?,
        // Whole, so that copies tell it too.
        address: project.address.clone(),
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
