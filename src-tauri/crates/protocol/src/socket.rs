//! Local sockets: files in a private folder on Unix, named pipes on Windows.

use std::io;
use std::path::Path;

use interprocess::local_socket::tokio::{Listener as Inner, Stream as InnerStream, prelude::*};
use interprocess::local_socket::{ListenerOptions, Name};

/// A connection; split it with [`tokio::io::split`].
pub type Stream = InnerStream;

/// Waits for connections.
#[derive(Debug)]
pub struct Listener(Inner);

impl Listener {
    /// Listens on the socket `path`. Only the holder of the lock that belongs to the socket may call this: a socket
    /// that a dead process left is replaced.
    pub fn bind(path: &Path) -> io::Result<Self> {
        remove_left_over(path)?;
        Ok(Self(ListenerOptions::new().name(name(path)?).create_tokio()?))
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Stream> {
        self.0.accept().await
    }
}

/// Connects to the socket `path`.
pub async fn connect(path: &Path) -> io::Result<Stream> {
    InnerStream::connect(name(path)?).await
}

#[cfg(unix)]
fn name(path: &Path) -> io::Result<Name<'_>> {
    use interprocess::local_socket::{GenericFilePath, ToFsName};
    path.to_fs_name::<GenericFilePath>()
}

#[cfg(unix)]
fn remove_left_over(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(windows)]
fn name(path: &Path) -> io::Result<Name<'static>> {
    use interprocess::local_socket::{GenericNamespaced, ToNsName};
    let parts: Vec<_> = path
        .iter()
        .rev()
        .take(3)
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let user = std::env::var("USERNAME").unwrap_or_default();
    format!("livepc-{user}-{}", parts.join("-")).to_ns_name::<GenericNamespaced>()
}

#[cfg(windows)]
fn remove_left_over(_: &Path) -> io::Result<()> {
    // A named pipe ends with its process.
    Ok(())
}
