//! Who may mount and who may read: all of it works for a user without rights too.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
};

use livepc_disk::mount::{AllowOther, allow_other};

use crate::support::*;

/// Tells a run of these tests that it is the one without rights.
const AGAIN: &str = "LIVEPC_TEST_MOUNT_UNPRIVILEGED";
/// A user that has no rights: nobody.
const NOBODY: u32 = 65534;

/// Runs a command where everybody may use /dev/fuse, as udev makes it; containers often have one that is only root's. The
/// first argument is a folder to work in.
const WITH_DEVICE: &str = r#"
    mkdir "$1/dev"
    mount -t tmpfs -o mode=755 tmpfs "$1/dev"
    mknod -m 666 "$1/dev/fuse" c 10 229
    mount --bind "$1/dev/fuse" /dev/fuse
    shift
    exec "$@"
"#;

const AS_NOBODY: [&str; 4] = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_rights_can_do_all_that_root_can() {
    if !is_root() {
        // This very run is without rights.
        return;
    }
    let work = work();
    chown(work.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    // Where the tests are built others may have no access.
    let program = work.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let tests = tokio::process::Command::new("unshare")
        .args(["--mount", "sh", "-ec", WITH_DEVICE, "sh"])
        .arg(work.path())
        .arg("setpriv")
        .args(AS_NOBODY)
        .arg(&program)
        .env(AGAIN, "1")
        .env("TMPDIR", work.path())
        .kill_on_drop(true)
        .output();
    let tests = tokio::time::timeout(PATIENCE * 3, tests).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&tests.stdout).into_owned() + &String::from_utf8_lossy(&tests.stderr);
    assert!(tests.status.success(), "{said}");
    assert!(
        said.contains("test content::qemu_img_finds_no_difference ... ok"),
        "they ran: {said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn others_can_read_if_they_are_let_in() {
    assert!(
        std::env::var_os(AGAIN).is_none() || !is_root(),
        "the second run is without rights"
    );
    let mounted = Mounted::new().await;
    let file = mounted.file("disk.vmdk");
    match allow_other() {
        AllowOther::Root => {
            let mut arguments = AS_NOBODY.to_vec();
            arguments.extend(["cat", text(&file)]);
            let read = run("setpriv", &arguments).await;
            assert!(read.starts_with("# Disk DescriptorFile"), "{read}");
        }
        found => {
            assert!(!is_root());
            let settings = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
            let allowed = settings.lines().any(|line| line.trim() == "user_allow_other");
            assert_eq!(found == AllowOther::Allowed, allowed);
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
            let ours = mounts
                .lines()
                .find(|line| line.contains(text(mounted.mount.folder())))
                .unwrap();
            assert_eq!(ours.contains("allow_other"), allowed, "{ours}");
        }
    }
    mounted.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_knows_what_is_mounted() {
    let mounted = Mounted::new().await;
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let ours = mounts
        .lines()
        .find(|line| line.contains(text(mounted.mount.folder())))
        .unwrap();
    assert!(ours.starts_with("livepc "), "{ours}");
    for part in [
        " fuse.livepc ",
        "nosuid",
        "nodev",
        "noexec",
        "default_permissions",
    ] {
        assert!(ours.contains(part), "no {part} in {ours}");
    }
    mounted.end().await;
}
