//! Where an export goes: there it is whole or not at all, and takes the place of nothing but an earlier one.

use std::path::{Path, PathBuf};

use livepc_durable::{Readers, folder_of};
use livepc_format::shown;
use livepc_protocol::{Code, Home, Problem};
use tempfile::{NamedTempFile, TempDir};

/// Refuses a place among what LivePC keeps in the home or in its store, whatever it is called: that is somebody's machine or
/// its data.
pub(super) fn check_outside(home: &Home, place: &Path) -> Result<(), Problem> {
    let absolute = std::path::absolute(place).map_err(|e| cannot_write(place, &e))?;
    let is_in_store = std::fs::canonicalize(folder_of(&absolute))
        .is_ok_and(|folder| std::fs::canonicalize(home.store()).is_ok_and(|store| folder.starts_with(store)));
    if !is_in_store && !home.keeps(&absolute) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Usage,
        format!("{} is among what LivePC itself keeps.", shown::path(place)),
        "Choose another folder.",
    ))
}

/// Refuses a place that has something: without `force` anything, with it anything but a file.
pub(super) fn check_file(place: &Path, force: bool) -> Result<(), Problem> {
    let Ok(found) = place.symlink_metadata() else {
        return Ok(());
    };
    if !force {
        return Err(taken(place));
    }
    if found.is_file() || found.is_symlink() {
        return Ok(());
    }
    Err(Problem::new(
        Code::Usage,
        format!("{} is not a file.", place.display()),
        "Choose another name.",
    ))
}

/// Refuses a place that has something: without `force` anything, with it anything but a folder with nothing but files
/// whose names are `own`.
pub(super) fn check_folder(place: &Path, force: bool, own: fn(&str) -> bool) -> Result<(), Problem> {
    let Ok(found) = place.symlink_metadata() else {
        return Ok(());
    };
    if !force {
        return Err(taken(place));
    }
    if !found.is_dir() {
        return Err(Problem::new(
            Code::Usage,
            format!("{} is not a folder.", place.display()),
            "Choose another name.",
        ));
    }
    let entries = std::fs::read_dir(place).map_err(|e| cannot_write(place, &e))?;
    for entry in entries {
        let entry = entry.map_err(|e| cannot_write(place, &e))?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !entry.file_name().to_str().is_some_and(own) {
            return Err(Problem::new(
                Code::Usage,
                format!(
                    "{} has “{}” in it, which no export has made.",
                    place.display(),
                    livepc_format::text::line(&entry.file_name().to_string_lossy(), 80)
                ),
                "Choose another name, or take away what is there.",
            ));
        }
    }
    Ok(())
}

fn taken(place: &Path) -> Problem {
    Problem::new(
        Code::Usage,
        format!("{} is there already.", place.display()),
        "Choose another name, or add --force to replace it.",
    )
}

/// Refuses what will not fit into the file system of `folder`.
pub(super) fn check_space(folder: &Path, needed: u64) -> Result<(), Problem> {
    let free = fs4::available_space(folder).unwrap_or(u64::MAX);
    if needed <= free {
        return Ok(());
    }
    Err(Problem::new(
        Code::DiskFull,
        format!(
            "The export takes up to {}, and only {} are free.",
            shown::size(needed),
            shown::size(free)
        ),
        "Free some space, or choose a place on another disk.",
    ))
}

pub(super) fn cannot_write(place: &Path, error: &std::io::Error) -> Problem {
    Problem::io(&format!("Cannot write {}", shown::path(place)), error)
}

/// A file in the making; it is gone if this is dropped.
#[derive(Debug)]
pub(super) struct UnfinishedFile {
    file: NamedTempFile,
    place: PathBuf,
}

impl UnfinishedFile {
    pub(super) fn new(place: &Path) -> Result<Self, Problem> {
        // Programs are told of it by an absolute path.
        let absolute = std::path::absolute(place).map_err(|e| cannot_write(place, &e))?;
        let file =
            livepc_durable::unfinished(&absolute, Readers::All).map_err(|e| cannot_write(place, &e))?;
        Ok(Self {
            file,
            place: place.to_owned(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Puts it where it is for.
    pub(super) fn keep(self, force: bool) -> Result<(), Problem> {
        let Self { file, place } = self;
        let kept = if force {
            livepc_durable::put(file, &place)
        } else {
            // It never replaces what came there meanwhile.
            livepc_durable::put_new(file, &place)
        };
        kept.map(drop).map_err(|e| cannot_write(&place, &e))
    }
}

/// A folder in the making; it is gone if this is dropped.
#[derive(Debug)]
pub(super) struct UnfinishedFolder {
    folder: TempDir,
    place: PathBuf,
}

impl UnfinishedFolder {
    pub(super) fn new(place: &Path) -> Result<Self, Problem> {
        let folder = std::path::absolute(folder_of(place)).map_err(|e| cannot_write(place, &e))?;
        Ok(Self {
            folder: beside(&folder).map_err(|e| cannot_write(place, &e))?,
            place: place.to_owned(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts it where it is for. With `force`, a folder that is there is replaced if its files are all `own`.
    pub(super) fn keep(self, force: bool, own: fn(&str) -> bool) -> Result<(), Problem> {
        let Self { folder, place } = self;
        let failed = |e: std::io::Error| cannot_write(&place, &e);
        check_folder(&place, force, own)?;
        // Whose files are flushed already, as they were written.
        livepc_durable::sync_folder(folder.path()).map_err(failed)?;
        if place.symlink_metadata().is_err() {
            return rename(folder, &place).map_err(failed);
        }
        // The old one is out of the way for a moment, and comes back if the new one cannot take its place.
        let parent = std::path::absolute(folder_of(&place)).map_err(failed)?;
        let aside = beside(&parent).map_err(failed)?;
        let old = aside.path().join("old");
        std::fs::rename(&place, &old).map_err(failed)?;
        if let Err(error) = rename(folder, &place) {
            let _ = std::fs::rename(&old, &place);
            return Err(failed(error));
        }
        Ok(())
    }
}

fn beside(parent: &Path) -> std::io::Result<TempDir> {
    let mut unfinished = tempfile::Builder::new();
    unfinished.prefix(livepc_durable::UNFINISHED);
    like_any_other(&mut unfinished, 0o777);
    unfinished.tempdir_in(parent)
}

fn rename(folder: TempDir, place: &Path) -> std::io::Result<()> {
    std::fs::rename(folder.path(), place)?;
    // It is no longer where it would be removed.
    let _ = folder.keep();
    livepc_durable::sync_folder(folder_of(place))
}

/// Gives a folder the permissions of any other that the user makes: a temporary one is private.
#[cfg(unix)]
fn like_any_other(unfinished: &mut tempfile::Builder<'_, '_>, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    // Without what the user's mask takes away.
    unfinished.permissions(std::fs::Permissions::from_mode(mode));
}

/// Permissions are inherited from the folder on Windows.
#[cfg(windows)]
fn like_any_other(_: &mut tempfile::Builder<'_, '_>, _: u32) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_exported_into_the_home() {
        let work = tempfile::tempdir().unwrap();
        let home = Home::open(&work.path().join("home")).unwrap();
        for folder in [home.machine("lab"), home.store()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let place = |name: &str| check_outside(&home, &home.root().join(name));
        for own in [
            "machines/lab/user.raw",
            "state.db",
            "machines/../keys",
            "../home/agent.lock",
            "store/out.raw",
            "livepc-home",
        ] {
            assert_eq!(place(own).unwrap_err().code, Code::Usage, "{own}");
        }
        for other in ["../out.raw", "../home.raw", "../other/home", "out.raw"] {
            place(other).unwrap();
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(home.root(), work.path().join("link")).unwrap();
            assert!(place("../link/state.db").is_err());
        }
    }

    fn own(name: &str) -> bool {
        name == "machine.vmx"
    }

    #[test]
    fn only_an_earlier_export_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("place");
        check_file(&place, false).expect("nothing is there");
        check_folder(&place, false, own).expect("nothing is there");
        std::fs::create_dir(&place).unwrap();
        assert!(check_file(&place, true).is_err(), "a folder is no file");
        assert!(check_folder(&place, false, own).is_err());
        check_folder(&place, true, own).expect("an empty folder");
        std::fs::write(place.join("machine.vmx"), "old").unwrap();
        check_folder(&place, true, own).expect("what an export made");
        std::fs::write(place.join("letters.txt"), "dear").unwrap();
        let refused = check_folder(&place, true, own).unwrap_err();
        assert!(refused.message.contains("letters.txt"), "{refused}");
        let unfinished = UnfinishedFolder::new(&place).unwrap();
        assert!(unfinished.keep(true, own).is_err());
        assert!(place.join("letters.txt").exists());
        assert_eq!(
            dir.path().read_dir().unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_folder_takes_the_place_of_an_earlier_one_whole() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("place");
        for text in ["first", "second"] {
            let unfinished = UnfinishedFolder::new(&place).unwrap();
            std::fs::write(unfinished.path().join("machine.vmx"), text).unwrap();
            assert_ne!(
                std::fs::read_to_string(place.join("machine.vmx")).ok().as_deref(),
                Some(text)
            );
            unfinished.keep(text == "second", own).unwrap();
            assert_eq!(std::fs::read_to_string(place.join("machine.vmx")).unwrap(), text);
        }
        assert_eq!(
            dir.path().read_dir().unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        check_space(dir.path(), 0).unwrap();
        assert_eq!(
            check_space(dir.path(), u64::MAX - 1).unwrap_err().code,
            Code::DiskFull
        );
    }
}
