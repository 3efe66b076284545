//! The proof that a manifest is data: what each driver makes of any manifest is read back, and has nothing in it that is not
//! in a closed set. For tests and for fuzzing only.

mod qemu;
pub(crate) mod vmx;

use std::path::Path;

use livepc_format::Manifest;
use livepc_format::machine::HypervisorKind;
use livepc_format::manifest::Content;

use crate::{Accelerator, Base, DiskSpec, Display, MachineSpec, Overlay, Serial};

/// Reads a manifest, and starts nothing: what each driver would be told is checked. Returns whether it was one.
///
/// # Panics
/// If a driver would be told what is not in its set.
pub fn manifest(bytes: &[u8]) -> bool {
    let Ok(manifest) = Manifest::parse(bytes) else {
        return false;
    };
    for display in [Display::Window, Display::None] {
        if let Ok(text) = crate::vmware::vmx_text(&spec(&manifest, HypervisorKind::Vmware, display)) {
            vmx::check(&text);
        }
        for accelerator in [Accelerator::Kvm, Accelerator::Whpx, Accelerator::Tcg] {
            let spec = spec(&manifest, HypervisorKind::Qemu, display);
            if let Ok(arguments) = crate::qemu::arguments_for(&spec, accelerator) {
                qemu::check(&arguments);
            }
        }
    }
    true
}

/// A machine as a runner describes it.
fn spec(manifest: &Manifest, kind: HypervisorKind, display: Display) -> MachineSpec<'_> {
    let disk = |disk: &livepc_format::manifest::Disk| {
        let folder = Path::new("/machine");
        let (base, overlay) = match (&disk.content, kind) {
            (Content::User { .. }, _) => (None, Overlay::Raw(folder.join(format!("{}.raw", disk.role)))),
            (_, HypervisorKind::Qemu) => {
                let base = Base::NbdUnix {
                    socket: "/run/disks".into(),
                    export: "0123456789abcdef".into(),
                };
                (
                    Some(base),
                    Overlay::Qcow2(folder.join(format!("{}.qcow2", disk.role))),
                )
            }
            (_, HypervisorKind::Vmware) => {
                let base = Base::Vmdk(Path::new("/bases").join(&disk.role).join("disk.vmdk"));
                (
                    Some(base),
                    Overlay::Vmdk(folder.join(format!("{}.vmdk", disk.role))),
                )
            }
        };
        DiskSpec {
            role: disk.role.clone(),
            controller: disk.controller,
            size: disk.size,
            base,
            overlay,
            complete: true,
        }
    };
    MachineSpec {
        name: &manifest.title,
        machine: &manifest.machine,
        disks: manifest.disks.iter().map(disk).collect(),
        display,
        serial: Some(Serial {
            log: Some("/machine/serial.log".into()),
            console: None,
        }),
        cd: None,
        adapter: Some([0xa1, 0xb2, 0xc3]),
        resume: false,
        folder: Path::new("/machine"),
        uefi_variables: Path::new("/machine/uefi.vars"),
        run_dir: Path::new("/run/machine"),
        log: Path::new("/machine/hypervisor.log"),
    }
}

/// True of a path that the spec above names: it leads nowhere else.
fn is_path(text: &str) -> bool {
    // Windows joins paths with its own sign.
    let text = if cfg!(windows) {
        text.replace('\\', "/")
    } else {
        text.to_owned()
    };
    let inside = ["/machine/", "/bases/", "/run/", "/firmware/"]
        .iter()
        .any(|folder| text.starts_with(folder));
    inside
        && !text.contains("..")
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "/-.".contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn object() -> Value {
        json!({ "digest": "11".repeat(32), "stored": 100, "size": 1000 })
    }

    fn good() -> Value {
        json!({
            "version": 1,
            "livepc": "11".repeat(32),
            "sequence": 1,
            "label": "1.0",
            "title": "Net Lab",
            "created": "2026-11-22T10:00:00Z",
            "machine": { "cpus": 1, "memory": 536_870_912 },
            "disks": [{
                "role": "system",
                "size": 1 << 20,
                "content": "published",
                "regions": [{ "start": 0, "sectors": 2048 }],
                "index": object(),
                "stored": 100,
            }],
            "packs": object(),
        })
    }

    /// What a publisher might write where a name belongs.
    fn hostile() -> impl Strategy<Value = Value> {
        let pieces = prop_oneof![
            Just(","),
            Just("="),
            Just("\""),
            Just("\\"),
            Just("\n"),
            Just("\r"),
            Just("\0"),
            Just("|0A"),
            Just(" -device "),
            Just("sharedFolder0.present = \"TRUE\""),
            Just("../"),
            Just("/etc/shadow"),
            Just("nbd://evil/"),
            Just("json:{"),
            Just("${HOME}"),
            Just("\u{202e}"),
            Just("lab"),
            Just("ü"),
        ];
        prop::collection::vec(pieces, 1..5).prop_map(|pieces| Value::from(pieces.concat()))
    }

    /// A member of a set, mostly one that exists.
    fn word(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
        prop_oneof![40 => prop::sample::select(words).prop_map(Value::from), 1 => hostile()]
    }

    fn number(usual: impl Strategy<Value = u64>) -> impl Strategy<Value = Value> {
        prop_oneof![
            40 => usual.prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => Just(json!(1e300)),
        ]
    }

    const ROLES: &[&str] = &["system", "user", "data", "system", "a-b"];
    const CONTROLLERS: &[&str] = &["virtio", "sata", "ide", "scsi", "nvme"];

    prop_compose! {
        fn machine()(
            guest_os in word(&["linux", "windows", "bsd", "other", "plan9"]),
            name in prop_oneof![Just(json!("Debian 12")), hostile()],
            cpus in number(1_u64..=64),
            memory in number((16_u64..=65536).prop_map(|mib| mib << 20)),
            firmware in word(&["bios", "uefi"]),
            network in word(&["none", "nat"]),
            nic in word(&["virtio", "e1000", "e1000e", "vmxnet3", "rtl8139"]),
            sound in any::<bool>(),
            usb in any::<bool>(),
            hypervisors in prop::collection::vec(word(&["qemu", "vmware", "xen"]), 0..4),
        ) -> Value {
            json!({
                "guest-os": guest_os, "guest-os-name": name, "cpus": cpus, "memory": memory, "firmware": firmware,
                "network": network, "nic": nic, "sound": sound, "usb": usb, "hypervisors": hypervisors,
            })
        }
    }

    prop_compose! {
        fn user_disk()(
            role in word(ROLES),
            size in number((1_u64..=1 << 20).prop_map(|sectors| sectors * 512)),
            controller in word(CONTROLLERS),
            label in prop_oneof![Just(json!("home")), hostile()],
        ) -> Value {
            json!({ "role": role, "size": size, "controller": controller, "content": "user", "label": label })
        }
    }

    prop_compose! {
        fn any_manifest()(
            title in prop_oneof![Just(json!("Net Lab")), hostile()],
            label in prop_oneof![40 => Just(json!("1.0")), 1 => hostile()],
            machine in machine(),
            controller in word(CONTROLLERS),
            disks in prop::collection::vec(user_disk(), 0..3),
        ) -> Value {
            let mut manifest = good();
            manifest["title"] = title;
            manifest["label"] = label;
            manifest["machine"] = machine;
            manifest["disks"][0]["controller"] = controller;
            if let Some(all) = manifest["disks"].as_array_mut() {
                all.extend(disks);
            }
            manifest
        }
    }

    #[test]
    fn the_manifest_that_the_others_differ_from_is_one() {
        assert!(manifest(good().to_string().as_bytes()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_manifest_leaves_the_closed_set(document in any_manifest()) {
            manifest(document.to_string().as_bytes());
        }
    }

    #[test]
    fn enough_of_them_are_manifests() {
        use proptest::strategy::ValueTree;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut accepted = 0;
        for _ in 0..500 {
            let tree = any_manifest().new_tree(&mut runner).expect("a manifest");
            accepted += u32::from(manifest(tree.current().to_string().as_bytes()));
        }
        assert!(accepted > 50, "only {accepted} of 500 came as far as the drivers");
    }

    #[test]
    fn what_is_not_in_the_set_is_noticed() {
        let caught =
            |check: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err();
        for text in [
            "sharedFolder0.present = \"TRUE\"\n",
            "memsize = \"512\"\nmemsize = \"1\"\n",
            "sata0:0.fileName = \"/etc/shadow\"\n",
        ] {
            assert!(caught(&|| vmx::check(text)), "{text}");
        }
        for line in [
            &["-fsdev", "local"] as &[&str],
            &["-device", r#"{"driver":"vfio-pci"}"#],
            &[
                "-blockdev",
                r#"{"driver":"raw","file":{"driver":"file","filename":"/etc/shadow"}}"#,
            ],
            &["-name", "guest=x,debug-threads=on"],
            &["-netdev", "user,id=net,hostfwd=tcp::22-:22"],
        ] {
            let line: Vec<_> = line.iter().map(|&part| part.to_owned()).collect();
            assert!(caught(&|| qemu::check(&line)), "{line:?}");
        }
    }
}
