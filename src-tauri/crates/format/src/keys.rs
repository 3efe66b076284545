//! `keys.json`: which signing key is valid from which epoch on, signed by the root key. It only grows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document;
use crate::error::{FormatError, Result};
use crate::limits;
use crate::signed::{Envelope, PublicKey, SecretKey};
use crate::text::check_name;
use crate::{Digest, LivePcId};

/// The media type of `keys.json`'s payload.
pub const TYPE: &str = "application/vnd.livepc.keys+json";
const WHAT: &str = "keys.json";

/// The signing keys of one LivePC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The major version of the format.
    pub version: u32,
    /// Names of features that a reader must know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// The root key: it signs this document and nothing else.
    pub root: PublicKey,
    /// The short name of the LivePC: with the root key it makes the id.
    pub name: String,
    /// The signing keys, by rising epoch.
    pub keys: Vec<SigningKeyEntry>,
}

/// A signing key and when its time begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyEntry {
    /// The first epoch that this key signs; it ends the time of the key before.
    pub epoch: u32,
    /// The key.
    pub key: PublicKey,
    /// When the root key signed for it.
    pub issued: Timestamp,
}

impl Keys {
    /// The first keys of a LivePC: `signing` is valid from epoch 1 on.
    #[must_use]
    pub fn new(root: PublicKey, name: &str, signing: PublicKey, now: Timestamp) -> Self {
        Self {
            version: document::VERSION,
            requires: Vec::new(),
            root,
            name: name.to_owned(),
            keys: vec![SigningKeyEntry {
                epoch: 1,
                key: signing,
                issued: now,
            }],
        }
    }

    /// Reads and verifies `keys.json`. Whether its root key is the right one is for the caller to decide.
    pub fn open(bytes: &[u8]) -> Result<Self> {
        let envelope = Envelope::parse(WHAT, TYPE, bytes, limits::KEYS_BYTES)?;
        let keys: Self = document::parse(WHAT, envelope.payload.as_bytes(), limits::KEYS_BYTES)?;
        envelope.verify(WHAT, &keys.root)?;
        keys.check()?;
        Ok(keys)
    }

    /// Signs the document and gives the bytes of `keys.json`.
    pub fn seal(&self, root: &SecretKey) -> Result<Vec<u8>> {
        self.check()?;
        Envelope::seal(WHAT, TYPE, self, root, limits::KEYS_BYTES)
    }

    fn check(&self) -> Result<()> {
        document::check_version(WHAT, self.version)?;
        check_name(WHAT, "name", &self.name)?;
        let rising = self.keys.windows(2).all(|pair| pair[0].epoch < pair[1].epoch);
        if self.keys.is_empty() || self.keys.len() > 1000 || self.keys[0].epoch != 1 || !rising {
            return Err(FormatError::malformed(
                WHAT,
                "the epochs of its keys must rise from 1",
            ));
        }
        Ok(())
    }

    /// The id of the LivePC.
    #[must_use]
    pub fn livepc(&self) -> LivePcId {
        self.root.livepc_id(&self.name)
    }

    /// The newest epoch; heads of earlier ones are no longer valid.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.keys.last().map_or(0, |entry| entry.epoch)
    }

    /// The key that signs heads of the newest epoch.
    #[must_use]
    pub fn current(&self) -> Option<&PublicKey> {
        self.keys.last().map(|entry| &entry.key)
    }

    /// These keys, and `signing` from the next epoch on: the time of all others is over then. It begins to count when
    /// the root key has signed it, with [`Keys::seal`].
    #[must_use]
    pub fn replaced_by(&self, signing: PublicKey, now: Timestamp) -> Self {
        let mut keys = self.clone();
        keys.keys.push(SigningKeyEntry {
            // After the last epoch that there can be it does not rise, and the document is not sealed.
            epoch: self.epoch().saturating_add(1),
            key: signing,
            issued: now,
        });
        keys
    }

    /// These keys as they were before the last one was added; `None` if there is one only.
    #[must_use]
    pub fn before(&self) -> Option<Self> {
        let mut keys = self.clone();
        keys.keys.pop();
        (!keys.keys.is_empty()).then_some(keys)
    }

    /// True if the time of `key` is over: it was listed, and another has taken its place.
    #[must_use]
    pub fn has_replaced(&self, key: &PublicKey) -> bool {
        self.current() != Some(key) && self.earlier().any(|earlier| earlier == key)
    }

    /// The keys whose time is over, the latest first.
    pub(crate) fn earlier(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter().rev().skip(1).map(|entry| &entry.key)
    }

    /// True if this document says all that `earlier` said: keys are added, never changed or taken back.
    #[must_use]
    pub fn extends(&self, earlier: &Self) -> bool {
        self.root == earlier.root && self.name == earlier.name && self.keys.starts_with(&earlier.keys)
    }

    /// A digest to remember the document by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&document::pretty(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public() -> PublicKey {
        SecretKey::generate().unwrap().public_key().unwrap()
    }

    #[test]
    fn a_key_is_replaced_by_one_of_the_next_epoch() {
        let root = SecretKey::generate().unwrap();
        let (first, second) = (public(), public());
        let now = Timestamp::UNIX_EPOCH;
        let keys = Keys::new(root.public_key().unwrap(), "lab", first.clone(), now);
        assert_eq!(keys.before(), None);
        assert!(!keys.has_replaced(&first) && !keys.has_replaced(&second));

        let grown = keys.replaced_by(second.clone(), now);
        let grown = Keys::open(&grown.seal(&root).unwrap()).expect("readers take it");
        assert!(grown.extends(&keys), "it only adds");
        assert_eq!((grown.epoch(), grown.current()), (2, Some(&second)));
        assert!(grown.has_replaced(&first) && !grown.has_replaced(&second));
        assert_eq!(grown.before(), Some(keys));
    }

    #[test]
    fn there_is_no_epoch_after_the_last() {
        let root = SecretKey::generate().unwrap();
        let mut keys = Keys::new(root.public_key().unwrap(), "lab", public(), Timestamp::UNIX_EPOCH)
            .replaced_by(public(), Timestamp::UNIX_EPOCH);
        keys.keys[1].epoch = u32::MAX;
        keys.seal(&root).expect("the last epoch is one");
        let beyond = keys.replaced_by(public(), Timestamp::UNIX_EPOCH);
        assert!(
            beyond.seal(&root).is_err(),
            "two keys of one epoch are not signed"
        );
    }
}
