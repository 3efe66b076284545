//! Folders of the user's own. New ones are made for the user alone; those that were there are never changed: what is wrong
//! with them is said, with what to do.

use std::io;
use std::path::Path;

use crate::{Code, Problem};

#[cfg_attr(unix, path = "folder/unix.rs")]
#[cfg_attr(windows, path = "folder/windows.rs")]
mod os;

pub use os::{is_private, keeps_modes};

/// Makes a folder that only the user can enter, in one that is there. One that is there itself is left as it is.
///
/// # Errors
/// What the system says; [`Code::Usage`] if there is one that belongs to somebody else, or that others can write to: who can
/// change what is in a folder can make this program do anything.
pub fn private_folder(folder: &Path) -> Result<(), Problem> {
    let failed = |e: io::Error| {
        let doing = format!("Cannot make the private folder {}", folder.display());
        Problem::io(&doing, &e)
    };
    match std::fs::metadata(folder) {
        Ok(_) => check_own(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            livepc_durable::create_private_folder_inside(folder).map_err(failed)?;
            // Somebody may have been faster.
            check_own(folder)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Makes a folder, and those above it that are missing, for the user alone.
///
/// # Errors
/// What the system says.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    livepc_durable::create_private_folder(folder)
}

/// Refuses what is no folder of the user's own.
pub(crate) fn check_own(folder: &Path) -> Result<(), Problem> {
    let name = folder.display();
    let found = std::fs::metadata(folder)
        .map_err(|e| Problem::io(&format!("The folder {name} cannot be looked at"), &e))?;
    if !found.is_dir() {
        return Err(Problem::new(
            Code::Usage,
            format!("{name} is no folder."),
            "Name a folder.",
        ));
    }
    os::check(folder, &found)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(folder: &Path) -> u32 {
        let found = folder.metadata().expect("it is there");
        found.permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_new_is_private_and_what_was_there_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("a");
        private_folder(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        let deep = folder.path().join("b/c");
        assert!(
            private_folder(&deep).is_err(),
            "a home that is gone is not made again"
        );
        for before in [0o755, 0o750, 0o711, 0o2755, 0o1777, 0o700] {
            let there = folder.path().join(format!("{before:o}"));
            std::fs::create_dir(&there).unwrap();
            std::fs::set_permissions(&there, Permissions::from_mode(before)).unwrap();
            private_folder(&there).unwrap();
            assert_eq!(mode(&there), before);
            assert_eq!(is_private(&there), before == 0o700);
        }
        for before in [0o777, 0o770, 0o722] {
            let there = folder.path().join(format!("{before:o}"));
            std::fs::create_dir(&there).unwrap();
            std::fs::set_permissions(&there, Permissions::from_mode(before)).unwrap();
            let refused = private_folder(&there).unwrap_err();
            assert!(refused.hint.contains("chmod go-w"), "{refused:?}");
            assert_eq!(mode(&there), before);
            assert_eq!(
                std::fs::read_dir(&there).unwrap().count(),
                0,
                "nothing is left in it"
            );
        }
    }

    #[test]
    fn what_somebody_else_may_have_put_there_is_not_private() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        private_folder(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(is_private(&real) && !is_private(&link));
        assert!(keeps_modes(&real));
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(private_folder(&folder.path().join("file")).is_err());
    }
}
