//! The sample guest, started and ended in every way.
#![cfg(target_os = "linux")] // The sample guest is built from Debian packages, and processes are found in /proc.
#![allow(clippy::unwrap_used)] // A test fails where it unwraps.

mod common;

use std::time::Duration;

use common::{Home, guest, kill, next, process_in, qemu, start};
use livepc_format::machine::{Controller, Firmware, GuestOs, Machine, Network, Nic};
use livepc_hypervisor::{
    Base, Control, DiskSpec, End, Hypervisor, HypervisorError, MachineEvent, Overlay, Status,
};

async fn power_off(running: &mut livepc_hypervisor::Running) {
    running.control().powerdown().await.unwrap();
    assert_eq!(next(running).await, MachineEvent::PowerdownRequested);
    let MachineEvent::Ended(ended) = next(running).await else {
        panic!("it should have ended")
    };
    assert!(ended.clean(), "the guest shut down: {ended:?}");
    assert_eq!(ended.exit_code, Some(0));
    assert_eq!(running.next_event().await, None, "nothing comes after the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_starts_from_its_base_and_shuts_down_when_its_button_is_pressed() {
    let (qemu, home) = (qemu().await, Home::new());
    let before = guest().metadata().unwrap().modified().unwrap();
    let disk = home.guest_disk(&qemu).await;
    let mut running = start(&qemu, &home, vec![disk]).await;
    assert_eq!(running.control().status(), Status::Running);
    home.wait_for("LIVEPC READY 1.0").await;
    power_off(&mut running).await;

    assert!(matches!(running.control().status(), Status::Ended(ended) if ended.clean()));
    assert!(
        matches!(running.control().powerdown().await, Err(HypervisorError::Ended)),
        "it is off"
    );
    assert_eq!(
        running.control().quit().await.unwrap().end,
        End::Guest,
        "to end what has ended is no error"
    );
    assert_eq!(
        guest().metadata().unwrap().modified().unwrap(),
        before,
        "the base is never written to"
    );
    assert_eq!(
        std::fs::read_dir(home.path("run")).unwrap().count(),
        0,
        "nothing is left in the run-time folder"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_machine_goes_on_where_it_was() {
    let (qemu, home) = (qemu().await, Home::new());
    let disk = home.guest_disk(&qemu).await;
    let mut running = start(&qemu, &home, vec![disk.clone()]).await;
    home.wait_for("LIVEPC READY 1.0").await;
    let ended = running.control().suspend().await.unwrap();
    assert_eq!(ended.end, End::Suspended, "{ended:?}");
    assert_eq!(next(&mut running).await, MachineEvent::Ended(ended));
    let state = home.path("qemu.state");
    assert!(state.metadata().unwrap().len() > 1 << 20, "its memory is kept");

    let paths = home.paths();
    let spec = |resume| livepc_hypervisor::MachineSpec {
        resume,
        ..paths.spec(&home.machine, vec![disk.clone()])
    };
    let mut running = qemu.start(spec(true)).await.unwrap();
    assert_eq!(next(&mut running).await, MachineEvent::Started);
    assert!(
        !state.exists(),
        "the guest goes on from it once: its disks are others now"
    );
    // Only a system that is up and runs can shut down.
    power_off(&mut running).await;
    assert_eq!(
        home.serial().matches("LIVEPC READY").count(),
        1,
        "it was not started anew: {}",
        home.serial()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_damaged_is_refused_and_kept_until_it_is_discarded() {
    let (qemu, home) = (qemu().await, Home::new());
    let disk = home.guest_disk(&qemu).await;
    let state = home.path("qemu.state");
    std::fs::write(&state, b"no state of any machine").unwrap();
    let paths = home.paths();
    let spec = livepc_hypervisor::MachineSpec {
        resume: true,
        ..paths.spec(&home.machine, vec![disk.clone()])
    };
    let refused = qemu.start(spec).await.unwrap_err();
    assert!(
        matches!(
            refused,
            HypervisorError::Refused { asked: "resume", .. } | HypervisorError::Ended
        ),
        "{refused:?}"
    );
    assert!(state.exists(), "whether it is given up is for a person to say");
    livepc_hypervisor::discard_saved_state(home.dir.path()).unwrap();
    assert!(!state.exists());
    let mut running = start(&qemu, &home, vec![disk]).await;
    running.control().quit().await.unwrap();
    assert!(matches!(next(&mut running).await, MachineEvent::Ended(_)));
}

/// The machine starts from a disk on this controller, with every other device besides.
async fn boots_from(controller: Controller, guest_os: GuestOs, nic: Nic) {
    let (qemu, mut home) = (qemu().await, Home::new());
    home.machine = Machine {
        guest_os,
        nic,
        network: Network::Nat,
        sound: true,
        usb: true,
        cpus: 2,
        ..home.machine
    };
    let system = home.system(&qemu, controller, Base::File(guest().into())).await;
    let mut running = start(&qemu, &home, vec![system]).await;
    home.wait_for("LIVEPC READY 1.0").await;
    power_off(&mut running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_starts_from_sata() {
    boots_from(Controller::Sata, GuestOs::Linux, Nic::E1000e).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_starts_from_ide() {
    boots_from(Controller::Ide, GuestOs::Linux, Nic::Rtl8139).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_starts_from_the_scsi_adapter_of_linux() {
    boots_from(Controller::Scsi, GuestOs::Linux, Nic::Vmxnet3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_starts_from_the_scsi_adapter_of_others() {
    boots_from(Controller::Scsi, GuestOs::Other, Nic::E1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_starts_from_nvme() {
    boots_from(Controller::Nvme, GuestOs::Linux, Nic::Virtio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_disk_keeps_what_the_guest_writes_and_an_overlay_is_never_replaced() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    let (qemu, home) = (qemu().await, Home::new());
    let user = home.path("user.raw");
    std::fs::File::create(&user).unwrap().set_len(16 << 20).unwrap();
    let system = home.guest_disk(&qemu).await;
    let user = DiskSpec {
        role: "user".into(),
        base: None,
        size: 16 << 20,
        overlay: Overlay::Raw(user),
        ..system.clone()
    };
    let again = qemu
        .create_overlay(&home.path("system.qcow2"), common::GUEST_SIZE)
        .await;
    assert!(
        matches!(again, Err(HypervisorError::OverlayExists { .. })),
        "{again:?}"
    );

    let paths = home.paths();
    let mut spec = paths.spec(&home.machine, vec![system, user]);
    let console = home.path("console.sock");
    spec.serial.as_mut().unwrap().console = Some(console.clone());
    let mut running = qemu.start(spec).await.unwrap();
    home.wait_for("LIVEPC READY 1.0").await;
    let mut port = BufReader::new(tokio::net::UnixStream::connect(console).await.unwrap());
    let digest = "SHA256 78051faade059d70866df6a3fb83ef348721fd74a87e93ef95c493f87d0d236b /home/note";
    for (typed, expected) in [
        ("write /home/note kept", "WROTE /home/note"),
        ("sha256 /home/note", digest),
    ] {
        port.write_all(format!("{typed}\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        port.read_line(&mut line).await.unwrap();
        assert_eq!(line.trim_end(), expected, "the answer to {typed:?}");
    }
    assert_eq!(running.next_event().await, Some(MachineEvent::Started));
    power_off(&mut running).await;
    let content = std::fs::read(home.path("user.raw")).unwrap();
    assert!(
        content.windows(5).any(|bytes| bytes == b"kept\n"),
        "it is on the user disk"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn uefi_starts_with_variables_of_its_own() {
    let (qemu, mut home) = (qemu().await, Home::new());
    home.machine = Machine {
        firmware: Firmware::Uefi,
        ..home.machine
    };
    // No boot loader for UEFI is on it: that the firmware runs is seen by what it writes to its variables.
    let disk = home.guest_disk(&qemu).await;
    let running = match qemu.start(home.paths().spec(&home.machine, vec![disk])).await {
        Ok(running) => running,
        Err(HypervisorError::NoFirmware) => {
            eprintln!("skipped: no UEFI firmware is installed");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let variables = || std::fs::read(home.path("uefi.fd")).unwrap();
    let fresh = variables();
    let begin = std::time::Instant::now();
    while variables() == fresh {
        assert!(
            begin.elapsed() < common::START,
            "the firmware has written nothing"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    running.control().quit().await.unwrap();
}

async fn began(control: &Control, home: &Home) {
    assert_eq!(control.status(), Status::Running);
    assert!(home.path("qemu.pid").exists(), "the lock is held while it runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn quitting_ends_at_once_and_is_not_clean() {
    let (qemu, home) = (qemu().await, Home::new());
    let disk = home.guest_disk(&qemu).await;
    let mut running = start(&qemu, &home, vec![disk]).await;
    began(running.control(), &home).await;
    let ended = running.control().clone().quit().await.unwrap();
    assert_eq!((ended.end, ended.clean()), (End::Quit, false), "{ended:?}");
    assert_eq!(next(&mut running).await, MachineEvent::Ended(ended));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_ignores_its_button_is_switched_off_after_the_grace() {
    let (qemu, home) = (qemu().await, Home::new());
    let disk = home.guest_disk(&qemu).await;
    let mut running = start(&qemu, &home, vec![disk]).await;
    // The BIOS knows no button.
    let ended = running
        .control()
        .clone()
        .stop(Duration::from_millis(200))
        .await
        .unwrap();
    assert_eq!(ended.end, End::Quit, "{ended:?}");
    assert_eq!(next(&mut running).await, MachineEvent::PowerdownRequested);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qemu_that_is_killed_or_hangs_is_noticed() {
    let (qemu, home) = (qemu().await, Home::new());
    let disk = home.guest_disk(&qemu).await;
    let mut running = start(&qemu, &home, vec![disk.clone()]).await;
    kill("-KILL", process_in(&home.path("run")));
    let MachineEvent::Ended(ended) = next(&mut running).await else {
        panic!("it should have ended")
    };
    assert_eq!((ended.end, ended.exit_code), (End::Crashed, None), "{ended:?}");
    assert!(ended.killed() && !ended.broke_sandbox(), "{ended:?}");

    // What it has left is in nobody's way.
    let mut running = start(&qemu, &home, vec![disk.clone()]).await;
    kill("-STOP", process_in(&home.path("run")));
    let ended = running.control().clone().quit().await.unwrap();
    assert_eq!(
        ended.end,
        End::Quit,
        "one that does not answer is killed: {ended:?}"
    );
    assert_eq!(next(&mut running).await, MachineEvent::Ended(ended));
}

/// A session that ends tells every process; the runner sees to it that the guest shuts down, and QEMU waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn qemu_outlasts_what_ends_a_session_and_its_guest_sees_a_button_that_was_pressed_too_early() {
    let (qemu, home) = (qemu().await, Home::new());
    let disk = home.guest_disk(&qemu).await;
    let running = start(&qemu, &home, vec![disk]).await;
    for signal in ["-TERM", "-HUP"] {
        kill(signal, process_in(&home.path("run")));
    }
    // The BIOS has hardly begun.
    let ended = running.control().shut_down(common::START).await.unwrap();
    let ended = ended.expect("the guest sees its button when it has started");
    assert_eq!((ended.end, ended.exit_code), (End::Guest, Some(0)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_does_not_run_twice() {
    let (qemu, home) = (qemu().await, Home::new());
    let disk = home.guest_disk(&qemu).await;
    let running = start(&qemu, &home, vec![disk.clone()]).await;
    let paths = home.paths();
    let twice = qemu.start(paths.spec(&home.machine, vec![disk.clone()])).await;
    assert!(
        matches!(twice, Err(HypervisorError::InUse { .. })),
        "the same folder: {twice:?}"
    );
    let other = Home::new();
    let paths = other.paths();
    let twice = qemu.start(paths.spec(&home.machine, vec![disk])).await;
    assert!(
        matches!(twice, Err(HypervisorError::InUse { .. })),
        "another folder, the same disk: {twice:?}"
    );
    assert_eq!(
        running.control().status(),
        Status::Running,
        "the first one is not disturbed"
    );
    running.control().quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_machine_from_starting_is_told() {
    let (qemu, mut home) = (qemu().await, Home::new());
    let gone = Base::NbdUnix {
        socket: home.path("gone.sock"),
        export: String::new(),
    };
    let disk = home.system(&qemu, Controller::Virtio, gone).await;
    let paths = home.paths();
    let error = qemu
        .start(paths.spec(&home.machine, vec![disk.clone()]))
        .await
        .unwrap_err();
    assert!(matches!(error, HypervisorError::NoBase { .. }), "{error:?}");

    let disk = DiskSpec { base: None, ..disk };
    home.machine.memory = 1 << 39;
    let error = qemu
        .start(paths.spec(&home.machine, vec![disk.clone()]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, HypervisorError::NoMemory { memory, .. } if memory == 1 << 39),
        "{error:?}"
    );
    home.machine.memory = 256 << 20;

    let missing = DiskSpec {
        overlay: Overlay::Qcow2(home.path("missing.qcow2")),
        ..disk
    };
    let error = qemu
        .start(paths.spec(&home.machine, vec![missing]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("missing.qcow2"), "{error}");
    assert!(
        !error.to_string().contains("{\""),
        "no options are shown to people: {error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_hostile_names_are_files() {
    let (qemu, home) = (qemu().await, Home::new());
    let hostile = home.path("a,b=\"c\\\n{$(d)} -S %s'ü,file.filename=x.raw");
    std::fs::copy(guest(), &hostile).unwrap();
    let disk = home.system(&qemu, Controller::Virtio, Base::File(hostile)).await;
    let role = "sys,tem\"".to_owned();
    let running = start(&qemu, &home, vec![DiskSpec { role, ..disk }]).await;
    running.control().quit().await.unwrap();
}
