//! The documents by which distributions tell what firmware their QEMU has: JSON files, as QEMU's own documentation specifies
//! them (“firmware.json”).
//!
//! There are three folders, for the distribution, the computer and the user. A file of the same name in a later one takes the
//! place of one in an earlier one, and an empty one takes it away. The order of names is the order of preference.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Board, Firmware, Format, Image};

/// Bytes of a document at the most.
const DOCUMENT: u64 = 64 << 10;

/// What firmware can need that LivePC's machines do not have, or do that they shall not: with keys enrolled it starts only
/// what their owners have signed.
const UNWANTED: [&str; 4] = ["enrolled-keys", "requires-smm", "amd-sev-snp", "intel-tdx"];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    interface_types: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    /// Whether code and variables are two files, as they are where nothing is said.
    #[serde(default)]
    mode: Option<String>,
    executable: Flash,
    nvram_template: Flash,
}

#[derive(Debug, Deserialize)]
struct Flash {
    filename: PathBuf,
    format: Format,
}

#[derive(Debug, Deserialize)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

/// Where documents for the QEMU whose program is `qemu` are, the least important folder first.
pub(super) fn folders(qemu: &Path) -> Vec<PathBuf> {
    const FIRMWARE: &str = "qemu/firmware";
    // A link such as those of Nix and Homebrew leads to where the program was installed.
    let real = qemu.canonicalize();
    let beside = [Some(qemu), real.as_deref().ok()].into_iter().flatten();
    let beside = beside.filter_map(|program| Some(program.parent()?.join("../share").join(FIRMWARE)));
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.filter(|folder| folder.is_absolute());
    let of_user = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    let mut folders: Vec<_> = ["/usr/share", "/usr/local/share", "/run/current-system/sw/share"]
        .iter()
        .map(|share| Path::new(share).join(FIRMWARE))
        .chain(beside)
        .collect();
    folders.push(Path::new("/etc").join(FIRMWARE));
    folders.extend(of_user.map(|folder| folder.join(FIRMWARE)));
    folders
}

/// The firmware for UEFI that the documents in `folders` describe, and that machines with this board can use; the preferred
/// first. What cannot be read or understood is passed over: a later version of the specification may have more to say.
pub(super) fn described(folders: &[PathBuf], board: Board) -> Vec<Firmware> {
    let mut documents: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == "json") {
                documents.insert(entry.file_name(), path);
            }
        }
    }
    let usable = |path: &PathBuf| match read(path) {
        Ok(descriptor) => descriptor?.firmware(board),
        Err(error) => {
            tracing::info!(path = %path.display(), %error, "a description of firmware is passed over");
            None
        }
    };
    documents.values().filter_map(usable).collect()
}

/// `None`: it takes away what an earlier folder has.
fn read(path: &Path) -> std::io::Result<Option<Descriptor>> {
    let mut text = Vec::new();
    livepc_durable::open(path)?
        .take(DOCUMENT)
        .read_to_end(&mut text)?;
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&text)?))
}

impl Descriptor {
    fn firmware(self, board: Board) -> Option<Firmware> {
        let kind = match board {
            Board::Q35 => "pc-q35-",
            Board::Pc => "pc-i440fx-",
        };
        let fits = |target: &Target| {
            let machines = &target.machines;
            target.architecture == "x86_64" && machines.iter().any(|pattern| pattern.starts_with(kind))
        };
        let usable = self.interface_types.iter().any(|kind| kind == "uefi")
            && self.mapping.device == "flash"
            && self.mapping.mode.as_deref().is_none_or(|mode| mode == "split")
            && self.targets.iter().any(fits)
            && !self
                .features
                .iter()
                .any(|feature| UNWANTED.contains(&feature.as_str()));
        let image = |flash: Flash| {
            flash.filename.is_absolute().then_some(Image {
                path: flash.filename,
                format: flash.format,
            })
        };
        let Mapping {
            executable,
            nvram_template,
            ..
        } = self.mapping;
        usable.then_some(Firmware {
            code: image(executable)?,
            template: image(nvram_template)?,
        })
    }
}

#[cfg(test)]
#[cfg(unix)] // Paths of these documents are absolute, and look like that.
mod tests {
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;

    fn document(code: &str) -> Value {
        json!({
            "description": "UEFI",
            "interface-types": ["uefi"],
            "mapping": {
                "device": "flash",
                "executable": { "filename": code, "format": "raw" },
                "nvram-template": { "filename": "/vars", "format": "raw" },
            },
            "targets": [{ "architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"] }],
            "features": ["acpi-s3", "amd-sev", "verbose-dynamic"],
            "tags": [],
        })
    }

    struct Folders([TempDir; 3]);

    impl Folders {
        fn new() -> Self {
            Self([(); 3].map(|()| tempfile::tempdir().unwrap()))
        }

        fn put(&self, folder: usize, name: &str, text: &str) {
            std::fs::write(self.0[folder].path().join(name), text).unwrap();
        }

        fn codes(&self) -> Vec<String> {
            let folders: Vec<_> = self.0.iter().map(|folder| folder.path().to_owned()).collect();
            let found = described(&folders, Board::Q35).into_iter();
            found
                .map(|firmware| firmware.code.path.display().to_string())
                .collect()
        }
    }

    #[test]
    fn names_give_the_order_and_later_folders_replace_and_take_away() {
        let folders = Folders::new();
        folders.put(0, "60-a.json", &document("/a").to_string());
        folders.put(0, "50-b.json", &document("/b").to_string());
        folders.put(0, "70-c.json", &document("/c").to_string());
        folders.put(0, "notes.txt", "no document");
        assert_eq!(folders.codes(), ["/b", "/a", "/c"]);
        folders.put(1, "50-b.json", "");
        folders.put(2, "60-a.json", &document("/mine").to_string());
        folders.put(2, "40-d.json", &document("/d").to_string());
        assert_eq!(folders.codes(), ["/d", "/mine", "/c"]);
        folders.put(2, "50-b.json", &document("/again").to_string());
        assert_eq!(folders.codes(), ["/d", "/again", "/mine", "/c"]);
    }

    #[test]
    fn only_what_machines_can_use_is_taken() {
        let with = |path: &str, value: Value| {
            let mut document = document("/code");
            *document.pointer_mut(path).unwrap() = value;
            document
        };
        let split = |mode: &str| {
            let mut document = document("/code");
            document["mapping"]["mode"] = mode.into();
            document
        };
        let (mut no_template, mut no_features) = (document("/code"), document("/code"));
        no_template["mapping"]
            .as_object_mut()
            .unwrap()
            .remove("nvram-template");
        no_features.as_object_mut().unwrap().remove("features");
        for (document, usable) in [
            (document("/code"), true),
            (split("split"), true),
            (split("stateless"), false),
            (split("combined"), false),
            (no_template, false),
            (no_features, true),
            (with("/interface-types", json!(["bios", "uefi"])), true),
            (with("/interface-types", json!(["bios"])), false),
            (with("/mapping/device", json!("memory")), false),
            (with("/mapping/device", json!("igvm")), false),
            (with("/mapping/executable/format", json!("qcow2")), true),
            (with("/mapping/executable/format", json!("vmdk")), false),
            (with("/mapping/executable/filename", json!("code.fd")), false),
            (with("/targets/0/architecture", json!("aarch64")), false),
            (with("/targets/0/machines", json!(["microvm"])), false),
            (with("/targets/0/machines", json!(["pc-q35-rhel*"])), true),
            (with("/features", json!(["secure-boot"])), true),
            (with("/features", json!(["secure-boot", "requires-smm"])), false),
            (with("/features", json!(["enrolled-keys"])), false),
            (with("/features", json!(["something-new"])), true),
            (json!({ "future": true }), false),
            (json!([]), false),
        ] {
            let folders = Folders::new();
            folders.put(0, "50.json", &document.to_string());
            folders.put(0, "60.json", &self::document("/other").to_string());
            let expected: &[&str] = match usable {
                true => &["/code", "/other"],
                false => &["/other"],
            };
            assert_eq!(folders.codes(), expected, "{document}");
        }
    }
}
