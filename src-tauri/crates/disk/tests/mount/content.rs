//! What is read is the disk, and nothing of it can be written.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    sync::Arc,
};

use livepc_disk::{
    mount::{Mount, MountOptions, MountedDisk},
    raw_file::RawFile,
};
use rustix::io::Errno;
use serde_json::Value;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn qemu_img_finds_no_difference() {
    let mounted = Mounted::new().await;
    let source = mounted.source();
    for (name, format) in [("disk-flat.vmdk", "raw"), ("disk.vmdk", "vmdk")] {
        let file = mounted.file(name);
        let arguments = ["compare", "-f", "raw", "-F", format, text(&source), text(&file)];
        let said = run("qemu-img", &arguments).await;
        assert!(said.contains("identical"), "{said}");
    }
    // Positive control: a difference of one byte is found.
    let flat = mounted.file("disk-flat.vmdk");
    let other = mounted.work.path().join("other.raw");
    fs::copy(&source, &other).unwrap();
    let file = OpenOptions::new().write(true).open(&other).unwrap();
    let mut byte = [0];
    File::open(&other)
        .unwrap()
        .read_exact_at(&mut byte, SIZE - 1)
        .unwrap();
    file.write_all_at(&[!byte[0]], SIZE - 1).unwrap();
    let arguments = ["compare", "-f", "raw", "-F", "raw", text(&other), text(&flat)];
    assert_eq!(output("qemu-img", &arguments).await.status.code(), Some(1));
    mounted.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_img_describes_the_disk() {
    let mounted = Mounted::new().await;
    let file = mounted.file("disk.vmdk");
    let said = run("qemu-img", &["info", "--output=json", text(&file)]).await;
    let info: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(info["format"], "vmdk", "{info}");
    assert_eq!(info["virtual-size"], SIZE, "{info}");
    let data = &info["format-specific"]["data"];
    assert_eq!(data["create-type"], "monolithicFlat", "{info}");
    assert_eq!(data["cid"], 0xc1c1_c1c1_u32, "{info}");
    assert_eq!(data["parent-cid"], u32::MAX, "{info}");
    mounted.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_from_many_threads_give_the_right_bytes() {
    let mounted = Mounted::new().await;
    let (source, flat) = (mounted.source(), mounted.file("disk-flat.vmdk"));
    let whole = Arc::new(fs::read(source).unwrap());
    let flat = Arc::new(File::open(flat).unwrap());
    let readers: Vec<_> = (1..=8)
        .map(|seed| {
            let (whole, flat) = (Arc::clone(&whole), Arc::clone(&flat));
            blocking(move || {
                let mut random = Random(seed);
                for _ in 0..200 {
                    let at = random.next() % SIZE;
                    let mut bytes = vec![0; (random.next() % 200_000) as usize];
                    let mut read = 0;
                    while let n @ 1.. = flat.read_at(&mut bytes[read..], at + read as u64).unwrap() {
                        read += n;
                    }
                    let end = (at as usize + bytes.len()).min(SIZE as usize);
                    assert!(
                        bytes[..read] == whole[at as usize..end],
                        "{} bytes at {at}",
                        bytes.len()
                    );
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await;
    }
    let past = blocking(move || flat.read_at(&mut [0; 512], SIZE + 4096)).await;
    assert_eq!(past.unwrap(), 0, "behind the end there is nothing");
    mounted.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fio_reads_without_an_error() {
    let mounted = Mounted::new().await;
    let file = format!("--filename={}", text(&mounted.file("disk-flat.vmdk")));
    for direct in ["--direct=0", "--direct=1"] {
        let arguments = [
            "--name=read",
            "--rw=randread",
            "--bsrange=512-256k",
            "--numjobs=4",
            "--group_reporting",
            "--ioengine=psync",
            "--runtime=2",
            "--time_based",
            "--readonly",
            "--allow_file_create=0",
            "--output-format=json",
            direct,
            &file,
        ];
        let said = run("fio", &arguments).await;
        let result: Value = serde_json::from_str(&said[said.find('{').unwrap()..]).unwrap();
        let job = &result["jobs"][0];
        assert_eq!(job["error"], 0, "{said}");
        assert!(job["read"]["total_ios"].as_u64().unwrap() > 100, "{said}");
        println!("{direct}: {} reads a second", job["read"]["iops"]);
    }
    mounted.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_disk_can_be_changed() {
    let mounted = Mounted::new().await;
    let folder = mounted.mount.folder().to_owned();
    blocking(move || {
        for name in ["disk.vmdk", "disk-flat.vmdk"] {
            let file = folder.join(name);
            let found = file.metadata().unwrap();
            assert_eq!(found.permissions().mode() & 0o7777, 0o444);
            assert_eq!(found.uid(), rustix::process::geteuid().as_raw());
            // The kernel itself refuses whom the mode does not let write.
            let refusal = if is_root() { Errno::ROFS } else { Errno::ACCESS };
            assert_eq!(errno(OpenOptions::new().write(true).open(&file)), refusal);
            assert_eq!(
                errno(OpenOptions::new().write(true).truncate(true).open(&file)),
                refusal
            );
            assert_eq!(errno(fs::remove_file(&file)), Errno::ROFS);
            assert_eq!(errno(fs::rename(&file, folder.join("x.lck"))), Errno::ROFS);
            assert_eq!(
                errno(fs::set_permissions(&file, PermissionsExt::from_mode(0o777))),
                Errno::ROFS
            );
        }
        assert_eq!(errno(File::create(folder.join("new"))), Errno::ROFS);
        assert_eq!(errno(fs::create_dir(folder.join("new"))), Errno::ROFS);
        assert_eq!(names(&folder), ["disk-flat.vmdk", "disk.vmdk"]);
    })
    .await;
    mounted.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_disk_has_its_folder_and_numbers_that_stay() {
    let work = work();
    let device = Arc::new(RawFile::open(source(work.path())).unwrap());
    let folder = work.path().join("disks");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let disks = ["system", "data"].map(|role| MountedDisk {
            folder: Some(role.into()),
            device: device.clone(),
            identity: IDENTITY,
        });
        let mount = Mount::start(&folder, disks.into(), MountOptions::default())
            .await
            .unwrap();
        let folder = folder.clone();
        let numbers = blocking(move || {
            assert_eq!(names(&folder), ["data", "system"]);
            ["system", "data"].map(|role| {
                assert_eq!(names(&folder.join(role)), ["disk-flat.vmdk", "disk.vmdk"]);
                let flat = folder.join(role).join("disk-flat.vmdk");
                assert_eq!(flat.metadata().unwrap().len(), SIZE);
                flat.metadata().unwrap().ino()
            })
        })
        .await;
        seen.push(numbers);
        mount.unmount().await.unwrap();
    }
    assert_eq!(seen[0], seen[1], "the same disks have the same numbers");
    assert_ne!(seen[0][0], seen[0][1]);
}
