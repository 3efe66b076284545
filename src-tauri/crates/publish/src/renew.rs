//! Renewing the list of releases, without a release.

use jiff::Timestamp;
use livepc_format::{Digest, Head, Keys, paths};

use crate::authority::{PublishKeys, authority};
use crate::destination::Destination;
use crate::error::{PublishError, Result};
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
}

/// Replaces the head in `dest` by one with the same releases, a higher revision, and the expiry and mirrors that `project`
/// says `now`. Disks are not read, so a timer may do it while the publisher works on them. If the signing key was replaced,
/// `keys.json` is brought up to date, as [`crate::publish()`] does.
///
/// # Errors
/// [`PublishError::NothingPublished`], [`PublishError::BeginsAnew`], and those of [`crate::publish()`] that keys and the destination give.
pub fn renew(
    project: &Project,
    dest: &dyn Destination,
    keys: &PublishKeys,
    now: Timestamp,
) -> Result<Renewed> {
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
    drop(lock);
    Ok(Renewed {
        keys: authority.keys,
        head,
    })
}
