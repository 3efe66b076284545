//! A socket file that only its owner can reach, gone when the server is.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::net::{UnixListener, UnixStream};

use super::ListenError;

/// Tells sockets that one process opens at the same time apart.
static TURN: AtomicU32 = AtomicU32::new(0);

/// A listening socket and its file, which is removed on drop.
pub(super) struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
}

impl SocketFile {
    pub(super) async fn open(path: &Path) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Socket {
            path: path.to_owned(),
            source,
        };
        let directory = path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed)?;
        remove_stale(path).await?;
        // A socket gets its mode only after it exists. Until then a directory that others cannot enter protects it; the
        // name that clients know follows once it is safe.
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        let staging = directory.join(format!(".lpc{}-{turn}", std::process::id()));
        let _ = fs::remove_dir_all(&staging);
        DirBuilder::new().mode(0o700).create(&staging).map_err(failed)?;
        let staged = staging.join("s");
        let made = UnixListener::bind(&staged).and_then(|listener| {
            fs::set_permissions(&staged, Permissions::from_mode(0o600))?;
            fs::rename(&staged, path)?;
            Ok(listener)
        });
        let _ = fs::remove_dir_all(&staging);
        let socket = Self {
            listener: made.map_err(failed)?,
            path: path.to_owned(),
        };
        Ok(socket)
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the NBD socket file was not removed");
        }
    }
}

/// Removes a socket file that nobody listens at any more.
async fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |source| ListenError::Socket {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        _ => Err(ListenError::InUse {
            path: path.to_owned(),
        }),
    }
}
