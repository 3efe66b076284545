//! What was published with a publisher's keys: it lies beside them, so that a list of releases that begins anew, or goes on
//! from an old copy, is noticed before subscribers refuse it.
//!
//! Destinations know all that a publication needs; this knows only what must not be contradicted. Whoever publishes from
//! another computer without it publishes as before.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use livepc_durable::Readers;
use livepc_format::{Digest, Head, Keys, LivePcId};
use serde::{Deserialize, Serialize};

use crate::error::{Context as _, PublishError, Result};

/// Bytes of a record at the most: ten thousand releases are a tenth of it.
const RECORD: u64 = 16 << 20;

/// A folder with a record of each LivePC that was published with the keys beside it.
#[derive(Clone, Debug)]
pub struct Ledger {
    dir: PathBuf,
}

/// What was published of one LivePC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The text of the newest `keys.json`.
    keys: String,
    /// The manifest of every release, by sequence.
    pub(crate) releases: BTreeMap<u64, Digest>,
    /// What was published where last.
    pub(crate) places: BTreeMap<String, Place>,
}

/// The head that was published to one place last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) epoch: u32,
    pub(crate) revision: u64,
    /// The digest of `head.json`.
    pub(crate) head: Digest,
    pub(crate) at: Timestamp,
}

impl Place {
    /// What orders heads.
    pub(crate) fn number(&self) -> (u32, u64) {
        (self.epoch, self.revision)
    }
}

impl Record {
    /// The keys that were published last, with the bytes of their file.
    pub(crate) fn keys(&self) -> Result<(Keys, &[u8])> {
        Ok((Keys::open(self.keys.as_bytes())?, self.keys.as_bytes()))
    }

    /// The highest sequence that was ever used, and its manifest.
    pub(crate) fn newest(&self) -> Option<(u64, Digest)> {
        self.releases
            .last_key_value()
            .map(|(sequence, manifest)| (*sequence, *manifest))
    }

    /// The last publication, wherever it went.
    pub(crate) fn last(&self) -> Option<(&str, &Place)> {
        let places = self.places.iter().map(|(name, place)| (name.as_str(), place));
        places.max_by_key(|(_, place)| place.at)
    }
}

impl Ledger {
    /// The records in the folder `dir`, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// What is known of a LivePC; `None` if nothing was published of it with these keys.
    ///
    /// # Errors
    /// [`PublishError::Ledger`] if there is a record that cannot be read: not to know is not to be sure.
    pub(crate) fn read(&self, livepc: LivePcId) -> Result<Option<Record>> {
        let path = self.path(livepc);
        let unreadable = |why: String| PublishError::Ledger {
            path: path.clone(),
            why,
        };
        let bytes = match livepc_durable::read(&path, RECORD) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let (keys, _) = record.keys().map_err(|error| unreadable(error.to_string()))?;
        if keys.livepc() != livepc {
            return Err(unreadable("it is of another LivePC".into()));
        }
        Ok(Some(record))
    }

    /// Notes that `head`, whose file has the digest `digest`, was published to `place` under the keys whose file has the
    /// bytes `keys_bytes`.
    ///
    /// # Errors
    /// Those of [`Ledger::read`], and if the record cannot be written.
    pub(crate) fn note(&self, place: String, keys_bytes: &[u8], head: &Head, digest: Digest) -> Result<()> {
        let keys = String::from_utf8_lossy(keys_bytes).into_owned();
        let mut record = self.read(head.livepc)?.unwrap_or(Record {
            keys: String::new(),
            releases: BTreeMap::new(),
            places: BTreeMap::new(),
        });
        record.keys = keys;
        let releases = head.releases.iter();
        record
            .releases
            .extend(releases.map(|release| (release.sequence, release.manifest)));
        record.places.insert(
            place,
            Place {
                epoch: head.epoch,
                revision: head.revision,
                head: digest,
                at: head.issued,
            },
        );
        let path = self.path(head.livepc);
        let what = || format!("writing {}", path.display());
        let text = serde_json::to_vec_pretty(&record)
            .map_err(io::Error::other)
            .context(what)?;
        livepc_durable::create_folder(&self.dir).context(what)?;
        livepc_durable::write(&path, Readers::User, &text).context(what)
    }

    fn path(&self, livepc: LivePcId) -> PathBuf {
        self.dir.join(format!("{livepc}.json"))
    }
}
