//! Replacing the signing key.

use std::path::PathBuf;

use jiff::Timestamp;
use livepc_format::SecretKey;
use livepc_format::shown;

use super::{KeyFolder, Kind, PublicKeys, is_locked, make, read};
use crate::error::{Context as _, PublishError, Result};

/// What [`KeyFolder::rotate`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The keys from now on.
    pub keys: PublicKeys,
    /// Where the secret key lies whose place was taken; `None` if there was none.
    pub kept: Option<PathBuf>,
}

impl KeyFolder {
    /// True if the root key does not open without a password.
    ///
    /// # Errors
    /// [`PublishError::RootKeyAway`] if it is not in the folder, [`PublishError::KeyMissing`] if there was never one.
    pub fn root_needs_password(&self) -> Result<bool> {
        self.check_root_is_here()?;
        is_locked(&self.root_path(), &read(&self.root_path())?)
    }

    /// Makes a new signing key under `password` and puts it in the place of the one there, if there is one, which is kept
    /// beside it (scrypt: it takes a second or two).
    ///
    /// The root key must be in the folder, and opens with `root_password`: it signs for the new key in the `keys.json` of
    /// each LivePC, when that is published next. Until then subscribers know the key before, and accept nothing else.
    ///
    /// # Errors
    /// [`PublishError::RootKeyAway`], [`PublishError::Trust`] if it is another's root key, and those of
    /// [`KeyFolder::root`]. After any error the signing key is the one before, or the new one if only the last step failed;
    /// it can be done again in both cases.
    pub fn rotate(
        &self,
        root_password: Option<&str>,
        password: Option<&str>,
        now: Timestamp,
    ) -> Result<Rotated> {
        self.check_root_is_here()?;
        let root = self.public_key(Kind::Root)?;
        if self.root(root_password)?.public_key()? != root {
            return Err(PublishError::Trust(format!(
                "the root key at {} is not the one that root.pub beside it names: put the right one there",
                shown::path(&self.root_path())
            )));
        }
        self.check_protected(password)?;
        let (signing, secret) = make(Kind::Signing, password)?;
        let secret = self.partial(&secret)?;
        let kept = self.keep_signing(now)?;
        let path = self.signing_path();
        livepc_durable::put(secret, &path).context(|| format!("writing {}", shown::path(&path)))?;
        self.write_public(Kind::Signing, &signing)?;
        Ok(Rotated {
            keys: PublicKeys { root, signing },
            kept,
        })
    }

    /// Copies the signing key to a name of its own, durably; gives that.
    fn keep_signing(&self, now: Timestamp) -> Result<Option<PathBuf>> {
        let text = match read(&self.signing_path()) {
            Err(PublishError::KeyMissing(_)) => return Ok(None),
            text => text?,
        };
        let path = self
            .dir
            .join(format!("signing-until-{}.key", now.strftime("%Y%m%dT%H%M%SZ")));
        super::put_all(vec![(self.partial(&text)?, path.clone())])?;
        Ok(Some(path))
    }

    /// Has `signing.pub` name the signing key: a rotation that was stopped before its last step left the one before there.
    pub(super) fn mend_public(&self, signing: &SecretKey) -> Result<()> {
        let public = signing.public_key()?;
        match self.public_key(Kind::Signing) {
            Ok(named) if named != public => self.write_public(Kind::Signing, &public),
            // Nobody needs it to publish.
            _ => Ok(()),
        }
    }

    fn check_root_is_here(&self) -> Result<()> {
        if self.root_path().exists() {
            return Ok(());
        }
        Err(if self.public_path(Kind::Root).exists() {
            PublishError::RootKeyAway(self.root_path())
        } else {
            PublishError::KeyMissing(self.root_path())
        })
    }

    fn write_public(&self, kind: Kind, key: &livepc_format::PublicKey) -> Result<()> {
        let path = self.public_path(kind);
        livepc_durable::put(self.partial(&format!("{key}\n"))?, &path)
            .map(drop)
            .context(|| format!("writing {}", shown::path(&path)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    fn names(folder: &KeyFolder) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&folder.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_key_takes_the_place_and_the_old_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path());
        let before = folder.create(Some("secret")).unwrap();
        assert!(folder.root_needs_password().unwrap());
        let rotated = folder
            .rotate(Some("secret"), Some("other secret"), now())
            .unwrap();
        assert_eq!(rotated.keys.root, before.root, "the identity stays");
        assert_ne!(rotated.keys.signing, before.signing);
        assert_eq!(folder.public().unwrap(), rotated.keys);
        let opened = folder.signing(Some("other secret")).unwrap();
        assert_eq!(opened.public_key().unwrap(), rotated.keys.signing);

        let kept = rotated.kept.expect("it is told where the old one is");
        let text = fs::read_to_string(&kept).unwrap();
        let old = SecretKey::from_file_text(&text, Some("secret".into())).unwrap();
        assert_eq!(old.public_key().unwrap(), before.signing);
        assert!(
            matches!(
                folder.rotate(Some("secret"), None, now()),
                Err(PublishError::KeyExists(path)) if path == kept
            ),
            "a key that is kept is never overwritten"
        );
        assert_eq!(folder.public().unwrap(), rotated.keys, "and nothing changed");
        assert_eq!(
            names(&folder),
            [
                "root.key",
                "root.pub",
                "signing-until-20261122T100000Z.key",
                "signing.key",
                "signing.pub"
            ]
        );
    }

    #[test]
    fn nothing_changes_without_the_root_key() {
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path().join("keys"));
        assert!(
            matches!(folder.rotate(None, None, now()), Err(PublishError::KeyMissing(_))),
            "there is nothing to replace"
        );
        let made = folder.create(Some("secret")).unwrap();
        let unchanged = |result: Result<Rotated>| {
            assert_eq!(folder.public().unwrap(), made);
            assert_eq!(
                names(&folder).iter().filter(|n| n.starts_with("signing")).count(),
                2
            );
            result.unwrap_err()
        };
        assert!(matches!(
            unchanged(folder.rotate(None, None, now())),
            PublishError::PasswordNeeded(_)
        ));
        assert!(matches!(
            unchanged(folder.rotate(Some("wrong"), None, now())),
            PublishError::PasswordWrong(_)
        ));
        let safe = dir.path().join("safe");
        fs::rename(folder.root_path(), &safe).unwrap();
        let away = unchanged(folder.rotate(Some("secret"), None, now()));
        assert!(matches!(away, PublishError::RootKeyAway(_)));
        assert!(
            away.to_string()
                .contains(&folder.root_path().display().to_string()),
            "{away}"
        );

        let other = KeyFolder::new(dir.path().join("other"));
        other.create(None).unwrap();
        fs::copy(other.root_path(), folder.root_path()).unwrap();
        assert!(unchanged(folder.rotate(None, None, now())).is_trust());
        fs::rename(&safe, folder.root_path()).unwrap();
        folder
            .rotate(Some("secret"), None, now())
            .expect("the right one does it");
    }

    #[test]
    fn a_lost_signing_key_is_replaced_too() {
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path());
        folder.create(None).unwrap();
        fs::remove_file(folder.signing_path()).unwrap();
        let rotated = folder.rotate(None, None, now()).unwrap();
        assert_eq!(rotated.kept, None);
        assert_eq!(folder.public().unwrap(), rotated.keys);
    }

    /// What a rotation leaves that ends between its steps: the old key kept and in place, then the new one without its
    /// public half.
    #[test]
    fn a_rotation_that_was_stopped_leaves_keys_that_work() {
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path());
        let before = folder.create(None).unwrap();
        folder.keep_signing(now()).unwrap();
        let keys = folder.publish_keys(None, true).unwrap();
        assert_eq!(keys.signing.public_key().unwrap(), before.signing);

        let later = now() + jiff::SignedDuration::from_secs(60);
        let rotated = folder.rotate(None, None, later).unwrap();
        folder.write_public(Kind::Signing, &before.signing).unwrap();
        let keys = folder.publish_keys(None, true).unwrap();
        assert_eq!(keys.signing.public_key().unwrap(), rotated.keys.signing);
        assert_eq!(folder.public().unwrap(), rotated.keys, "it is made good");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_can_read_keys() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path());
        folder.create(None).unwrap();
        let kept = folder.rotate(None, None, now()).unwrap().kept.unwrap();
        for path in [kept, folder.signing_path()] {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
}
