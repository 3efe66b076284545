//! The disks of a machine: the release's, each under an overlay, and the subscriber's own.

use std::path::Path;

use livepc_format::machine::HypervisorKind;
use livepc_format::manifest::{Content, Manifest};
use livepc_format::shown;
use livepc_hypervisor::{Base, DiskSpec, Hypervisor, Overlay};
use livepc_protocol::{Code, Problem};

use crate::hypervisors::of_hypervisor;
use crate::machine_folder::{MachineFolder, OverlayRecord, is_description, name_of};
use crate::user_disk::UserDisk;
use crate::words::word;

/// The disks as `kind` will have them, so that it can say whether it takes them. Their bases are only of the right sort: the
/// real ones come with [`prepare`].
pub(super) fn plan(
    kind: HypervisorKind,
    folder: &Path,
    manifest: &Manifest,
    complete: bool,
) -> Vec<DiskSpec> {
    let spec = |disk: &livepc_format::manifest::Disk| {
        let own = matches!(disk.content, Content::User { .. });
        let overlay = |ending| folder.join(format!("{}.{ending}", disk.role));
        let (base, overlay) = match kind {
            _ if own => (None, Overlay::Raw(overlay("raw"))),
            HypervisorKind::Qemu => (
                Some(Base::File(folder.join("base"))),
                Overlay::Qcow2(overlay("qcow2")),
            ),
            HypervisorKind::Vmware => (
                Some(Base::Vmdk(folder.join("base.vmdk"))),
                Overlay::Vmdk(overlay("vmdk")),
            ),
        };
        DiskSpec {
            role: disk.role.clone(),
            controller: disk.controller,
            size: disk.size,
            base,
            overlay,
            complete: complete || own,
        }
    };
    manifest.disks.iter().map(spec).collect()
}

/// Makes what the planned disks are: the overlays anew, since the system disk is clean at each cold start, unless `keep`
/// says that what was changed is still wanted; the user's own disk at the first start. `bases` has the base of each disk.
///
/// # Errors
/// If the changes belong to another release or hypervisor, and what keeps files from being made.
pub(super) async fn prepare(
    hypervisor: &dyn Hypervisor,
    folder: &Path,
    manifest: &Manifest,
    keep: bool,
    mut disks: Vec<DiskSpec>,
    bases: Vec<Option<Base>>,
) -> Result<Vec<DiskSpec>, Problem> {
    let own = MachineFolder::new(folder.to_owned());
    let record = OverlayRecord::of(manifest, word(&hypervisor.kind()));
    // What is not kept need not be understood.
    let kept = if keep { own.overlay_record()? } else { None };
    match kept {
        Some(kept) => {
            check_overlays(&own, &kept, &record, &disks)?;
            if kept != record {
                // What is made next is over what this release has.
                own.begin_overlays(&record)?;
            }
        }
        None => {
            own.discard_overlays()?;
            own.begin_overlays(&record)?;
        }
    }
    for ((disk, described), base) in disks.iter_mut().zip(&manifest.disks).zip(bases) {
        disk.base = base;
        match &disk.overlay {
            // It may have been made larger.
            Overlay::Raw(_) => disk.size = UserDisk::of(folder, described)?.make(described.size)?,
            Overlay::Qcow2(overlay) | Overlay::Vmdk(overlay) => {
                if is_description(overlay) {
                    // Of a disk of the user's own that had this role once: what is on that stays where it is.
                    own.put_aside(overlay)?;
                }
                if !is_there(overlay)? {
                    let made = hypervisor.create_overlay(overlay, disk.size).await;
                    made.map_err(|e| of_hypervisor(&e))?;
                }
            }
        }
    }
    Ok(disks)
}

/// Refuses changes that were made to something else: over another base they would be nonsense.
fn check_overlays(
    folder: &MachineFolder,
    kept: &OverlayRecord,
    wanted: &OverlayRecord,
    disks: &[DiskSpec],
) -> Result<(), Problem> {
    if (kept.release, &kept.hypervisor) != (wanted.release, &wanted.hypervisor) {
        return Err(Problem::new(
            Code::Busy,
            format!(
                "The changes on the system disk were made to release {} with {}, and this would be release {} with {}.",
                kept.release,
                name_of(&kept.hypervisor),
                wanted.release,
                name_of(&wanted.hypervisor)
            ),
            "Start it with what they were made with, or reset the changes, which loses them.",
        ));
    }
    for disk in disks {
        let (Overlay::Qcow2(overlay) | Overlay::Vmdk(overlay)) = &disk.overlay else {
            continue;
        };
        if is_there(overlay)? && !kept.binds(&disk.role, wanted) {
            let place = folder.put_aside(overlay)?;
            return Err(Problem::new(
                Code::Failed,
                format!(
                    "The changes on the disk “{}” were not made over the one that release {} has. They are in {} now.",
                    disk.role,
                    wanted.release,
                    place.display()
                ),
                "Start the machine again: that disk is as it was published then.",
            ));
        }
    }
    Ok(())
}

/// True if there are changes. A file that cannot be looked at is no absence, nor is a name that leads to a drive that is away:
/// a new file would stand in for what was kept.
fn is_there(overlay: &Path) -> Result<bool, Problem> {
    let unreachable = |error: &std::io::Error| {
        let what = format!(
            "The changes of the disk in {} cannot be reached",
            shown::path(overlay)
        );
        Problem::io(&what, error)
    };
    match overlay.symlink_metadata() {
        Ok(found) if found.is_symlink() => overlay.metadata().map(|_| true).map_err(|e| unreachable(&e)),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unreachable(&error)),
    }
}

#[cfg(test)]
mod tests {
    use livepc_format::Digest;
    use livepc_format::machine::Controller;

    use super::*;
    use crate::machine_folder::OverlayBase;

    fn record(release: u64, hypervisor: &str, roots: &[(&str, u8)]) -> OverlayRecord {
        let base = |(role, root): &(&str, u8)| {
            let root = Digest::of(&[*root]);
            ((*role).to_owned(), OverlayBase { root, size: 1 << 20 })
        };
        OverlayRecord {
            release,
            hypervisor: hypervisor.into(),
            bases: roots.iter().map(base).collect(),
        }
    }

    fn disks(folder: &Path) -> Vec<DiskSpec> {
        let disk = |role: &str| DiskSpec {
            role: role.into(),
            controller: Controller::Virtio,
            size: 1 << 20,
            base: None,
            overlay: Overlay::Qcow2(folder.join(format!("{role}.qcow2"))),
            complete: true,
        };
        vec![disk("system"), disk("data")]
    }

    /// Blocks over another disk are a file system that is damaged without a word.
    #[test]
    fn changes_are_used_over_what_they_were_made_over_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let folder = MachineFolder::new(dir.path().to_owned());
        let file = |name: &str| dir.path().join(name);
        std::fs::write(file("system.qcow2"), "system").unwrap();
        std::fs::write(file("data.qcow2"), "data").unwrap();
        let check = |kept: &OverlayRecord| {
            let now = record(3, "qemu", &[("system", 1), ("data", 2)]);
            check_overlays(&folder, kept, &now, &disks(dir.path()))
        };
        check(&record(3, "qemu", &[("system", 1), ("data", 2)])).expect("the same");
        check(&record(3, "qemu", &[])).expect("of an earlier version");
        for other in [record(2, "qemu", &[]), record(3, "vmware", &[])] {
            assert_eq!(check(&other).unwrap_err().code, Code::Busy);
        }
        assert!(file("system.qcow2").exists(), "nothing was moved");

        let moved = check(&record(3, "qemu", &[("system", 1), ("data", 9)])).unwrap_err();
        assert!(moved.message.contains("data.qcow2.aside-1"), "{moved:?}");
        assert_eq!(std::fs::read(file("data.qcow2.aside-1")).unwrap(), b"data");
        assert!(file("system.qcow2").exists() && !file("data.qcow2").exists());
        check(&record(3, "qemu", &[("system", 1), ("data", 9)])).expect("what is left fits");
        std::fs::write(file("data.qcow2"), "more").unwrap();
        let unknown = check(&record(3, "qemu", &[("system", 1)])).unwrap_err();
        assert!(unknown.message.contains("data.qcow2.aside-2"), "{unknown:?}");
    }

    #[cfg(unix)]
    #[test]
    fn changes_on_a_drive_that_is_away_are_not_absent() {
        let dir = tempfile::tempdir().unwrap();
        let (overlay, drive) = (dir.path().join("system.qcow2"), dir.path().join("drive"));
        assert!(!is_there(&overlay).unwrap());
        std::os::unix::fs::symlink(&drive, &overlay).unwrap();
        let away = is_there(&overlay).unwrap_err();
        assert!(away.message.contains("system.qcow2"), "{away:?}");
        std::fs::write(&drive, "changes").unwrap();
        assert!(is_there(&overlay).unwrap());
        std::fs::remove_file(&overlay).unwrap();
        std::fs::write(&overlay, "changes").unwrap();
        assert!(is_there(&overlay).unwrap());
    }
}
