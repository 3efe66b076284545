//! A runner that dies and leaves its QEMU: the next start must find the disks free.
#![cfg(target_os = "linux")] // Processes are found in /proc. On Windows nothing is left in the first place.
#![allow(clippy::unwrap_used)] // A test fails where it unwraps.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Home, kill, process_in, qemu, start};
use livepc_hypervisor::{DiskSpec, Hypervisor, Overlay, Status, reap};

/// Names the folder of the machine to the process that shall die.
const HOME: &str = "LIVEPC_TEST_RUNNER_HOME";

fn disk(home: &Path) -> DiskSpec {
    DiskSpec {
        role: "system".into(),
        controller: livepc_format::machine::Controller::Virtio,
        size: common::GUEST_SIZE,
        base: None,
        overlay: Overlay::Qcow2(home.join("system.qcow2")),
        complete: true,
    }
}

/// Not a test: the process that dies. It starts a machine, says so and waits.
#[tokio::test(flavor = "multi_thread")]
async fn runner() {
    let Some(dir) = std::env::var_os(HOME).map(PathBuf::from) else {
        return;
    };
    let qemu = qemu().await;
    let mut home = Home::new();
    let machine = std::mem::take(&mut home.machine);
    let (uefi, run, log) = (dir.join("uefi.fd"), dir.join("run"), dir.join("qemu.log"));
    let paths = home.paths();
    let spec = livepc_hypervisor::MachineSpec {
        serial: None,
        cd: None,
        resume: false,
        folder: &dir,
        uefi_variables: &uefi,
        run_dir: &run,
        log: &log,
        ..paths.spec(&machine, vec![disk(&dir)])
    };
    let _running = qemu.start(spec).await.unwrap();
    println!("started");
    std::future::pending::<()>().await;
}

/// Starts a runner in `home`, and kills it when its machine runs. Returns the QEMU that it leaves.
fn die(home: &Home) -> u32 {
    let mut runner: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "runner", "--nocapture"])
        .env(HOME, home.dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(runner.stdout.take().unwrap());
    let started = said
        .lines()
        .map_while(Result::ok)
        .any(|line| line.ends_with("started"));
    assert!(started, "the runner has started a machine");
    let stray = process_in(&home.path("run"));
    runner.kill().unwrap();
    runner.wait().unwrap();
    stray
}

fn lives(pid: u32) -> bool {
    // What has ended and was not waited for has no files any more.
    std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|fds| fds.count() > 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_that_was_left_is_ended_before_the_next_start() {
    let (qemu, home) = (qemu().await, Home::new());
    qemu.create_overlay(&home.path("system.qcow2"), common::GUEST_SIZE)
        .await
        .unwrap();
    let stray = die(&home);
    assert!(lives(stray), "it outlives its runner: there is something to reap");

    assert!(reap(home.dir.path()).await.unwrap(), "there was one");
    assert!(!lives(stray), "it is gone");
    assert!(!reap(home.dir.path()).await.unwrap(), "and there is no other");
    let running = start(&qemu, &home, vec![disk(home.dir.path())]).await;
    assert_eq!(running.control().status(), Status::Running, "its disks are free");
    running.control().quit().await.unwrap();
    assert!(
        !reap(home.dir.path()).await.unwrap(),
        "a machine that has ended leaves nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_that_does_not_listen_is_ended_by_force() {
    let (qemu, home) = (qemu().await, Home::new());
    qemu.create_overlay(&home.path("system.qcow2"), common::GUEST_SIZE)
        .await
        .unwrap();
    let stray = die(&home);
    kill("-STOP", stray);
    assert!(reap(home.dir.path()).await.unwrap(), "there was one");
    assert!(!lives(stray), "it is gone");
}
