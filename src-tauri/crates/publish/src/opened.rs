//! What a destination has: keys, head and index of its releases, each checked with what names it.

use livepc_format::feed::{self, Source};
use livepc_format::head::ReleaseState;
use livepc_format::index::{ChunkTable, DiskRoot, ObjectRef, PackList, Shard};
use livepc_format::manifest::Content;
use livepc_format::{Digest, FormatError, Head, Keys, Manifest, PackId, Release, limits, paths};
use url::Url;

use crate::authority::PublishKeys;
use crate::destination::{Destination, read_named};
use crate::error::{PublishError, Result};

/// What a publisher finds in a destination.
pub struct Opened<'a> {
    pub(crate) dest: &'a dyn Destination,
    /// The keys.
    pub keys: Keys,
    /// The digest of the bytes of `keys.json`.
    pub(crate) keys_digest: Digest,
    /// The head; `None` if no release was published yet.
    pub head: Option<Head>,
    /// The digest of the bytes of `head.json`.
    pub head_digest: Option<Digest>,
}

impl<'a> Opened<'a> {
    /// Opens what is published in `dest`; `None` if nothing is.
    ///
    /// # Errors
    /// If keys or head are damaged or not signed as they must be.
    pub fn open(dest: &'a dyn Destination) -> Result<Option<Self>> {
        Self::read(dest, |bytes, keys| Ok(Head::open(bytes, keys)?))
    }

    /// As [`Opened::open`], for who is about to replace the head. If the signing key was replaced, and the publication that
    /// wrote that stopped before it wrote the head, this goes on from the head that a key before has signed. The root key
    /// must be at hand, as it was then: otherwise who has stolen such a key could bring its heads back at any time.
    pub(crate) fn open_to_publish(
        dest: &'a dyn Destination,
        publisher: &PublishKeys,
    ) -> Result<Option<Self>> {
        let opened = Self::read(dest, |bytes, keys| match Head::open(bytes, keys) {
            Err(error @ FormatError::Foreign { .. }) => {
                let mut earlier = std::iter::successors(keys.before(), Keys::before);
                match earlier.find_map(|keys| Head::open(bytes, &keys).ok()) {
                    Some(head) if publisher.have_root_of(keys)? => Ok(head),
                    Some(_) => Err(PublishError::HandoverUnfinished(dest.name())),
                    None => Err(error.into()),
                }
            }
            head => Ok(head?),
        })?;
        if opened.is_none() {
            check_feed(dest)?;
        }
        Ok(opened)
    }

    fn read(
        dest: &'a dyn Destination,
        open_head: impl FnOnce(&[u8], &Keys) -> Result<Head>,
    ) -> Result<Option<Self>> {
        let keys = dest.read(paths::KEYS, limits::KEYS_BYTES)?;
        let head = dest.read(paths::HEAD, limits::HEAD_BYTES)?;
        let Some(keys) = keys else {
            return match head {
                None => Ok(None),
                Some(_) => Err(PublishError::Lost {
                    place: dest.name(),
                    path: paths::KEYS.into(),
                }),
            };
        };
        let keys_digest = Digest::of(&keys);
        let keys = Keys::open(&keys)?;
        let head_digest = head.as_deref().map(Digest::of);
        let head = head.map(|bytes| open_head(&bytes, &keys)).transpose()?;
        Ok(Some(Self {
            dest,
            keys,
            keys_digest,
            head,
            head_digest,
        }))
    }

    /// The releases whose files stay: all but withdrawn ones, newest first.
    pub fn kept(&self) -> impl Iterator<Item = &Release> {
        let releases = self.head.iter().flat_map(|head| &head.releases);
        releases.filter(|release| release.state != ReleaseState::Withdrawn)
    }

    /// Those of `releases` whose files stay, with their manifests.
    pub(crate) fn with_manifests<'r>(&self, releases: &[&'r Release]) -> Result<Vec<Kept<'r>>> {
        let kept = releases
            .iter()
            .filter(|release| release.state != ReleaseState::Withdrawn);
        kept.map(|release| {
            let manifest = self.manifest(release)?;
            Ok(Kept { release, manifest })
        })
        .collect()
    }

    /// True if the files of a release are there, as far as a publisher needs them.
    pub(crate) fn is_whole(&self, release: &Release) -> Result<bool> {
        let lost = |error: PublishError| match error {
            PublishError::Lost { .. } => Ok(false),
            error => Err(error),
        };
        let packs = self
            .manifest(release)
            .and_then(|manifest| self.pack_list(&manifest.packs));
        let packs = match packs {
            Ok(list) => list.packs,
            Err(error) => return lost(error),
        };
        for pack in packs {
            let whole = self.dest.size(&paths::pack(&pack.id))? == Some(pack.stored)
                && self.dest.size(&paths::page_list(&pack.id))?.is_some()
                && self.dest.size(&paths::object(&pack.id.0))?.is_some();
            if !whole {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The manifest of a release.
    ///
    /// # Errors
    /// If it is missing or not the one that the head names.
    pub fn manifest(&self, release: &Release) -> Result<Manifest> {
        let bytes = read_named(
            self.dest,
            &paths::manifest(&release.manifest),
            limits::MANIFEST_BYTES,
        )?;
        Ok(Manifest::open(&bytes, self.keys.livepc(), release)?)
    }

    /// A release's list of packs.
    ///
    /// # Errors
    /// If it is missing or not the one that the manifest names.
    pub fn pack_list(&self, object: &ObjectRef) -> Result<PackList> {
        Ok(PackList::decode(&self.object(object)?, object)?)
    }

    /// The root of a disk's index.
    ///
    /// # Errors
    /// If it is missing or not the one that the manifest names.
    pub fn disk_root(&self, object: &ObjectRef) -> Result<DiskRoot> {
        Ok(DiskRoot::decode(&self.object(object)?, object)?)
    }

    /// An extent shard.
    ///
    /// # Errors
    /// If it is missing or not the one that the disk root names.
    pub fn shard(&self, object: &ObjectRef) -> Result<Shard> {
        Ok(Shard::decode(&self.object(object)?, object)?)
    }

    /// The chunk table of a pack.
    ///
    /// # Errors
    /// If it is missing or not that pack's.
    pub fn table(&self, pack: PackId) -> Result<ChunkTable> {
        read_table(self.dest, pack)
    }

    fn object(&self, object: &ObjectRef) -> Result<Vec<u8>> {
        read_named(self.dest, &paths::object(&object.digest), object.stored)
    }
}

/// A kept release and its manifest.
pub(crate) struct Kept<'a> {
    pub(crate) release: &'a Release,
    pub(crate) manifest: Manifest,
}

impl Kept<'_> {
    /// The roots of its published disks.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &ObjectRef> {
        self.manifest.disks.iter().filter_map(|disk| match &disk.content {
            Content::Published { index, .. } => Some(index),
            Content::User { .. } => None,
        })
    }
}

/// Reads the chunk table of a pack.
pub(crate) fn read_table(dest: &dyn Destination, pack: PackId) -> Result<ChunkTable> {
    let bytes = read_named(dest, &paths::object(&pack.0), ChunkTable::MAX_BYTES)?;
    Ok(ChunkTable::open(&bytes, pack)?)
}

/// Refuses to replace somebody else's feed where no LivePC was published yet.
fn check_feed(dest: &dyn Destination) -> Result<()> {
    let Some(found) = dest.read(paths::FEED, limits::CATALOG_BYTES)? else {
        return Ok(());
    };
    // One that a publication left that did not come to its end is ours.
    let is_ours = Url::parse("https://livepc.invalid/feed.xml")
        .is_ok_and(|base| matches!(feed::read(&found, None, &base), Ok(Source::Feed(_))));
    if is_ours {
        return Ok(());
    }
    Err(PublishError::FeedForeign { place: dest.name() })
}
