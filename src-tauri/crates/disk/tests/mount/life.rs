//! How mounts end: told to, dropped, taken away by others, or left by a process that was killed.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use livepc_disk::raw_file::RawFile;
use rustix::io::Errno;

use crate::support::*;

/// Names the folder of work to the process that shall die.
const WORK: &str = "LIVEPC_TEST_MOUNT_WORK";

/// Not a test: the process that dies. It mounts a disk, says so and waits.
#[tokio::test(flavor = "multi_thread")]
async fn server() {
    let Some(work) = std::env::var_os(WORK).map(PathBuf::from) else {
        return;
    };
    let device = RawFile::open(source(&work)).unwrap();
    let _mount = mount(&work.join("disks"), Arc::new(device)).await;
    println!("mounted");
    std::future::pending::<()>().await;
}

/// Mounts a disk in another process, which it kills.
fn die(work: &Path) {
    let mut server: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "life::server", "--nocapture"])
        .env(WORK, work)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(server.stdout.take().unwrap());
    let mounted = said
        .lines()
        .map_while(Result::ok)
        .any(|line| line.ends_with("mounted"));
    assert!(mounted, "the other process has mounted a disk");
    assert_eq!(names(&work.join("disks")), ["disk-flat.vmdk", "disk.vmdk"]);
    server.kill().unwrap();
    server.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_is_taken_away() {
    let work = work();
    let dead = work.path().to_owned();
    blocking(move || die(&dead)).await;
    let folder = work.path().join("disks");
    assert_eq!(errno(fs::read_dir(&folder)), Errno::NOTCONN, "it is a dead mount");
    let device = RawFile::open(source(work.path())).unwrap();
    let mount = mount(&folder, Arc::new(device)).await;
    assert_eq!(names(&folder), ["disk-flat.vmdk", "disk.vmdk"]);
    mount.unmount().await.unwrap();
    assert!(names(&folder).is_empty(), "nothing is left below it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_leaves_an_empty_folder_when_it_is_unmounted_or_dropped() {
    let Mounted { work, mount } = Mounted::new().await;
    let folder = mount.folder().to_owned();
    assert_eq!(names(&folder).len(), 2);
    mount.unmount().await.unwrap();
    assert!(names(&folder).is_empty());
    fs::remove_dir(&folder).unwrap();
    drop(work);

    let Mounted { work, mount } = Mounted::new().await;
    let folder = mount.folder().to_owned();
    assert_eq!(names(&folder).len(), 2);
    drop(mount);
    assert!(names(&folder).is_empty());
    drop(work);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_notices_that_somebody_else_unmounts_it() {
    let Mounted { work, mut mount } = Mounted::new().await;
    let folder = mount.folder().to_owned();
    if is_root() {
        run("umount", &[text(&folder)]).await;
    } else {
        run("fusermount3", &["-u", text(&folder)]).await;
    }
    tokio::time::timeout(PATIENCE, mount.ended())
        .await
        .expect("it is told");
    // What is mounted there since is not the old one's to take away.
    let device = RawFile::open(work.path().join("source.raw")).unwrap();
    let newer = crate::support::mount(&folder, Arc::new(device)).await;
    mount.unmount().await.unwrap();
    assert_eq!(names(&folder).len(), 2, "the newer mount is still there");
    newer.unmount().await.unwrap();
    assert!(names(&folder).is_empty());
}
