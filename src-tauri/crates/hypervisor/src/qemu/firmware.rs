//! UEFI for x86: where its code is, and a machine's own copy of its variables.

mod descriptors;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use livepc_durable::{Readers, rename, write};

use super::convert::ImageTool;
use super::disks::Board;
use crate::{HypervisorError, ImageFormat, Layers, Overlay, Result};

/// Code and empty variables where distributions that describe neither place them: 4 MiB builds first, never one with Secure
/// Boot enforced.
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

/// How a file of the firmware is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Format {
    /// Its bytes.
    Raw,
    /// QEMU's own format for disks.
    Qcow2,
}

impl Format {
    /// QEMU's driver for it.
    pub(super) fn driver(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// A file of the firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) path: PathBuf,
    pub(super) format: Format,
}

impl Image {
    fn raw(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: Format::Raw,
        }
    }

    /// Bytes of its content.
    fn size(&self) -> std::io::Result<u64> {
        match self.format {
            Format::Raw => Ok(self.path.metadata()?.len()),
            Format::Qcow2 => {
                // Magic, version, the backing file's place, cluster bits; then the size.
                let mut header = [0; 32];
                File::open(&self.path)?.read_exact(&mut header)?;
                let mut size = [0; 8];
                size.copy_from_slice(&header[24..]);
                match header.starts_with(b"QFI\xfb") {
                    true => Ok(u64::from_be_bytes(size)),
                    false => Err(std::io::Error::new(
                        std::io::ErrorKind::InvalidData,
                        "it is no qcow2",
                    )),
                }
            }
        }
    }
}

/// What UEFI consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Firmware {
    pub(super) code: Image,
    /// The variables of a machine that was never started.
    template: Image,
}

impl Firmware {
    /// Looks where distributions and QEMU itself, whose program is `qemu`, describe it, and then where they put it. A machine
    /// that has `variables` already gets a firmware that they fit to, if there is one.
    pub(super) fn find(qemu: &Path, board: Board, variables: &Path) -> Result<Self> {
        let described = descriptors::described(&descriptors::folders(qemu), board);
        let beside = BESIDE.iter().filter_map(|share| {
            let share = qemu.parent()?.join(share);
            Some([share.join("edk2-x86_64-code.fd"), share.join("edk2-i386-vars.fd")])
        });
        let placed = PLACES.iter().map(|pair| pair.map(PathBuf::from)).chain(beside);
        let placed = placed.map(|[code, template]| Self {
            code: Image::raw(code),
            template: Image::raw(template),
        });
        let is_here = |firmware: &Self| firmware.code.path.is_file() && firmware.template.size().is_ok();
        let here: Vec<_> = described.into_iter().chain(placed).filter(is_here).collect();
        Self::choose(here, variables).ok_or(HypervisorError::NoFirmware)
    }

    fn choose(here: Vec<Self>, variables: &Path) -> Option<Self> {
        let has = variables.metadata().map(|found| found.len()).ok();
        let fits = |firmware: &Self| has.is_some() && firmware.template.size().ok() == has;
        let fitting = here.iter().position(fits).unwrap_or(0);
        here.into_iter().nth(fitting)
    }

    /// Makes the machine's variables at `path`, unless it has some. They are always raw: what a guest writes is never asked
    /// for its format. `img` is QEMU's program for images.
    pub(super) async fn make_variables(&self, img: &Path, path: &Path) -> Result<()> {
        let template = &self.template;
        let expected = template
            .size()
            .map_err(HypervisorError::file("reading", &template.path))?;
        match path.metadata() {
            // A copy of another size belongs to another build of the firmware, or was cut short.
            Ok(found) if found.len() == expected => return Ok(()),
            Ok(_) => {
                tracing::warn!(path = %path.display(), "UEFI variables of another firmware are replaced");
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(HypervisorError::file("reading", path)(error)),
        }
        match template.format {
            Format::Raw => {
                // Read and written, not copied: the template is often read-only, and a copy would be.
                let content = std::fs::read(&template.path)
                    .map_err(HypervisorError::file("reading", &template.path))?;
                write(path, Readers::User, &content).map_err(HypervisorError::file("creating", path))
            }
            Format::Qcow2 => {
                let overlay = Overlay::Qcow2(template.path.clone());
                let layers = Layers {
                    base: None,
                    overlay: Some(&overlay),
                };
                let new = path.with_extension("new");
                let tool = ImageTool::at(img);
                tool.convert(layers, &new, ImageFormat::Raw, |_| {}).await?;
                let creating = || HypervisorError::file("creating", path);
                File::open(&new)
                    .and_then(|file| file.sync_all())
                    .map_err(creating())?;
                rename(&new, path).map_err(creating())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firmware(template: Image) -> Firmware {
        Firmware {
            code: Image::raw("/code"),
            template,
        }
    }

    #[tokio::test]
    async fn variables_are_made_once_and_replaced_only_when_they_do_not_fit() {
        let dir = tempfile::tempdir().unwrap();
        let template = dir.path().join("template");
        std::fs::write(&template, "empty").unwrap();
        let firmware = firmware(Image::raw(template));
        let path = dir.path().join("vars.fd");
        let make = || firmware.make_variables(Path::new("/nowhere/qemu-img"), &path);

        make().await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"empty");
        std::fs::write(&path, "mine!").unwrap();
        make().await.unwrap();
        assert_eq!(
            std::fs::read(&path).unwrap(),
            b"mine!",
            "what the guest has written is kept"
        );
        std::fs::write(&path, "of an older build").unwrap();
        make().await.unwrap();
        assert_eq!(
            std::fs::read(&path).unwrap(),
            b"empty",
            "QEMU would refuse the size"
        );
    }

    /// Fedora's are qcow2. A guest can write what it likes to its variables, and so anything that would look like one.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn variables_made_from_a_qcow2_are_raw_and_are_never_asked_for_their_format() {
        use std::process::Command;

        let dir = tempfile::tempdir().unwrap();
        let (raw, template) = (dir.path().join("raw"), dir.path().join("vars.qcow2"));
        let content: Vec<u8> = (0..528_u32 << 10).map(|n| (n / 511) as u8).collect();
        std::fs::write(&raw, &content).unwrap();
        let mut made = Command::new("qemu-img");
        made.args(["convert", "-O", "qcow2"]).args([&raw, &template]);
        assert!(
            made.status()
                .expect("these tests need Debian's qemu-utils")
                .success()
        );
        let img = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|folder| folder.join("qemu-img"))
            .find(|program| program.is_file())
            .unwrap();
        let firmware = firmware(Image {
            path: template,
            format: Format::Qcow2,
        });
        let path = dir.path().join("uefi.vars");
        firmware.make_variables(&img, &path).await.unwrap();
        assert!(std::fs::read(&path).unwrap() == content);

        let mut hostile = content.clone();
        hostile[..4].copy_from_slice(b"QFI\xfb");
        std::fs::write(&path, &hostile).unwrap();
        firmware.make_variables(&img, &path).await.unwrap();
        assert!(std::fs::read(&path).unwrap() == hostile, "they fit, and stay");
    }

    /// Where distributions that describe nothing put theirs comes after what is described.
    #[cfg(unix)]
    #[test]
    fn what_is_described_beside_qemu_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (bin, documents) = (dir.path().join("bin"), dir.path().join("share/qemu/firmware"));
        for folder in [&bin, &documents] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let [code, template] = ["code", "template"].map(|name| {
            let path = dir.path().join(name);
            std::fs::write(&path, name).unwrap();
            path
        });
        let document = serde_json::json!({
            "interface-types": ["uefi"],
            "mapping": {
                "device": "flash",
                "executable": { "filename": code, "format": "raw" },
                "nvram-template": { "filename": template, "format": "raw" },
            },
            "targets": [{ "architecture": "x86_64", "machines": ["pc-q35-*"] }],
        });
        // Before what this computer has itself.
        std::fs::write(documents.join("00-ours.json"), document.to_string()).unwrap();
        let variables = dir.path().join("uefi.vars");
        let found = Firmware::find(&bin.join("qemu-system-x86_64"), Board::Q35, &variables).unwrap();
        assert_eq!((found.code.path, found.template.path), (code, template));
    }

    #[test]
    fn a_machine_that_has_variables_keeps_the_firmware_that_they_are_of() {
        let dir = tempfile::tempdir().unwrap();
        let of_size = |name: &str, size: usize| {
            let path = dir.path().join(name);
            std::fs::write(&path, vec![0; size]).unwrap();
            firmware(Image::raw(path))
        };
        let all = vec![of_size("large", 540), of_size("small", 128)];
        let variables = dir.path().join("uefi.vars");
        let chosen = |all: &Vec<Firmware>| Firmware::choose(all.clone(), &variables).unwrap();
        assert_eq!(chosen(&all), all[0], "the first for a new machine");
        std::fs::write(&variables, [0; 128]).unwrap();
        assert_eq!(chosen(&all), all[1]);
        std::fs::write(&variables, [0; 7]).unwrap();
        assert_eq!(chosen(&all), all[0], "those of none are replaced");
    }
}
