//! FUSE: the kernel asks, and [`filesystem`] answers.

mod attach;
mod filesystem;
mod folder;
mod kept;
mod locks;
mod tree;

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use fuser::{Config, Session, SessionACL};
use tokio::{
    runtime::Handle,
    sync::oneshot::{self, error::TryRecvError},
};
use tokio_util::sync::CancellationToken;

use self::{filesystem::Disks, kept::Kept};
use super::{MountError, MountOptions, MountedDisk};

pub(super) use self::attach::{allow_other, check};

/// The most threads of a session.
const THREADS: usize = 16;
/// How long an end waits for the kernel to let go. It does at once, unless a file is still open; then the session ends with
/// that file or with the process.
const LET_GO: Duration = Duration::from_millis(500);

/// A mounted folder and the threads that serve it.
#[derive(Debug)]
pub(super) struct Mounted {
    folder: PathBuf,
    /// The number of the file system, by which it is known again as long as the session lives; `None` once it is
    /// unmounted.
    device: Option<u64>,
    /// Gives up the reads that wait.
    end: CancellationToken,
    /// Is closed when the session is over.
    over: oneshot::Receiver<()>,
}

impl Mounted {
    pub(super) async fn start(
        folder: &Path,
        disks: Vec<MountedDisk>,
        options: MountOptions,
    ) -> Result<(PathBuf, Self), MountError> {
        let (folder, runtime) = (folder.to_owned(), Handle::current());
        let mounted = livepc_panics::blocking("Mounting disks", move || {
            Self::mount(&folder, disks, options, runtime)
        })
        .await;
        let mounted = mounted.map_err(|e| MountError::Session {
            source: io::Error::other(e),
        })??;
        Ok((mounted.folder.clone(), mounted))
    }

    fn mount(
        folder: &Path,
        disks: Vec<MountedDisk>,
        options: MountOptions,
        runtime: Handle,
    ) -> Result<Self, MountError> {
        let folder = folder::prepare(folder)?;
        let end = CancellationToken::new();
        let content = Disks::new(disks, runtime, end.clone());
        let (kernel, others) = attach::attach(&folder)?;
        // What fails from here on must not leave a mount that nobody serves.
        let undo = |source| {
            if let Err(error) = attach::detach(&folder) {
                tracing::warn!(%error, "a mount that could not be served is left");
            }
            MountError::Session { source }
        };
        let acl = if others {
            SessionACL::All
        } else {
            SessionACL::Owner
        };
        let mut config = Config::default();
        config.acl = acl;
        config.n_threads = Some(options.threads.clamp(1, THREADS));
        // A queue for each thread.
        config.clone_fd = true;
        let session = Session::from_fd(Kept(content), kernel, acl, config).map_err(undo)?;
        let (running, over) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("livepc-mount".into())
            .spawn(move || {
                if let Err(error) = session.run() {
                    tracing::warn!(%error, "a FUSE session ended abnormally");
                }
                drop(running);
            })
            .map_err(undo)?;
        let device = folder.metadata().map_err(undo)?.dev();
        tracing::info!(folder = %folder.display(), others, "disks are mounted");
        Ok(Self {
            folder,
            device: Some(device),
            end,
            over,
        })
    }

    pub(super) async fn ended(&mut self) {
        // It is never sent to, only closed.
        if !self.over.is_terminated() {
            let _ = (&mut self.over).await;
        }
    }

    /// What is still to be detached.
    fn take(&mut self) -> Ours {
        let over = self.over.is_terminated() || self.over.try_recv() == Err(TryRecvError::Closed);
        match self.device.take() {
            None => Ours::Gone,
            Some(_) if over => Ours::Dead,
            Some(device) => Ours::Numbered(device),
        }
    }

    pub(super) async fn unmount(mut self) -> Result<(), MountError> {
        let (folder, ours) = (self.folder.clone(), self.take());
        let detached = livepc_panics::blocking("Unmounting disks", move || detach(&folder, ours)).await;
        self.end.cancel();
        detached.map_err(|e| MountError::Session {
            source: io::Error::other(e),
        })??;
        if tokio::time::timeout(LET_GO, self.ended()).await.is_err() {
            tracing::info!(folder = %self.folder.display(), "a file of an unmounted disk is still open");
        }
        Ok(())
    }
}

pub(super) fn take_away_dead(folder: &Path) -> Result<bool, MountError> {
    let dead = folder::is_dead(folder);
    if dead {
        attach::detach(folder)?;
    }
    Ok(dead)
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.end.cancel();
        let ours = self.take();
        if let Err(error) = detach(&self.folder, ours) {
            tracing::warn!(%error, "disks stay mounted");
        }
    }
}

/// How a mounted file system is told from what others have mounted at the same folder since.
#[derive(Debug, Clone, Copy)]
enum Ours {
    /// By its number, which no other has while it lives.
    Numbered(u64),
    /// Its session is over: if it is still there, then dead.
    Dead,
    /// It was unmounted.
    Gone,
}

/// Detaches what is ours from `folder`.
fn detach(folder: &Path, ours: Ours) -> Result<(), MountError> {
    let there = match ours {
        Ours::Numbered(device) => folder.metadata().is_ok_and(|found| found.dev() == device),
        Ours::Dead => folder::is_dead(folder),
        Ours::Gone => false,
    };
    if there {
        attach::detach(folder)?;
    }
    Ok(())
}
