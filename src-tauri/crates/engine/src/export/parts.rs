//! Which disks an export has, and where their content is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use livepc_disk::block::{BlockDevice, RunKind};
use livepc_disk::raw_file::RawFile;
use livepc_format::limits::SECTOR;
use livepc_format::manifest::{Content, Disk};
use livepc_hypervisor::Overlay;
use livepc_protocol::Problem;

use super::still::{StillMachine, no_changes};
use super::{copy, not_made};
use crate::folder_bytes::file_bytes;
use crate::serve::Release;
use crate::user_disk::UserDisk;

/// Bytes of a cluster of qcow2.
const CLUSTER: u64 = 64 << 10;
/// Bytes of qcow2's tables for a disk of no size, at the most.
const TABLES: u64 = 1 << 20;

/// A disk of an export.
#[derive(Debug)]
pub(super) struct Part {
    /// What the manifest says of it.
    pub(super) disk: Disk,
    pub(super) source: Source,
    size: u64,
}

/// Where a disk's content is.
#[derive(Debug)]
pub(super) enum Source {
    /// In the release.
    Published,
    /// In an overlay over the release.
    Changed(Overlay),
    /// In the file of the subscriber's own disk.
    Own(PathBuf),
    /// Nowhere: it is the subscriber's own disk, as the first start would make it.
    New,
}

impl Part {
    /// A disk as it was published, or as the first start makes it.
    fn published(disk: &Disk) -> Self {
        let source = match &disk.content {
            Content::Published { .. } => Source::Published,
            Content::User { .. } => Source::New,
        };
        Self {
            disk: disk.clone(),
            source,
            size: disk.size,
        }
    }

    /// A disk as its machine left it.
    fn changed(disk: &Disk, folder: &Path) -> Result<Self, Problem> {
        let mut part = Self::published(disk);
        if matches!(disk.content, Content::User { .. }) {
            let own = UserDisk::of(folder, disk)?;
            if let Some(size) = own.size()? {
                part.size = size.next_multiple_of(SECTOR);
                part.source = Source::Own(own.path().to_owned());
            }
            return Ok(part);
        }
        let file = |ending| folder.join(format!("{}.{ending}", disk.role));
        let overlays = [Overlay::Qcow2(file("qcow2")), Overlay::Vmdk(file("vmdk"))];
        for overlay in overlays {
            let (Overlay::Qcow2(path) | Overlay::Vmdk(path) | Overlay::Raw(path)) = &overlay;
            if path.is_file() {
                part.source = Source::Changed(overlay);
                break;
            }
        }
        Ok(part)
    }

    /// Bytes of the disk; whole sectors.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether it has changes over what was published.
    pub(super) fn is_changed(&self) -> bool {
        matches!(self.source, Source::Changed(_))
    }

    /// What can be read of it without knowing a format: not the changes.
    ///
    /// # Errors
    /// What keeps it from being opened.
    pub(super) fn device(&self, release: &Release) -> Result<Option<Arc<dyn BlockDevice>>, Problem> {
        match &self.source {
            Source::Published | Source::Changed(_) => Ok(Some(release.disk(&self.disk.role, None)?)),
            Source::Own(file) => match RawFile::open(file) {
                Ok(file) => Ok(Some(Arc::new(file))),
                Err(error) => Err(Problem::io("The machine's own disk cannot be read", &error)),
            },
            Source::New => Ok(None),
        }
    }

    /// Bytes that it takes at most: what is known to be zero takes nothing. `clusters`: as qcow2.
    async fn bytes_at_most(&self, release: &Release, clusters: bool) -> Result<u64, Problem> {
        let mut bytes = match &self.source {
            Source::Changed(Overlay::Qcow2(path) | Overlay::Vmdk(path)) => file_bytes(path),
            _ => 0,
        };
        if let Some(device) = self.device(release)? {
            let mut offset = 0;
            while offset < device.size() {
                for run in copy::runs(release, &*device, offset).await? {
                    let end = offset + run.len;
                    if run.kind == RunKind::Data && clusters {
                        bytes += end.next_multiple_of(CLUSTER) - offset / CLUSTER * CLUSTER;
                    } else if run.kind == RunKind::Data {
                        bytes += run.len;
                    }
                    offset = end;
                }
            }
        }
        Ok(if clusters {
            // Ten bytes describe a cluster, and tables are whole clusters.
            bytes + self.size / CLUSTER * 16 + TABLES
        } else {
            bytes
        })
    }
}

/// The disks of an export, in the manifest's order.
#[derive(Debug)]
pub(super) struct Parts(Vec<Part>);

/// Whether the disk with this role is the subscriber's own.
pub(super) fn is_own(release: &Release, role: &str) -> bool {
    let disk = release.manifest.disk(role);
    disk.is_some_and(|(_, disk)| matches!(disk.content, Content::User { .. }))
}

impl Parts {
    /// The published disk with this role, or all disks as a first start would have them.
    pub(super) fn of_release(release: &Release, role: Option<&str>) -> Result<Self, Problem> {
        let disks = chosen(release, role)?;
        Ok(Self(disks.into_iter().map(Part::published).collect()))
    }

    /// The disk with this role, or all, as the machine left them.
    pub(super) fn with_changes(
        release: &Release,
        still: &StillMachine,
        role: Option<&str>,
    ) -> Result<Self, Problem> {
        if let Some(role) = role
            && is_own(release, role)
        {
            return Self::own(release, still, role);
        }
        let disks = chosen(release, role)?;
        let parts = disks.into_iter().map(|disk| Part::changed(disk, still.folder()));
        let parts = Self(parts.collect::<Result<_, _>>()?);
        if parts.have_changes() {
            Ok(parts)
        } else {
            Err(no_changes(&release.opened.id))
        }
    }

    /// The subscriber's own disk with this role.
    pub(super) fn own(release: &Release, still: &StillMachine, role: &str) -> Result<Self, Problem> {
        let disks = chosen(release, Some(role))?;
        let parts = disks.into_iter().map(|disk| Part::changed(disk, still.folder()));
        let parts = Self(parts.collect::<Result<_, _>>()?);
        if parts.iter().any(|part| matches!(part.source, Source::New)) {
            return Err(not_made(role));
        }
        Ok(parts)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Part> {
        self.0.iter()
    }

    /// Whether any of them has changes over what was published.
    pub(super) fn have_changes(&self) -> bool {
        self.iter().any(Part::is_changed)
    }

    /// Whether any of them is read from the release.
    pub(super) fn read_release(&self) -> bool {
        let reads = |part: &Part| matches!(part.source, Source::Published | Source::Changed(_));
        self.iter().any(reads)
    }

    /// Bytes of all disks.
    pub(super) fn bytes(&self) -> u64 {
        self.iter().map(Part::size).sum()
    }

    /// Bytes that they take at most. `clusters`: as qcow2.
    pub(super) async fn bytes_at_most(&self, release: &Release, clusters: bool) -> Result<u64, Problem> {
        let mut bytes = 0;
        for part in self.iter() {
            bytes += part.bytes_at_most(release, clusters).await?;
        }
        Ok(bytes)
    }
}

fn chosen<'a>(release: &'a Release, role: Option<&str>) -> Result<Vec<&'a Disk>, Problem> {
    let disks = &release.manifest.disks;
    let Some(role) = role else {
        return Ok(disks.iter().collect());
    };
    match release.manifest.disk(role) {
        Some((_, disk)) => Ok(vec![disk]),
        // It says which disks there are.
        None => release.disk(role, None).map(|_| Vec::new()),
    }
}
