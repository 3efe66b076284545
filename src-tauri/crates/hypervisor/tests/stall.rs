//! A base that fails for a while, as one does whose network is gone: the guest must not notice.
#![cfg(target_os = "linux")] // nbdkit serves the base, and the sample guest is built from Debian packages.
#![allow(clippy::unwrap_used)] // A test fails where it unwraps.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Home, guest, next, qemu, start};
use livepc_format::machine::Controller;
use livepc_hypervisor::{
    Base, DiskSpec, End, Hypervisor, MachineEvent, Overlay, Running, StallCause, Status,
};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// nbdkit, which fails while a file exists.
struct Faulty {
    nbdkit: Child,
    socket: PathBuf,
    fault: PathBuf,
}

impl Faulty {
    /// `arguments`: filters, plugin and their parameters; `FAULT` in them is the file's path.
    fn serve(home: &Home, arguments: &[&str]) -> Self {
        let (socket, fault) = (home.path("nbd.sock"), home.path("fault"));
        let arguments = arguments
            .iter()
            .map(|text| text.replace("FAULT", fault.to_str().unwrap()));
        let nbdkit = Command::new("nbdkit")
            .args(["--foreground", "--readonly", "--unix"])
            .arg(&socket)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need Debian's nbdkit");
        let begin = Instant::now();
        while !socket.exists() {
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "nbdkit does not listen"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Self {
            nbdkit,
            socket,
            fault,
        }
    }

    /// Reads fail at once.
    fn at_once(home: &Home) -> Self {
        let file = format!("file={}", guest().display());
        let faults = [
            "error-pread=EIO",
            "error-pread-rate=100%",
            "error-pread-file=FAULT",
        ];
        Self::serve(home, &[&["--filter=error", "file", &file], &faults[..]].concat())
    }

    fn base(&self) -> Base {
        Base::NbdUnix {
            socket: self.socket.clone(),
            export: String::new(),
        }
    }

    fn begin(&self) {
        std::fs::write(&self.fault, "").unwrap();
    }

    fn end(&self) {
        std::fs::remove_file(&self.fault).unwrap();
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let _ = self.nbdkit.kill();
        let _ = self.nbdkit.wait();
    }
}

/// What is beside the guest's disk.
#[derive(Deserialize)]
struct Known {
    files: Vec<KnownFile>,
}

#[derive(Deserialize)]
struct KnownFile {
    path: String,
    size: u64,
    sha256: String,
    read_at_boot: bool,
}

/// A large file of the guest that is not in its memory after the boot.
fn cold_file() -> KnownFile {
    let known = std::fs::read(guest().with_extension("json")).unwrap();
    let known: Known = serde_json::from_slice(&known).unwrap();
    known
        .files
        .into_iter()
        .find(|file| !file.read_at_boot && file.size > 4 << 20)
        .unwrap()
}

async fn expect_stall(running: &mut Running) {
    let MachineEvent::Stalled(stall) = next(running).await else {
        panic!("it should have stalled")
    };
    assert_eq!(
        (stall.role.as_str(), stall.cause),
        ("system", StallCause::Read),
        "{stall:?}"
    );
    assert!(!stall.message.is_empty());
    assert_eq!(running.control().status(), Status::Stalled(stall));
}

async fn resume(running: &mut Running) {
    running.control().resume().await.unwrap();
    assert_eq!(next(running).await, MachineEvent::Resumed);
}

/// Boots with a fault in the BIOS, one in the boot loader or the kernel, and one while a file is read.
async fn boots_through_faults(controller: Controller) {
    let (qemu, home) = (qemu().await, Home::new());
    let faulty = Faulty::at_once(&home);
    let disk = home.system(&qemu, controller, faulty.base()).await;
    let disk = DiskSpec {
        complete: false,
        ..disk
    };
    let paths = home.paths();
    let mut spec = paths.spec(&home.machine, vec![disk]);
    let console = home.path("console.sock");
    spec.serial.as_mut().unwrap().console = Some(console.clone());
    let mut running = qemu.start(spec).await.unwrap();
    faulty.begin();
    assert_eq!(next(&mut running).await, MachineEvent::Started);
    expect_stall(&mut running).await;
    resume(&mut running).await;
    expect_stall(&mut running).await;
    faulty.end();
    resume(&mut running).await;

    tokio::time::sleep(Duration::from_secs(3)).await; // Somewhere on the way.
    faulty.begin();
    expect_stall(&mut running).await;
    faulty.end();
    resume(&mut running).await;
    home.wait_for("LIVEPC READY 1.0").await;

    let file = cold_file();
    let mut port = BufReader::new(tokio::net::UnixStream::connect(console).await.unwrap());
    faulty.begin();
    port.write_all(format!("sha256 {}\n", file.path).as_bytes())
        .await
        .unwrap();
    expect_stall(&mut running).await;
    faulty.end();
    resume(&mut running).await;
    // The end of the line that said READY may come first.
    let mut line = String::new();
    while line.trim_end().is_empty() {
        assert!(port.read_line(&mut line).await.unwrap() > 0, "the console ended");
    }
    assert_eq!(
        line.trim(),
        format!("SHA256 {} {}", file.sha256, file.path),
        "the guest read what is there"
    );

    running.control().powerdown().await.unwrap();
    assert_eq!(next(&mut running).await, MachineEvent::PowerdownRequested);
    let MachineEvent::Ended(ended) = next(&mut running).await else {
        panic!("it should have ended")
    };
    assert!(ended.clean(), "{ended:?}");
    assert!(
        !home.serial().contains("rror"),
        "the guest has seen errors: {}",
        home.serial()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtio_guest_does_not_notice_a_base_that_fails() {
    boots_through_faults(Controller::Virtio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sata_guest_does_not_notice_a_base_that_fails() {
    boots_through_faults(Controller::Sata).await;
}

/// A disk whose network is slow fails late, and QEMU answers nothing until its last read has failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_fails_late_holds_up_nobody_but_its_guest() {
    let (qemu, home) = (qemu().await, Home::new());
    let read = format!(
        "pread=[ ! -e FAULT ] || {{ sleep 4; echo EIO >&2; exit 1; }}; \
         dd if={} iflag=skip_bytes,count_bytes bs=1M skip=$4 count=$3 status=none",
        guest().display()
    );
    let size = format!("get_size=echo {}", common::GUEST_SIZE);
    let faulty = Faulty::serve(&home, &["eval", &size, "thread_model=echo parallel", &read]);
    let disk = home.system(&qemu, Controller::Virtio, faulty.base()).await;
    let mut running = start(&qemu, &home, vec![disk]).await;
    faulty.begin();
    expect_stall(&mut running).await;
    // At once, while QEMU still waits for reads that are on their way.
    faulty.end();
    resume(&mut running).await;
    home.wait_for("LIVEPC READY 1.0").await;
    running.control().quit().await.unwrap();
}

/// A base that says nothing at all: QEMU cannot even end.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_base_hangs_can_be_switched_off() {
    let (qemu, home) = (qemu().await, Home::new());
    let read = format!(
        "pread=while [ -e FAULT ]; do sleep 1; done; head -c $3 {}",
        guest().display()
    );
    let size = format!("get_size=echo {}", common::GUEST_SIZE);
    let faulty = Faulty::serve(&home, &["eval", &size, "thread_model=echo parallel", &read]);
    let disk = home.system(&qemu, Controller::Virtio, faulty.base()).await;
    let mut running = start(&qemu, &home, vec![disk]).await;
    faulty.begin();
    tokio::time::sleep(Duration::from_secs(3)).await; // Until the BIOS reads.
    let begin = Instant::now();
    let ended = running
        .control()
        .clone()
        .stop(Duration::from_secs(1))
        .await
        .unwrap();
    assert_eq!(ended.end, End::Quit, "{ended:?}");
    assert!(
        begin.elapsed() < Duration::from_secs(30),
        "it took {:?}",
        begin.elapsed()
    );
    while next(&mut running).await != MachineEvent::Ended(ended.clone()) {}
}

/// A file system without room, under the overlay: the machine stops instead of breaking the guest's file system.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stalls_the_machine_until_there_is_room() {
    let (qemu, home) = (qemu().await, Home::new());
    let Some(small) = SmallFileSystem::mount(&home.path("small")) else {
        eprintln!("skipped: a file system cannot be mounted here");
        return;
    };
    let overlay = small.0.join("system.qcow2");
    qemu.create_overlay(&overlay, common::GUEST_SIZE).await.unwrap();
    let disk = DiskSpec {
        role: "system".into(),
        controller: Controller::Virtio,
        size: common::GUEST_SIZE,
        base: Some(Base::File(guest().into())),
        overlay: Overlay::Qcow2(overlay),
        complete: true,
    };
    let paths = home.paths();
    let mut spec = paths.spec(&home.machine, vec![disk]);
    let console = home.path("console.sock");
    spec.serial.as_mut().unwrap().console = Some(console.clone());
    let mut running = qemu.start(spec).await.unwrap();
    assert_eq!(next(&mut running).await, MachineEvent::Started);
    home.wait_for("LIVEPC READY 1.0").await;
    let mut port = BufReader::new(tokio::net::UnixStream::connect(console).await.unwrap());
    let ballast = small.0.join("ballast");
    // As much as fits.
    assert!(
        std::fs::write(&ballast, vec![1; 64 << 20]).is_err(),
        "the file system is full"
    );
    let mut line = String::new();
    for number in 0..200 {
        port.write_all(format!("write /etc/file-{number} {}\n", "x".repeat(200)).as_bytes())
            .await
            .unwrap();
        line.clear();
        tokio::select! {
            read = port.read_line(&mut line) => { read.unwrap(); }
            event = running.next_event() => {
                let Some(MachineEvent::Stalled(stall)) = event else { panic!("{event:?}") };
                assert_eq!(stall.cause, StallCause::NoSpace, "{stall:?}");
                std::fs::remove_file(&ballast).unwrap();
                resume(&mut running).await;
                port.read_line(&mut line).await.unwrap();
                assert_eq!(line.trim_end(), format!("WROTE /etc/file-{number}"), "the guest's write has succeeded");
                running.control().quit().await.unwrap();
                return;
            }
        }
        assert_eq!(line.trim_end(), format!("WROTE /etc/file-{number}"));
    }
    panic!("the small file system has not become full");
}

/// 64 MiB in memory.
struct SmallFileSystem(PathBuf);

impl SmallFileSystem {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=64M", "tmpfs"];
        let mounted = Command::new("mount")
            .args(options)
            .arg(at)
            .stderr(Stdio::null())
            .status()
            .ok()?;
        mounted.success().then(|| Self(at.into()))
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
