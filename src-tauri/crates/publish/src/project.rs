//! A project: the folder with `livepc.toml`, which says what is published and under which name.

mod file;
mod init;

use std::io;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use livepc_format::FileSystem;
use livepc_format::feed::why_not_address;
use livepc_format::head::check_mirrors;
use livepc_format::limits::DISK_LABEL;
use livepc_format::machine::{Controller, Machine};
use livepc_format::manifest::Licence;
use livepc_format::shown;
use livepc_format::text::check_line;
use url::Url;

use crate::error::{Context as _, PublishError, Result};
use crate::source::{Source, TakenFor};

/// A project is longer than this only if it is something else.
const PROJECT_BYTES: u64 = 1 << 20;

/// The file of a project.
pub const PROJECT_FILE: &str = "livepc.toml";

/// What is published.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// The short name: with the root key it makes the LivePC's id, so it never changes.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What it is: one line.
    pub summary: String,
    /// Who publishes it.
    pub publisher: String,
    /// Subjects, for people.
    pub categories: Vec<String>,
    /// Who its next release is for.
    pub channel: String,
    /// What subscribers may do with it.
    pub licence: Option<Licence>,
    /// The computer that it wants to be.
    pub machine: Machine,
    /// The disks; the first is the system disk.
    pub disks: Vec<ProjectDisk>,
    /// A picture: PNG, JPEG or WebP of at most 1 MiB.
    pub logo: Option<PathBuf>,
    /// More places where the same files lie.
    pub mirrors: Vec<Url>,
    /// Where its feed lies, if the publisher wants subscribers to go there.
    pub address: Option<Url>,
    /// How long after it was published its list of releases counts as fresh; for ever if `None`.
    pub expires_after: Option<SignedDuration>,
}

/// A disk of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectDisk {
    /// What it is for: `system`, `user`, or another name.
    pub role: String,
    /// What it is attached to.
    pub controller: Controller,
    /// What is on it.
    pub content: ProjectContent,
}

/// What is on a disk of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectContent {
    /// What the raw image at this path has.
    Source(PathBuf),
    /// What the file at this path has, though it looks like something else than a raw disk.
    RawSource(PathBuf),
    /// Nothing: each subscriber gets a new disk.
    User {
        /// Bytes; a multiple of 512.
        size: u64,
        /// A label for its file system.
        label: Option<String>,
        /// The file system that it has from the start; without one it is blank.
        file_system: Option<FileSystem>,
    },
}

impl Project {
    /// Writes a `livepc.toml` into the folder `dir` (which is made if need be) that publishes the raw image `source`
    /// under `name`: a short name, or a title that one is made of. The image is named, not copied. The file publishes
    /// unedited.
    ///
    /// # Errors
    /// If the image cannot be a disk, if there is a project already, or if no short name can be made of `name`.
    pub fn init(source: &Path, name: &str, dir: &Path) -> Result<Self> {
        init::init(source, name, dir, TakenFor::SystemDisk)
    }

    /// As [`Project::init`], with a file that looks like something else than a raw disk, and is one.
    ///
    /// # Errors
    /// As [`Project::init`].
    pub fn init_as_raw(source: &Path, name: &str, dir: &Path) -> Result<Self> {
        init::init(source, name, dir, TakenFor::RawDisk)
    }

    /// Opens the images that are published, in the order of the disks.
    ///
    /// # Errors
    /// Those of [`Source::open`].
    pub(crate) fn sources(&self) -> Result<Vec<Source>> {
        let open = |disk: &ProjectDisk| match &disk.content {
            ProjectContent::Source(path) if disk.role == "system" => {
                Some(Source::open(path, TakenFor::SystemDisk))
            }
            ProjectContent::Source(path) => Some(Source::open(path, TakenFor::DataDisk)),
            ProjectContent::RawSource(path) => Some(Source::open(path, TakenFor::RawDisk)),
            ProjectContent::User { .. } => None,
        };
        self.disks.iter().filter_map(open).collect()
    }

    /// What makes one doubt that the images are whole, or that machines can use them: sentences for their publisher. They
    /// forbid nothing.
    ///
    /// # Errors
    /// Those of [`Source::open`], and if an image cannot be read.
    pub fn doubts(&self) -> Result<Vec<String>> {
        let mut doubts = Vec::new();
        for source in self.sources()? {
            let read = |offset, buffer: &mut [u8]| source.read_at(buffer, offset);
            let found = crate::doubts::doubts(source.len(), &read)?;
            doubts.extend(
                found
                    .into_iter()
                    .map(|doubt| format!("{}: {doubt}", shown::path(source.path()))),
            );
        }
        Ok(doubts)
    }

    /// Reads the `livepc.toml` in the folder `dir`. Relative paths in it count from that folder. Sources are not looked at.
    ///
    /// # Errors
    /// [`PublishError::Project`] with the line and what would be right.
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(PROJECT_FILE);
        let text = match livepc_durable::read_text(&path, PROJECT_BYTES) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(PublishError::ProjectMissing(path));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(PublishError::Project {
                    path,
                    line: None,
                    why: "it is not text in UTF-8; save it as such".into(),
                });
            }
            text => text.context(|| format!("reading {}", shown::path(&path)))?,
        };
        file::parse(&text, dir).map_err(|(line, why)| PublishError::Project { path, line, why })
    }

    /// When a list of releases that is published `now` expires.
    pub(crate) fn expires(&self, now: Timestamp) -> Option<Timestamp> {
        // A time that cannot be written any more is as good as the last one that can.
        self.expires_after
            .map(|after| now.checked_add(after).unwrap_or(Timestamp::MAX))
    }

    /// Checks what the head and the manifest bound, so that a project that no file was read for is refused before its disks
    /// are read, too.
    pub(crate) fn check(&self) -> Result<()> {
        check_mirrors(&self.mirrors)?;
        if let Some(why) = self.address.as_ref().and_then(why_not_address) {
            return Err(PublishError::Address(why));
        }
        if let Some(licence) = &self.licence {
            licence.check()?;
        }
        for disk in &self.disks {
            let ProjectContent::User {
                size,
                label,
                file_system,
            } = &disk.content
            else {
                continue;
            };
            if let Some(label) = label {
                check_line("the project", "label", label, DISK_LABEL)?;
            }
            if let Some(file_system) = file_system {
                file_system.check("the project", *size, label.as_deref())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
