//! The protocol's TypeScript types: written into the UI from the Rust ones, and checked to be fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// Files by name.
type Files = BTreeMap<OsString, Vec<u8>>;

/// Writes the types into the UI, and removes those whose Rust type is gone.
///
/// # Errors
/// When the protocol's export tests fail or the folder cannot be written.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    let fresh = export(workspace)?;
    let folder = folder(workspace);
    let stale = stale(read(&folder)?, exported(fresh.path())?);
    fs::create_dir_all(&folder)?;
    for name in &stale {
        let (from, to) = (fresh.path().join(name), folder.join(name));
        if from.is_file() {
            fs::copy(&from, &to).with_context(|| format!("{} could not be written", to.display()))?;
            println!("wrote   {}", to.display());
        } else {
            fs::remove_file(&to).with_context(|| format!("{} could not be removed", to.display()))?;
            println!("removed {}", to.display());
        }
    }
    println!("{} files changed", stale.len());
    Ok(())
}

/// Exports the types and compares them with those in the UI; changes nothing.
///
/// # Errors
/// When they differ, naming the files.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    compare(workspace, export(workspace)?.path())
}

/// Compares freshly exported types with those in the UI.
///
/// # Errors
/// When they differ, naming the files, or when nothing was exported.
pub(crate) fn compare(workspace: &Workspace, fresh: &Path) -> Result<()> {
    let stale = stale(read(&folder(workspace))?, exported(fresh)?);
    if stale.is_empty() {
        println!("The UI's types are those of the protocol.");
        return Ok(());
    }
    let names = stale
        .iter()
        .map(|name| name.to_string_lossy())
        .collect::<Vec<_>>();
    bail!(
        "the UI's types are not those of the protocol ({}): run `cargo xtask bindings` and commit the result",
        names.join(", ")
    );
}

/// Where the UI keeps them.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("ui/src/lib/bindings")
}

/// Runs the export tests that ts-rs derives, into a new folder.
fn export(workspace: &Workspace) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    process::run(workspace.cargo().env("TS_RS_EXPORT_DIR", folder.path()).args([
        "test",
        "--quiet",
        "--package",
        "livepc-protocol",
        "--lib",
        "export_bindings",
    ]))?;
    Ok(folder)
}

/// The files of a folder that the export tests wrote to: none would mean that no such test ran.
fn exported(folder: &Path) -> Result<Files> {
    let files = read(folder)?;
    if files.is_empty() {
        bail!("the protocol's tests exported no type: `livepc-protocol` should have `#[ts(export)]` types");
    }
    Ok(files)
}

/// The files of a folder by name; a folder that is not there has none.
fn read(folder: &Path) -> Result<Files> {
    let mut files = Files::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.insert(entry.file_name(), fs::read(entry.path())?);
            }
        }
    }
    Ok(files)
}

/// Names whose content differs, or that only one side has.
fn stale(kept: Files, mut fresh: Files) -> BTreeSet<OsString> {
    let mut stale = BTreeSet::new();
    for (name, content) in kept {
        if fresh.remove(&name).is_none_or(|new| new != content) {
            stale.insert(name);
        }
    }
    stale.extend(fresh.into_keys());
    stale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(content: &[(&str, &str)]) -> Files {
        content
            .iter()
            .map(|(name, text)| (OsString::from(name), text.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn changed_new_and_removed_types_are_stale() {
        let kept = files(&[("Same.ts", "a"), ("Changed.ts", "old"), ("Gone.ts", "x")]);
        let fresh = files(&[("Same.ts", "a"), ("Changed.ts", "new"), ("New.ts", "y")]);
        let names: Vec<_> = stale(kept, fresh).into_iter().collect();
        assert_eq!(
            names,
            ["Changed.ts", "Gone.ts", "New.ts"],
            "each kind of difference must be told"
        );
    }
}
