//! `head.json`: the signed list of a LivePC's releases, newest first.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::document;
use crate::error::{FormatError, Result};
use crate::index::ObjectRef;
use crate::keys::Keys;
use crate::limits;
use crate::signed::{Envelope, SecretKey};
use crate::text::{check_line, check_name};
use crate::{Digest, LivePcId};

/// The media type of `head.json`'s payload, and of links to it.
pub const TYPE: &str = "application/vnd.livepc.head+json";
const WHAT: &str = "head.json";

/// The signed list of releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The major version of the format.
    pub version: u32,
    /// Names of features that a reader must know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// The LivePC that this head belongs to.
    pub livepc: LivePcId,
    /// The epoch of the key that signs it.
    pub epoch: u32,
    /// Counts the heads of this LivePC: 1, 2, 3 …; (epoch, revision) orders them.
    pub revision: u64,
    /// When it was signed.
    pub issued: Timestamp,
    /// After this time a reader says that the head is old; it is no reason to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// More places where the same files lie: URLs that end in `/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Url>,
    /// The releases, newest first.
    pub releases: Vec<Release>,
}

/// One release, as the head lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Counts the releases of this LivePC: 1, 2, 3 …
    pub sequence: u64,
    /// What people call it: `2026.11`.
    pub label: String,
    /// When it was made.
    pub created: Timestamp,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// Bytes of its manifest.
    pub manifest_bytes: u64,
    /// Who it is for: `stable`, or a name that subscribers choose.
    #[serde(default = "stable")]
    pub channel: String,
    /// Whether it should be used.
    #[serde(default)]
    pub state: ReleaseState,
    /// When the files of a withdrawn release go away, at the earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_after: Option<Timestamp>,
    /// The boot map, if a start was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_map: Option<ObjectRef>,
    /// What fetching it costs.
    pub bytes: FetchBytes,
    /// Patches from earlier releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
}

fn stable() -> String {
    "stable".into()
}

/// Whether a release should be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseState {
    /// It may be used.
    #[default]
    Current,
    /// It has a fault: who does not have it does not get it, who has it is told.
    Yanked,
    /// Its files will go away.
    Withdrawn,
}

/// Stored bytes of the chunks and index objects that a subscriber fetches.
///
/// A release *uses* the chunks that have at least one page of one of its extents, and these objects: the disk roots and
/// shards of its disks, its pack list, the chunk tables of the packs with those chunks, and its boot map. Each is counted
/// once, whole. Keys, head, manifests and page lists are not counted, nor what a fetch reads over because it joins ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchBytes {
    /// For somebody who has nothing of this LivePC: all that the release uses.
    pub new: u64,
    /// Of these, what makes it boot-ready: the boot map, and the chunks that it names. Equal to `new` without a boot map.
    pub boot_ready: u64,
    /// For somebody who has an earlier release complete, by its sequence: what this release uses and that one does not
    /// (a boot map is always fetched anew). Told for some of the releases that were kept when this one was made: the
    /// newest, as a rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub from: BTreeMap<u64, u64>,
}

/// New chunks coded against the pages of an earlier release (reserved: this version fetches chunks instead).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// The sequence of the release that a subscriber must have.
    pub from: u64,
    /// The patch's index object.
    pub object: ObjectRef,
    /// Bytes to fetch.
    pub bytes: u64,
}

impl Head {
    /// Reads `head.json`, verifies it with the keys that `keys` gives for its epoch, and checks its form.
    pub fn open(bytes: &[u8], keys: &Keys) -> Result<Self> {
        let envelope = Envelope::parse(WHAT, TYPE, bytes, limits::HEAD_BYTES)?;
        let Some(key) = keys.current() else {
            return Err(FormatError::malformed(WHAT, "there is no signing key"));
        };
        if let Err(error) = envelope.verify(WHAT, key) {
            let earlier = keys.earlier().any(|key| envelope.verify(WHAT, key).is_ok());
            return Err(if earlier {
                FormatError::Foreign {
                    what: WHAT,
                    why: "it is signed with a key that its publisher has replaced".into(),
                }
            } else {
                error
            });
        }
        let head: Self = document::parse(WHAT, envelope.payload.as_bytes(), limits::HEAD_BYTES)?;
        if head.livepc != keys.livepc() {
            return Err(FormatError::Foreign {
                what: WHAT,
                why: format!("it is of LivePC {}", head.livepc),
            });
        }
        if head.epoch != keys.epoch() {
            return Err(FormatError::Foreign {
                what: WHAT,
                why: format!(
                    "it is of epoch {}, but the keys are of epoch {}",
                    head.epoch,
                    keys.epoch()
                ),
            });
        }
        head.check()?;
        Ok(head)
    }

    /// Signs the head and gives the bytes of `head.json`.
    pub fn seal(&self, key: &SecretKey) -> Result<Vec<u8>> {
        self.check()?;
        Envelope::seal(WHAT, TYPE, self, key, limits::HEAD_BYTES)
    }

    fn check(&self) -> Result<()> {
        let malformed = |why: &str| Err(FormatError::malformed(WHAT, why));
        document::check_version(WHAT, self.version)?;
        if self.releases.len() > limits::RELEASES {
            return malformed("it lists too many releases");
        }
        if !self
            .releases
            .windows(2)
            .all(|pair| pair[0].sequence > pair[1].sequence)
        {
            return malformed("its releases are not listed newest first");
        }
        let counts = 1..=limits::COUNT;
        if !counts.contains(&self.revision) || !self.releases.iter().all(|r| counts.contains(&r.sequence)) {
            return malformed("revisions and sequences count from 1 to 2^53 - 1");
        }
        check_mirrors(&self.mirrors)?;
        for release in &self.releases {
            check_line(WHAT, "label", &release.label, 64)?;
            check_name(WHAT, "channel", &release.channel)?;
            if release.manifest_bytes > limits::MANIFEST_BYTES {
                return malformed("a manifest is too large");
            }
            if let Some(map) = &release.boot_map {
                map.check(WHAT)?;
            }
            let bytes = &release.bytes;
            if bytes.from.len() > limits::RELEASES || release.patches.len() > limits::RELEASES {
                return malformed("a release names too many earlier ones");
            }
            let sums = [bytes.new, bytes.boot_ready].into_iter();
            if sums
                .chain(bytes.from.values().copied())
                .any(|sum| sum > limits::TOTAL_BYTES)
            {
                return malformed("a release has more than 1 PiB");
            }
            for patch in &release.patches {
                patch.object.check(WHAT)?;
                if patch.from >= release.sequence || patch.bytes > limits::TOTAL_BYTES {
                    return malformed("a patch is not from an earlier release, or it has more than 1 PiB");
                }
            }
        }
        Ok(())
    }

    /// The newest release of `channel` that may be used.
    #[must_use]
    pub fn newest(&self, channel: &str) -> Option<&Release> {
        self.releases
            .iter()
            .find(|r| r.channel == channel && r.state == ReleaseState::Current)
    }

    /// The release with this sequence.
    #[must_use]
    pub fn release(&self, sequence: u64) -> Option<&Release> {
        self.releases.iter().find(|r| r.sequence == sequence)
    }
}

/// Checks that a head can name these mirrors.
pub fn check_mirrors(mirrors: &[Url]) -> Result<()> {
    if mirrors.len() <= limits::MIRRORS && mirrors.iter().all(is_base) {
        return Ok(());
    }
    let why = format!(
        "there are at most {} mirrors, each an http(s) URL that ends in “/”, without “?” and “#”",
        limits::MIRRORS
    );
    Err(FormatError::malformed(WHAT, why))
}

fn is_base(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.path().ends_with('/')
        && url.query().is_none()
        && url.fragment().is_none()
        && url.as_str().len() <= 2048
}
