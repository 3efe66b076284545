//! What a publisher with bad intentions, or a damaged server, would put into a published folder.

use std::path::{Path, PathBuf};

use livepc_format::{Digest, Head, Keys, SecretKey, paths};

use crate::publisher::Publisher;

/// A published folder that is tampered with.
#[derive(Debug)]
pub struct Site {
    root: PathBuf,
}

impl Site {
    /// The folder of a publisher.
    #[must_use]
    pub fn of(publisher: &Publisher) -> Self {
        Self {
            root: publisher.site(),
        }
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The files of a folder in it, by name.
    #[must_use]
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut files: Vec<_> = self
            .root
            .join(folder)
            .read_dir()
            .expect("the folder is there")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        files
    }

    /// The bytes of a file in it.
    #[must_use]
    pub fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.file(path)).expect("the file is there")
    }

    /// Makes or replaces a file in it. The time of one that was there is two seconds later than before:
    /// nginx makes its ETags of sizes and seconds, and so takes two files of one size and second for the same.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.file(path);
        let before = path.metadata().and_then(|data| data.modified());
        std::fs::write(&path, bytes).expect("the file is written");
        if let Ok(before) = before {
            std::fs::File::options()
                .write(true)
                .open(&path)
                .and_then(|file| file.set_modified(before + std::time::Duration::from_secs(2)))
                .expect("a later time");
        }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> Keys {
        Keys::open(&self.read(paths::KEYS)).expect("the keys are sound")
    }

    /// The head.
    #[must_use]
    pub fn head(&self) -> Head {
        Head::open(&self.read(paths::HEAD), &self.keys()).expect("the head is sound")
    }

    /// Changes the head and signs it with `key`; the feed's time changes too, as a publisher's would.
    pub fn resign(&self, key: &SecretKey, change: impl FnOnce(&mut Head)) {
        let mut head = self.head();
        change(&mut head);
        self.write(paths::HEAD, head.seal(key).expect("it can be signed"));
    }

    /// Flips a bit in the middle of a file, whose length and time stay as they are.
    pub fn damage(&self, file: &Path) {
        let time = file.metadata().and_then(|data| data.modified()).expect("a time");
        let mut bytes = std::fs::read(file).expect("the file is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(file, bytes).expect("the file is written");
        std::fs::File::options()
            .write(true)
            .open(file)
            .and_then(|file| file.set_modified(time))
            .expect("the time is put back");
    }
}

/// The signing key of a publisher without a password.
#[must_use]
pub fn signing_key(publisher: &Publisher) -> SecretKey {
    secret_key(publisher, "signing.key")
}

/// The root key of a publisher without a password.
#[must_use]
pub fn root_key(publisher: &Publisher) -> SecretKey {
    secret_key(publisher, "root.key")
}

fn secret_key(publisher: &Publisher, name: &str) -> SecretKey {
    let file = publisher.home.home().keys().join(name);
    let text = std::fs::read_to_string(file).expect("the key's file");
    SecretKey::from_file_text(&text, None).expect("the key opens")
}

/// A disk of `mib` MiB that is cheap to publish: pages that differ, made from `seed`.
#[must_use]
pub fn disk(folder: &Path, name: &str, mib: usize, seed: u8) -> PathBuf {
    let path = folder.join(name);
    let mut bytes = Vec::with_capacity(mib << 20);
    let mut block = Digest::of(&[seed]);
    while bytes.len() < mib << 20 {
        block = Digest::of(block.as_bytes());
        bytes.extend_from_slice(block.as_bytes());
    }
    std::fs::write(&path, bytes).expect("the disk is written");
    path
}
