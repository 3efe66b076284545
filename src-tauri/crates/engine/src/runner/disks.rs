//! The disks of a machine: the release's, each under an overlay, and the subscriber's own.

use std::path::Path;

use livepc_format::machine::HypervisorKind;
use livepc_format::manifest::{Content, Manifest};
use livepc_hypervisor::{Base, DiskSpec, Hypervisor, Overlay};
use livepc_protocol::{Code, Problem};

use crate::hypervisors::of_hypervisor;
use crate::machine_folder::{MachineFolder, OverlayRecord, name_of};
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
    let record = OverlayRecord {
        release: manifest.sequence,
        hypervisor: word(&hypervisor.kind()),
    };
    // What is not kept need not be understood.
    let kept = if keep { own.overlay_record()? } else { None };
    match kept {
        Some(kept) => check_overlays(&kept, &record)?,
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
                if !overlay.exists() {
                    let made = hypervisor.create_overlay(overlay, disk.size).await;
                    made.map_err(|e| of_hypervisor(&e))?;
                }
            }
        }
    }
    Ok(disks)
}

/// Refuses changes that were made to something else: on another base they would be nonsense.
fn check_overlays(kept: &OverlayRecord, wanted: &OverlayRecord) -> Result<(), Problem> {
    if kept == wanted {
        return Ok(());
    }
    Err(Problem::new(
        Code::Busy,
        format!(
            "The changes on the system disk were made to release {} with {}, and this would be release {} with {}.",
            kept.release,
            name_of(&kept.hypervisor),
            wanted.release,
            name_of(&wanted.hypervisor)
        ),
        "Start it with what they were made with, or reset the changes, which loses them.",
    ))
}
