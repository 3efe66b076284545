//! What VMware's messages mean for a person.

use std::path::Path;

use crate::HypervisorError;

/// Which of VMware's messages mean what, in small letters.
const IN_USE: [&str; 5] = [
    "already in use",
    "appears to be in use",
    "failed to lock the file",
    "file is locked",
    "already running",
];
const LICENCE: [&str; 4] = ["license", "licence", "trial period", "evaluation period"];
const NO_MEMORY: [&str; 4] = [
    "not enough physical memory",
    "not enough memory",
    "insufficient memory",
    "cannot allocate memory",
];
const NO_MODULE: [&str; 5] = [
    "/dev/vmmon",
    "vmmon",
    "kernel module",
    "device/credential guard",
    "virtualized intel vt-x/ept",
];
const NO_BASE: [&str; 4] = [
    "parent virtual disk has been modified",
    "one of the disks it depends on",
    "cannot find one or more components",
    "content id of the parent",
];
const NO_WINDOW: [&str; 2] = ["cannot open display", "unable to connect to the display"];

/// The error of a machine that did not start. `memory`: bytes of the machine's.
pub(super) fn failed_start(said: &str, program: &Path, memory: u64) -> HypervisorError {
    let small = said.to_lowercase();
    let any = |signs: &[&str]| signs.iter().any(|sign| small.contains(sign));
    let why = complaint(said);
    let broken = |hint| HypervisorError::Broken {
        program: program.into(),
        why: why.clone(),
        hint,
    };
    if any(&IN_USE) {
        HypervisorError::InUse { why }
    } else if any(&LICENCE) {
        broken("open VMware once and enter its licence, or start the machine with QEMU")
    } else if any(&NO_MEMORY) {
        HypervisorError::NoMemory { memory, why }
    } else if any(&NO_MODULE) {
        broken(if cfg!(target_os = "linux") {
            "build VMware's kernel modules with “sudo vmware-modconfig --console --install-all”, then try again"
        } else {
            "switch virtualization on in the computer's firmware settings and other hypervisors off, then try again"
        })
    } else if any(&NO_BASE) {
        HypervisorError::NoBase { why }
    } else if any(&NO_WINDOW) {
        HypervisorError::NoWindow {
            why: format!("{why}; start it from your desktop session, or without a window"),
        }
    } else {
        HypervisorError::NotStarted {
            hypervisor: super::NAME,
            why,
        }
    }
}

/// What a program complained of, on one line, without control characters.
pub(super) fn complaint(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find_map(|line| line.strip_prefix("Error: "));
    let line = line.or_else(|| lines().next_back());
    let line = line.unwrap_or("it ended without a word");
    line.chars().filter(|c| !c.is_control()).take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(said: &str) -> HypervisorError {
        failed_start(said, Path::new("/usr/bin/vmrun"), 512 << 20)
    }

    #[test]
    fn known_messages_become_errors_of_their_own() {
        use HypervisorError as E;
        let said = explained("Error: The file is already in use\n");
        assert!(
            matches!(&said, E::InUse { why } if why == "The file is already in use"),
            "{said}"
        );
        let said = explained("Error: The virtual machine could not be powered on: no valid license key");
        assert!(
            matches!(&said, E::Broken { hint, .. } if hint.contains("licence")),
            "{said}"
        );
        let said =
            explained("Error: Not enough physical memory is available to power on this virtual machine");
        assert!(
            matches!(&said, E::NoMemory { memory, .. } if *memory == 512 << 20),
            "{said}"
        );
        let said = explained("Error: Could not open /dev/vmmon: No such file or directory.");
        assert!(matches!(&said, E::Broken { .. }), "{said}");
        let said = explained("Error: The parent virtual disk has been modified since the child was created");
        assert!(matches!(&said, E::NoBase { .. }), "{said}");
    }

    #[test]
    fn an_unknown_message_is_told_as_it_is_and_silence_is_told_too() {
        let said = explained("noise\nError: Unknown error\u{1b}[31m\nmore");
        assert!(
            matches!(&said, HypervisorError::NotStarted { why, .. } if why == "Unknown error[31m"),
            "{said}"
        );
        assert!(explained("").to_string().contains("without a word"));
    }
}
