//! The local pack files that a process has open for reading.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use livepc_format::PackId;

use crate::os;
use crate::pack_file::{Found, PackFile};

/// The most files that are open at a time. A process may have several stores' readers, and systems that allow it 256 files.
const MAX_OPEN: usize = 192;

/// The open files; the one that was not read for the longest time is closed when there are too many.
///
/// Reads of a file that is open take a shared lock for as long as a look-up needs, and none for the read itself.
#[derive(Default)]
pub(crate) struct OpenPacks {
    open: RwLock<HashMap<PackId, Entry>>,
    clock: AtomicU64,
}

struct Entry {
    file: Arc<PackFile>,
    used: AtomicU64,
}

impl OpenPacks {
    /// The file of `pack`, if it is open.
    pub(crate) fn get(&self, pack: PackId) -> Option<Arc<PackFile>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let entry = open.get(&pack)?;
        entry.used.store(self.tick(), Ordering::Relaxed);
        Some(Arc::clone(&entry.file))
    }

    /// Opens the file of `pack` anew: another process may have added pages to it, or put another file in its place.
    /// `None` if there is none.
    pub(crate) fn open(&self, path: &Path, pack: PackId) -> io::Result<Option<Arc<PackFile>>> {
        let found = match PackFile::open(path, pack) {
            Err(error) if os::is_out_of_handles(&error) => {
                // The system allows fewer than we thought.
                let half = self.open.read().unwrap_or_else(PoisonError::into_inner).len() / 2;
                self.close_down_to(half);
                PackFile::open(path, pack)?
            }
            found => found?,
        };
        let Found::Pack(file) = found else {
            self.close(pack);
            return Ok(None);
        };
        let file = Arc::new(file);
        let entry = Entry {
            file: Arc::clone(&file),
            used: AtomicU64::new(self.tick()),
        };
        self.close_down_to(MAX_OPEN - 1);
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(pack, entry);
        Ok(Some(file))
    }

    /// Forgets the file of `pack`.
    pub(crate) fn close(&self, pack: PackId) {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&pack);
    }

    fn close_down_to(&self, most: usize) {
        if self.open.read().unwrap_or_else(PoisonError::into_inner).len() <= most {
            return;
        }
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let mut by_use: Vec<(u64, PackId)> = open
            .iter()
            .map(|(pack, entry)| (entry.used.load(Ordering::Relaxed), *pack))
            .collect();
        by_use.sort_unstable();
        // Some more than must be, so that not every opening has to look for one.
        let excess = (open.len() - most + most / 16).min(open.len());
        for (_, pack) in &by_use[..excess] {
            open.remove(pack);
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.open.read().unwrap().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{PAGES_AT, header};
    use livepc_format::Digest;
    use std::fs;

    #[test]
    fn never_more_than_the_limit_are_open_and_the_oldest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let open = OpenPacks::default();
        let packs: Vec<PackId> = (0..MAX_OPEN as u32 + 40)
            .map(|i| PackId(Digest::of(&i.to_le_bytes())))
            .collect();
        for pack in &packs {
            let path = folder.path().join(pack.to_string());
            let file = fs::File::create(&path).unwrap();
            os::write_all_at(&file, &header(*pack), 0).unwrap();
            file.set_len(PAGES_AT).unwrap();
            assert!(open.open(&path, *pack).unwrap().is_some(), "the file is a pack's");
            assert!(open.len() <= MAX_OPEN, "{} files are open", open.len());
            assert!(
                open.get(packs[0]).is_some(),
                "what is always in use must stay open"
            );
        }
        assert!(
            open.get(packs[1]).is_none(),
            "what was used once, long ago, must be closed"
        );
    }
}
