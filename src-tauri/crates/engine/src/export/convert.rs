//! Copying a disk with `qemu-img`, which knows the formats of changes and of its own images.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use livepc_disk::block::BlockDevice;
use livepc_disk::mount::{DESCRIPTOR, Mount, MountOptions, MountedDisk};
use livepc_disk::nbd::{Listen, Server};
use livepc_hypervisor::{Base, HypervisorError, ImageFormat, ImageTool, Layers, Overlay};
use livepc_protocol::{Code, Home, Launcher, Problem};
use tempfile::TempDir;

use super::parts::{Part, Source};
use crate::backend::AgentLink;
use crate::hypervisors::{HypervisorSettings, of_hypervisor};
use crate::runner::bases::serve_hidden;
use crate::runner::flat;
use crate::serve::{Release, of_mount};

/// `qemu-img`, and where disks can be served to it.
#[derive(Debug)]
pub(super) struct Converter {
    tool: ImageTool,
    /// A private folder for sockets and mounts.
    private: TempDir,
    /// Where the machine has its bases if nothing can be mounted.
    copies: PathBuf,
}

/// A release's disk, readable by another program until it is dropped.
enum Readable {
    Nbd(Server),
    Mount(Mount),
    /// A copy that the machine was started with.
    Copy,
}

impl Converter {
    /// The converter for exports of the LivePC `id`.
    ///
    /// # Errors
    /// [`Code::Hypervisor`] if there is no `qemu-img`.
    pub(super) async fn find(home: &Home, launcher: &Launcher, id: &str) -> Result<Self, Problem> {
        let link = AgentLink::new(home.clone(), launcher.clone(), format!("export of {id}"));
        let tool = HypervisorSettings::ask(&link).await?.image_tool();
        let private = tempfile::Builder::new()
            .prefix("x")
            .tempdir_in(home.machine_sockets(id)?)
            .map_err(|e| Problem::io("A folder for the export's sockets cannot be made", &e))?;
        Ok(Self {
            tool: tool.map_err(|e| of_hypervisor(&e))?,
            private,
            copies: flat::all(home, id),
        })
    }

    /// Writes a disk to the file `to`. `progress` is told of the bytes done.
    pub(super) async fn write(
        &self,
        release: &Release,
        part: &Part,
        to: &Path,
        format: ImageFormat,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Problem> {
        let size = part.size();
        let own;
        let (overlay, readable) = match &part.source {
            Source::Published => (None, Some(self.serve(release, part).await?)),
            // VMware's format names its base by an identifier in the base's own descriptor.
            Source::Changed(overlay @ Overlay::Vmdk(_)) => {
                (Some(overlay), Some(self.mount(release, part).await?))
            }
            Source::Changed(overlay) => (Some(overlay), Some(self.serve(release, part).await?)),
            Source::Own(file) => {
                own = Overlay::Raw(file.clone());
                (Some(&own), None)
            }
            Source::New => return super::copy::write(release, part, to, progress).await,
        };
        let (readable, base) = readable.unzip();
        let layers = Layers {
            base: base.as_ref(),
            overlay,
        };
        let told = |part: f64| progress((size as f64 * part) as u64);
        let converted = self.tool.convert(layers, to, format, told).await;
        match readable {
            Some(Readable::Nbd(server)) => server.shutdown().await,
            Some(Readable::Mount(mount)) => mount.unmount().await.map_err(|e| of_mount(&e))?,
            Some(Readable::Copy) | None => {}
        }
        // Why the release could not be read says more than that it could not.
        converted.map_err(|error| release.trouble().unwrap_or_else(|| of_conversion(&error)))
    }

    async fn serve(&self, release: &Release, part: &Part) -> Result<(Readable, Base), Problem> {
        let device: Arc<dyn BlockDevice> = release.disk(&part.disk.role, None)?;
        let (server, mut bases) = serve_hidden(&self.listen(), vec![device]).await?;
        let base = bases.remove(0);
        Ok((Readable::Nbd(server), base))
    }

    async fn mount(&self, release: &Release, part: &Part) -> Result<(Readable, Base), Problem> {
        let role = &part.disk.role;
        let disk = MountedDisk {
            folder: None,
            device: release.disk(role, None)?,
            identity: release.identity(role).unwrap_or_default(),
        };
        let folder = self.private.path().join("base");
        match Mount::start(&folder, vec![disk], MountOptions::default()).await {
            Ok(mount) => {
                let base = Base::Vmdk(mount.folder().join(DESCRIPTOR));
                Ok((Readable::Mount(mount), base))
            }
            Err(error) => {
                let copy = flat::descriptor(&self.copies, release.opened.release, role);
                if !copy.exists() {
                    return Err(of_mount(&error));
                }
                Ok((Readable::Copy, Base::Vmdk(copy)))
            }
        }
    }

    #[cfg(unix)]
    fn listen(&self) -> Listen {
        Listen::Unix(self.private.path().join("disk"))
    }

    #[cfg(windows)]
    fn listen(&self) -> Listen {
        Listen::Loopback
    }
}

fn of_conversion(error: &HypervisorError) -> Problem {
    let text = error.to_string();
    if text.contains("No space left on device") {
        return Problem::new(
            Code::DiskFull,
            "There is no space left for the export.",
            "Free some space, or choose a place on another disk.",
        );
    }
    Problem::of_text(Code::Failed, &text)
}
