//! The socket file: private, and gone when the server is.
#![cfg(unix)]

use std::{
    os::unix::fs::{FileTypeExt, PermissionsExt},
    sync::Arc,
};

use livepc_disk::nbd::{Exports, Listen, ListenError, Server};

use crate::device::{Memory, image};

/// A directory that only its owner may enter.
fn private_directory() -> tempfile::TempDir {
    let private = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(private).tempdir().unwrap()
}

fn exports() -> Exports {
    Exports::single(Arc::new(Memory::new(image())))
}

#[tokio::test]
async fn a_socket_is_for_its_owner_and_gone_with_the_server() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("run/disk.sock");
    let server = Server::start(&Listen::Unix(path.clone()), exports())
        .await
        .unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700, "its directory, made for it");
    server.shutdown().await;
    assert!(!path.exists(), "the socket file is removed");
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let home = private_directory();
    let path = home.path().join("disk.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(
        path.metadata().unwrap().file_type().is_socket(),
        "as after a crash"
    );
    let server = Server::start(&Listen::Unix(path.clone()), exports())
        .await
        .unwrap();
    let second = Server::start(&Listen::Unix(path.clone()), exports()).await;
    assert!(matches!(second, Err(ListenError::InUse { .. })), "{second:?}");
    assert!(
        tokio::net::UnixStream::connect(&path).await.is_ok(),
        "the first one still listens"
    );
    server.shutdown().await;
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let home = private_directory();
    let path = home.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    let refused = Server::start(&Listen::Unix(path.clone()), exports()).await;
    assert!(
        matches!(refused, Err(ListenError::NotASocket { .. })),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}

#[tokio::test]
async fn a_socket_is_for_its_owner_wherever_it_is() {
    let shared = tempfile::tempdir().unwrap();
    std::fs::set_permissions(shared.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = shared.path().join("disk.sock");
    let server = Server::start(&Listen::Unix(path.clone()), exports())
        .await
        .unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        tokio::net::UnixStream::connect(&path).await.is_ok(),
        "its owner can connect"
    );
    server.shutdown().await;
    let left: Vec<_> = shared.path().read_dir().unwrap().collect();
    assert!(left.is_empty(), "nothing is left of it: {left:?}");
}
