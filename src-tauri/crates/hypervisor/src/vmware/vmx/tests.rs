use std::path::PathBuf;

use livepc_format::machine::Machine;
use proptest::prelude::*;

use super::*;
use crate::Base;
use crate::closed_set::vmx::parse;

fn disk(controller: Controller, path: &str) -> DiskSpec {
    DiskSpec {
        role: "system".into(),
        controller,
        size: 1 << 30,
        base: Some(Base::Vmdk("/mount/base.vmdk".into())),
        overlay: Overlay::Vmdk(path.into()),
        complete: true,
    }
}

fn user_disk(controller: Controller, path: &str) -> DiskSpec {
    DiskSpec {
        base: None,
        overlay: Overlay::Raw(path.into()),
        ..disk(controller, path)
    }
}

fn spec(machine: &Machine, disks: Vec<DiskSpec>) -> MachineSpec<'_> {
    MachineSpec::for_tests(machine, disks)
}

#[test]
fn a_small_machine() {
    let machine = Machine::default();
    let disks = vec![disk(Controller::Virtio, "/machine/system.vmdk")];
    let text = text(&spec(&machine, disks)).unwrap();
    parse(&text).unwrap();
    insta::assert_snapshot!(text);
}

#[test]
fn a_machine_with_everything() {
    let machine = Machine {
        guest_os: GuestOs::Windows,
        cpus: 4,
        memory: (4 << 30) + (1 << 20),
        firmware: Firmware::Uefi,
        network: Network::Nat,
        nic: Nic::E1000e,
        sound: true,
        usb: true,
        ..Machine::default()
    };
    let disks = vec![
        disk(Controller::Nvme, "/machine/system.vmdk"),
        user_disk(Controller::Sata, "/machine/user.raw"),
        user_disk(Controller::Scsi, "/machine/more.raw"),
        user_disk(Controller::Ide, "/machine/old.raw"),
    ];
    let spec = MachineSpec {
        display: Display::Window,
        serial: Some(Serial {
            log: Some("/machine/serial.log".into()),
            console: Some("/run/machine/console".into()),
        }),
        cd: Some(Path::new("/images/tools.iso")),
        ..spec(&machine, disks)
    };
    let text = text(&spec).unwrap();
    parse(&text).unwrap();
    insta::assert_snapshot!(text);
}

#[test]
fn every_place_is_used_once_and_the_adapter_keeps_its_own() {
    let machine = Machine::default();
    for controller in [
        Controller::Virtio,
        Controller::Sata,
        Controller::Scsi,
        Controller::Nvme,
    ] {
        let disks = (0..8)
            .map(|n| user_disk(controller, &format!("/{n}.raw")))
            .collect();
        let settings = parse(&text(&spec(&machine, disks)).unwrap()).expect("no place twice");
        let places = settings
            .keys()
            .filter(|key| key.contains(':') && key.ends_with(".fileName"));
        assert_eq!(places.count(), 8, "{controller:?}");
        assert!(
            !settings.contains_key("scsi0:7.fileName"),
            "seven is the adapter itself"
        );
    }
}

#[test]
fn what_vmware_cannot_do_is_refused_with_a_way_out() {
    let refused = |machine: Machine, disks| text(&spec(&machine, disks)).unwrap_err().to_string();
    let one = || vec![disk(Controller::Sata, "/system.vmdk")];
    let many = Machine {
        cpus: 64,
        ..Machine::default()
    };
    assert!(refused(many, one()).contains("start it with QEMU"));
    let large = Machine {
        memory: 1 << 40,
        ..Machine::default()
    };
    assert!(refused(large, one()).contains("start it with QEMU"));
    let old = (0..5)
        .map(|n| user_disk(Controller::Ide, &format!("/{n}.raw")))
        .collect();
    assert!(refused(Machine::default(), old).contains("more than 4 IDE disks"));
    let qcow2 = vec![DiskSpec {
        overlay: Overlay::Qcow2("/system.qcow2".into()),
        ..disk(Controller::Sata, "/")
    }];
    assert!(refused(Machine::default(), qcow2).contains("in QEMU's format"));
}

#[test]
fn a_serial_port_is_a_file_or_a_console() {
    let machine = Machine::default();
    let with = |log: Option<&str>, console: Option<&str>| {
        let spec = MachineSpec {
            serial: Some(Serial {
                log: log.map(Into::into),
                console: console.map(Into::into),
            }),
            ..spec(&machine, vec![disk(Controller::Sata, "/s.vmdk")])
        };
        parse(&text(&spec).unwrap()).unwrap()
    };
    assert_eq!(with(Some("/log"), None)["serial0.fileType"], "file");
    assert_eq!(with(Some("/log"), Some("/pipe"))["serial0.fileName"], "/pipe");
    assert_eq!(with(None, None)["serial0.present"], "FALSE");
}

#[test]
fn an_exported_machine_names_nothing_but_what_lies_beside_it() {
    let machine = Machine {
        sound: true,
        ..Machine::default()
    };
    let disks = [
        (Controller::Virtio, "disk0.vmdk".to_owned()),
        (Controller::Scsi, "disk1.vmdk".to_owned()),
    ];
    let settings = parse(&exported("Net lab", &machine, &disks).unwrap()).unwrap();
    assert_eq!(settings["sata0:0.fileName"], "disk0.vmdk");
    assert_eq!(settings["scsi0:0.fileName"], "disk1.vmdk");
    assert_eq!(settings["bios.hddOrder"], "sata0:0");
    assert_eq!(settings["sound.present"], "TRUE");
    for setting in UNDER_LIVEPC {
        assert!(
            !settings.contains_key(setting),
            "{setting} is for the machines that LivePC runs"
        );
        assert!(
            CONSTANTS.iter().any(|(key, _)| *key == setting),
            "{setting} is one of the constants"
        );
    }
    for file in ["../disk0.vmdk", "/disk0.vmdk", "a/b", ""] {
        let disks = [(Controller::Virtio, file.to_owned())];
        assert!(
            crate::vmware::exported("x", &machine, &disks).is_err(),
            "{file:?}"
        );
    }
}

#[test]
fn a_value_is_escaped_as_vmware_does() {
    assert_eq!(escape("a\"b|c\nd\te\u{7f}ü"), "a|22b|7Cc|0Ad|09e|7Fü");
}

/// Text that could end a value or begin a setting.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just("\"".to_owned()),
        Just("|".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\u{2028}".to_owned()),
        Just("\nsharedFolder0.present = \"TRUE\"\n".to_owned()),
        Just("|0A".to_owned()),
        Just("\0".to_owned()),
        Just("#".to_owned()),
        Just(" = ".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_a_setting(
        name in hostile(),
        texts in prop::collection::vec(hostile(), 6),
        controllers in prop::collection::vec(
            prop::sample::select(vec![Controller::Virtio, Controller::Ide, Controller::Scsi, Controller::Nvme]), 1..4),
        cpus in 1_u32..=16,
        memory in 16_u64..=4096,
    ) {
        let path = |text: &String| PathBuf::from(format!("/{text}"));
        let machine = Machine { cpus, memory: memory << 20, guest_os_name: texts[0].clone(), ..Machine::default() };
        let disks = controllers
            .iter()
            .zip(&texts)
            .map(|(&controller, text)| DiskSpec {
                role: text.clone(),
                overlay: Overlay::Vmdk(path(text)),
                ..disk(controller, "")
            })
            .collect();
        let cd = path(&texts[4]);
        let spec = MachineSpec {
            name: &name,
            cd: Some(&cd),
            serial: Some(Serial { log: Some(path(&texts[5])), console: None }),
            ..spec(&machine, disks)
        };
        let text = text(&spec).unwrap();
        let settings = parse(&text);
        prop_assert!(settings.is_ok(), "{:?}", settings);
        let settings = settings.unwrap();
        prop_assert!(!settings["displayName"].contains(['"', '|', '\n', '=', '#', '$']));
        prop_assert_eq!(&settings["memsize"], &memory.next_multiple_of(4).to_string());
    }
}
