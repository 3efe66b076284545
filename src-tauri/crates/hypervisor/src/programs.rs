//! Looking for programs in folders.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The name of a program's file on this system.
pub(crate) fn file_name(program: &str) -> String {
    format!("{program}{}", std::env::consts::EXE_SUFFIX)
}

/// The folders of a list as the environment's `PATH` has it, and more after them. An empty or relative entry means the
/// current folder, in which anybody may have put anything: it is left out.
pub(crate) fn folders(path: Option<&OsStr>, more: &[PathBuf]) -> Vec<PathBuf> {
    let listed = std::env::split_paths(path.unwrap_or(OsStr::new("")));
    let all = listed.chain(more.iter().cloned());
    all.filter(|folder| folder.is_absolute()).collect()
}

/// The files in the folders that are called as a program is, in the folders' order.
pub(crate) fn called<'a>(folders: &'a [PathBuf], program: &str) -> impl Iterator<Item = PathBuf> + use<'a> {
    let name = file_name(program);
    let files = folders
        .iter()
        .map(move |folder: &PathBuf| Path::join(folder, &name));
    files.filter(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_folder_is_never_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(file_name("qemu")), "").unwrap();
        let path = std::env::join_paths([Path::new("."), Path::new(""), dir.path()]).unwrap();
        let folders = folders(Some(&path), &[PathBuf::from("bin")]);
        assert_eq!(folders, [dir.path()]);
        let found: Vec<_> = called(&folders, "qemu").collect();
        assert_eq!(found, [dir.path().join(file_name("qemu"))]);
        assert_eq!(called(&folders, "vmrun").count(), 0);
    }
}
