//! What the disks of a machine are read from while it runs: the release, in the form that its hypervisor takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use livepc_disk::block::BlockDevice;
use livepc_disk::mount::{self, AllowOther, DESCRIPTOR, Mount, MountOptions, MountedDisk};
use livepc_disk::nbd::{Address, Exports, Listen, Server, Visibility};
use livepc_disk::release::Trace;
use livepc_format::machine::HypervisorKind;
use livepc_format::manifest::{Content, Disk};
use livepc_hypervisor::Base;
use livepc_protocol::{Code, Home, Problem};

use super::flat;
use super::shared::SharedFiles;
use crate::problems::of_read;
use crate::serve::{Release, of_mount};

/// Bytes that a hypervisor reads when it attaches a disk: they must be here before, since it does nothing else meanwhile.
const FIRST: u32 = 64 << 10;

/// What serves the bases of a machine; closed when the machine has ended.
#[derive(Debug)]
pub(super) enum Bases {
    /// An NBD server.
    Served(Server),
    /// Files that are mounted.
    Mounted(Mount),
    /// Files that are copies.
    Copied,
    /// Files that have their content in common with the store.
    Shared(SharedFiles),
}

impl Bases {
    /// Makes the published disks of a release readable for a hypervisor. The second value has the base of each disk of the
    /// manifest, `None` for the user's own. `trace` is told of each read, but of those from
    /// plain files.
    ///
    /// # Errors
    /// What keeps them from being read, or served.
    pub(super) async fn open(
        kind: HypervisorKind,
        home: &Home,
        id: &str,
        release: &Release,
        trace: Option<Arc<dyn Trace>>,
    ) -> Result<(Self, Vec<Option<Base>>), Problem> {
        if let Some(files) = SharedFiles::make(home, id, release).await? {
            let base_of = |disk: &Disk| match (&disk.content, kind) {
                (Content::User { .. }, _) => None,
                (_, HypervisorKind::Qemu) => Some(Base::File(files.raw(&disk.role))),
                (_, HypervisorKind::Vmware) => Some(Base::Vmdk(files.descriptor(&disk.role))),
            };
            let bases = release.manifest.disks.iter().map(base_of).collect();
            return Ok((Self::Shared(files), bases));
        }
        match kind {
            HypervisorKind::Qemu => serve(home, id, release, trace).await,
            HypervisorKind::Vmware => files(home, id, release, trace).await,
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Served(server) => server.shutdown().await,
            Self::Mounted(mount) => {
                if let Err(error) = mount.unmount().await {
                    tracing::warn!("{error}");
                }
            }
            Self::Copied => {}
            Self::Shared(files) => drop(files),
        }
    }
}

/// Where the files of a machine's bases are mounted.
pub(crate) fn mount_folder(home: &Home, id: &str) -> PathBuf {
    home.bases(id).join("mounted")
}

/// Serves the published disks of a release.
async fn serve(
    home: &Home,
    id: &str,
    release: &Release,
    trace: Option<Arc<dyn Trace>>,
) -> Result<(Bases, Vec<Option<Base>>), Problem> {
    let mut devices: Vec<Arc<dyn BlockDevice>> = Vec::new();
    for disk in &release.manifest.disks {
        if matches!(disk.content, Content::Published { .. }) {
            let device = release.disk(&disk.role, trace.clone())?;
            let len = FIRST.min(u32::try_from(disk.size).unwrap_or(FIRST));
            first_sectors(release, &*device, len).await?;
            devices.push(device);
        }
    }
    let (server, bases) = serve_hidden(&listen(home, id)?, devices).await?;
    let mut bases = bases.into_iter();
    let base_of = |disk: &Disk| match disk.content {
        Content::Published { .. } => bases.next(),
        Content::User { .. } => None,
    };
    let bases = release.manifest.disks.iter().map(base_of).collect();
    Ok((Bases::Served(server), bases))
}

/// Serves disks over NBD, under names that cannot be guessed; gives the base of each.
///
/// # Errors
/// What keeps the server from listening.
pub(crate) async fn serve_hidden(
    listen: &Listen,
    devices: Vec<Arc<dyn BlockDevice>>,
) -> Result<(Server, Vec<Base>), Problem> {
    let failed = |why: String| {
        Problem::new(
            Code::Failed,
            format!("The disks cannot be served: {why}."),
            "Try again.",
        )
    };
    let mut exports = Exports::new();
    let mut names = Vec::new();
    for device in devices {
        let name = unguessable()?;
        exports
            .add(name.clone(), device, Visibility::Hidden)
            .map_err(|e| failed(e.to_string()))?;
        names.push(name);
    }
    let server = Server::start(listen, exports)
        .await
        .map_err(|e| failed(e.to_string()))?;
    let bases = names.iter().map(|name| base(server.address(), name)).collect();
    Ok((server, bases))
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
fn unguessable() -> Result<String, Problem> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|e| Problem::new(Code::Failed, format!("{e}."), "Try again."))?;
    Ok(format!("{:032x}", u128::from_le_bytes(bits)))
}

/// An export of an NBD server as a base.
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

/// Shows the disks as files: mounted where a hypervisor can read what is mounted, else copied.
async fn files(
    home: &Home,
    id: &str,
    release: &Release,
    trace: Option<Arc<dyn Trace>>,
) -> Result<(Bases, Vec<Option<Base>>), Problem> {
    let flat = flat::folder(home, id, release.opened.release);
    let descriptors = |folder: &Path| {
        let base_of = |disk: &Disk| match disk.content {
            Content::User { .. } => None,
            Content::Published { .. } => Some(Base::Vmdk(folder.join(&disk.role).join(DESCRIPTOR))),
        };
        release.manifest.disks.iter().map(base_of).collect()
    };
    match mounted(home, id, release, trace).await {
        Ok(mount) => {
            // A copy that another start made takes much space, and is not needed.
            flat::remove(home, id)?;
            let bases = descriptors(mount.folder());
            Ok((Bases::Mounted(mount), bases))
        }
        Err(why) => {
            tracing::info!("the disks are copied: {}", why.message);
            flat::copy(home, id, release, why).await?;
            Ok((Bases::Copied, descriptors(&flat)))
        }
    }
}

async fn mounted(
    home: &Home,
    id: &str,
    release: &Release,
    trace: Option<Arc<dyn Trace>>,
) -> Result<Mount, Problem> {
    can_mount()?;
    let mut disks = Vec::new();
    for disk in &release.manifest.disks {
        if let Content::Published { index, .. } = &disk.content {
            disks.push(MountedDisk {
                folder: Some(disk.role.clone()),
                device: release.disk(&disk.role, trace.clone())?,
                identity: *index.digest.as_bytes(),
            });
        }
    }
    let mount = Mount::start(&mount_folder(home, id), disks, MountOptions::default()).await;
    mount.map_err(|e| of_mount(&e))
}

/// Says why a hypervisor cannot read what this process mounts.
fn can_mount() -> Result<(), Problem> {
    mount::check().map_err(|e| of_mount(&e))?;
    match mount::allow_other() {
        AllowOther::Root | AllowOther::Allowed => Ok(()),
        // VMware's process is root's.
        AllowOther::Denied => Err(Problem::new(
            Code::Hypervisor,
            "VMware cannot read disks that are mounted for you alone.",
            "As root, add the line user_allow_other to /etc/fuse.conf.",
        )
        .of_this_computer()),
    }
}
