//! UEFI for x86: where its code is, and a machine's own copy of its variables.

use std::path::{Path, PathBuf};

use livepc_durable::Readers;

use crate::{HypervisorError, Result};

/// Code and empty variables, as the distributions place them: 4 MiB builds first, never one with Secure Boot enforced.
const PLACES: [[&str; 2]; 10] = [
    // Debian, Ubuntu
    [
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ],
    ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"],
    // Fedora
    [
        "/usr/share/edk2/ovmf/OVMF_CODE.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.fd",
    ],
    // Arch
    [
        "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ],
    [
        "/usr/share/edk2-ovmf/x64/OVMF_CODE.fd",
        "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd",
    ],
    // openSUSE
    [
        "/usr/share/qemu/ovmf-x86_64-4m-code.bin",
        "/usr/share/qemu/ovmf-x86_64-4m-vars.bin",
    ],
    [
        "/usr/share/qemu/ovmf-x86_64-code.bin",
        "/usr/share/qemu/ovmf-x86_64-vars.bin",
    ],
    // Gentoo
    [
        "/usr/share/edk2/OvmfX64/OVMF_CODE.fd",
        "/usr/share/edk2/OvmfX64/OVMF_VARS.fd",
    ],
    // NixOS
    [
        "/run/libvirt/nix-ovmf/OVMF_CODE.fd",
        "/run/libvirt/nix-ovmf/OVMF_VARS.fd",
    ],
    // QEMU's own, where a distribution keeps it
    [
        "/usr/share/qemu/edk2-x86_64-code.fd",
        "/usr/share/qemu/edk2-i386-vars.fd",
    ],
];

/// QEMU's own, seen from its program: Homebrew and builds from source, then Windows.
const BESIDE: [&str; 2] = ["../share/qemu", "share"];

/// What UEFI consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Firmware {
    pub(super) code: PathBuf,
    /// The variables of a machine that was never started.
    template: PathBuf,
}

impl Firmware {
    /// Looks where distributions and QEMU itself, whose program is `qemu`, put it.
    pub(super) fn find(qemu: &Path) -> Result<Self> {
        let beside = BESIDE.iter().filter_map(|share| {
            let share = qemu.parent()?.join(share);
            Some([share.join("edk2-x86_64-code.fd"), share.join("edk2-i386-vars.fd")])
        });
        PLACES
            .iter()
            .map(|pair| pair.map(PathBuf::from))
            .chain(beside)
            .find(|pair| pair.iter().all(|file| file.is_file()))
            .map(|[code, template]| Self { code, template })
            .ok_or(HypervisorError::NoFirmware)
    }

    /// Makes the machine's variables at `path`, unless it has some.
    pub(super) fn make_variables(&self, path: &Path) -> Result<()> {
        let expected = self
            .template
            .metadata()
            .map_err(HypervisorError::file("reading", &self.template))?
            .len();
        match path.metadata() {
            // A copy of another size belongs to another build of the firmware, or was cut short.
            Ok(found) if found.len() == expected => return Ok(()),
            Ok(_) => {
                tracing::warn!(path = %path.display(), "UEFI variables of another firmware are replaced");
            }
            Err(_) => {}
        }
        // Read and written, not copied: the template is often read-only, and a copy would be.
        let content =
            std::fs::read(&self.template).map_err(HypervisorError::file("reading", &self.template))?;
        livepc_durable::write(path, Readers::User, &content).map_err(HypervisorError::file("creating", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_made_once_and_replaced_only_when_they_do_not_fit() {
        let dir = tempfile::tempdir().unwrap();
        let template = dir.path().join("template");
        std::fs::write(&template, "empty").unwrap();
        let firmware = Firmware {
            code: "/code".into(),
            template,
        };
        let path = dir.path().join("vars.fd");

        firmware.make_variables(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"empty");
        std::fs::write(&path, "mine!").unwrap();
        firmware.make_variables(&path).unwrap();
        assert_eq!(
            std::fs::read(&path).unwrap(),
            b"mine!",
            "what the guest has written is kept"
        );
        std::fs::write(&path, "of an older build").unwrap();
        firmware.make_variables(&path).unwrap();
        assert_eq!(
            std::fs::read(&path).unwrap(),
            b"empty",
            "QEMU would refuse the size"
        );
    }
}
