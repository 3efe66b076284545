//! The disks of a machine: the release's, served and under an overlay, and the subscriber's own.

use std::path::Path;
use std::sync::Arc;

use livepc_disk::block::BlockDevice;
use livepc_disk::nbd::{Address, Exports, Listen, Server, Visibility};
use livepc_format::manifest::Content;
use livepc_hypervisor::{Base, DiskSpec, Hypervisor, Overlay};
use livepc_protocol::{Code, Home, Problem};

use super::of_hypervisor;
use crate::machine_folder::{MachineFolder, OverlayRecord};
use crate::problems::of_read;
use crate::serve::Release;
use crate::user_disk::UserDisk;
use crate::words::word;

/// Bytes that a hypervisor reads when it attaches a disk: they must be here before, since it does nothing else meanwhile.
const FIRST: u32 = 64 << 10;

/// The NBD server of a machine, and the names of its exports by disk.
pub(super) struct ServedDisks {
    pub(super) server: Server,
    names: Vec<Option<String>>,
}

/// Serves all published disks of a release, under names that cannot be guessed.
pub(super) async fn serve(home: &Home, id: &str, release: &Release) -> Result<ServedDisks, Problem> {
    let mut exports = Exports::new();
    let mut names = Vec::new();
    for disk in &release.manifest.disks {
        if matches!(disk.content, Content::User { .. }) {
            names.push(None);
            continue;
        }
        let device = release.disk(&disk.role, None)?;
        let len = FIRST.min(u32::try_from(disk.size).unwrap_or(FIRST));
        first_sectors(release, &*device, len).await?;
        let name = unguessable()?;
        exports
            .add(name.clone(), device as Arc<dyn BlockDevice>, Visibility::Hidden)
            .map_err(|e| Problem::new(Code::Failed, format!("{e}."), ""))?;
        names.push(Some(name));
    }
    let server = Server::start(&listen(home, id)?, exports).await.map_err(|e| {
        Problem::new(
            Code::Failed,
            format!("The disks cannot be served: {e}."),
            "Try again.",
        )
    })?;
    Ok(ServedDisks { server, names })
}

/// Reads the beginning of a disk; why it does not come is told by who should bring it.
async fn first_sectors(release: &Release, device: &impl BlockDevice, len: u32) -> Result<(), Problem> {
    match device.read(0, len).await {
        Ok(_) => Ok(()),
        Err(error) => Err(release.trouble().unwrap_or_else(|| of_read(error))),
    }
}

#[cfg(unix)]
fn listen(home: &Home, id: &str) -> Result<Listen, Problem> {
    Ok(Listen::Unix(home.machine_sockets(id)?.join("disks")))
}

#[cfg(windows)]
fn listen(_: &Home, _: &str) -> Result<Listen, Problem> {
    Ok(Listen::Loopback)
}

/// 128 random bits as text.
pub(crate) fn unguessable() -> Result<String, Problem> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|e| Problem::new(Code::Failed, format!("{e}."), "Try again."))?;
    Ok(format!("{:032x}", u128::from_le_bytes(bits)))
}

/// What the hypervisor is told of the disks. The system disk is clean at each cold start: the overlays are made anew,
/// unless `keep` says that what was changed is still wanted.
pub(super) async fn attach(
    hypervisor: &dyn Hypervisor,
    folder: &Path,
    release: &Release,
    served: &ServedDisks,
    keep: bool,
) -> Result<Vec<DiskSpec>, Problem> {
    let own = MachineFolder::new(folder.to_owned());
    let record = OverlayRecord {
        release: release.opened.release,
        hypervisor: word(&hypervisor.kind()),
    };
    match own.overlay_record() {
        Some(kept) if keep => check_overlays(&kept, &record)?,
        _ => {
            own.discard_overlays()?;
            own.begin_overlays(&record)?;
        }
    }
    let mut specs = Vec::new();
    for (disk, name) in release.manifest.disks.iter().zip(&served.names) {
        let (base, overlay, size) = match name {
            Some(name) => {
                let overlay = folder.join(format!("{}.qcow2", disk.role));
                if !overlay.exists() {
                    let made = hypervisor.create_overlay(&overlay, disk.size).await;
                    made.map_err(|e| of_hypervisor(&e))?;
                }
                (
                    Some(base(served.server.address(), name)),
                    Overlay::Qcow2(overlay),
                    disk.size,
                )
            }
            None => {
                let own = UserDisk::of(folder, disk)?;
                let size = own.make(disk.size)?;
                (None, Overlay::Raw(own.path().to_owned()), size)
            }
        };
        specs.push(DiskSpec {
            role: disk.role.clone(),
            controller: disk.controller,
            size,
            complete: release.opened.complete || base.is_none(),
            base,
            overlay,
        });
    }
    Ok(specs)
}

/// Refuses changes that were made to something else: on another base they would be nonsense.
fn check_overlays(kept: &OverlayRecord, wanted: &OverlayRecord) -> Result<(), Problem> {
    if kept == wanted {
        return Ok(());
    }
    Err(Problem::new(
        Code::Failed,
        format!(
            "The changes on the system disk were made to release {} with {}, and this would be release {} with {}.",
            kept.release, kept.hypervisor, wanted.release, wanted.hypervisor
        ),
        "Start it with what they were made with, or reset the changes, which loses them.",
    ))
}

pub(crate) fn base(address: &Address, export: &str) -> Base {
    match address {
        #[cfg(unix)]
        Address::Unix(socket) => Base::NbdUnix {
            socket: socket.clone(),
            export: export.to_owned(),
        },
        Address::Tcp(address) => Base::NbdTcp {
            host: address.ip().to_string(),
            port: address.port(),
            export: export.to_owned(),
        },
    }
}
