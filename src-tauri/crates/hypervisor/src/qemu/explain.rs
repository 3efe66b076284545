//! What QEMU's messages mean for a person.

use std::path::Path;

use crate::HypervisorError;

/// Which of QEMU's messages mean what, as QEMU 6 to 10 word them.
const IN_USE: [&str; 4] = [
    "Failed to get \"",
    "Is another process using the image",
    "lock pid file",
    "Failed to lock byte",
];
const NO_MEMORY: [&str; 2] = ["cannot set up guest memory", "Cannot allocate memory"];
const NO_WINDOW: [&str; 4] = [
    "gtk initialization failed",
    "Could not initialize SDL",
    "cannot open display",
    "Cannot open display",
];
const NO_BASE: [&str; 4] = [
    "Failed to connect to ",
    "Failed to read export",
    "Requested export not available",
    "server dropped connection",
];

/// What QEMU says when a file is missing that it starts computers with.
const NO_ROM: [&str; 4] = [
    "could not load PC BIOS",
    "failed to find romfile",
    "Could not load PC BIOS",
    "could not load VGA bios",
];

/// The error of a QEMU that lacks a part that distributions package by itself, if it said so.
pub(super) fn missing_part(program: &Path, lines: &[String]) -> Option<HypervisorError> {
    let line = lines
        .iter()
        .find(|line| NO_ROM.iter().any(|sign| line.contains(sign)))?;
    // The last that stands in quotes: before it there may be the option, with quotes of its own.
    let file = line.rsplit(['"', '\'']).nth(1).unwrap_or("its BIOS");
    Some(HypervisorError::Incomplete {
        program: program.into(),
        missing: format!("a file that it starts computers with ({file})"),
        hint: "install the rest of QEMU (Debian and Ubuntu: qemu-system-data, seabios and ipxe-qemu, Fedora: seabios-bin, \
               seavgabios-bin and ipxe-roms-qemu, openSUSE: qemu-seabios, qemu-vgabios and qemu-ipxe)",
    })
}

/// The error of a QEMU that ended before its guest began, having said `lines`. `memory`: bytes of the machine's.
pub(super) fn failed_start(program: &Path, lines: &[String], memory: u64) -> HypervisorError {
    if let Some(missing) = missing_part(program, lines) {
        return missing;
    }
    let any = |signs: &[&str]| {
        let line = lines
            .iter()
            .find(|line| signs.iter().any(|sign| line.contains(sign)));
        line.map(|line| without_prefix(line))
    };
    if let Some(why) = any(&IN_USE) {
        HypervisorError::InUse { why }
    } else if let Some(why) = any(&NO_MEMORY) {
        HypervisorError::NoMemory { memory, why }
    } else if let Some(why) = any(&NO_WINDOW) {
        HypervisorError::NoWindow {
            why: format!("{why}; start it from your desktop session, or without a window"),
        }
    } else if let Some(why) = any(&NO_BASE) {
        HypervisorError::NoBase { why }
    } else {
        let said = complaint(lines);
        let hint = if said.contains("Permission denied") {
            "; give your user access to that file"
        } else if said.contains("is not a valid device model")
            || said.contains("not found, do you want to install")
        {
            "; a part of QEMU is missing: install its full package"
        } else {
            ""
        };
        HypervisorError::NotStarted {
            hypervisor: "QEMU",
            why: format!("{said}{hint}"),
        }
    }
}

/// Why the accelerator `name` was of no use, given what QEMU said.
pub(super) fn rejected(name: &str, lines: &[String]) -> String {
    let said = complaint(lines);
    let hint = match name {
        "kvm" if said.contains("Permission denied") => "; add your user to the group “kvm” and log in again",
        "kvm" if said.contains("busy") => {
            "; another hypervisor has the processor, such as VirtualBox: end its machines"
        }
        "kvm" if said.contains("No such file") => {
            "; switch virtualization on in the computer's firmware settings"
        }
        "whpx" => "; switch on “Windows Hypervisor Platform” in Windows' features",
        _ => "",
    };
    format!("{said}{hint}")
}

/// The last complaint that tells more than a warning or a failed assertion.
fn complaint(lines: &[String]) -> String {
    let noise = ["warning:", "module ", "Assertion `"];
    let serious = |line: &&String| !noise.iter().any(|noise| line.contains(noise));
    let line = lines.iter().rfind(serious).or(lines.last());
    line.map_or_else(|| "it ended without a word".into(), |line| without_prefix(line))
}

/// `qemu-system-x86_64: -device {…}: why` → `why`.
fn without_prefix(line: &str) -> String {
    let line = line
        .split_once(": ")
        .filter(|(program, _)| program.contains("qemu"))
        .map_or(line, |(_, rest)| rest);
    // An option is quoted in full: with the JSON of all the disks it would bury what is wrong.
    match line.starts_with('-').then(|| line.rsplit_once("}: ")).flatten() {
        Some((_, why)) => why.into(),
        None => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(line: &str) -> HypervisorError {
        failed_start(Path::new("/usr/bin/qemu"), &[line.into()], 512 << 20)
    }

    #[test]
    fn known_messages_become_errors_of_their_own() {
        let said = r#"qemu-system-x86_64: -blockdev {"driver":"qcow2"}: Failed to get "write" lock"#;
        assert!(
            matches!(explained(said), HypervisorError::InUse { why } if why == r#"Failed to get "write" lock"#)
        );
        let said = "qemu-system-x86_64: cannot create PID file: Cannot lock pid file: Resource temporarily unavailable";
        assert!(matches!(explained(said), HypervisorError::InUse { .. }));
        let said = "qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory";
        assert!(
            explained(said).to_string().contains("machine of 512 MiB"),
            "{}",
            explained(said)
        );
        let said =
            r#"qemu-system-x86_64: -blockdev {"a":1}: Failed to connect to '/run/s': Connection refused"#;
        assert!(
            matches!(explained(said), HypervisorError::NoBase { why } if why.starts_with("Failed to connect"))
        );
        assert!(matches!(
            explained("gtk initialization failed"),
            HypervisorError::NoWindow { .. }
        ));
    }

    #[test]
    fn other_messages_are_told_without_the_options() {
        let lines = [
            "qemu-system-x86_64: warning: host doesn't support requested feature",
            "qemu-system-x86_64: -device {\"driver\":\"nvme\"}: 'nvme' is not a valid device model name",
            "qemu: module ui-ui-gtk not found, do you want to install qemu-system-gui package?",
        ];
        let error = failed_start(Path::new("/usr/bin/qemu"), &lines.map(Into::into), 0).to_string();
        let expected = "QEMU did not start the machine: 'nvme' is not a valid device model name; a part of QEMU is \
                        missing: install its full package";
        assert_eq!(error, expected);
        assert_eq!(complaint(&[]), "it ended without a word");
    }

    #[test]
    fn a_part_that_is_missing_is_named_with_its_packages() {
        for (said, file) in [
            (
                "qemu-system-x86_64: could not load PC BIOS 'bios-256k.bin'",
                "bios-256k.bin",
            ),
            (
                r#"qemu-system-x86_64: -device {"driver":"VGA"}: failed to find romfile "vgabios-stdvga.bin""#,
                "vgabios-stdvga.bin",
            ),
        ] {
            let error = explained(said);
            assert!(matches!(error, HypervisorError::Incomplete { .. }), "{error:?}");
            assert!(error.is_of_this_computer());
            let text = error.to_string();
            assert!(text.contains(file) && text.contains("seabios"), "{text}");
        }
    }

    #[test]
    fn an_accelerator_is_told_with_what_helps() {
        let lines = ["Could not access KVM kernel module: Permission denied".to_owned()];
        assert!(
            rejected("kvm", &lines).ends_with("log in again"),
            "{}",
            rejected("kvm", &lines)
        );
        let lines = [
            "qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69",
            "qemu-system-x86_64: ../../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion `ret' failed.",
        ];
        assert_eq!(
            rejected("kvm", &lines.map(Into::into)),
            "error: failed to set MSR 0x10a to 0x69"
        );
        let lines = ["ioctl(KVM_CREATE_VM) failed: 16 Device or resource busy".to_owned()];
        assert!(
            rejected("kvm", &lines).contains("VirtualBox"),
            "{}",
            rejected("kvm", &lines)
        );
        let lines = ["qemu-system-x86_64: failed to initialize kvm: Permission denied".to_owned()];
        assert!(
            rejected("kvm", &lines).starts_with("failed to initialize kvm"),
            "{}",
            rejected("kvm", &lines)
        );
    }
}
