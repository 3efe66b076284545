//! Folders on Unix, which have an owner and a mode.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::geteuid;

use crate::{Code, Problem};

/// What others may do to a folder, among the bits of its mode: write, and all.
const WRITE: u32 = 0o022;
const ALL: u32 = 0o077;
/// Set if others cannot touch what is not theirs in a folder that they can write to.
const STICKY: u32 = 0o1000;

pub(super) fn check(folder: &Path, found: &Metadata) -> Result<(), Problem> {
    let (name, own) = (folder.display(), geteuid().as_raw());
    if found.uid() != own {
        let hint = match own {
            0 => format!(
                "Run this as its owner, as with “sudo -u '#{}'”, or choose another folder.",
                found.uid()
            ),
            _ => "Choose another folder, or have this one given to you with “chown”.".into(),
        };
        return Err(Problem::new(
            Code::Usage,
            format!("The folder {name} belongs to another user."),
            hint,
        ));
    }
    if found.mode() & WRITE == 0 {
        return Ok(());
    }
    if found.mode() & STICKY != 0 {
        return check_entries(folder);
    }
    // Where nothing has a mode of its own, the mode says how it was mounted.
    if keeps_modes(folder) {
        return Err(Problem::new(
            Code::Usage,
            format!("Others on this computer can write to the folder {name}."),
            format!("“chmod go-w '{name}'” ends that; or choose another folder."),
        ));
    }
    Ok(())
}

/// Where others can put things into a folder but not touch what is there, as in a file system in memory that was just
/// mounted, nothing may be there that somebody else has put: it would be taken for the user's own.
fn check_entries(folder: &Path) -> Result<(), Problem> {
    let name = folder.display();
    let failed = |e| Problem::io(&format!("The folder {name} cannot be read"), &e);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // What has gone meanwhile is nobody's.
        if entry
            .metadata()
            .is_ok_and(|found| found.uid() != geteuid().as_raw())
        {
            return Err(Problem::new(
                Code::Usage,
                format!(
                    "Others on this computer have put files into the folder {name}: {}.",
                    entry.path().display()
                ),
                format!("Remove them, and “chmod go-w '{name}'” keeps others out; or choose another folder."),
            ));
        }
    }
    Ok(())
}

/// True if a folder is the user's, and nobody else can enter it. A link to one is none.
#[must_use]
pub fn is_private(folder: &Path) -> bool {
    std::fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & ALL == 0)
}

/// True if the file system of a folder keeps others from a file that is made for its owner alone. exFAT, NTFS and what is
/// mounted over a network may not. It is found out by trying; where nothing can be written, nothing needs to be kept.
#[must_use]
pub fn keeps_modes(folder: &Path) -> bool {
    let tried = tempfile::Builder::new().prefix(".livepc-").tempfile_in(folder);
    let mode = tried.and_then(|file| Ok(file.as_file().metadata()?.mode()));
    mode.is_ok_and(|mode| mode & ALL == 0) || !is_writable(folder)
}

fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}
