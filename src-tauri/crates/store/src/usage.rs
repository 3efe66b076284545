//! How much room a store takes.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, DirEntry};
use std::path::Path;

use livepc_format::{Digest, PackId};

use crate::error::{Result, StoreError};
use crate::folder::PAGES;
use crate::os;
use crate::release_key::ReleaseKey;
use crate::store::Store;

impl Store {
    /// The bytes that a pack takes on the disk, 0 if nothing of it is here.
    #[must_use]
    pub fn local_bytes(&self, pack: PackId) -> u64 {
        allocated(&self.folder.pack(pack))
    }

    /// The bytes that the whole store takes on the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn usage(&self) -> Result<u64> {
        self.usage_of(|_| None).map(|usage| usage.bytes)
    }

    /// The bytes that the whole store takes on the disk, and what of it which owner's releases need; `owner` tells whose a
    /// release is.
    ///
    /// # Errors
    /// What the system says.
    pub fn usage_of(&self, owner: impl Fn(&ReleaseKey) -> Option<String>) -> Result<Usage> {
        let mut owners = Owners::default();
        for (key, _) in self.database.releases()? {
            if let Some(owner) = owner(&key) {
                let (packs, objects) = self.database.needs(&key)?;
                owners.add(owner, packs, objects);
            }
        }
        let mut usage = Usage::default();
        let name = |entry: &DirEntry| entry.file_name().to_str().map(str::to_owned);
        visit(&self.folder.packs(), &mut |entry| {
            let bytes = allocated(&entry.path());
            usage.bytes += bytes;
            let digest = name(entry).and_then(|name| name.strip_suffix(PAGES)?.parse().ok());
            owners.count(
                digest.and_then(|digest| owners.packs.get(&digest)),
                bytes,
                &mut usage,
            );
            Ok(())
        })?;
        visit(&self.folder.objects(), &mut |entry| {
            let bytes = allocated(&entry.path());
            usage.bytes += bytes;
            let digest = name(entry).and_then(|name| name.parse().ok());
            owners.count(
                digest.and_then(|digest| owners.objects.get(&digest)),
                bytes,
                &mut usage,
            );
            Ok(())
        })?;
        for entry in entries(self.folder.path())? {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                usage.bytes += allocated(&entry.path());
            }
        }
        Ok(usage)
    }
}

/// What a store takes on the disk, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All of it.
    pub bytes: u64,
    /// What each owner has a part in.
    pub shares: HashMap<String, Share>,
}

/// What an owner's releases take of a store, in bytes on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// What only they need.
    pub private: u64,
    /// What they need, and those of another owner too.
    pub shared: u64,
}

/// Who needs what, by the places of the owners' names.
#[derive(Default)]
struct Owners {
    names: Vec<String>,
    packs: HashMap<Digest, BTreeSet<usize>>,
    objects: HashMap<Digest, BTreeSet<usize>>,
}

impl Owners {
    fn add(&mut self, owner: String, packs: Vec<Digest>, objects: Vec<Digest>) {
        let known = self.names.iter().position(|name| *name == owner);
        let place = known.unwrap_or(self.names.len());
        if known.is_none() {
            self.names.push(owner);
        }
        for digest in packs {
            self.packs.entry(digest).or_default().insert(place);
        }
        for digest in objects {
            self.objects.entry(digest).or_default().insert(place);
        }
    }

    fn count(&self, places: Option<&BTreeSet<usize>>, bytes: u64, usage: &mut Usage) {
        let places = places.into_iter().flatten();
        let names: Vec<&String> = places.filter_map(|place| self.names.get(*place)).collect();
        for name in &names {
            let share = usage.shares.entry((*name).clone()).or_default();
            if names.len() == 1 {
                share.private += bytes;
            } else {
                share.shared += bytes;
            }
        }
    }
}

/// The bytes that a file takes on the disk; 0 if it is gone.
pub(crate) fn allocated(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| os::allocated(path, &metadata))
}

/// Visits the files in the folders in `folder`.
pub(crate) fn visit(folder: &Path, file: &mut dyn FnMut(&DirEntry) -> Result<()>) -> Result<()> {
    for inner in entries(folder)? {
        if !inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        for entry in entries(&inner.path())? {
            file(&entry)?;
        }
    }
    Ok(())
}

/// What is in a folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let read = || fs::read_dir(folder)?.collect::<Result<_, _>>();
    read().map_err(|error| StoreError::io("read", folder, error))
}
