//! A LivePC named `lab`: its publisher, a server with its files, and a subscriber.

use std::path::PathBuf;

use livepc_format::Head;
use serde_json::Value;
use tempfile::TempDir;

use crate::forge::{Site, disk, signing_key};
use crate::home::TestHome;
use crate::origin::Origin;
use crate::publisher::Publisher;

/// Bytes at the beginning of the disk that are the same in every release.
const SAME: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub struct Lab {
    /// Where the disks are.
    pub work: TempDir,
    /// Who publishes it.
    pub publisher: Publisher,
    /// The server with what is published.
    pub server: Origin,
    /// The subscriber.
    pub home: TestHome,
    mib: usize,
}

impl Lab {
    /// Release 1, with a disk of `mib` MiB of noise, is published and subscribed to; nothing is fetched.
    #[must_use]
    pub fn subscribed(mib: usize) -> Self {
        let work = tempfile::tempdir().expect("a folder");
        let publisher = Publisher::new(&disk(work.path(), "1.raw", mib, 1), "Lab");
        publisher.publish(&[]);
        let server = Origin::start(publisher.site()).expect("the origin starts");
        let home = TestHome::new();
        home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
        Self {
            work,
            publisher,
            server,
            home,
            mib,
        }
    }

    /// As [`Lab::subscribed`], and all of it is fetched.
    #[must_use]
    pub fn complete(mib: usize) -> Self {
        let lab = Self::subscribed(mib);
        lab.home.done(&["download", "lab"]);
        lab
    }

    /// The feed's address.
    #[must_use]
    pub fn feed(&self) -> String {
        format!("{}feed.xml", self.server.url())
    }

    /// The disk of a release: its first MiB is as in release 1, the rest is new.
    #[must_use]
    pub fn disk(&self, release: u8) -> PathBuf {
        let path = disk(self.work.path(), &format!("{release}.raw"), self.mib, release);
        let mut bytes = std::fs::read(&path).expect("the disk");
        let first = std::fs::read(self.work.path().join("1.raw")).expect("the first disk");
        bytes[..SAME].copy_from_slice(&first[..SAME]);
        std::fs::write(&path, bytes).expect("the disk is written");
        path
    }

    /// Publishes the next release, which has this number.
    pub fn publish(&self, release: u8, more: &[&str]) {
        self.publisher.project(&self.disk(release), "Lab");
        self.publisher.publish(more);
    }

    /// Publishes the next release, and has an update fetch it.
    pub fn follow(&self, release: u8) {
        self.publish(release, &[]);
        self.home.done(&["update", "lab"]);
    }

    /// A start whose guest executes, and its end; gives the release that it used.
    #[track_caller]
    pub fn run_once(&self) -> Value {
        let started = self
            .home
            .done(&["start", "lab", "--display", "none", "--no-fill"]);
        self.home.done(&["stop", "lab", "--force"]);
        started["release_in_use"].clone()
    }

    /// Changes the list of releases as its publisher can, and has the subscriber accept it.
    pub fn relist(&self, change: impl FnOnce(&mut Head)) {
        Site::of(&self.publisher).resign(&signing_key(&self.publisher), |head| {
            head.revision += 1;
            change(head);
        });
        self.home.done(&["update", "lab", "--check"]);
    }

    /// The releases that are here whole, the newest first.
    #[must_use]
    pub fn here(&self) -> Vec<u64> {
        let shown = self.home.done(&["show", "lab"]);
        let releases = shown["releases"].as_array().expect("a list");
        releases
            .iter()
            .filter(|release| release["bytes_to_fetch"] == 0)
            .map(|release| release["sequence"].as_u64().expect("a number"))
            .collect()
    }
}
