//! VMware locks a disk by a folder beside it: it can, but nobody can keep much there.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
};

use rustix::io::Errno;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_can_be_taken_passed_on_and_given_back() {
    let mounted = Mounted::new().await;
    let lock = mounted.file("disk.vmdk.lck");
    blocking(move || {
        fs::create_dir(&lock).unwrap();
        assert_eq!(errno(fs::create_dir(&lock)), Errno::EXIST);
        // As VMware does it: an entry folder while it chooses, a file that becomes the member.
        fs::create_dir(lock.join("D0001.lck")).unwrap();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(lock.join("E0001.lck"))
            .unwrap();
        file.write_all(b"machine ").unwrap();
        file.write_all(b"runs").unwrap();
        fs::rename(lock.join("E0001.lck"), lock.join("M0001.lck")).unwrap();
        fs::remove_dir(lock.join("D0001.lck")).unwrap();
        assert_eq!(names(&lock), ["M0001.lck"]);
        assert_eq!(
            fs::read_to_string(lock.join("M0001.lck")).unwrap(),
            "machine runs"
        );
        file.set_len(7).unwrap();
        assert_eq!(fs::read_to_string(lock.join("M0001.lck")).unwrap(), "machine");
        let mut more = OpenOptions::new()
            .append(true)
            .open(lock.join("M0001.lck"))
            .unwrap();
        more.write_all(b"s").unwrap();
        assert_eq!(errno(fs::remove_dir(&lock)), Errno::NOTEMPTY);
        fs::remove_file(lock.join("M0001.lck")).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut left = String::new();
        file.read_to_string(&mut left).unwrap();
        assert_eq!(left, "machines", "who has it open still has it");
        fs::remove_dir(&lock).unwrap();
        assert!(!lock.exists());
    })
    .await;
    assert_eq!(names(mounted.mount.folder()), ["disk-flat.vmdk", "disk.vmdk"]);
    mounted.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_bounded_and_gone_with_the_mount() {
    let mounted = Mounted::new().await;
    let folder = mounted.mount.folder().to_owned();
    blocking(move || {
        for n in 0..64 {
            fs::create_dir(folder.join(format!("{n}.lck"))).unwrap();
        }
        assert_eq!(errno(fs::create_dir(folder.join("64.lck"))), Errno::NOSPC);
        let lock = folder.join("0.lck");
        for n in 0..64 {
            File::create(lock.join(n.to_string())).unwrap();
        }
        assert_eq!(errno(File::create(lock.join("64"))), Errno::NOSPC);
        fs::write(lock.join("0"), vec![1; 64 << 10]).unwrap();
        assert_eq!(
            errno(fs::write(lock.join("1"), vec![1; (64 << 10) + 1])),
            Errno::FBIG
        );
        assert_eq!(names(&lock).len(), 64, "a long list is complete");
    })
    .await;
    let folder = mounted.mount.folder().to_owned();
    mounted.mount.unmount().await.unwrap();
    assert!(names(&folder).is_empty());
}
