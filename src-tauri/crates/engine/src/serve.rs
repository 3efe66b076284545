//! A release's disks, readable by whoever needs them: the runner, `livepc serve`, `livepc export`.

use std::path::Path;
use std::sync::Arc;

use livepc_disk::block::BlockDevice;
use livepc_disk::mount::{Mount, MountError, MountOptions, MountedDisk};
use livepc_disk::nbd::{Exports, Listen, Server, Visibility};
use livepc_disk::release::{Layout, ReleaseDisk, Trace};
use livepc_format::index::{BootMap, ObjectRef};
use livepc_format::manifest::Content;
use livepc_format::{Digest, Manifest, limits};
use livepc_protocol::{Answer, Code, Home, IndexObject, Launcher, OpenedRelease, Problem, Request};
use livepc_store::{Lease, Reader, ReleaseKey};

use crate::backend::{AgentBackend, AgentLink, ReadBy};
use crate::problems::{not_found, of_format, of_store};
use crate::server::misplaced;

/// A release that this process reads. While it lives, nothing of it is pruned.
pub struct Release {
    /// What the agent said of it.
    pub opened: OpenedRelease,
    /// Its manifest.
    pub manifest: Manifest,
    boot_map: Option<Arc<BootMap>>,
    reader: Reader,
    pub(crate) backend: Arc<AgentBackend>,
    _lease: Lease,
}

impl Release {
    /// Opens a release of the LivePC `id`: the given one, or the newest. The agent makes its metadata local first.
    ///
    /// # Errors
    /// What the agent refuses, and what the store cannot give.
    pub async fn open(
        home: &Home,
        launcher: &Launcher,
        id: &str,
        release: Option<u64>,
    ) -> Result<Self, Problem> {
        let link = AgentLink::new(home.clone(), launcher.clone(), format!("reader of {id}"));
        Self::open_with(home, link, id, release, ReadBy::Program).await
    }

    pub(crate) async fn open_with(
        home: &Home,
        link: AgentLink,
        id: &str,
        release: Option<u64>,
        read_by: ReadBy,
    ) -> Result<Self, Problem> {
        let request = Request::OpenRelease {
            id: id.to_owned(),
            release,
        };
        let Answer::Opened { release: opened } = link.call(request).await? else {
            return Err(misplaced());
        };
        let reader = Reader::open(home.store()).map_err(|e| of_store(&e))?;
        let key = ReleaseKey::new(opened.key.clone()).map_err(|e| of_store(&e))?;
        let lease = reader.lease(&key).map_err(|e| of_store(&e))?;
        let digest: Digest = opened.manifest.parse().map_err(|e| of_format(&e))?;
        let manifest = local(&reader, &digest, limits::MANIFEST_BYTES)?;
        let manifest = Manifest::parse(&manifest).map_err(|e| of_format(&e))?;
        let boot_map = match &opened.boot_map {
            Some(IndexObject { digest, stored, size }) => {
                let digest = digest.parse().map_err(|e| of_format(&e))?;
                let object = ObjectRef {
                    digest,
                    stored: *stored,
                    size: *size,
                };
                let bytes = local(&reader, &digest, object.stored)?;
                let map = BootMap::decode(&bytes, &object).map_err(|e| of_format(&e))?;
                map.check_fits(&manifest.disks).map_err(|e| of_format(&e))?;
                Some(Arc::new(map))
            }
            None => None,
        };
        let backend = AgentBackend::new(link, &opened, read_by);
        Ok(Self {
            opened,
            manifest,
            boot_map,
            reader,
            backend,
            _lease: lease,
        })
    }

    /// Why data does not come, while it does not.
    #[must_use]
    pub fn trouble(&self) -> Option<Problem> {
        self.backend.trouble()
    }

    /// The digest of the content of the published disk with this role.
    pub(crate) fn identity(&self, role: &str) -> Option<[u8; 32]> {
        match &self.manifest.disk(role)?.1.content {
            Content::Published { index, .. } => Some(*index.digest.as_bytes()),
            Content::User { .. } => None,
        }
    }

    /// The published disk with this role. `trace` is told of each read.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none.
    pub fn disk(&self, role: &str, trace: Option<Arc<dyn Trace>>) -> Result<Arc<ReleaseDisk>, Problem> {
        let roles = || {
            self.manifest
                .disks
                .iter()
                .map(|disk| disk.role.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let found = self
            .manifest
            .disk(role)
            .and_then(|(number, disk)| match &disk.content {
                Content::Published { regions, index, .. } => {
                    Some((number, disk.size, regions.clone(), *index))
                }
                Content::User { .. } => None,
            });
        let Some((number, size, regions, root)) = found else {
            return Err(not_found(
                format!(
                    "The release has no published disk “{}”.",
                    livepc_format::text::line(role, 60)
                ),
                format!("Its disks are: {}.", roles()),
            ));
        };
        let layout = Layout {
            number: number as u32,
            size,
            regions,
            root,
            boot_map: self.boot_map.clone(),
        };
        Ok(Arc::new(ReleaseDisk::new(
            layout,
            self.reader.clone(),
            self.backend.clone(),
            trace,
        )))
    }
}

fn local(reader: &Reader, digest: &Digest, max: u64) -> Result<Vec<u8>, Problem> {
    reader
        .object(digest, max)
        .map_err(|e| of_store(&e))?
        .ok_or_else(|| {
            Problem::new(
                Code::Failed,
                "A file of the release's metadata is gone from the store.",
                "Try again.",
            )
        })
}

/// An NBD server of one disk, until it is dropped or shut down.
pub struct Served {
    server: Server,
    _release: Release,
}

impl Served {
    /// Serves the disk `role` under the empty export name at the socket file `socket`.
    ///
    /// # Errors
    /// As [`Release::disk`], and what keeps the socket from being opened.
    pub async fn at_socket(release: Release, role: &str, socket: &Path) -> Result<Self, Problem> {
        let disk: Arc<dyn BlockDevice> = release.disk(role, None)?;
        let mut exports = Exports::new();
        exports
            .add("", disk, Visibility::Listed)
            .map_err(|e| Problem::new(Code::Failed, e.to_string(), ""))?;
        let server = Server::start(&listen_at(socket)?, exports).await.map_err(|e| {
            Problem::new(
                Code::Failed,
                format!("{e}."),
                "Choose another place for the socket.",
            )
        })?;
        Ok(Self {
            server,
            _release: release,
        })
    }

    /// Where clients find it, as libnbd's tools and QEMU take it.
    #[must_use]
    pub fn uri(&self) -> String {
        self.server.address().uri("")
    }

    /// Ends the connections and removes the socket.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

/// A disk of a release as files in a folder, until it is dropped or unmounted.
pub struct MountedRelease {
    mount: Mount,
    _release: Release,
}

impl MountedRelease {
    /// Mounts the disk `role` at `folder`, as `disk.vmdk` and `disk-flat.vmdk`. The folder is made if it is not there.
    ///
    /// # Errors
    /// As [`Release::disk`]; [`Code::Usage`] if the folder is in use, and what keeps the disk from being mounted.
    pub async fn at_folder(release: Release, role: &str, folder: &Path) -> Result<Self, Problem> {
        let device = release.disk(role, None)?;
        let disk = MountedDisk {
            folder: None,
            device,
            identity: release.identity(role).unwrap_or_default(),
        };
        let mount = Mount::start(folder, vec![disk], MountOptions::default())
            .await
            .map_err(|e| of_mount(&e))?;
        Ok(Self {
            mount,
            _release: release,
        })
    }

    /// Waits until somebody else has unmounted it.
    pub async fn ended(&mut self) {
        self.mount.ended().await;
    }

    /// Unmounts it; the folder is empty afterwards.
    ///
    /// # Errors
    /// What the system says if it does not do it.
    pub async fn unmount(self) -> Result<(), Problem> {
        self.mount.unmount().await.map_err(|e| of_mount(&e))
    }
}

/// What kept disks from being mounted.
pub(crate) fn of_mount(error: &MountError) -> Problem {
    let code = match error {
        MountError::NotEmpty { .. }
        | MountError::NotAFolder { .. }
        | MountError::Mounted { .. }
        | MountError::Folder { .. } => Code::Usage,
        _ => Code::Failed,
    };
    Problem::of_text(code, &error.to_string())
}

#[cfg(unix)]
fn listen_at(socket: &Path) -> Result<Listen, Problem> {
    let socket =
        std::path::absolute(socket).map_err(|e| Problem::io("The socket's path cannot be used", &e))?;
    Ok(Listen::Unix(socket))
}

/// There are no socket files that NBD clients know on Windows: a loopback port serves instead, and `ready` tells it.
#[cfg(windows)]
fn listen_at(_: &Path) -> Result<Listen, Problem> {
    Ok(Listen::Loopback)
}
