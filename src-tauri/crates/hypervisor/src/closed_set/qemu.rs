//! What a command line of QEMU may say.

use serde_json::Value;

use super::is_path;
use crate::qemu::confinement::STRICT;

/// Options without a value.
const FLAGS: [&str; 3] = ["-nodefaults", "-no-user-config", "-S"];
/// Options whose value is a JSON document.
const DOCUMENTS: [&str; 3] = ["-blockdev", "-device", "-audiodev"];
/// Options with a value of the older form, and the keys that it may have: none stands for a first word.
const PLAIN: [(&str, &[&str]); 15] = [
    ("-name", &["guest"]),
    ("-pidfile", &[""]),
    (
        "-chardev",
        &[
            "",
            "id",
            "path",
            "server",
            "wait",
            "append",
            "logfile",
            "logappend",
        ],
    ),
    ("-mon", &["chardev", "mode"]),
    ("-machine", &["", "pflash0", "pflash1"]),
    ("-accel", &["", "kernel-irqchip"]),
    ("-cpu", &[""]),
    ("-smp", &["cpus", "sockets", "cores", "threads"]),
    ("-m", &["size"]),
    ("-rtc", &["base"]),
    ("-boot", &["strict"]),
    (
        "-global",
        &[
            "ICH9-LPC.disable_s3",
            "ICH9-LPC.disable_s4",
            "PIIX4_PM.disable_s3",
            "PIIX4_PM.disable_s4",
        ],
    ),
    ("-display", &["", "window-close"]),
    ("-netdev", &["", "id"]),
    ("-incoming", &[""]),
];
/// Keys of JSON documents.
const KEYS: &str = "audiodev backing bootindex bus chardev discard drive driver export file filename host id mac netdev node-name
    path port read-only rerror romfile scsi-id serial server type unit werror wwn";
/// Devices and drivers.
const DRIVERS: &str = "VGA e1000-82545em e1000e file hda-output ich9-ahci ide-cd ide-hd intel-hda isa-serial mptsas1068 nbd
    none nvme pvscsi qcow2 qemu-xhci raw rtl8139 scsi-hd usb-tablet virtio-blk-pci virtio-net-pci vmdk vmxnet3";

/// Panics if a command line says what it may not.
pub(super) fn check(arguments: &[String]) {
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(option) = arguments.next() {
        if FLAGS.contains(&option) {
            continue;
        }
        let value = arguments
            .next()
            .unwrap_or_else(|| panic!("{option} without a value"));
        if option == "-sandbox" {
            assert_eq!(value, STRICT);
        } else if DOCUMENTS.contains(&option) {
            let document: Value = serde_json::from_str(value).expect("JSON");
            check_document(&document, "");
        } else {
            let (_, keys) = PLAIN
                .iter()
                .find(|(known, _)| *known == option)
                .unwrap_or_else(|| panic!("{option} is not in the set"));
            check_plain(option, value, keys);
        }
    }
}

fn check_plain(option: &str, value: &str, keys: &[&str]) {
    for (number, part) in value.split(',').enumerate() {
        let (key, value) = part.split_once('=').unwrap_or(("", part));
        assert!(
            keys.contains(&key) && (key.is_empty() == (number == 0 && keys[0].is_empty())),
            "{option} must not have {part:?}"
        );
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fits = match option {
            "-name" => value.chars().all(|c| c.is_alphanumeric() || "-_.() ".contains(c)),
            _ => value.chars().all(plain) || is_path(value),
        };
        assert!(fits, "{option} must not have {part:?}");
    }
}

fn check_document(value: &Value, of: &str) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                assert!(
                    KEYS.split_whitespace().any(|known| known == key),
                    "{key} in {value}"
                );
                check_document(value, key);
            }
        }
        Value::String(text) => {
            let fits = match of {
                "driver" => DRIVERS.split_whitespace().any(|known| known == text),
                "filename" | "path" => is_path(text),
                "mac" => text == "52:54:00:a1:b2:c3",
                _ => {
                    text.len() <= 64
                        && text
                            .chars()
                            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                }
            };
            assert!(fits, "{of} must not be {text:?}");
        }
        Value::Number(_) | Value::Bool(_) | Value::Null => {}
        Value::Array(_) => panic!("{of} is no list"),
    }
}
