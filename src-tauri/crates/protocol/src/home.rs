//! Where everything of one user lies.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use etcetera::BaseStrategy;
use livepc_durable::{Readers, UNFINISHED, folder_of};
use sha2::{Digest, Sha256};

use crate::folder::{check_own, make_private};
use crate::{Code, Problem, StorePlace};

/// The file by which a folder is known for a home.
const MARK: &str = "livepc-home";
const MARK_TEXT: &str = "This folder is a LivePC home: what is in it belongs to LivePC.\n";

/// What homes of versions without the mark have, and nothing else.
const SURE: [&str; 2] = ["state.db", "agent.lock"];

/// What else may lie in a home.
const OWN: [&str; 13] = [
    "agent.at",
    "bases",
    "bin",
    "keys",
    "logs",
    "machines",
    "passwords.json",
    "run",
    "sockets.at",
    "start.lock",
    "store",
    StorePlace::FILE,
    "subscriptions",
];

/// What an empty folder may have: file systems and desktops put it there by themselves.
const NOTHING: [&str; 7] = [
    "$RECYCLE.BIN",
    ".DS_Store",
    ".directory",
    "System Volume Information",
    "Thumbs.db",
    "desktop.ini",
    "lost+found",
];

/// True for what LivePC keeps in a home.
fn is_own_name(name: &str) -> bool {
    name == MARK
        || SURE.contains(&name)
        || OWN.contains(&name)
        || name.starts_with(UNFINISHED)
        || name.starts_with("passwords.json")
        || name.starts_with("state.")
}

/// A LivePC home: state, store, machines, keys and logs. Two homes know nothing of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// The home in `root`; it is made, for the user alone, if it is not there. A folder that is there keeps its mode.
    ///
    /// # Errors
    /// [`Code::Usage`] if it is somebody else's, if others can write to it, or if there is something in it and it is no home.
    pub fn open(root: &Path) -> Result<Self, Problem> {
        let home = Self::look(root)?;
        if home.root.join(MARK).exists() || home.is_of_a_version_before_the_mark()? {
            return Ok(home);
        }
        let failed = |e| Problem::io(&format!("Cannot make the folder {}", home.root.display()), &e);
        if let Err(error) = make_private(&home.root)
            && !home.root.is_dir()
        {
            return Err(failed(error));
        }
        check_own(&home.root)?;
        livepc_durable::write(&home.root.join(MARK), Readers::User, MARK_TEXT.as_bytes()).map_err(failed)?;
        Self::look(&home.root)
    }

    /// The home in `root`, as [`open`](Self::open), but nothing is made: the folder may not be there.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn look(root: &Path) -> Result<Self, Problem> {
        if root.as_os_str().is_empty() {
            return Err(Problem::new(
                Code::Usage,
                "The home is an empty name.",
                "Name a folder after --home or in LIVEPC_HOME, or leave both out.",
            ));
        }
        let failed = |e: io::Error| Problem::io(&format!("Cannot open the folder {}", root.display()), &e);
        let root = match std::fs::canonicalize(root) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let root = std::path::absolute(root).map_err(failed)?;
                return Ok(Self { root });
            }
            Err(error) => return Err(failed(error)),
        };
        check_own(&root)?;
        let home = Self { root };
        if home.is_empty_or_a_home()? {
            return Ok(home);
        }
        Err(Problem::new(
            Code::Usage,
            format!(
                "The folder {} has other files in it, and is no LivePC home.",
                home.root.display()
            ),
            format!(
                "Name a folder that is empty or not there yet, such as {}.",
                home.root.join("livepc").display()
            ),
        ))
    }

    /// The user's own home: `LIVEPC_HOME` if it is set, else `livepc` in the platform's folder for applications' data.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn default_for_user() -> Result<Self, Problem> {
        Self::open(&Self::default_place()?)
    }

    /// Where the user's own home is, also if it is not there.
    ///
    /// # Errors
    /// If the user has no home folder.
    pub fn default_place() -> Result<PathBuf, Problem> {
        if let Some(root) = std::env::var_os("LIVEPC_HOME").filter(|v| !v.is_empty()) {
            return Ok(root.into());
        }
        let base = etcetera::choose_base_strategy().map_err(|e| {
            Problem::new(
                Code::Failed,
                format!("Your home folder cannot be found: {e}."),
                "Set LIVEPC_HOME.",
            )
        })?;
        Ok(base.data_dir().join("livepc"))
    }

    /// True if its folder is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.root.is_dir()
    }

    /// The problem of who has the home open, whose folder was renamed, moved or removed meanwhile.
    #[must_use]
    pub fn gone(&self) -> Problem {
        Problem::new(
            Code::Failed,
            format!(
                "The home {} was moved or removed while LivePC used it.",
                self.root.display()
            ),
            "Move it back, or name its new place with --home or in LIVEPC_HOME. If it was removed, all that was in it is gone: \
             subscribe again.",
        )
    }

    fn is_empty_or_a_home(&self) -> Result<bool, Problem> {
        let names = self.names()?;
        let known = |name: &String| {
            is_own_name(name) || NOTHING.contains(&name.as_str()) || name.starts_with(".Trash")
        };
        Ok(names.contains(MARK) || SURE.iter().any(|name| names.contains(*name)) || names.iter().all(known))
    }

    /// True if a file at this absolute path would take the place of something that LivePC keeps in this home, or come to lie
    /// among that.
    #[must_use]
    pub fn keeps(&self, place: &Path) -> bool {
        // Into a folder that is not there nothing is written.
        let real = |folder: &Path| std::fs::canonicalize(folder);
        let Ok((root, folder)) = real(&self.root).and_then(|root| Ok((root, real(folder_of(place))?))) else {
            return false;
        };
        let place = folder.join(place.file_name().unwrap_or_default());
        let inside = place
            .strip_prefix(root)
            .ok()
            .and_then(|inside| inside.components().next());
        inside.is_some_and(|first| is_own_name(&first.as_os_str().to_string_lossy()))
    }

    fn is_of_a_version_before_the_mark(&self) -> Result<bool, Problem> {
        if !self.is_there() {
            return Ok(false);
        }
        let names = self.names()?;
        Ok(SURE.iter().any(|name| names.contains(*name)))
    }

    fn names(&self) -> Result<BTreeSet<String>, Problem> {
        let entries = std::fs::read_dir(&self.root).and_then(|entries| {
            let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect()
        });
        entries.map_err(|e| Problem::io(&format!("Cannot read the folder {}", self.root.display()), &e))
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The state database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.root.join("state.db")
    }

    /// The name of the file with what a person has not been told yet of the state: that it was damaged, and made again. Who
    /// tells it removes it: the command line at once, the app when a person has put it away.
    pub const NOTICE: &str = "state-notice.txt";

    /// What a person has not been told yet of the state.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        let text = livepc_durable::read(&self.root.join(Self::NOTICE), 64 * 1024).ok()?;
        let text = String::from_utf8_lossy(&text).trim_end().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// Notes that this notice was told. Another one, which has come since, stays; one that cannot be removed is told again.
    pub fn forget_notice(&self, told: &str) {
        if self.notice().as_deref() == Some(told) {
            let _ = std::fs::remove_file(self.root.join(Self::NOTICE));
        }
    }

    /// The log files.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The publisher's keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// Passwords for servers, where there is no keyring to keep them.
    #[must_use]
    pub fn passwords(&self) -> PathBuf {
        self.root.join("passwords.json")
    }

    /// Copies of the `livepc` program that agents and runners run from.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// What belongs to the machine of one LivePC: its overlay and own disks.
    #[must_use]
    pub fn machine(&self, id: &str) -> PathBuf {
        self.root.join("machines").join(id)
    }

    /// Where the bases of a machine's disks are files, for hypervisors that read nothing else: mounted while it runs, or
    /// copied. Nothing of it is the user's own.
    #[must_use]
    pub fn bases(&self, id: &str) -> PathBuf {
        self.root.join("bases").join(id)
    }

    /// The lock that the agent holds.
    #[must_use]
    pub fn agent_lock(&self) -> PathBuf {
        self.root.join("agent.lock")
    }

    /// The lock of who is starting the agent: of a crowd that needs one, one starts it.
    pub(crate) fn start_lock(&self) -> PathBuf {
        self.root.join("start.lock")
    }

    /// The lock that a machine's runner holds.
    #[must_use]
    pub fn runner_lock(&self, id: &str) -> PathBuf {
        self.machine(id).join("runner.lock")
    }

    /// Twelve digits that tell this home from another.
    #[must_use]
    pub fn tag(&self) -> String {
        tag_of(self.root.as_os_str().as_encoded_bytes())
    }
}

/// Twelve digits for a name that is long, or that a file may not have.
pub(crate) fn tag_of(name: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(name)[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/home");
        let looked = Home::look(&root).unwrap();
        assert!(!looked.is_there() && !root.exists(), "to look makes nothing");
        let home = Home::open(&root).unwrap();
        std::fs::write(home.root().join("notes.txt"), "the user's own").unwrap();
        assert_eq!(Home::open(&root).unwrap(), home, "it is known by its mark");
    }

    #[test]
    fn a_folder_with_other_things_is_no_home() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("index.html"), "").unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        for open in [Home::open, Home::look] {
            let refused = open(folder.path()).unwrap_err();
            assert_eq!(refused.code, Code::Usage, "{refused}");
        }
        let names = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 2, "nothing was put into it");
    }

    #[test]
    fn homes_of_versions_without_a_mark_and_empty_drives_are_taken() {
        for (file, is_taken) in [
            ("state.db", true),
            ("agent.lock", true),
            ("keys", true),
            ("lost+found", true),
            ("livepc.txt", false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(file), "").unwrap();
            assert_eq!(Home::open(folder.path()).is_ok(), is_taken, "{file}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("state.db"), "").unwrap();
        std::fs::write(folder.path().join("a file of the user"), "").unwrap();
        assert!(Home::open(folder.path()).is_ok());
    }

    /// The command line and the app both tell it.
    #[test]
    fn a_notice_is_there_until_it_was_told_and_no_other_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home")).unwrap();
        assert_eq!(home.notice(), None);
        let write = |text: &str| std::fs::write(home.root().join(Home::NOTICE), text).unwrap();
        write("It was damaged.\n");
        let told = home.notice().unwrap();
        assert_eq!(told, "It was damaged.");
        write("It was damaged again.\n");
        home.forget_notice(&told);
        assert_eq!(home.notice().as_deref(), Some("It was damaged again."));
        home.forget_notice("It was damaged again.");
        assert_eq!(home.notice(), None);
        assert!(!home.root().join(Home::NOTICE).exists());
    }

    #[test]
    fn an_empty_name_and_a_file_are_no_homes() {
        assert_eq!(Home::open(Path::new("")).unwrap_err().code, Code::Usage);
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(Home::open(file.path()).unwrap_err().code, Code::Usage);
    }
}
