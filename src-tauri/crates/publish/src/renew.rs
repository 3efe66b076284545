//! Renewing the list of releases, without a release.

use jiff::Timestamp;
use livepc_format::{Digest, Head, Keys, paths};
use url::Url;

use crate::authority::{PublishKeys, authority};
use crate::destination::Destination;
use crate::error::{PublishError, Result};
use crate::feed_file;
use crate::logo;
use crate::next_head::next_head;
use crate::opened::Opened;
use crate::project::Project;
use crate::standing::Standing;

/// What is valid after a renewal.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// The keys.
    pub keys: Keys,
    /// The head.
    pub head: Head,
    /// Where the feed says that it lies.
    pub address: Option<Url>,
}

/// Replaces the head in `dest` by one with the same releases, a higher revision, and the expiry and mirrors that `project`
/// says `now`. Disks are not read, so a timer may do it while the publisher works on them. If the signing key was replaced,
/// `keys.json` is brought up to date, as [`crate::publish()`] does, and so is the feed, which tells what the project says.
///
/// # Errors
/// [`PublishError::NothingPublished`], [`PublishError::BeginsAnew`], and those of [`crate::publish()`] that keys and the destination give.
pub fn renew(
    project: &Project,
    dest: &dyn Destination,
    keys: &PublishKeys,
    now: Timestamp,
) -> Result<Renewed> {
    project.check()?;
    let nothing = || PublishError::NothingPublished(dest.name());
    // Before the lock, which would make the folder.
    if dest.size(paths::HEAD)?.is_none() {
        let own = Keys::new(
            keys.root_public.clone(),
            &project.name,
            keys.signing.public_key()?,
            now,
        );
        Standing::of(
            keys.known(own.livepc())?,
            None,
            &dest.place(),
            &project.name,
            false,
        )?;
        return Err(nothing());
    }
    let lock = dest.lock()?;
    let opened = Opened::open_to_publish(dest, keys)?.ok_or_else(nothing)?;
    let old = opened.head.as_ref().ok_or_else(nothing)?;
    let authority = authority(Some(&opened), None, keys, &project.name, now, false)?;
    let known = keys.known(opened.keys.livepc())?;
    Standing::of(known, Some(&opened), &dest.place(), &project.name, false)?;
    let head = next_head(old.revision, &authority.keys, project, old.releases.clone(), now);
    let bytes = head.seal(&keys.signing)?;
    authority.write(dest)?;
    dest.replace(paths::HEAD, &bytes, opened.head_digest)?;
    keys.note(dest, &head, Digest::of(&bytes));
    // The list of releases is renewed whatever becomes of the feed.
    tell(project, &opened, &head).map_err(|error| PublishError::FeedStale {
        sequence: head.releases.first().map_or(0, |release| release.sequence),
        error: Box::new(error),
    })?;
    drop(lock);
    Ok(Renewed {
        keys: authority.keys,
        head,
        address: project.address.clone(),
    })
}

/// Brings the feed up to date.
fn tell(project: &Project, opened: &Opened<'_>, head: &Head) -> Result<()> {
    let logo = project.logo.as_deref().map(logo::read).transpose()?;
    if let Some((path, bytes)) = &logo {
        opened.dest.put_new(path, bytes)?;
    }
    let told: Vec<_> = feed_file::told(head).collect();
    let kept = opened.with_manifests(&told)?;
    let releases = kept.iter().map(|kept| (kept.release, &kept.manifest));
    let logo = logo.as_ref().map(|(path, _)| path.as_str());
    feed_file::write(opened.dest, project, head, releases, logo)
}
