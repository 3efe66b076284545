//! Removing what nobody needs.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::PoisonError;

use livepc_format::{Digest, PackId};

use crate::error::{Result, StoreError};
use crate::folder::{DAMAGED, PAGES, TEMPORARY};
use crate::lease::Leases;
use crate::release_key::ReleaseKey;
use crate::store::Store;
use crate::usage::{allocated, visit};

/// What was removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Local pack files.
    pub packs: u64,
    /// Objects of the index.
    pub objects: u64,
    /// The bytes that these, and what crashes have left behind, take on the disk.
    pub bytes: u64,
    /// The releases that are no longer known, and those of the bytes that only they needed. What several of them needed
    /// counts for the first of these.
    pub releases: Vec<(ReleaseKey, u64)>,
}

/// What must stay.
#[derive(Default)]
struct Needed {
    packs: HashSet<Digest>,
    objects: HashSet<Digest>,
}

/// Who needed what goes: packs and objects are told apart by their places.
#[derive(Default)]
struct Gone {
    releases: Vec<(ReleaseKey, u64)>,
    packs: HashMap<Digest, usize>,
    objects: HashMap<Digest, usize>,
}

impl Gone {
    fn add(&mut self, key: ReleaseKey, packs: Vec<Digest>, objects: Vec<Digest>) {
        let place = self.releases.len();
        self.releases.push((key, 0));
        for digest in packs {
            self.packs.entry(digest).or_insert(place);
        }
        for digest in objects {
            self.objects.entry(digest).or_insert(place);
        }
    }

    fn count(&mut self, place: Option<usize>, bytes: u64) {
        if let Some((_, sum)) = place.and_then(|place| self.releases.get_mut(place)) {
            *sum += bytes;
        }
    }
}

impl Store {
    /// Removes the packs and objects that neither a kept release needs nor one that is leased. With `dry_run` it only
    /// says what it would remove. Who writes to the store or takes a lease waits meanwhile.
    ///
    /// A lease of a release that this store never heard of protects everything, since nobody knows what it needs.
    ///
    /// # Errors
    /// [`StoreError::ReferencesLost`] if it is not known what the releases need, and what the system says; what was
    /// removed by then was not needed.
    pub fn prune(&self, dry_run: bool) -> Result<PruneReport> {
        self.prune_without(&[], dry_run)
    }

    /// What [`Store::prune`] would remove if these releases too were not kept any more.
    ///
    /// # Errors
    /// As [`Store::prune`].
    pub fn would_prune(&self, forgotten: &[ReleaseKey]) -> Result<PruneReport> {
        self.prune_without(forgotten, true)
    }

    fn prune_without(&self, forgotten: &[ReleaseKey], dry_run: bool) -> Result<PruneReport> {
        if self.database.references_lost()? {
            return Err(StoreError::ReferencesLost);
        }
        let _alone = self.pruning.write().unwrap_or_else(PoisonError::into_inner);
        let leases = Leases::hold(&self.folder)?;
        let in_use = leases.in_use(!dry_run)?;
        let releases = self.database.releases()?;
        if in_use
            .iter()
            .any(|leased| releases.iter().all(|(known, _)| known != leased))
        {
            tracing::info!("a release is in use that is not known; nothing is removed");
            return Ok(PruneReport::default());
        }
        let (stay, gone): (Vec<_>, Vec<_>) = releases
            .into_iter()
            .partition(|(key, kept)| (*kept && !forgotten.contains(key)) || in_use.contains(key));
        let mut needed = Needed::default();
        for (key, _) in &stay {
            let (packs, objects) = self.database.needs(key)?;
            needed.packs.extend(packs);
            needed.objects.extend(objects);
        }
        let mut needed_by = Gone::default();
        for (key, _) in &gone {
            let (packs, objects) = self.database.needs(key)?;
            needed_by.add(key.clone(), packs, objects);
        }
        let report = self.remove_others(&needed, needed_by, dry_run)?;
        if !dry_run {
            let gone: Vec<ReleaseKey> = gone.into_iter().map(|(key, _)| key).collect();
            self.database.remove_releases(&gone)?;
        }
        Ok(report)
    }

    fn remove_others(&self, needed: &Needed, mut gone: Gone, dry_run: bool) -> Result<PruneReport> {
        let mut report = PruneReport::default();
        let mut removed = Vec::new();
        let mut remove = |path: &Path| -> Result<u64> {
            let bytes = allocated(path);
            report.bytes += bytes;
            if !dry_run {
                remove(path)?;
            }
            Ok(bytes)
        };
        if !dry_run {
            // Windows keeps the name of a file that is open.
            self.writers.close_all();
        }
        let (mut packs, mut objects) = (0, 0);
        visit(&self.folder.packs(), &mut |entry| {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { return Ok(()) };
            if let Some(digest) = name.strip_suffix(PAGES).and_then(|name| name.parse().ok()) {
                if !needed.packs.contains(&digest) {
                    if !dry_run {
                        self.reader.close(PackId(digest));
                    }
                    let bytes = remove(&entry.path())?;
                    gone.count(gone.packs.get(&digest).copied(), bytes);
                    removed.push(PackId(digest));
                    packs += 1;
                }
            } else if is_left_behind(name) {
                remove(&entry.path())?;
            }
            Ok(())
        })?;
        visit(&self.folder.objects(), &mut |entry| {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { return Ok(()) };
            if let Ok(digest) = name.parse() {
                if !needed.objects.contains(&digest) {
                    let bytes = remove(&entry.path())?;
                    gone.count(gone.objects.get(&digest).copied(), bytes);
                    objects += 1;
                }
            } else if is_left_behind(name) {
                remove(&entry.path())?;
            }
            Ok(())
        })?;
        (report.packs, report.objects) = (packs, objects);
        report.releases = gone.releases;
        if !dry_run {
            self.database.drop_packs(&removed)?;
        }
        Ok(report)
    }
}

/// True for what a crash has left in the making, and for what was damaged and moved aside.
fn is_left_behind(name: &str) -> bool {
    name.starts_with(TEMPORARY) || name.ends_with(DAMAGED)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("removed", path, error)),
        _ => Ok(()),
    }
}
