//! A publisher: a home with keys, a project, and the folder that it publishes to.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::home::{Ran, TestHome};

/// A publisher of one LivePC.
#[derive(Debug)]
pub struct Publisher {
    /// Its home, with the keys.
    pub home: TestHome,
    work: TempDir,
}

impl Publisher {
    /// New keys, and a project for the disk `source`.
    #[must_use]
    pub fn new(source: &Path, name: &str) -> Self {
        let publisher = Self {
            home: TestHome::new(),
            work: tempfile::tempdir().expect("a folder for the project"),
        };
        publisher.home.done(&["key", "new", "--no-password"]);
        publisher.project(source, name);
        publisher
    }

    /// Makes the project anew, for another disk.
    pub fn project(&self, source: &Path, name: &str) {
        let folder = self.project_folder();
        let _ = std::fs::remove_dir_all(&folder);
        let (source, folder) = (source.display().to_string(), folder.display().to_string());
        self.home
            .done(&["project", "init", &source, "--name", name, "--dir", &folder]);
    }

    /// Says in the project what it is and who publishes it.
    pub fn describe(&self, summary: &str, publisher: &str) {
        let file = self.project_folder().join("livepc.toml");
        let text = std::fs::read_to_string(&file).expect("the project's file");
        let text = text
            .replace("summary = \"\"", &format!("summary = {summary:?}"))
            .replace("publisher = \"\"", &format!("publisher = {publisher:?}"));
        std::fs::write(&file, text).expect("the project's file is written");
    }

    /// Adds a disk to the project that is the subscriber's own; `more` are more lines about it.
    pub fn own_disk(&self, role: &str, size: &str, more: &str) {
        let file = self.project_folder().join("livepc.toml");
        let mut text = std::fs::read_to_string(&file).expect("the project's file");
        text += &format!("\n[[disks]]\nrole = {role:?}\nsize = {size:?}\n{more}\n");
        std::fs::write(&file, text).expect("the project's file is written");
    }

    /// Adds a disk to the project whose content is that of the image `source`.
    pub fn published_disk(&self, role: &str, source: &Path) {
        let file = self.project_folder().join("livepc.toml");
        let mut text = std::fs::read_to_string(&file).expect("the project's file");
        text += &format!(
            "\n[[disks]]\nrole = {role:?}\nsource = {:?}\n",
            source.display().to_string()
        );
        std::fs::write(&file, text).expect("the project's file is written");
    }

    /// Says in the project how long its list of releases holds: `90 days`.
    pub fn expire_after(&self, days: &str) {
        self.say(&format!("expires-after = {days:?}"));
    }

    /// Says in the project where the feed lies.
    pub fn lies_at(&self, address: &str) {
        self.say(&format!("address = {address:?}"));
    }

    fn say(&self, line: &str) {
        let file = self.project_folder().join("livepc.toml");
        let text = std::fs::read_to_string(&file).expect("the project's file");
        let text = text.replacen("[machine]", &format!("{line}\n\n[machine]"), 1);
        std::fs::write(&file, text).expect("the project's file is written");
    }

    /// Puts a catalog beside the published files, with the LivePC in it.
    pub fn list_in_catalog(&self, feed_url: &str) {
        let catalog = self.site().join("catalog.xml").display().to_string();
        self.home
            .done(&["catalog", "init", &catalog, "--title", "Sample Library"]);
        self.home.done(&["catalog", "add", &catalog, "--feed", feed_url]);
    }

    /// The project's folder.
    #[must_use]
    pub fn project_folder(&self) -> PathBuf {
        self.work.path().join("project")
    }

    /// The folder that is published to.
    #[must_use]
    pub fn site(&self) -> PathBuf {
        self.work.path().join("site")
    }

    /// Publishes a release.
    #[track_caller]
    pub fn publish(&self, more: &[&str]) -> Value {
        self.try_publish(more).done()
    }

    /// Publishes a release, or not.
    #[must_use]
    pub fn try_publish(&self, more: &[&str]) -> Ran {
        self.try_publish_to(&self.site(), more)
    }

    /// Publishes to another folder, or not.
    #[must_use]
    pub fn try_publish_to(&self, site: &Path, more: &[&str]) -> Ran {
        let (project, site) = (
            self.project_folder().display().to_string(),
            site.display().to_string(),
        );
        let mut args = vec!["publish", project.as_str(), "--to", site.as_str()];
        args.extend(more);
        self.home.run(&args)
    }
}
