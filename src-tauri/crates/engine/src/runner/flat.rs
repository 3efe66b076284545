//! Whole copies of a release's disks, for hypervisors that read only files where none can be mounted. They take as much
//! space as the disks have content, so there is one release's at a time.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use livepc_disk::mount::{DESCRIPTOR, FLAT};
use livepc_disk::vmdk::{SECTOR, flat_descriptor};
use livepc_durable::Readers;
use livepc_format::index::ObjectRef;
use livepc_format::manifest::Content;
use livepc_protocol::{Home, Problem};

use crate::serve::Release;

/// Where the copies of a release are.
pub(super) fn folder(home: &Home, id: &str, release: u64) -> PathBuf {
    all(home, id).join(release.to_string())
}

/// Where the copies of a machine's releases are.
pub(crate) fn all(home: &Home, id: &str) -> PathBuf {
    home.bases(id).join("flat")
}

/// What describes the copy of a disk; it is there as soon as the copy is whole. `all` is where the copies are.
pub(crate) fn descriptor(all: &Path, release: u64, role: &str) -> PathBuf {
    all.join(release.to_string()).join(role).join(DESCRIPTOR)
}

/// Removes all copies.
pub(super) fn remove(home: &Home, id: &str) -> Result<(), Problem> {
    remove_folder(&all(home, id))
}

/// Copies the published disks of a release, unless they are copied already. Of other releases nothing is left.
///
/// # Errors
/// `why_not_mounted`, if the release is not complete: what is read later would not be in the copy. Else what keeps it from
/// being written.
pub(super) async fn copy(
    home: &Home,
    id: &str,
    release: &Release,
    why_not_mounted: Problem,
) -> Result<(), Problem> {
    let folder = folder(home, id, release.opened.release);
    if !release.opened.complete && !folder.exists() {
        return Err(Problem {
            hint: format!(
                "{} Or download the release completely first: its disks are copied then.",
                why_not_mounted.hint
            ),
            ..why_not_mounted
        });
    }
    remove_others(&all(home, id), &folder)?;
    for disk in &release.manifest.disks {
        let Content::Published { index, .. } = &disk.content else {
            continue;
        };
        let disk_folder = folder.join(&disk.role);
        let descriptor = descriptor(&all(home, id), release.opened.release, &disk.role);
        let text = description(disk.size, index);
        if is_whole(&descriptor, &disk_folder.join(FLAT), &text, disk.size) {
            continue;
        }
        let doing = |e: std::io::Error| Problem::io("The copy of the disk cannot be written", &e);
        livepc_durable::create_folder(&disk_folder).map_err(doing)?;
        crate::export::raw(release, &disk.role, &disk_folder.join(FLAT), true, &mut |_, _| ()).await?;
        livepc_durable::write(&descriptor, Readers::User, text.as_bytes()).map_err(doing)?;
    }
    Ok(())
}

/// True if a copy is there: the descriptor, which is written last, is the one that belongs to this disk, and the file has the
/// disk's length.
fn is_whole(descriptor: &Path, flat: &Path, text: &str, size: u64) -> bool {
    let described =
        livepc_durable::read(descriptor, text.len() as u64).is_ok_and(|found| found == text.as_bytes());
    described && flat.metadata().is_ok_and(|found| found.len() == size)
}

/// What describes the file beside it, which has a disk of `size` bytes, to VMware.
pub(super) fn description(size: u64, index: &ObjectRef) -> String {
    // A manifest's disks have whole sectors, and at least one.
    let sectors = NonZeroU64::new(size / SECTOR).unwrap_or(NonZeroU64::MIN);
    flat_descriptor(FLAT, sectors, index.digest.as_bytes())
}

fn remove_others(all: &Path, wanted: &Path) -> Result<(), Problem> {
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        if entry.path() != wanted {
            remove_folder(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a folder, which need not be there.
pub(super) fn remove_folder(folder: &Path) -> Result<(), Problem> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Problem::io(
            "A copy that is not needed any more cannot be removed",
            &error,
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_whole_with_its_own_descriptor_and_all_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (descriptor, flat) = (dir.path().join("d"), dir.path().join("f"));
        let whole = || is_whole(&descriptor, &flat, "text", 4);
        assert!(!whole());
        std::fs::write(&flat, "1234").unwrap();
        std::fs::write(&descriptor, "text").unwrap();
        assert!(whole());
        for (torn, of, good) in [
            (&descriptor, "", "text"),
            (&descriptor, "texx", "text"),
            (&flat, "123", "1234"),
        ] {
            std::fs::write(torn, of).unwrap();
            assert!(!whole(), "{of:?}");
            std::fs::write(torn, good).unwrap();
        }
    }

    #[test]
    fn only_one_release_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        for release in ["1", "2"] {
            std::fs::create_dir_all(dir.path().join(release).join("system")).unwrap();
        }
        remove_others(dir.path(), &dir.path().join("2")).unwrap();
        assert!(!dir.path().join("1").exists());
        assert!(dir.path().join("2/system").exists());
        remove_others(&dir.path().join("nowhere"), &dir.path().join("2")).expect("nothing to remove");
    }
}
