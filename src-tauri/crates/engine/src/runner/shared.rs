//! The disks of a complete release as plain files, for as long as a machine runs: where the file system lets files share what
//! they have, that takes neither time nor space, and the hypervisor reads at the speed of a file.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use livepc_disk::mount::{DESCRIPTOR, FLAT};
use livepc_format::manifest::Content;
use livepc_protocol::{Home, Problem};

use super::flat;
use crate::problems::of_read;
use crate::serve::Release;

/// The files; they are removed when this is dropped.
#[derive(Debug)]
pub(super) struct SharedFiles(PathBuf);

impl SharedFiles {
    /// Where the files of a machine are.
    fn folder(home: &Home, id: &str) -> PathBuf {
        home.bases(id).join("shared")
    }

    /// Makes the files of a release's published disks; `None` where they cannot share the store's, or the release is not
    /// complete.
    ///
    /// # Errors
    /// What keeps the release from being read.
    pub(super) async fn make(home: &Home, id: &str, release: &Release) -> Result<Option<Self>, Problem> {
        let folder = Self::folder(home, id);
        // What a crash left. If it stays, the files cannot be made either.
        let _ = std::fs::remove_dir_all(&folder);
        if !release.opened.complete {
            return Ok(None);
        }
        let files = Self(folder);
        let begun = Instant::now();
        for disk in &release.manifest.disks {
            let Content::Published { index, .. } = &disk.content else {
                continue;
            };
            let device = release.disk(&disk.role, None)?;
            let made = files.create(&disk.role);
            let Ok(file) = made.inspect_err(|error| tracing::info!("no file for a disk: {error}")) else {
                return Ok(None);
            };
            let Some(shared) = device.share_with(Arc::new(file)).await.map_err(of_read)? else {
                return Ok(None);
            };
            let text = flat::description(disk.size, index);
            let described = std::fs::write(files.descriptor(&disk.role), text);
            if let Err(error) = described {
                tracing::info!("no file for a disk: {error}");
                return Ok(None);
            }
            tracing::info!(
                role = disk.role,
                shared = shared.shared,
                copied = shared.copied,
                ms = begun.elapsed().as_millis(),
                "a disk is a plain file, with what the store has"
            );
        }
        Ok(Some(files))
    }

    fn create(&self, role: &str) -> std::io::Result<File> {
        std::fs::create_dir_all(self.0.join(role))?;
        File::create_new(self.raw(role))
    }

    /// The file with a disk's content.
    pub(super) fn raw(&self, role: &str) -> PathBuf {
        self.0.join(role).join(FLAT)
    }

    /// What describes it to VMware.
    pub(super) fn descriptor(&self, role: &str) -> PathBuf {
        self.0.join(role).join(DESCRIPTOR)
    }
}

impl Drop for SharedFiles {
    fn drop(&mut self) {
        if let Err(problem) = flat::remove_folder(&self.0) {
            tracing::warn!("{} stays: {problem}", self.0.display());
        }
    }
}
