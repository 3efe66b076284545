//! What a machine's folder says of the machine: which release the changes of its system disk belong to, and what it was
//! suspended with. The runner writes it, under the machine's lock; everybody reads it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use livepc_durable::Readers;
use livepc_format::Digest;
use livepc_format::machine::HypervisorKind;
use livepc_format::manifest::{Content, Manifest};
use livepc_hypervisor::{Accelerator, Installation, discard_saved_state, saved_state_bytes};
use livepc_protocol::{Code, Problem};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::folder_bytes::file_bytes;
use crate::hypervisors::{for_clients, kind_of, of_hypervisor};
use crate::own_start::OwnStart;
use crate::words::word;

/// The files that guests' writes to system disks go to have one of these endings.
const OVERLAYS: [&str; 2] = ["qcow2", "vmdk"];
/// The name of the record of overlays.
const OVERLAY_RECORD: &str = "overlay.json";
/// The name of the record of a suspension.
const SUSPENSION: &str = "suspended.json";
/// The name of the record of the last start.
const OWN_START: &str = "start.json";
/// Bytes of a record at the most, and of that of a start.
const RECORD: u64 = 64 << 10;
const START_RECORD: u64 = 4 << 20;

/// The folder of a machine.
#[derive(Clone, Debug)]
pub(crate) struct MachineFolder(PathBuf);

/// Which release the overlays are changes of, and which hypervisor can read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OverlayRecord {
    pub(crate) release: u64,
    pub(crate) hypervisor: String,
    /// The disks that there are overlays of, by role. Records of earlier versions have none.
    #[serde(default)]
    pub(crate) bases: BTreeMap<String, OverlayBase>,
}

/// What an overlay was made over: over another disk its blocks would be nonsense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OverlayBase {
    /// The disk root.
    pub(crate) root: Digest,
    /// Bytes of the disk.
    pub(crate) size: u64,
}

/// What a suspended machine can go on with: memory and devices are not understood by anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Suspension {
    pub(crate) release: u64,
    pub(crate) at: Timestamp,
    /// The image that was in the machine's CD drive; `None` if it had no drive.
    #[serde(default)]
    pub(crate) cd: Option<PathBuf>,
    /// What its network adapter was told by; `None` if it had what the hypervisor gives to all.
    #[serde(default)]
    pub(crate) adapter: Option<[u8; 3]>,
    hypervisor: String,
    version: String,
    accelerator: String,
    processor: String,
}

impl OverlayRecord {
    /// What overlays of the published disks of `manifest` are made over.
    pub(crate) fn of(manifest: &Manifest, hypervisor: String) -> Self {
        let bases = manifest.disks.iter().filter_map(|disk| match &disk.content {
            Content::Published { index, .. } => {
                let (root, size) = (index.digest, disk.size);
                Some((disk.role.clone(), OverlayBase { root, size }))
            }
            Content::User { .. } => None,
        });
        Self {
            release: manifest.sequence,
            hypervisor,
            bases: bases.collect(),
        }
    }

    /// True if an overlay of the disk `role` that belongs to this was made over what `now` has there.
    pub(crate) fn binds(&self, role: &str, now: &Self) -> bool {
        self.bases.is_empty()
            || self
                .bases
                .get(role)
                .is_some_and(|base| Some(base) == now.bases.get(role))
    }

    /// The only hypervisor that reads the overlays; `None` if this version does not know it.
    pub(crate) fn hypervisor(&self) -> Option<HypervisorKind> {
        kind_of(&self.hypervisor)
    }
}

/// What a machine's folder said at one moment. A record that cannot be read is not one that is not there: nothing is deleted
/// because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MachineRecords {
    /// What the changes of the system disk belong to, if there are any.
    pub(crate) changes: Result<Option<OverlayRecord>, Problem>,
    /// Bytes of what was changed on the system disk since it was clean.
    pub(crate) changes_bytes: u64,
    /// What the machine was suspended with, if it is.
    pub(crate) suspension: Result<Option<Suspension>, Problem>,
    /// Bytes of what a suspended machine had in memory.
    pub(crate) suspended_bytes: u64,
}

impl MachineRecords {
    /// True if the machine is suspended, or cannot be known not to be.
    pub(crate) fn is_suspended(&self) -> bool {
        !matches!(self.suspension, Ok(None))
    }
}

impl MachineFolder {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// What the folder says now, read once.
    pub(crate) fn records(&self) -> MachineRecords {
        let overlays = self.overlays();
        let suspended_bytes = self.suspended_bytes();
        MachineRecords {
            changes_bytes: overlays.as_ref().map_or(0, |overlays| bytes_of(overlays)),
            changes: overlays.and_then(|overlays| self.record_of(&overlays)),
            suspended_bytes: suspended_bytes.as_ref().map_or(0, |bytes| *bytes),
            suspension: suspended_bytes.and_then(|bytes| self.suspension_of(bytes)),
        }
    }

    fn overlays(&self) -> Result<Vec<PathBuf>, Problem> {
        let is_overlay = |path: &PathBuf| {
            let ending = path.extension().and_then(|ending| ending.to_str());
            ending.is_some_and(|ending| OVERLAYS.contains(&ending)) && !is_description(path)
        };
        let failed = |error| Problem::io(&format!("{} cannot be read", self.0.display()), &error);
        let mut found = Vec::new();
        match std::fs::read_dir(&self.0) {
            Ok(entries) => {
                for entry in entries {
                    found.push(entry.map_err(failed)?.path());
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        found.retain(is_overlay);
        Ok(found)
    }

    /// What the overlays belong to, if there are any.
    ///
    /// # Errors
    /// If there are some, and their record is not there or cannot be understood.
    pub(crate) fn overlay_record(&self) -> Result<Option<OverlayRecord>, Problem> {
        self.record_of(&self.overlays()?)
    }

    fn record_of(&self, overlays: &[PathBuf]) -> Result<Option<OverlayRecord>, Problem> {
        if overlays.is_empty() {
            return Ok(None);
        }
        let path = self.0.join(OVERLAY_RECORD);
        required(&path, "which release the changes of the system disk belong to").map_err(|problem| {
            Problem {
                hint: "Put the file back if you have a copy. Resetting the machine gives its changes up, and all is well \
                       without them."
                    .into(),
                ..problem
            }
        })
    }

    /// Notes what the overlays that are made next belong to.
    pub(crate) fn begin_overlays(&self, record: &OverlayRecord) -> Result<(), Problem> {
        write(&self.0.join(OVERLAY_RECORD), record)
    }

    /// Puts an overlay aside that was made over something else than it would be used over; gives where it is then.
    pub(crate) fn put_aside(&self, overlay: &Path) -> Result<PathBuf, Problem> {
        let aside = (1..).map(|number| {
            let mut name = overlay.as_os_str().to_owned();
            name.push(format!(".aside-{number}"));
            PathBuf::from(name)
        });
        let place = aside.into_iter().find(|place| place.symlink_metadata().is_err());
        let place = place.unwrap_or_else(|| overlay.with_extension("aside"));
        livepc_durable::rename(overlay, &place)
            .map_err(|e| Problem::io("Changes that do not fit cannot be put aside", &e))?;
        Ok(place)
    }

    /// Makes the system disk clean: what was changed on it is lost.
    pub(crate) fn discard_overlays(&self) -> Result<(), Problem> {
        for path in self.overlays()? {
            remove(&path, "The changes of the system disk cannot be removed")?;
        }
        Ok(())
    }

    /// What the machine was suspended with, if it is: its saved state is the proof.
    ///
    /// # Errors
    /// If it is suspended, and the record of that is not there or cannot be understood.
    pub(crate) fn suspension(&self) -> Result<Option<Suspension>, Problem> {
        self.suspension_of(self.suspended_bytes()?)
    }

    fn suspension_of(&self, saved: u64) -> Result<Option<Suspension>, Problem> {
        if saved == 0 {
            return Ok(None);
        }
        let path = self.0.join(SUSPENSION);
        required(&path, "what the machine was suspended with").map_err(|problem| Problem {
            hint: "Put the file back if you have a copy. Reverting the machine gives up what it had in memory; what is on \
                   its disks stays."
                .into(),
            ..problem
        })
    }

    /// Bytes of what a suspended machine had in memory.
    fn suspended_bytes(&self) -> Result<u64, Problem> {
        saved_state_bytes(&self.0).map_err(|e| of_hypervisor(&e))
    }

    /// Notes what a machine runs with that is about to be suspended. Nothing is suspended before its state is there too.
    pub(crate) fn note_suspension(&self, suspension: &Suspension) -> Result<(), Problem> {
        write(&self.0.join(SUSPENSION), suspension)
    }

    /// What its last cold start read, if that is known. One that cannot be read is none: it only makes starts faster.
    pub(crate) fn own_start(&self) -> Option<OwnStart> {
        let read = read(&self.0.join(OWN_START), START_RECORD).ok().flatten();
        read.filter(OwnStart::is_sound)
    }

    /// Notes what a cold start has read.
    pub(crate) fn note_own_start(&self, start: &OwnStart) -> Result<(), Problem> {
        write(&self.0.join(OWN_START), start)
    }

    /// Gives up what a suspended machine had in memory.
    pub(crate) fn revert(&self) -> Result<(), Problem> {
        discard_saved_state(&self.0).map_err(|e| of_hypervisor(&e))?;
        remove(
            &self.0.join(SUSPENSION),
            "The record of the suspension cannot be removed",
        )
    }
}

impl Suspension {
    pub(crate) fn of(installation: &Installation, release: u64, cd: Option<PathBuf>, at: Timestamp) -> Self {
        Self {
            release,
            at,
            cd,
            adapter: None,
            hypervisor: word(&installation.kind),
            version: installation.version.clone(),
            accelerator: installation.accelerator.map_or("", Accelerator::name).to_owned(),
            processor: processor(),
        }
    }

    /// The same, of a machine whose network adapter is told by this.
    pub(crate) fn with_adapter(self, adapter: Option<[u8; 3]>) -> Self {
        Self { adapter, ..self }
    }

    /// The only hypervisor that it can go on in; `None` if this version does not know it.
    pub(crate) fn hypervisor(&self) -> Option<HypervisorKind> {
        kind_of(&self.hypervisor)
    }

    /// Says why a machine cannot go on with what is installed now.
    pub(crate) fn check_fits(&self, installation: &Installation) -> Result<(), Problem> {
        let now = Self::of(installation, self.release, None, self.at);
        let emulated = Accelerator::Tcg.name();
        let differs = if self.hypervisor != now.hypervisor {
            format!(
                "under {}, and now {} would run it",
                name_of(&self.hypervisor),
                name_of(&now.hypervisor)
            )
        } else if self.version != now.version {
            format!(
                "under {} {}, and {} is installed now",
                name_of(&self.hypervisor),
                self.version,
                now.version
            )
        } else if self.accelerator != now.accelerator {
            format!("with {}, and {} is used now", self.accelerator, now.accelerator)
        } else if self.processor != now.processor && self.accelerator != emulated {
            format!("on another processor, {}", self.processor)
        } else {
            return Ok(());
        };
        Err(Problem::new(
            Code::Hypervisor,
            format!("The machine cannot go on: it was suspended {differs}."),
            "Revert it, and start it anew: what it had in memory is lost then, what is on its disks stays. Or go back to \
             what it was suspended with.",
        )
        .of_this_computer())
    }
}

/// A hypervisor's name for people, by the word for it.
pub(crate) fn name_of(word: &str) -> &str {
    kind_of(word).map_or(word, |kind| for_clients(kind).name())
}

/// The model of this computer's processor.
#[cfg(target_os = "linux")]
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    model.map_or_else(String::new, |model| {
        model.trim_matches([' ', '\t', ':']).to_owned()
    })
}

/// The model of this computer's processor.
#[cfg(windows)]
fn processor() -> String {
    std::env::var("PROCESSOR_IDENTIFIER").unwrap_or_default()
}

/// The model of this computer's processor.
#[cfg(not(any(target_os = "linux", windows)))]
fn processor() -> String {
    let asked = std::process::Command::new("sysctl")
        .args(["-n", "machdep.cpu.brand_string"])
        .output();
    asked.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// True if a file only describes a disk of the user's own to VMware: it is text, and what was changed is not in it.
pub(crate) fn is_description(path: &Path) -> bool {
    let mut start = [0; 16];
    let read = livepc_durable::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"# Disk Descripto"
}

fn bytes_of(overlays: &[PathBuf]) -> u64 {
    overlays.iter().map(|path| file_bytes(path)).sum()
}

/// A record that must be there; `says` tells what would be known then.
fn required<T: DeserializeOwned>(path: &Path, says: &str) -> Result<Option<T>, Problem> {
    let lost = || {
        Problem::new(
            Code::Failed,
            format!("{} is not there: it says {says}.", path.display()),
            "",
        )
    };
    read(path, RECORD)?.map(Some).ok_or_else(lost)
}

/// A record; `None` if there is none.
fn read<T: DeserializeOwned>(path: &Path, most: u64) -> Result<Option<T>, Problem> {
    let failed = |error| Problem::io(&format!("{} cannot be read", path.display()), &error);
    let file = match livepc_durable::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    // Our own file, but anybody may have put another there: what is cut off is no JSON.
    file.take(most).read_to_end(&mut text).map_err(failed)?;
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        let what = format!("{} is damaged and cannot be understood: {error}.", path.display());
        Problem::new(Code::Failed, what, "")
    })
}

/// Writes a record whole or not at all.
fn write(path: &Path, record: &impl Serialize) -> Result<(), Problem> {
    let doing = |e: std::io::Error| Problem::io("The machine's folder cannot be written", &e);
    let text = serde_json::to_vec(record).map_err(|e| doing(e.into()))?;
    livepc_durable::write(path, Readers::User, &text).map_err(doing)
}

fn remove(path: &Path, doing: &str) -> Result<(), Problem> {
    livepc_durable::remove(path).map_err(|error| Problem::io(doing, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation() -> Installation {
        Installation {
            kind: HypervisorKind::Qemu,
            product: "QEMU",
            program: "/usr/bin/qemu".into(),
            version: "7.2.22".into(),
            accelerator: Some(Accelerator::Kvm),
            rejected: Vec::new(),
            limits: Vec::new(),
        }
    }

    #[test]
    fn a_record_without_a_state_is_no_suspension() {
        let dir = tempfile::tempdir().unwrap();
        let folder = MachineFolder::new(dir.path().into());
        let suspension = Suspension::of(&installation(), 3, None, Timestamp::UNIX_EPOCH);
        folder.note_suspension(&suspension).unwrap();
        assert_eq!(folder.suspension(), Ok(None), "the machine went on after all");
        std::fs::write(dir.path().join("qemu.state"), "memory").unwrap();
        assert_eq!(folder.suspension(), Ok(Some(suspension.clone())));
        let records = folder.records();
        assert_eq!(
            (records.suspension, records.suspended_bytes > 0),
            (Ok(Some(suspension)), true)
        );
        folder.revert().unwrap();
        assert_eq!(folder.suspension(), Ok(None));
        folder.revert().expect("to give up nothing is no error");
    }

    /// A folder that is out of reach may have changes and a saved state in it.
    #[test]
    fn a_folder_that_cannot_be_read_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let none = MachineFolder::new(dir.path().join("none")).records();
        assert_eq!((none.changes, none.suspension), (Ok(None), Ok(None)));
        let place = dir.path().join("file");
        std::fs::write(&place, "").unwrap();
        let folder = MachineFolder::new(place);
        assert!(folder.records().changes.is_err());
        assert!(folder.overlay_record().is_err());
        assert!(
            folder.discard_overlays().is_err(),
            "it does not say that they are gone"
        );
    }

    /// What a record says must not be guessed when it is damaged, out of reach or gone: the state and the changes stay.
    #[test]
    fn a_record_that_cannot_be_read_is_told_and_nothing_goes() {
        type Spoil = fn(&Path);
        let ways: [(&str, Spoil); 4] = [
            ("empty, as after a power cut", |path| {
                std::fs::write(path, "").unwrap();
            }),
            ("cut off", |path| std::fs::write(path, "{\"release\":2,").unwrap()),
            ("something else", |path| std::fs::create_dir(path).unwrap()),
            ("gone", |_| ()),
        ];
        for (how, spoil) in ways {
            let dir = tempfile::tempdir().unwrap();
            let folder = MachineFolder::new(dir.path().into());
            for file in ["qemu.state", "system.qcow2"] {
                std::fs::write(dir.path().join(file), "x").unwrap();
            }
            for name in [SUSPENSION, OVERLAY_RECORD] {
                spoil(&dir.path().join(name));
            }
            let records = folder.records();
            assert!(records.is_suspended(), "{how}");
            for (problem, name) in [
                (records.suspension.unwrap_err(), SUSPENSION),
                (records.changes.unwrap_err(), OVERLAY_RECORD),
                (folder.suspension().unwrap_err(), SUSPENSION),
                (folder.overlay_record().unwrap_err(), OVERLAY_RECORD),
            ] {
                let named = problem
                    .message
                    .contains(&dir.path().join(name).display().to_string());
                assert!(named && !problem.hint.is_empty(), "{how}: {problem:?}");
            }
        }
    }

    #[test]
    fn a_start_is_noted_and_nonsense_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let folder = MachineFolder::new(dir.path().into());
        assert_eq!(folder.own_start(), None);
        let start = OwnStart {
            stretches: vec![(0, 1, 7).into(), (0, 1, 3).into()],
        };
        folder.note_own_start(&start).unwrap();
        assert_eq!(folder.own_start(), Some(start));
        for bad in [
            "",
            "[]",
            "{\"stretches\":[[0,9999999,1]]}",
            "{\"stretches\":[[0,0,-1]]}",
        ] {
            std::fs::write(dir.path().join(OWN_START), bad).unwrap();
            assert_eq!(folder.own_start(), None, "{bad}");
        }
    }

    #[test]
    fn what_a_machine_was_suspended_with_must_be_what_it_goes_on_with() {
        let suspension = Suspension::of(&installation(), 3, None, Timestamp::UNIX_EPOCH);
        suspension.check_fits(&installation()).expect("the same");
        for other in [
            Installation {
                kind: HypervisorKind::Vmware,
                ..installation()
            },
            Installation {
                version: "8.0.0".into(),
                ..installation()
            },
            Installation {
                accelerator: Some(Accelerator::Tcg),
                ..installation()
            },
        ] {
            let refused = suspension.check_fits(&other).unwrap_err();
            assert_eq!(refused.code, Code::Hypervisor, "{refused}");
            assert!(refused.hint.contains("Revert"), "a way out is named: {refused:?}");
        }
        let moved = Suspension {
            processor: "Another".into(),
            ..suspension.clone()
        };
        assert!(moved.check_fits(&installation()).is_err(), "another processor");
        let emulated = Installation {
            accelerator: Some(Accelerator::Tcg),
            ..installation()
        };
        let moved = Suspension {
            processor: "Another".into(),
            ..Suspension::of(&emulated, 3, None, Timestamp::UNIX_EPOCH)
        };
        moved
            .check_fits(&emulated)
            .expect("emulation is the same on every processor");
    }

    #[test]
    fn changes_belong_to_a_release_while_there_are_any() {
        let dir = tempfile::tempdir().unwrap();
        let folder = MachineFolder::new(dir.path().into());
        let record = OverlayRecord {
            release: 2,
            hypervisor: "qemu".into(),
            bases: BTreeMap::new(),
        };
        folder.begin_overlays(&record).unwrap();
        assert_eq!(folder.overlay_record(), Ok(None), "there are none yet");
        std::fs::write(dir.path().join("system.qcow2"), vec![1; 8192]).unwrap();
        std::fs::write(dir.path().join("user.raw"), vec![1; 8192]).unwrap();
        assert_eq!(folder.overlay_record(), Ok(Some(record.clone())));
        let records = folder.records();
        assert_eq!(records.changes, Ok(Some(record)));
        assert!(
            (8192..16384).contains(&records.changes_bytes),
            "without the user's own disk"
        );
        folder.discard_overlays().unwrap();
        assert_eq!(
            (folder.records().changes, folder.records().changes_bytes),
            (Ok(None), 0)
        );
        assert!(dir.path().join("user.raw").exists(), "the user's own disk stays");
    }
}
