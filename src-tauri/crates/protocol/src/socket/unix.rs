//! Sockets that are files.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use interprocess::local_socket::tokio::prelude::*;
use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::{GenericFilePath, ListenerOptions, Name};
use rustix::io::Errno;

/// A socket's file.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    /// Which file it is: another process may have put its own there.
    file: Option<(u64, u64)>,
}

impl Socket {
    pub(super) fn address(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_there(&self) -> bool {
        self.file.is_some() && file_at(&self.path) == self.file
    }

    pub(super) fn remove(&self) {
        if self.is_there() {
            // Somebody may have removed it just now.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    found.file_type().is_socket().then(|| (found.dev(), found.ino()))
}

pub(super) fn listen(path: &Path) -> io::Result<(Listener, Socket)> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let options = ListenerOptions::new().name(name(path)?).reclaim_name(false);
    let listener = options.create_tokio()?;
    let socket = Socket {
        path: path.to_owned(),
        file: file_at(path),
    };
    Ok((listener, socket))
}

pub(super) fn name(path: &Path) -> io::Result<Name<'_>> {
    path.to_fs_name::<GenericFilePath>()
}

pub(super) fn address(wanted: PathBuf) -> io::Result<PathBuf> {
    Ok(wanted)
}

/// The folder of the socket lets nobody else in; this holds also where it was put by somebody else in the place of ours.
pub(super) fn check_server(stream: &Stream) -> io::Result<()> {
    let other = stream.peer_creds()?.euid();
    if other.is_some_and(|other| other != rustix::process::geteuid().as_raw()) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "another user listens there",
        ));
    }
    Ok(())
}

/// The process that listens on the other side, by the number that it has here; `None` where the system does not say.
pub(super) fn process_of(stream: &Stream) -> io::Result<Option<u32>> {
    let process = stream.peer_creds()?.pid();
    Ok(process.and_then(|process| u32::try_from(process).ok()))
}

pub(super) fn is_full(error: &io::Error) -> bool {
    let full = [Errno::MFILE, Errno::NFILE];
    Errno::from_io_error(error).is_some_and(|error| full.contains(&error))
}

pub(super) fn check_client(stream: &Stream) -> io::Result<()> {
    check_server(stream)
}
