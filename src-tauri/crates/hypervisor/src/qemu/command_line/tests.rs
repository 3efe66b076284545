use std::collections::BTreeSet;
use std::path::PathBuf;

use livepc_format::machine::{Architecture, Controller, HypervisorKind, Machine};
use proptest::prelude::*;

use super::*;
use crate::{Base, DiskSpec, Overlay};

fn host() -> Host<'static> {
    Host {
        accelerator: Accelerator::Kvm,
        sandbox: Some(crate::qemu::confinement::STRICT),
        display: "none",
        audio: "none",
        firmware: None,
        monitor: "socket,path=monitor.sock,server=off".into(),
    }
}

fn disk(controller: Controller) -> DiskSpec {
    DiskSpec {
        role: "system".into(),
        controller,
        size: 1 << 30,
        base: Some(Base::NbdUnix {
            socket: "/run/disk.sock".into(),
            export: "0".into(),
        }),
        overlay: Overlay::Qcow2("/machine/system.qcow2".into()),
        complete: false,
    }
}

fn user_disk(controller: Controller) -> DiskSpec {
    DiskSpec {
        role: "user".into(),
        base: None,
        overlay: Overlay::Raw("/machine/user.raw".into()),
        complete: true,
        ..disk(controller)
    }
}

fn spec(machine: &Machine, disks: Vec<DiskSpec>) -> MachineSpec<'_> {
    MachineSpec::for_tests(machine, disks)
}

/// One option a line, with its value.
fn shown(spec: &MachineSpec<'_>, host: &Host<'_>) -> String {
    let arguments = arguments(spec, host).unwrap();
    // Paths are joined as each system does it.
    let shown = arguments.join(" ").replace(std::path::MAIN_SEPARATOR, "/");
    shown.replace(" -", "\n-")
}

#[test]
fn a_small_machine() {
    let machine = Machine::default();
    insta::assert_snapshot!(shown(&spec(&machine, vec![disk(Controller::Virtio)]), &host()));
}

#[test]
fn a_machine_with_everything() {
    let machine = Machine {
        guest_os: GuestOs::Windows,
        cpus: 4,
        memory: 8 << 30,
        firmware: Firmware::Uefi,
        network: Network::Nat,
        nic: Nic::E1000e,
        sound: true,
        usb: true,
        ..Machine::default()
    };
    let mut spec = spec(
        &machine,
        vec![disk(Controller::Sata), user_disk(Controller::Nvme)],
    );
    spec.serial = Some(Serial {
        log: Some("/machine/a,b.log".into()),
        console: None,
    });
    let host = Host {
        accelerator: Accelerator::Whpx,
        sandbox: None,
        display: "gtk,window-close=off",
        audio: "pa",
        firmware: Some(&Image {
            path: "/usr/share/edk2/ovmf/OVMF_CODE_4M.qcow2".into(),
            format: Format::Qcow2,
        }),
        ..host()
    };
    insta::assert_snapshot!(shown(&spec, &host));
}

#[test]
fn a_machine_of_the_nineties() {
    let machine = Machine {
        nic: Nic::Rtl8139,
        network: Network::Nat,
        ..Machine::default()
    };
    let disks = vec![
        DiskSpec {
            complete: true,
            ..disk(Controller::Ide)
        },
        user_disk(Controller::Ide),
        user_disk(Controller::Ide),
        user_disk(Controller::Sata),
        user_disk(Controller::Scsi),
    ];
    let host = Host {
        accelerator: Accelerator::Tcg,
        ..host()
    };
    insta::assert_snapshot!(shown(&spec(&machine, disks), &host));
}

#[test]
fn a_serial_port_is_a_file_or_a_console_or_both() {
    let path = |name: &str| Some(PathBuf::from(name));
    assert_eq!(serial_port(&Serial::default()), "null,id=serial");
    let console = serial_port(&Serial {
        log: None,
        console: path("/run/c,d"),
    });
    assert!(
        console.contains("c,,d") && console.ends_with(",id=serial"),
        "{console}"
    );
    let both = serial_port(&Serial {
        log: path("/a,b"),
        console: path("/run/c,d"),
    });
    assert_eq!(both, format!("{console},logfile=/a,,b,logappend=on"));
}

#[test]
fn every_port_is_used_once() {
    let machine = Machine::default();
    for controllers in [
        vec![Controller::Sata; 8],
        vec![Controller::Scsi; 8],
        [vec![Controller::Ide; 4], vec![Controller::Sata; 4]].concat(),
    ] {
        let disks: Vec<_> = controllers
            .iter()
            .map(|&controller| user_disk(controller))
            .collect();
        let arguments = arguments(&spec(&machine, disks), &host()).unwrap();
        let devices = arguments
            .iter()
            .filter_map(|value| serde_json::from_str::<Value>(value).ok());
        let places = devices.filter(|device| device["drive"].is_string());
        let places =
            places.map(|device| format!("{} {} {}", device["bus"], device["unit"], device["scsi-id"]));
        assert_eq!(places.collect::<BTreeSet<_>>().len(), 8, "{controllers:?}");
    }
}

#[test]
fn what_qemu_cannot_do_is_refused() {
    let machine = Machine::default();
    let refused = |disks: Vec<DiskSpec>| {
        arguments(&spec(&machine, disks), &host())
            .unwrap_err()
            .to_string()
    };
    for controller in [Controller::Nvme, Controller::Ide, Controller::Scsi] {
        let streaming = refused(vec![disk(controller)]);
        assert!(
            streaming.contains("download the release completely"),
            "{streaming}"
        );
        let complete = DiskSpec {
            complete: true,
            ..disk(controller)
        };
        assert!(
            arguments(&spec(&machine, vec![complete]), &host()).is_ok(),
            "a complete disk never waits"
        );
    }
    let crowded = refused(vec![user_disk(Controller::Ide); 5]);
    assert!(crowded.contains("more than 4 IDE disks"), "{crowded}");
}

#[test]
fn every_disk_that_can_wait_does() {
    let machine = Machine::default();
    for controller in [Controller::Virtio, Controller::Sata] {
        let shown = shown(&spec(&machine, vec![disk(controller)]), &host());
        assert!(
            shown.contains(r#""rerror":"stop","werror":"stop""#),
            "{controller:?}: {shown}"
        );
    }
}

/// Text that could end a value, and a mark to find it by.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just(","),
        Just(",,"),
        Just("="),
        Just("\""),
        Just("\\"),
        Just("\n"),
        Just(" -device "),
        Just("}"),
        Just("'"),
        Just("file=/etc/shadow"),
        Just("%s"),
        Just("json:{"),
        Just("ü"),
    ];
    prop::collection::vec(pieces, 0..8).prop_map(|pieces| format!("MARK{}", pieces.concat()))
}

/// Seven of them, no two alike.
fn all_hostile() -> impl Strategy<Value = Vec<String>> {
    let number = |(number, text): (usize, String)| format!("{number}{text}");
    prop::collection::vec(hostile(), 7)
        .prop_map(move |texts| texts.into_iter().enumerate().map(number).collect())
}

proptest! {
    #[test]
    fn hostile_text_stays_inside_json(
        texts in all_hostile(),
        controller in prop::sample::select(vec![Controller::Virtio, Controller::Sata]),
    ) {
        let machine = Machine {
            guest_os_name: texts[0].clone(),
            architecture: Architecture::X86_64,
            hypervisors: vec![HypervisorKind::Vmware],
            ..Machine::default()
        };
        let path = |text: &String| PathBuf::from(format!("/{text}"));
        let disks = vec![
            DiskSpec {
                role: texts[1].clone(),
                base: Some(Base::NbdUnix { socket: path(&texts[2]), export: texts[3].clone() }),
                overlay: Overlay::Qcow2(path(&texts[4])),
                ..disk(controller)
            },
            DiskSpec {
                base: Some(Base::NbdTcp { host: texts[5].clone(), port: 1, export: texts[6].clone() }),
                ..disk(controller)
            },
        ];
        let mut found = BTreeSet::new();
        for argument in arguments(&spec(&machine, disks), &host()).unwrap() {
            match serde_json::from_str::<Value>(&argument) {
                Ok(Value::Object(document)) => collect(&Value::Object(document), &mut found),
                _ => prop_assert!(!argument.contains("MARK"), "not JSON: {argument}"),
            }
        }
        // And they arrive as they were.
        for text in [&texts[3], &texts[5], &texts[6]] {
            prop_assert!(found.contains(text), "{text:?} is missing");
        }
        for text in [&texts[2], &texts[4]] {
            prop_assert!(found.contains(&format!("/{text}")), "{text:?} is missing");
        }
        prop_assert!(!found.contains(&texts[0]) && !found.contains(&texts[1]), "names for people are not QEMU's affair");
    }
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            found.insert(text.clone());
        }
        Value::Object(document) => document.values().for_each(|value| collect(value, found)),
        Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}
