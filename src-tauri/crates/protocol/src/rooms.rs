//! Private folders for sockets, whose paths may have about 100 bytes only.
//!
//! They lie in the home, so that whoever has the home finds them, whatever its environment says, and nobody clears them
//! away. Where the home's path is too long, or its file system has no sockets, they lie in a folder with a name that nobody
//! guesses; the home says which.

use std::path::PathBuf;

use crate::folder::{is_private, private_folder};
use crate::home::tag_of;
use crate::{Home, Problem};

/// The folder in the home.
const OWN: &str = "run";

impl Home {
    /// A short private folder for this home's sockets; it is made if it is not there.
    ///
    /// # Errors
    /// If there is no place for one.
    pub fn sockets(&self) -> Result<PathBuf, Problem> {
        let own = self.root().join(OWN);
        if os::is_short(&own) && (is_private(&own) || os::make_where_sockets_work(self.root(), &own)) {
            return Ok(own);
        }
        os::elsewhere(self)
    }

    /// A private folder for the sockets of one machine.
    ///
    /// # Errors
    /// As [`sockets`](Self::sockets).
    pub fn machine_sockets(&self, id: &str) -> Result<PathBuf, Problem> {
        let folder = self.sockets()?.join(tag_of(id.as_bytes()));
        private_folder(&folder)?;
        Ok(folder)
    }

    /// Where a version that found sockets by its environment had those of this home. Nothing is made.
    #[must_use]
    pub fn earlier_sockets(&self) -> Option<PathBuf> {
        os::earlier_base().map(|base| base.join(self.tag()))
    }

    /// As [`earlier_sockets`](Self::earlier_sockets), for one machine.
    #[must_use]
    pub fn earlier_machine_sockets(&self, id: &str) -> Option<PathBuf> {
        Some(self.earlier_sockets()?.join(tag_of(id.as_bytes())))
    }
}

#[cfg(unix)]
mod os {
    use std::ffi::OsStr;
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::{Path, PathBuf};

    use livepc_durable::{Readers, UNFINISHED};

    use super::is_private;
    use crate::{Code, Home, Problem};

    /// Bytes of a folder's path at the most: behind it there is room for a machine's folder and for a socket in it.
    const SHORT: usize = 64;
    /// The file in the home that says where the sockets are, if not in the home.
    const PLACE: &str = "sockets.at";
    /// What a folder elsewhere is called, before some letters by chance.
    const PREFIX: &str = "livepc-";
    /// How many letters.
    const LETTERS: usize = 12;

    pub(super) fn is_short(folder: &Path) -> bool {
        folder.as_os_str().len() <= SHORT
    }

    /// Makes the folder `own` in `root`, if it can be private there and have sockets.
    pub(super) fn make_where_sockets_work(root: &Path, own: &Path) -> bool {
        // It gets its name when it is known to work: others take one that is there as it is.
        let tried = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(root);
        let Ok(tried) = tried else {
            return false;
        };
        if !is_private(tried.path()) || !sockets_work(tried.path()) {
            return false;
        }
        let renamed = std::fs::rename(tried.path(), own).is_ok();
        if renamed {
            // It has gone from where it was.
            let _ = tried.keep();
        }
        is_private(own)
    }

    fn sockets_work(folder: &Path) -> bool {
        let socket = folder.join("s");
        let works = UnixListener::bind(&socket).is_ok_and(|_listening| UnixStream::connect(&socket).is_ok());
        let _ = std::fs::remove_file(&socket);
        works
    }

    /// A folder outside the home: the one that the home names, or a new one.
    pub(super) fn elsewhere(home: &Home) -> Result<PathBuf, Problem> {
        let place = home.root().join(PLACE);
        let named = livepc_durable::read_text(&place, 4096).ok().map(PathBuf::from);
        if let Some(folder) = named.filter(|folder| folder.is_absolute() && is_private(folder)) {
            return Ok(folder);
        }
        let folder = make_elsewhere()?;
        livepc_durable::write(&place, Readers::User, folder.as_os_str().as_encoded_bytes()).map_err(|e| {
            let _ = std::fs::remove_dir(&folder);
            Problem::io(&format!("{} cannot be written", place.display()), &e)
        })?;
        Ok(folder)
    }

    fn make_elsewhere() -> Result<PathBuf, Problem> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let bases = runtime
            .into_iter()
            .chain(["/tmp".into(), "/var/tmp".into(), std::env::temp_dir()]);
        for base in bases.filter(|base| is_safe(base)) {
            let made = tempfile::Builder::new()
                .prefix(PREFIX)
                .rand_bytes(LETTERS)
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(&base);
            if let Ok(made) = made
                && is_private(made.path())
                && sockets_work(made.path())
            {
                return Ok(made.keep());
            }
        }
        Err(Problem::new(
            Code::Failed,
            "There is no folder that sockets can be in: the home's path is long, or its file system has none, and there \
             is no other place.",
            "Choose a home with a short path, such as one in /var/tmp.",
        ))
    }

    /// True if nobody else can put another folder in the place of one that is in this one.
    fn is_safe(base: &Path) -> bool {
        let fits = base.as_os_str().len() + 1 + PREFIX.len() + LETTERS <= SHORT;
        let (others_write, sticky) = (0o022, 0o1000);
        fits && base.is_absolute()
            && base.as_os_str() != OsStr::new("/")
            && std::fs::metadata(base).is_ok_and(|found| {
                found.is_dir() && (found.mode() & others_write == 0 || found.mode() & sticky != 0)
            })
    }

    pub(super) fn earlier_base() -> Option<PathBuf> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|folder| folder.is_absolute() && folder.as_os_str().len() < 50);
        let own = format!("/tmp/livepc-{}", rustix::process::getuid().as_raw());
        let base = runtime.map_or_else(|| PathBuf::from(own), |folder| folder.join("livepc"));
        // Somebody else's is not believed.
        is_private(&base).then_some(base)
    }
}

/// Named pipes have a name space of their own; the folder holds what needs a path.
#[cfg(windows)]
mod os {
    use std::path::{Path, PathBuf};

    use livepc_durable::create_private_folder_inside;

    use crate::{Home, Problem};

    pub(super) fn is_short(_folder: &Path) -> bool {
        true
    }

    pub(super) fn make_where_sockets_work(_root: &Path, own: &Path) -> bool {
        create_private_folder_inside(own).is_ok()
    }

    pub(super) fn elsewhere(home: &Home) -> Result<PathBuf, Problem> {
        let folder = home.root().join(super::OWN);
        create_private_folder_inside(&folder)
            .map_err(|e| Problem::io(&format!("Cannot make the folder {}", folder.display()), &e))?;
        Ok(folder)
    }

    pub(super) fn earlier_base() -> Option<PathBuf> {
        None
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A home whose path has so many bytes.
    fn home_of(len: usize) -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir_in("/tmp").expect("a folder");
        let have = folder.path().as_os_str().len() + 1;
        let root = folder.path().join("h".repeat(len.saturating_sub(have)));
        let home = Home::open(&root).expect("a home");
        (folder, home)
    }

    #[test]
    fn sockets_are_in_the_home_and_elsewhere_if_its_path_is_long() {
        for (len, inside) in [(30, true), (60, true), (61, false), (200, false)] {
            let (_folder, home) = home_of(len);
            assert_eq!(home.root().as_os_str().len(), len);
            let sockets = home.sockets().unwrap();
            assert_eq!(sockets.starts_with(home.root()), inside, "{}", sockets.display());
            assert_eq!(home.sockets().unwrap(), sockets, "it is found again");
            // The longest that any part of this product makes.
            let deep = home.machine_sockets("lab").unwrap().join(".lpc4194304-9");
            crate::folder::make_private(&deep).unwrap();
            UnixListener::bind(deep.join("s")).unwrap();
            assert!(deep.as_os_str().len() < 100, "{}", deep.display());
            if !inside {
                std::fs::remove_dir_all(&sockets).unwrap();
                let other = home.sockets().unwrap();
                assert_ne!(
                    other, sockets,
                    "a name that was gone may be somebody else's by now"
                );
                std::fs::remove_dir_all(other).unwrap();
            }
        }
    }

    #[test]
    fn a_folder_that_others_can_enter_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, home) = home_of(200);
        let sockets = home.sockets().unwrap();
        std::fs::set_permissions(&sockets, std::fs::Permissions::from_mode(0o755)).unwrap();
        let other = home.sockets().unwrap();
        assert_ne!(other, sockets);
        for folder in [sockets, other] {
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}
