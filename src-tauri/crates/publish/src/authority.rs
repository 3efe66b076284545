//! Whether these keys may publish to this destination.

use jiff::Timestamp;
use livepc_format::{Keys, PublicKey, SecretKey};

use crate::error::{PublishError, Result};
use crate::opened::Opened;

/// The keys of a publisher.
pub struct PublishKeys {
    /// The public half of the root key: the LivePC's identity.
    pub root_public: PublicKey,
    /// The root key, which only the first publication needs.
    pub root: Option<SecretKey>,
    /// The signing key.
    pub signing: SecretKey,
}

/// The keys that a publication signs under.
pub(crate) struct Authority {
    pub(crate) keys: Keys,
    /// The bytes of `keys.json`, if it is to be written.
    pub(crate) first: Option<Vec<u8>>,
}

/// Checks that `keys` may publish the LivePC `name` where `opened` is, or makes the LivePC's first keys.
pub(crate) fn authority(
    opened: Option<&Opened<'_>>,
    keys: &PublishKeys,
    name: &str,
    now: Timestamp,
    dry_run: bool,
) -> Result<Authority> {
    let signing = keys.signing.public_key()?;
    if let Some(opened) = opened {
        check(&opened.keys, keys, &signing)?;
        if opened.keys.name != name {
            return Err(PublishError::Trust(format!(
                "the destination has the LivePC {:?}, not {name:?}: set that name in livepc.toml, or publish to another folder",
                opened.keys.name
            )));
        }
        return Ok(Authority {
            keys: opened.keys.clone(),
            first: None,
        });
    }
    let new = Keys::new(keys.root_public.clone(), name, signing, now);
    let first = match &keys.root {
        Some(root) if root.public_key()? == keys.root_public => Some(new.seal(root)?),
        Some(_) => {
            return Err(PublishError::Trust(
                "the root key is not the one that root.pub names: use the key folder as `livepc key new` made it".into(),
            ));
        }
        None if dry_run => None,
        None => return Err(PublishError::RootKeyNeeded),
    };
    Ok(Authority { keys: new, first })
}

/// Checks that `keys` are those of the LivePC whose `keys.json` is `there`.
pub(crate) fn check(there: &Keys, keys: &PublishKeys, signing: &PublicKey) -> Result<()> {
    if there.root != keys.root_public {
        return Err(PublishError::Trust(format!(
            "the destination belongs to the root key {}, yours is {}: use the keys that it was first published with, or \
             another folder",
            there.root.fingerprint(),
            keys.root_public.fingerprint()
        )));
    }
    if there.current() != Some(signing) {
        return Err(PublishError::Trust(format!(
            "your signing key {} is not the one that the destination's keys.json names: use the key that it was published \
             with last",
            signing.fingerprint()
        )));
    }
    Ok(())
}
