//! What is not mounted, and why.

use std::{fs, sync::Arc};

use livepc_disk::{
    mount::{Mount, MountError, MountOptions, MountedDisk},
    raw_file::RawFile,
};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_are_in_use_are_refused_and_left_alone() {
    let work = work();
    let device = Arc::new(RawFile::open(source(work.path())).unwrap());
    let start = |name: &str| {
        let disk = MountedDisk {
            folder: None,
            device: device.clone(),
            identity: IDENTITY,
        };
        let folder = work.path().join(name);
        async move { Mount::start(&folder, vec![disk], MountOptions::default()).await }
    };
    fs::create_dir(work.path().join("full")).unwrap();
    fs::write(work.path().join("full/mine"), "kept").unwrap();
    fs::write(work.path().join("file"), "kept").unwrap();
    fs::create_dir(work.path().join("empty")).unwrap();

    let full = start("full").await.unwrap_err();
    assert!(matches!(full, MountError::NotEmpty { .. }), "{full}");
    assert_eq!(fs::read_to_string(work.path().join("full/mine")).unwrap(), "kept");
    let file = start("file").await.unwrap_err();
    assert!(matches!(file, MountError::NotAFolder { .. }), "{file}");
    let mount = start("empty").await.unwrap();
    let twice = start("empty").await.unwrap_err();
    assert!(matches!(twice, MountError::Mounted { .. }), "{twice}");
    assert_eq!(names(mount.folder()), ["disk-flat.vmdk", "disk.vmdk"]);
    mount.unmount().await.unwrap();
    start("new/below").await.unwrap().unmount().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_that_make_no_folder_of_files_are_refused() {
    let work = work();
    let good = Arc::new(RawFile::open(source(work.path())).unwrap());
    fs::write(work.path().join("odd"), [1; 513]).unwrap();
    fs::write(work.path().join("empty"), "").unwrap();
    let raw = |name: &str| Arc::new(RawFile::open(work.path().join(name)).unwrap());
    let start = |disks: Vec<(Option<&str>, Arc<RawFile>)>| {
        let disks = disks.into_iter().map(|(folder, device)| MountedDisk {
            folder: folder.map(str::to_owned),
            device,
            identity: IDENTITY,
        });
        let (folder, disks) = (work.path().join("disks"), disks.collect());
        async move { Mount::start(&folder, disks, MountOptions::default()).await }
    };
    for name in ["", "..", "a/b", "/", "A", "a--b", "disk.vmdk"] {
        let error = start(vec![(Some(name), good.clone())]).await.unwrap_err();
        assert!(matches!(error, MountError::Name { .. }), "{name}: {error}");
    }
    let twice = vec![(Some("system"), good.clone()), (Some("system"), good.clone())];
    let error = start(twice).await.unwrap_err();
    assert!(matches!(error, MountError::Twice { .. }), "{error}");
    for name in ["odd", "empty"] {
        let error = start(vec![(None, raw(name))]).await.unwrap_err();
        assert!(matches!(error, MountError::Size { .. }), "{name}: {error}");
    }
    assert!(
        !work.path().join("disks").exists(),
        "nothing was made for what is refused"
    );
    start(vec![(Some("system"), good)])
        .await
        .unwrap()
        .unmount()
        .await
        .unwrap();
}
