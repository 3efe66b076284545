//! The state of a suspended machine: `machine*.vmss` and `machine*.vmem` in its folder, and a line of the configuration
//! that names the former.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use livepc_durable::Readers;

use super::{VMX_BYTES, VMX_FILE};
use crate::{HypervisorError, Result};

/// The setting by which a configuration names the state, as VMware writes it.
const KEY: &str = "checkpoint.vmState";
/// What the files of a state begin with: the configuration's name.
const STEM: &str = "machine";

/// A state that is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    path: PathBuf,
    modified: SystemTime,
}

/// The state that the configuration names, if it is there.
pub(super) fn saved(folder: &Path) -> Option<Saved> {
    let vmx = livepc_durable::read_text(&folder.join(VMX_FILE), VMX_BYTES).ok()?;
    let value = vmx.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        is_key(key).then(|| value.trim().trim_matches('"'))
    })?;
    // A path of the folder's own: the state of another machine is no affair of this one.
    let name = Path::new(value).file_name()?;
    let path = folder.join(name);
    let modified = path.metadata().ok()?.modified().ok()?;
    Some(Saved { path, modified })
}

/// Bytes of the state of a suspended machine; 0 if it is not suspended.
pub(crate) fn bytes(folder: &Path) -> Result<u64> {
    let vmx = folder.join(VMX_FILE);
    // Nothing is said of a state by what cannot be read.
    match livepc_durable::open(&vmx) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(HypervisorError::file("reading", &vmx)(error)),
        Ok(_) => {}
    }
    let Some(Saved { path, .. }) = saved(folder) else {
        return Ok(0);
    };
    let found = path.metadata().map_err(HypervisorError::file("reading", &path))?;
    Ok(found.len())
}

/// Keys are the same in capitals and small letters.
fn is_key(key: &str) -> bool {
    key.trim().eq_ignore_ascii_case(KEY)
}

/// Removes the state of a suspended machine, if there is one.
pub(crate) fn discard(folder: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(HypervisorError::file("reading", folder)(error)),
    };
    // The line first: a state without its line is never gone on from.
    forget(&folder.join(VMX_FILE))?;
    for entry in entries {
        let path = entry.map_err(HypervisorError::file("reading", folder))?.path();
        if is_state(&path) {
            livepc_durable::remove(&path).map_err(HypervisorError::file("removing", &path))?;
        }
    }
    Ok(())
}

fn is_state(path: &Path) -> bool {
    let has = |part: Option<&std::ffi::OsStr>, test: &dyn Fn(&str) -> bool| {
        part.and_then(|part| part.to_str()).is_some_and(test)
    };
    has(path.file_stem(), &|stem| {
        stem == STEM || stem.strip_prefix(STEM).is_some_and(|rest| rest.starts_with('-'))
    }) && has(path.extension(), &|extension| {
        ["vmss", "vmem"].contains(&extension)
    })
}

/// Takes the state's lines out of the configuration.
fn forget(vmx: &Path) -> Result<()> {
    let text = match livepc_durable::read_text(vmx, VMX_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(HypervisorError::file("reading", vmx)(error)),
    };
    let is_of_state = |line: &&str| !line.split_once('=').is_some_and(|(key, _)| is_key(key));
    let kept: String = text.split_inclusive('\n').filter(is_of_state).collect();
    if kept == text {
        return Ok(());
    }
    write(vmx, &kept)
}

/// Writes a configuration whole or not at all.
pub(super) fn write(vmx: &Path, text: &str) -> Result<()> {
    livepc_durable::write(vmx, Readers::User, text.as_bytes()).map_err(HypervisorError::file("writing", vmx))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_discarded_with_its_line_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let vmx = dir.path().join(VMX_FILE);
        discard(&dir.path().join("nowhere")).unwrap();
        let text = "memsize = \"512\"\ncheckpoint.vmState = \"machine-1a2b.vmss\"\nnumvcpus = \"1\"\n";
        std::fs::write(&vmx, text).unwrap();
        assert_eq!(saved(dir.path()), None, "a line without its file");
        for name in [
            "machine-1a2b.vmss",
            "machine-1a2b.vmem",
            "machine.vmss",
            "machines.vmem",
            "machine.vmdk",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert!(saved(dir.path()).is_some());
        discard(dir.path()).unwrap();
        assert_eq!(saved(dir.path()), None);
        assert_eq!(
            std::fs::read_to_string(&vmx).unwrap(),
            "memsize = \"512\"\nnumvcpus = \"1\"\n"
        );
        let mut left: Vec<_> = dir
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["machine.vmdk", VMX_FILE, "machines.vmem"]);
    }

    #[test]
    fn an_empty_line_is_no_state() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(VMX_FILE), "checkpoint.vmState = \"\"\n").unwrap();
        assert_eq!(saved(dir.path()), None);
    }
}
