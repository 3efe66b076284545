//! Whether these keys may publish to this destination, and what they add to its `keys.json`.

use jiff::Timestamp;
use livepc_format::{Digest, Head, Keys, LivePcId, PublicKey, SecretKey, limits, paths};

use crate::destination::{Destination, read_named};
use crate::error::{PublishError, Result};
use crate::ledger::{Ledger, Record};
use crate::opened::Opened;

/// The keys of a publisher.
pub struct PublishKeys {
    /// The public half of the root key: the LivePC's identity.
    pub root_public: PublicKey,
    /// The root key, which is needed where the signing key is new: for the first publication, and for the first one after
    /// the signing key was replaced.
    pub root: Option<SecretKey>,
    /// The signing key.
    pub signing: SecretKey,
    /// Where it is noted what is published with these keys, if anywhere.
    pub ledger: Option<Ledger>,
}

impl PublishKeys {
    /// True if the root key is here that signs `keys`.
    pub(crate) fn have_root_of(&self, keys: &Keys) -> Result<bool> {
        Ok(match &self.root {
            Some(root) => root.public_key()? == keys.root,
            None => false,
        })
    }

    /// What was published of a LivePC with these keys, as far as it was noted.
    pub(crate) fn known(&self, livepc: LivePcId) -> Result<Option<Record>> {
        match &self.ledger {
            Some(ledger) => ledger.read(livepc),
            None => Ok(None),
        }
    }

    /// Notes that `head` was just published to `dest`. That cannot be taken back any more, so that a failure is only told.
    pub(crate) fn note(&self, dest: &dyn Destination, head: &Head, digest: Digest) {
        let Some(ledger) = &self.ledger else { return };
        let noted = read_named(dest, paths::KEYS, limits::KEYS_BYTES)
            .and_then(|keys| ledger.note(dest.place(), &keys, head, digest));
        if let Err(error) = noted {
            tracing::warn!(%error, "what was published is not noted beside the keys");
        }
    }

    /// The bytes of `keys.json`; `None` if the root key is not here.
    fn seal(&self, keys: &Keys) -> Result<Option<Vec<u8>>> {
        match &self.root {
            None => Ok(None),
            Some(root) if self.have_root_of(keys)? => Ok(Some(keys.seal(root)?)),
            Some(_) => Err(PublishError::Trust(
                "the root key is not the one that root.pub names: use the key folder as `livepc key new` made it".into(),
            )),
        }
    }
}

/// The keys that a publication signs under.
pub(crate) struct Authority {
    pub(crate) keys: Keys,
    /// The bytes of `keys.json`, if it is to be written, and the digest of those that they replace.
    grown: Option<(Vec<u8>, Option<Digest>)>,
}

impl Authority {
    /// Writes `keys.json`, if it grew.
    ///
    /// # Errors
    /// Those of [`Destination::replace`].
    pub(crate) fn write(&self, dest: &dyn Destination) -> Result<()> {
        match &self.grown {
            Some((bytes, before)) => dest.replace(paths::KEYS, bytes, *before),
            None => Ok(()),
        }
    }
}

/// The keys that a publication goes on from.
struct Before<'a> {
    keys: &'a Keys,
    /// The digest of `keys.json` in the destination; `None` if it is not there.
    there: Option<Digest>,
    /// The bytes of `keys.json`, if the destination does not have these keys.
    lost: Option<&'a [u8]>,
}

/// Checks that `keys` may publish the LivePC `name` where `opened` is. Makes the LivePC's first keys, or adds a signing key
/// that has taken the place of the one there, if the root key is at hand. If `started_over`, keys that were published
/// before take the place of those that are lost.
pub(crate) fn authority(
    opened: Option<&Opened<'_>>,
    started_over: Option<&Record>,
    keys: &PublishKeys,
    name: &str,
    now: Timestamp,
    dry_run: bool,
) -> Result<Authority> {
    let signing = keys.signing.public_key()?;
    let published = started_over.map(Record::keys).transpose()?;
    let there = opened.map(|opened| (&opened.keys, opened.keys_digest));
    let before = match (there, &published) {
        (Some((there, digest)), Some((published, bytes)))
            if there != published && published.extends(there) =>
        {
            Before {
                keys: published,
                there: Some(digest),
                lost: Some(*bytes),
            }
        }
        (Some((there, digest)), _) => Before {
            keys: there,
            there: Some(digest),
            lost: None,
        },
        (None, Some((published, bytes))) => Before {
            keys: published,
            there: None,
            lost: Some(*bytes),
        },
        (None, None) => {
            let first = Keys::new(keys.root_public.clone(), name, signing, now);
            let sealed = keys.seal(&first)?;
            if sealed.is_none() && !dry_run {
                return Err(PublishError::RootKeyNeeded);
            }
            return Ok(Authority {
                keys: first,
                grown: sealed.map(|bytes| (bytes, None)),
            });
        }
    };
    check_root(before.keys, keys)?;
    if before.keys.name != name {
        return Err(PublishError::Trust(format!(
            "the destination has the LivePC {:?}, not {name:?}: set that name in livepc.toml, or publish to another folder",
            before.keys.name
        )));
    }
    if before.keys.current() == Some(&signing) {
        return Ok(Authority {
            keys: before.keys.clone(),
            grown: before.lost.map(|bytes| (bytes.to_vec(), before.there)),
        });
    }
    // The root key would sign for it once more, and who has stolen it would be believed again.
    if before.keys.has_replaced(&signing) {
        return Err(not_current(&signing));
    }
    let grown = before.keys.replaced_by(signing.clone(), now);
    match keys.seal(&grown)? {
        Some(bytes) => Ok(Authority {
            keys: grown,
            grown: Some((bytes, before.there)),
        }),
        None => Err(PublishError::Trust(format!(
            "your signing key {} is not the one that the destination's keys.json names; use that one, or, if yours has \
             taken its place, put the root key, which is kept offline, back into your key folder first",
            signing.fingerprint()
        ))),
    }
}

/// Checks that `keys` are those of the LivePC whose `keys.json` is `there`.
pub(crate) fn check(there: &Keys, keys: &PublishKeys, signing: &PublicKey) -> Result<()> {
    check_root(there, keys)?;
    if there.current() != Some(signing) {
        return Err(not_current(signing));
    }
    Ok(())
}

fn check_root(there: &Keys, keys: &PublishKeys) -> Result<()> {
    if there.root != keys.root_public {
        return Err(PublishError::Trust(format!(
            "the destination belongs to the root key {}, yours is {}: use the keys that it was first published with, or \
             another folder",
            there.root.fingerprint(),
            keys.root_public.fingerprint()
        )));
    }
    Ok(())
}

fn not_current(signing: &PublicKey) -> PublishError {
    PublishError::Trust(format!(
        "your signing key {} is not the one that the destination's keys.json names: use the key that it was published \
         with last",
        signing.fingerprint()
    ))
}
