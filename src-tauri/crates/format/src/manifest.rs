//! A release's manifest: what does not change. It is named by its digest in the head.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document;
use crate::error::{FormatError, Result};
use crate::head::Release;
use crate::index::ObjectRef;
use crate::limits::{self, DISK_SIZE, DISKS, REGIONS, SECTOR};
use crate::machine::{Controller, Machine};
use crate::text::{check_line, check_name};
use crate::{Digest, FileSystem, LivePcId};

const WHAT: &str = "the manifest";

/// The description of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The major version of the format.
    pub version: u32,
    /// Names of features that a reader must know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// The LivePC that this release belongs to.
    pub livepc: LivePcId,
    /// The release's sequence.
    pub sequence: u64,
    /// What people call it.
    pub label: String,
    /// What the LivePC is called.
    pub title: String,
    /// When it was made.
    pub created: Timestamp,
    /// The digest of the manifest of the release before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// What changed, as plain text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub changelog: String,
    /// What subscribers may do with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<Licence>,
    /// The computer that it wants to be.
    pub machine: Machine,
    /// The disks; the first is the system disk.
    pub disks: Vec<Disk>,
    /// The list of all packs that the release uses.
    pub packs: ObjectRef,
}

/// What subscribers may do with a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licence {
    /// An SPDX licence expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spdx: Option<String>,
    /// The licence's text, if no expression tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The publisher says that it may redistribute all that is on the disks.
    #[serde(default)]
    pub redistributable: bool,
}

/// A disk of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// What it is for, unique in the release: `system` is the first one, `user` holds the subscriber's data.
    pub role: String,
    /// Bytes; a multiple of 512.
    pub size: u64,
    /// What it is attached to.
    #[serde(default)]
    pub controller: Controller,
    /// What is on it.
    #[serde(flatten)]
    pub content: Content,
}

/// What is on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "content", rename_all = "kebab-case")]
pub enum Content {
    /// Published pages.
    Published {
        /// The stretches of the disk that pages are counted in: they cover it without gaps.
        regions: Vec<Region>,
        /// The disk root: which extent shards describe it.
        index: ObjectRef,
        /// Stored bytes of the chunks that it uses.
        stored: u64,
    },
    /// The subscriber's own: made on the subscriber's machine at the first start, and kept across releases.
    User {
        /// A label for its file system.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        /// The file system that it has from the start; without one it is blank, and the guest makes its own.
        #[serde(rename = "file-system", default, skip_serializing_if = "Option::is_none")]
        file_system: Option<FileSystem>,
    },
}

/// A stretch of a disk that pages are counted in, normally a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// The first sector.
    pub start: u64,
    /// Sectors.
    pub sectors: u64,
}

impl Region {
    /// Pages of the region, the last one possibly shorter on the disk.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.len().div_ceil(limits::PAGE)
    }

    /// Where the region begins on the disk, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.start.saturating_mul(SECTOR)
    }

    /// Bytes of the region.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.sectors.saturating_mul(SECTOR)
    }

    /// True if there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sectors == 0
    }
}

impl Manifest {
    /// Reads the manifest that `release` names: its digest is checked before it is parsed.
    pub fn open(bytes: &[u8], livepc: LivePcId, release: &Release) -> Result<Self> {
        release.manifest.check(WHAT, bytes)?;
        let manifest = Self::parse(bytes)?;
        if manifest.livepc != livepc {
            return Err(FormatError::Foreign {
                what: WHAT,
                why: format!("it is of LivePC {}", manifest.livepc),
            });
        }
        if manifest.sequence != release.sequence {
            let why = format!("it is of release {}, not {}", manifest.sequence, release.sequence);
            return Err(FormatError::Foreign { what: WHAT, why });
        }
        Ok(manifest)
    }

    /// Reads a manifest and checks its form; whether it is the right one is not known yet.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let manifest: Self = document::parse(WHAT, bytes, limits::MANIFEST_BYTES)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The bytes of the manifest's file, and their digest.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, Digest)> {
        self.check()?;
        let bytes = document::pretty(self);
        FormatError::check_size(WHAT, bytes.len() as u64, limits::MANIFEST_BYTES)?;
        let digest = Digest::of(&bytes);
        Ok((bytes, digest))
    }

    /// The disk with this role, and its number.
    #[must_use]
    pub fn disk(&self, role: &str) -> Option<(usize, &Disk)> {
        self.disks.iter().enumerate().find(|(_, disk)| disk.role == role)
    }

    fn check(&self) -> Result<()> {
        let malformed = |why: String| Err(FormatError::malformed(WHAT, why));
        document::check_version(WHAT, self.version)?;
        if !(1..=limits::COUNT).contains(&self.sequence) {
            return malformed("sequences count from 1 to 2^53 - 1".into());
        }
        check_line(WHAT, "label", &self.label, 64)?;
        check_line(WHAT, "title", &self.title, 120)?;
        if self.changelog.len() > limits::CHANGELOG_BYTES {
            return malformed("its changelog is longer than 64 KiB".into());
        }
        if let Some(licence) = &self.licence {
            licence.check()?;
        }
        self.machine.check()?;
        if self.disks.is_empty() || self.disks.len() > DISKS {
            return malformed(format!(
                "a machine has 1 to {DISKS} disks, not {}",
                self.disks.len()
            ));
        }
        self.packs.check(WHAT)?;
        for (i, disk) in self.disks.iter().enumerate() {
            disk.check()?;
            if (i == 0) != (disk.role == "system") || self.disks[..i].iter().any(|d| d.role == disk.role) {
                return malformed("the first disk must be “system”, and roles must differ".into());
            }
        }
        if !matches!(self.disks[0].content, Content::Published { .. }) {
            return malformed("the system disk must be published".into());
        }
        Ok(())
    }
}

impl Licence {
    /// Checks that it can be part of a manifest.
    pub fn check(&self) -> Result<()> {
        if let Some(spdx) = &self.spdx {
            check_line(WHAT, "spdx", spdx, 200)?;
        }
        if self
            .text
            .as_ref()
            .is_some_and(|text| text.len() > limits::LICENCE_BYTES)
        {
            return Err(FormatError::malformed(WHAT, "its licence is longer than 256 KiB"));
        }
        Ok(())
    }
}

impl Disk {
    fn check(&self) -> Result<()> {
        let malformed = |why: String| Err(FormatError::malformed(WHAT, why));
        check_name(WHAT, "role", &self.role)?;
        if self.size == 0 || self.size > DISK_SIZE || !self.size.is_multiple_of(SECTOR) {
            return malformed(format!(
                "a disk has a multiple of 512 bytes up to 16 TiB, not {}",
                self.size
            ));
        }
        match &self.content {
            Content::User { label, file_system } => {
                if let Some(label) = label {
                    check_line(WHAT, "label", label, limits::DISK_LABEL)?;
                }
                match file_system {
                    Some(file_system) => file_system.check(WHAT, self.size, label.as_deref()),
                    None => Ok(()),
                }
            }
            Content::Published {
                regions,
                index,
                stored,
            } => {
                index.check(WHAT)?;
                if *stored > limits::TOTAL_BYTES {
                    return malformed(format!("a disk of {stored} stored bytes is too large"));
                }
                check_regions(self.size, regions)
            }
        }
    }
}

/// Checks that `regions` cover a disk of `size` bytes without gaps or overlaps.
pub fn check_regions(size: u64, regions: &[Region]) -> Result<()> {
    let mut next = 0_u64;
    for region in regions {
        if region.start != next || region.sectors == 0 || region.sectors > DISK_SIZE / SECTOR {
            return Err(FormatError::malformed(
                WHAT,
                "its regions do not follow each other",
            ));
        }
        // Each is at most 2^35, and a manifest has no room for 2^28 of them.
        next = next.saturating_add(region.sectors);
    }
    if regions.len() > REGIONS || !size.is_multiple_of(SECTOR) || next != size / SECTOR {
        return Err(FormatError::malformed(WHAT, "its regions do not cover the disk"));
    }
    Ok(())
}
