//! Where passwords are kept: the system's keyring (Secret Service on Linux, Keychain on macOS, Credential Manager on
//! Windows), or a file where there is none, as on a server without a desktop.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::Arc;

use keyring_core::CredentialStore;
use livepc_protocol::{Code, Problem, keeps_modes};

/// The file of passwords is longer than this only if it is something else.
const MOST: u64 = 1 << 20;
/// The file that becomes the file of passwords.
const NEXT: &str = "passwords.json.next";

/// Why there is no such file on exFAT, NTFS and the like.
const EXPOSED: &str =
    "its file system keeps no file from other users of this computer; use a keyring, or a home elsewhere";

/// See the module. All of this may block: a keyring may ask a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Keyring,
    File,
}

/// A password's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) server: String,
    pub(super) user: String,
}

type Passwords = BTreeMap<String, String>;

impl Place {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::File => "file",
        }
    }

    pub(super) fn of(text: &str) -> Self {
        if text == Self::File.as_str() {
            Self::File
        } else {
            Self::Keyring
        }
    }

    /// Keeps a password in the keyring, or in `file` where there is none; says where it is now. A keyring that is locked, and
    /// stays so, is no reason for a file.
    pub(super) fn keep(name: &Name, password: &str, file: &Path) -> Result<Self, Problem> {
        let kept = match keyring() {
            Ok(keyring) => keyring.build(&name.service(), &name.user, None),
            Err(error) => {
                tracing::info!(%error, "there is no keyring: a file has the password");
                change(file, |all| {
                    all.insert(name.server.clone(), password.to_owned());
                })?;
                return Ok(Self::File);
            }
        };
        let kept = kept.and_then(|entry| entry.set_password(password));
        kept.map(|()| Self::Keyring).map_err(|error| refused(&error))
    }

    /// The password; why not, if it is not there.
    pub(super) fn read(self, name: &Name, file: &Path) -> Result<String, String> {
        #[cfg(test)]
        super::tests::fail(&name.user);
        match self {
            Self::Keyring => {
                let password = name.entry().and_then(|entry| entry.get_password());
                password.map_err(|error| error.to_string())
            }
            Self::File => read(file)
                .map_err(|problem| problem.message)?
                .remove(&name.server)
                .ok_or_else(|| format!("{} has none", file.display())),
        }
    }

    pub(super) fn forget(self, name: &Name, file: &Path) -> Result<(), Problem> {
        match self {
            Self::Keyring => {
                match name.entry().and_then(|entry| entry.delete_credential()) {
                    // Somebody has removed it by other means.
                    Ok(()) | Err(keyring_core::Error::NoEntry) => Ok(()),
                    Err(error) => Err(refused(&error)),
                }
            }
            Self::File => change(file, |all| {
                all.remove(&name.server);
            }),
        }
    }
}

impl Name {
    /// What it is for, as people see it in their keyring beside the user.
    fn service(&self) -> String {
        format!("LivePC: {}", self.server)
    }

    /// Its place in the system's keyring.
    fn entry(&self) -> keyring_core::Result<keyring_core::Entry> {
        keyring()?.build(&self.service(), &self.user, None)
    }
}

/// The system's keyring, found anew each time: it may come and go with a desktop.
fn keyring() -> keyring_core::Result<Arc<CredentialStore>> {
    #[cfg(target_os = "linux")]
    let found = zbus_secret_service_keyring_store::Store::new()?;
    #[cfg(windows)]
    let found = windows_native_keyring_store::Store::new()?;
    #[cfg(target_os = "macos")]
    let found = apple_native_keyring_store::keychain::Store::new()?;
    Ok(found)
}

fn refused(error: &keyring_core::Error) -> Problem {
    Problem::new(
        Code::Failed,
        format!("The keyring of this computer did not do it: {error}."),
        "Unlock the keyring, then try again.",
    )
}

fn read(file: &Path) -> Result<Passwords, Problem> {
    match livepc_durable::read(file, MOST) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            Problem::new(
                Code::Failed,
                format!("{} cannot be understood: {error}.", file.display()),
                "Remove it, and sign in again.",
            )
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Passwords::new()),
        Err(error) => Err(failed(file, &error)),
    }
}

/// Replaces the file as a whole; a temporary file is one that only its user can read, and that stays so.
fn change(file: &Path, change: impl FnOnce(&mut Passwords)) -> Result<(), Problem> {
    let mut all = read(file)?;
    change(&mut all);
    let write = || {
        if all.is_empty() {
            return livepc_durable::remove(file);
        }
        let folder = file.parent().unwrap_or(Path::new("."));
        if !keeps_modes(folder) {
            return Err(std::io::Error::new(ErrorKind::PermissionDenied, EXPOSED));
        }
        // Always the same one, so that a kill leaves no passwords behind that nobody knows of.
        let _ = std::fs::remove_file(folder.join(NEXT));
        let mut next = tempfile::Builder::new()
            .prefix(NEXT)
            .rand_bytes(0)
            .tempfile_in(folder)?;
        next.write_all(serde_json::to_string_pretty(&all)?.as_bytes())?;
        livepc_durable::put(next, file).map(drop)
    };
    write().map_err(|error| failed(file, &error))
}

fn failed(file: &Path, error: &std::io::Error) -> Problem {
    Problem::io(&format!("Passwords cannot be kept in {}", file.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_passwords_is_private_and_goes_with_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwords.json");
        let name = |server: &str| Name {
            server: server.to_owned(),
            user: "me".to_owned(),
        };
        let put = |server: &str, password: &str| {
            change(&file, |all| {
                drop(all.insert(server.to_owned(), password.to_owned()));
            })
            .unwrap();
        };
        assert!(Place::File.read(&name("a"), &file).is_err(), "none is there");
        put("a", "first");
        put("b", "second");
        put("a", "third");
        assert_eq!(Place::File.read(&name("a"), &file).unwrap(), "third");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
        }
        Place::File.forget(&name("a"), &file).unwrap();
        assert!(Place::File.read(&name("a"), &file).is_err());
        assert_eq!(Place::File.read(&name("b"), &file).unwrap(), "second");
        Place::File.forget(&name("b"), &file).unwrap();
        assert!(!file.exists());
        std::fs::write(&file, "no JSON").unwrap();
        assert!(
            change(&file, |_| ()).is_err(),
            "what is not understood is not overwritten"
        );
    }
}
