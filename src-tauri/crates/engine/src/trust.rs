//! What is accepted after what: the rules that make a pinned publisher's feed safe to follow.
//!
//! A head is ordered by (epoch, revision). Refused are: other content under the same revision; another manifest under a
//! sequence that was seen; keys that take back what earlier keys said. A head or keys before those that were accepted are
//! not taken either; but a cache that is behind has such, so that it is an alarm only when it lasts ([`LASTS`]). A head that
//! no longer lists releases, even the newest, is as good as any: publishers withdraw them. Expiry is shown, never refused: a
//! server that is old is not an attack that could be told
//! from a publisher on holiday.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use livepc_format::{Digest, Head, Keys};

use livepc_protocol::{Code, Problem};

use crate::problems::untrusted;
use crate::published::{Trouble, behind};

/// How long a server may have only what is older than what was accepted: no cache keeps a head for longer.
pub(crate) const LASTS: SignedDuration = SignedDuration::from_hours(24);

/// What was accepted before.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    pub(crate) keys: Keys,
    pub(crate) head: Head,
    /// The manifest of every release that was ever seen, by sequence.
    pub(crate) seen: BTreeMap<u64, Digest>,
}

/// Whether an acceptable head says anything new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    Same,
    Newer,
}

impl Pinned {
    /// Decides on keys and a head whose signatures were checked.
    pub(crate) fn accept(&self, keys: &Keys, head: &Head) -> Result<Accepted, Trouble> {
        if keys.root == self.keys.root && keys.name != self.keys.name {
            return Err(Problem::new(
                Code::Trust,
                format!(
                    "Another LivePC of the same publisher is there: “{}”, where “{}” was.",
                    keys.name, self.keys.name
                ),
                "It may lie in the wrong folder: tell its publisher. Nothing of it was used.",
            )
            .into());
        }
        if keys.root != self.keys.root {
            return Err(untrusted(format!(
                "The publisher's root key is not the one that you confirmed: it was {}, now it is {}.",
                self.keys.root.fingerprint(),
                keys.root.fingerprint(),
            ))
            .into());
        }
        if !keys.extends(&self.keys) {
            return Err(if self.keys.extends(keys) {
                behind("The server's list of signing keys is older than one that was accepted before.")
            } else {
                untrusted(
                    "The server's list of signing keys takes back keys that were valid: it is a false one.",
                )
                .into()
            });
        }
        let (old, new) = ((self.head.epoch, self.head.revision), (head.epoch, head.revision));
        if new < old {
            return Err(behind(format!(
                "The server's list of releases is older (epoch {}, revision {}) than one that was accepted before \
                 (epoch {}, revision {}).",
                new.0, new.1, old.0, old.1,
            )));
        }
        if new == old {
            return if *head == self.head {
                Ok(Accepted::Same)
            } else {
                Err(untrusted(format!(
                    "The publisher's key has signed two different lists of releases as epoch {}, revision {}.",
                    new.0, new.1,
                ))
                .into())
            };
        }
        for release in &head.releases {
            if self
                .seen
                .get(&release.sequence)
                .is_some_and(|manifest| *manifest != release.manifest)
            {
                return Err(untrusted(format!(
                    "Release {} is not what it was: its manifest has changed, and a release never does.",
                    release.sequence,
                ))
                .into());
            }
        }
        Ok(Accepted::Newer)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use livepc_format::SecretKey;
    use livepc_format::head::{FetchBytes, Release, ReleaseState};

    use super::*;
    use crate::published::Kind;

    fn release(sequence: u64, manifest: &[u8]) -> Release {
        Release {
            sequence,
            label: sequence.to_string(),
            created: Timestamp::UNIX_EPOCH,
            manifest: Digest::of(manifest),
            manifest_bytes: 1,
            channel: "stable".into(),
            state: ReleaseState::Current,
            gone_after: None,
            boot_map: None,
            bytes: FetchBytes::default(),
            patches: vec![],
        }
    }

    fn head(keys: &Keys, revision: u64, releases: Vec<Release>) -> Head {
        Head {
            version: 1,
            requires: vec![],
            livepc: keys.livepc(),
            epoch: keys.epoch(),
            revision,
            issued: Timestamp::UNIX_EPOCH,
            expires: None,
            mirrors: vec![],
            releases,
        }
    }

    fn public() -> livepc_format::PublicKey {
        SecretKey::generate().unwrap().public_key().unwrap()
    }

    #[test]
    fn only_what_follows_is_accepted() {
        let keys = Keys::new(public(), "lab", public(), Timestamp::UNIX_EPOCH);
        let first = head(&keys, 3, vec![release(2, b"2"), release(1, b"1")]);
        let pinned = Pinned {
            keys: keys.clone(),
            head: first.clone(),
            seen: first.releases.iter().map(|r| (r.sequence, r.manifest)).collect(),
        };
        let refused = |keys: &Keys, head: &Head, why: &str| {
            let trouble = pinned.accept(keys, head).expect_err(why);
            assert_eq!(trouble.problem.code, Code::Trust, "{why}");
            assert_eq!(trouble.kind, Kind::Settled, "{why}");
        };
        let is_behind = |pinned: &Pinned, keys: &Keys, head: &Head, why: &str| {
            let trouble = pinned.accept(keys, head).expect_err(why);
            assert_eq!(
                (trouble.problem.code, trouble.kind),
                (Code::Network, Kind::Behind),
                "{why}"
            );
        };

        assert_eq!(pinned.accept(&keys, &first).unwrap(), Accepted::Same);
        let next = head(&keys, 4, vec![release(3, b"3"), release(2, b"2")]);
        assert_eq!(
            pinned.accept(&keys, &next).unwrap(),
            Accepted::Newer,
            "dropping release 1 is allowed"
        );

        is_behind(
            &pinned,
            &keys,
            &head(&keys, 2, first.releases.clone()),
            "a lower revision",
        );
        refused(
            &keys,
            &head(&keys, 3, vec![release(2, b"2")]),
            "other content under the same revision",
        );
        refused(
            &keys,
            &head(&keys, 4, vec![release(2, b"other")]),
            "other bytes under the same sequence",
        );
        for (left, why) in [
            (
                vec![release(1, b"1")],
                "the newest release was withdrawn, and is gone",
            ),
            (vec![], "all of them"),
        ] {
            let accepted = pinned.accept(&keys, &head(&keys, 9, left)).expect(why);
            assert_eq!(accepted, Accepted::Newer, "{why}");
        }
        refused(
            &Keys {
                root: public(),
                ..keys.clone()
            },
            &next,
            "another root key",
        );
        let other = Keys {
            name: "other".into(),
            ..keys.clone()
        };
        refused(&other, &next, "another LivePC of the same publisher");
        let told = pinned.accept(&other, &next).unwrap_err().problem.message;
        assert!(
            told.contains("same publisher") && told.contains("“other”"),
            "{told}"
        );
        refused(
            &Keys {
                name: "other".into(),
                ..keys.clone()
            },
            &next,
            "another name",
        );

        let mut rotated = keys.clone();
        rotated.keys.push(livepc_format::keys::SigningKeyEntry {
            epoch: 2,
            key: public(),
            issued: Timestamp::UNIX_EPOCH,
        });
        let after = head(&rotated, 1, next.releases.clone());
        assert_eq!(
            pinned.accept(&rotated, &after).unwrap(),
            Accepted::Newer,
            "a new epoch begins a new count"
        );
        let later = Pinned {
            keys: rotated,
            head: after,
            seen: pinned.seen.clone(),
        };
        is_behind(&later, &keys, &next, "the epoch before is over");
        let mut forked = keys.clone();
        forked.keys[0].key = public();
        refused(&forked, &next, "keys that take back what was said");
    }
}
