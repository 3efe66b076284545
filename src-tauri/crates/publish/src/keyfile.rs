//! A publisher's keys on disk: `root.key` and `signing.key`, minisign secret key files, with their public halves beside
//! them.

mod rotate;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use livepc_format::shown;
use livepc_format::{PublicKey, SecretKey};
use tempfile::NamedTempFile;

use crate::authority::PublishKeys;
use crate::error::{Context as _, PublishError, Result};
use crate::ledger::Ledger;
use crate::os;

/// A file of a key is longer than this only if it is something else.
const KEY_BYTES: u64 = 64 * 1024;

pub use self::rotate::Rotated;

/// A folder with a publisher's keys. Nobody but the user may read the secret ones.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    dir: PathBuf,
}

/// The public halves of a publisher's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeys {
    /// The root key: its fingerprint is what subscribers confirm.
    pub root: PublicKey,
    /// The signing key.
    pub signing: PublicKey,
}

#[derive(Clone, Copy)]
enum Kind {
    Root,
    Signing,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Signing => "signing",
        }
    }
}

impl KeyFolder {
    /// The keys in the folder `dir`, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where the root key lies. It should be moved to a safe place after the first publication.
    #[must_use]
    pub fn root_path(&self) -> PathBuf {
        self.secret(Kind::Root)
    }

    /// Where the signing key lies.
    #[must_use]
    pub fn signing_path(&self) -> PathBuf {
        self.secret(Kind::Signing)
    }

    /// True if there is a signing key.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.signing_path().exists()
    }

    /// Makes a root key and a signing key, both under `password` (scrypt: it takes a few seconds).
    ///
    /// # Errors
    /// [`PublishError::KeyExists`] if one of the files exists; no file is overwritten. After any error there are no keys
    /// that were not there before.
    pub fn create(&self, password: Option<&str>) -> Result<PublicKeys> {
        for kind in [Kind::Root, Kind::Signing] {
            for path in [self.secret(kind), self.public_path(kind)] {
                if path.exists() {
                    return Err(PublishError::KeyExists(path));
                }
            }
        }
        livepc_durable::create_private_folder(&self.dir)
            .context(|| format!("making the folder {}", shown::path(&self.dir)))?;
        self.check_protected(password)?;
        // Made before the first is written: a key without the other is of no use.
        let (root, signing) = (make(Kind::Root, password)?, make(Kind::Signing, password)?);
        let mut files = Vec::new();
        for (kind, (public, secret)) in [(Kind::Root, &root), (Kind::Signing, &signing)] {
            files.push((self.partial(secret)?, self.secret(kind)));
            files.push((self.partial(&format!("{public}\n"))?, self.public_path(kind)));
        }
        put_all(files)?;
        Ok(PublicKeys {
            root: root.0,
            signing: signing.0,
        })
    }

    /// Refuses to make a key that anybody can read and that opens without a password.
    fn check_protected(&self, password: Option<&str>) -> Result<()> {
        if password.is_some() || !os::is_exposed(self.partial("")?.as_file()).unwrap_or(false) {
            return Ok(());
        }
        Err(PublishError::KeyExposed(self.dir.clone()))
    }

    /// Writes a file under a name of its own; it goes away unless it is given its place. Only the user can read it.
    fn partial(&self, text: &str) -> Result<NamedTempFile> {
        let what = || format!("writing a key to {}", shown::path(&self.dir));
        let mut partial = tempfile::Builder::new()
            .prefix(".livepc-key-")
            .tempfile_in(&self.dir)
            .context(what)?;
        partial.write_all(text.as_bytes()).context(what)?;
        Ok(partial)
    }

    /// The public halves; no password is needed.
    ///
    /// # Errors
    /// [`PublishError::KeyMissing`] if there are none.
    pub fn public(&self) -> Result<PublicKeys> {
        Ok(PublicKeys {
            root: self.public_key(Kind::Root)?,
            signing: self.public_key(Kind::Signing)?,
        })
    }

    /// True if the signing key, or the root key if it is there, does not open without a password.
    ///
    /// # Errors
    /// [`PublishError::KeyMissing`] if there is no signing key.
    pub fn needs_password(&self) -> Result<bool> {
        let is_locked = |path: PathBuf| is_locked(&path, &read(&path)?);
        Ok(is_locked(self.signing_path())? || self.root_path().exists() && is_locked(self.root_path())?)
    }

    /// Opens the signing key.
    ///
    /// # Errors
    /// [`PublishError::PasswordNeeded`], [`PublishError::PasswordWrong`], [`PublishError::KeyMissing`],
    /// [`PublishError::KeyDamaged`].
    pub fn signing(&self, password: Option<&str>) -> Result<SecretKey> {
        self.open(Kind::Signing, password)
    }

    /// Opens the root key.
    ///
    /// # Errors
    /// As [`KeyFolder::signing`].
    pub fn root(&self, password: Option<&str>) -> Result<SecretKey> {
        self.open(Kind::Root, password)
    }

    /// Opens what a publication needs: the signing key, and the root key if it is there (it may be in a safe place by now;
    /// only the first publication with a signing key needs it).
    ///
    /// # Errors
    /// As [`KeyFolder::signing`].
    pub fn publish_keys(&self, password: Option<&str>, with_root: bool) -> Result<PublishKeys> {
        let root = if with_root && self.root_path().exists() {
            Some(self.root(password)?)
        } else {
            None
        };
        let signing = self.signing(password)?;
        self.mend_public(&signing)?;
        Ok(PublishKeys {
            root_public: self.public_key(Kind::Root)?,
            root,
            signing,
            ledger: Some(Ledger::new(self.dir.join("published"))),
        })
    }

    fn open(&self, kind: Kind, password: Option<&str>) -> Result<SecretKey> {
        let path = self.secret(kind);
        let text = read(&path)?;
        if !is_locked(&path, &text)? {
            return SecretKey::from_file_text(&text, None).map_err(|_| PublishError::KeyDamaged(path));
        }
        let Some(password) = password else {
            return Err(PublishError::PasswordNeeded(path));
        };
        SecretKey::from_file_text(&text, Some(password.to_owned()))
            .map_err(|_| PublishError::PasswordWrong(path))
    }

    fn public_key(&self, kind: Kind) -> Result<PublicKey> {
        Ok(PublicKey::parse(read(&self.public_path(kind))?.trim())?)
    }

    fn secret(&self, kind: Kind) -> PathBuf {
        self.dir.join(format!("{}.key", kind.name()))
    }

    fn public_path(&self, kind: Kind) -> PathBuf {
        self.dir.join(format!("{}.pub", kind.name()))
    }
}

/// Gives all files their places, or none: a key without the others would only be in the way of the next try.
fn put_all(files: Vec<(NamedTempFile, PathBuf)>) -> Result<()> {
    let mut put: Vec<PathBuf> = Vec::new();
    for (partial, path) in files {
        if let Err(error) = livepc_durable::put_new(partial, &path) {
            for path in put {
                if let Err(error) = fs::remove_file(&path) {
                    tracing::warn!(path = %path.display(), %error, "a key of a failed attempt stays");
                }
            }
            return match error.kind() {
                io::ErrorKind::AlreadyExists => Err(PublishError::KeyExists(path)),
                _ => Err(error).context(|| format!("writing {}", shown::path(&path))),
            };
        }
        put.push(path);
    }
    Ok(())
}

/// A new key pair, and the text of its secret key file.
fn make(kind: Kind, password: Option<&str>) -> Result<(PublicKey, String)> {
    let comment = format!("livepc {} key", kind.name());
    Ok(SecretKey::generate_file(password.map(str::to_owned), &comment)?)
}

/// True if a key file with this text opens with a password only.
fn is_locked(path: &Path, text: &str) -> Result<bool> {
    SecretKey::has_password(text).ok_or_else(|| PublishError::KeyDamaged(path.to_owned()))
}

fn read(path: &Path) -> Result<String> {
    match livepc_durable::read_text(path, KEY_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(PublishError::KeyMissing(path.to_owned()))
        }
        text => text.context(|| format!("reading {}", shown::path(path))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_key_is_told_and_not_asked_for_a_password() {
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path().join("keys"));
        folder.create(None).unwrap();
        for path in [folder.signing_path(), folder.root_path()] {
            let whole = fs::read(&path).unwrap();
            let mut flipped = whole.clone();
            flipped[150] ^= 1;
            for damaged in [&whole[..0], &vec![0; whole.len()], &whole[..120], &flipped] {
                fs::write(&path, damaged).unwrap();
                let opened = folder
                    .needs_password()
                    .and_then(|_| folder.publish_keys(None, true));
                assert!(matches!(opened, Err(PublishError::KeyDamaged(named)) if named == path));
            }
            fs::write(&path, whole).unwrap();
        }
        folder.publish_keys(None, true).unwrap();
    }

    #[test]
    fn keys_are_made_once_and_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path().join("keys"));
        assert!(matches!(folder.public(), Err(PublishError::KeyMissing(_))));
        let made = folder.create(None).unwrap();
        assert!(folder.exists() && !folder.needs_password().unwrap());
        assert_eq!(folder.public().unwrap(), made);
        let keys = folder.publish_keys(None, true).unwrap();
        assert_eq!(keys.signing.public_key().unwrap(), made.signing);
        assert_eq!(keys.root.unwrap().public_key().unwrap(), made.root);
        assert!(
            matches!(folder.create(None), Err(PublishError::KeyExists(_))),
            "keys are not overwritten"
        );
        assert_eq!(folder.public().unwrap(), made);

        fs::remove_file(folder.root_path()).unwrap();
        let keys = folder.publish_keys(None, true).unwrap();
        assert!(
            keys.root.is_none() && keys.root_public == made.root,
            "the root key may be away"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_failed_attempt_is_not_in_the_way_of_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path());
        // A link to nowhere is not seen at first, but it is not overwritten either.
        let last = dir.path().join("signing.pub");
        std::os::unix::fs::symlink("nowhere", &last).unwrap();
        assert!(matches!(folder.create(None), Err(PublishError::KeyExists(_))));
        fs::remove_file(&last).unwrap();
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            0,
            "nothing is left of it"
        );
        folder.create(None).unwrap();
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            4,
            "two keys, each in two halves"
        );
    }

    #[test]
    fn a_password_keeps_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path());
        let made = folder.create(Some("secret")).unwrap();
        assert!(folder.needs_password().unwrap());
        assert!(matches!(
            folder.signing(None),
            Err(PublishError::PasswordNeeded(_))
        ));
        assert!(matches!(
            folder.signing(Some("wrong")),
            Err(PublishError::PasswordWrong(_))
        ));
        let key = folder.signing(Some("secret")).unwrap();
        assert_eq!(key.public_key().unwrap(), made.signing);
        assert_eq!(folder.public().unwrap(), made, "the public halves are not secret");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_can_read_keys() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path().join("keys"));
        folder.create(None).unwrap();
        for (path, mode) in [
            (folder.root_path(), 0o600),
            (folder.signing_path(), 0o600),
            (dir.path().join("keys"), 0o700),
        ] {
            let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{}", path.display());
        }
    }
}
