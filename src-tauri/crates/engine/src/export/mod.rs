//! Disks as files that other programs use: a release's, a machine's with what was changed on them, and the subscriber's own.
//!
//! `parts` says which disks an export has and where their content is; `copy` copies a disk with our own code, and `convert`
//! with QEMU's `qemu-img`, which knows the formats that changes are kept in. `place` makes sure that what is there is whole,
//! and `vmx` is the folder that VMware opens.

mod convert;
mod copy;
mod parts;
mod place;
mod still;
mod vmx;

use std::path::{Path, PathBuf};

use livepc_hypervisor::ImageFormat;
use livepc_protocol::{Code, Home, Launcher, Problem};

use self::convert::Converter;
use self::parts::{Part, Parts};
use self::place::UnfinishedFile;
pub use self::still::StillMachine;
use crate::problems::not_found;
use crate::serve::Release;

/// Told of the bytes done and of all bytes.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What an export is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One disk's bytes; zeros become holes.
    Raw,
    /// One disk in QEMU's format.
    Qcow2,
    /// A folder with all disks and a configuration, which VMware opens.
    Vmx,
}

/// What somebody wants to have exported.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// As what.
    pub format: Format,
    /// The role of the only disk; the system disk if not given. A folder always has all.
    pub disk: Option<String>,
    /// Where to: a file, or a folder.
    pub place: PathBuf,
    /// Whether an export that is there already is replaced.
    pub force: bool,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The file to open.
    pub file: PathBuf,
    /// Bytes of the disks in it, as their machine sees them.
    pub bytes: u64,
}

/// An export that can be made: nothing but data may still be missing.
#[derive(Debug)]
pub struct Export {
    wanted: Wanted,
    parts: Parts,
    converter: Option<Converter>,
    /// Nothing of the machine changes meanwhile.
    _still: Option<StillMachine>,
}

impl Export {
    /// Finds out what the export of a release takes, or of the machine `still`, with its changes. Nothing is written yet.
    ///
    /// # Errors
    /// [`Code::Usage`] if the place is taken or the disk is not one that can be exported, [`Code::NotFound`] if there are
    /// no changes, [`Code::Busy`] if an own disk is in use, and [`Code::Hypervisor`] if `qemu-img` is needed and missing.
    pub async fn plan(
        home: &Home,
        launcher: &Launcher,
        release: &Release,
        still: Option<StillMachine>,
        wanted: Wanted,
    ) -> Result<Self, Problem> {
        if wanted.format == Format::Vmx {
            place::check_folder(&wanted.place, wanted.force, vmx::is_own_name)?;
        } else {
            place::check_file(&wanted.place, wanted.force)?;
        }
        let role = match (&wanted.disk, wanted.format) {
            (Some(_), Format::Vmx) => {
                return Err(Problem::new(
                    Code::Usage,
                    "A folder for VMware has all disks of the machine.",
                    "Leave --disk out, or choose another format.",
                ));
            }
            (None, Format::Vmx) => None,
            (role, _) => Some(role.as_deref().unwrap_or("system")),
        };
        let (parts, still) = match (role, still) {
            (role, Some(still)) => (Parts::with_changes(release, &still, role)?, Some(still)),
            (Some(role), None) if parts::is_own(release, role) => {
                // It is written to while its machine runs.
                let Some(still) = StillMachine::hold(home, &release.opened.id).await? else {
                    return Err(not_made(role));
                };
                (Parts::own(release, &still, role)?, Some(still))
            }
            (role, None) => (Parts::of_release(release, role)?, None),
        };
        if wanted.format == Format::Vmx {
            vmx::check(release)?;
        }
        let converter = if wanted.format == Format::Qcow2 || parts.have_changes() {
            Some(Converter::find(home, launcher, &release.opened.id).await?)
        } else {
            None
        };
        Ok(Self {
            wanted,
            parts,
            converter,
            _still: still,
        })
    }

    /// Whether data of the release is read, which has to be here then.
    #[must_use]
    pub fn reads_release(&self) -> bool {
        self.parts.read_release()
    }

    /// Writes it. It appears whole or not at all.
    ///
    /// # Errors
    /// [`Code::DiskFull`], and what keeps the disks from being read or written.
    pub async fn write(&self, release: &Release, progress: Progress<'_>) -> Result<Exported, Problem> {
        let clusters = self.wanted.format == Format::Qcow2;
        let needed = self.parts.bytes_at_most(release, clusters).await?;
        let folder = place::folder_of(&self.wanted.place);
        place::check_space(folder, needed)?;
        let bytes = self.parts.bytes();
        let file = match self.wanted.format {
            Format::Vmx => vmx::write(self, release, progress).await?,
            Format::Raw | Format::Qcow2 => self.write_file(release, progress).await?,
        };
        Ok(Exported { file, bytes })
    }

    async fn write_file(&self, release: &Release, progress: Progress<'_>) -> Result<PathBuf, Problem> {
        let unfinished = UnfinishedFile::new(&self.wanted.place)?;
        let format = match self.wanted.format {
            Format::Qcow2 => ImageFormat::Qcow2,
            Format::Raw | Format::Vmx => ImageFormat::Raw,
        };
        for part in self.parts.iter() {
            let size = part.size();
            let mut told = |done: u64| progress(done, size);
            self.write_part(release, part, unfinished.path(), format, &mut told)
                .await?;
        }
        unfinished.keep(self.wanted.force)?;
        Ok(self.wanted.place.clone())
    }

    /// Writes a disk to the file `to`, which may be there and is empty then. `progress` is told of the bytes done.
    async fn write_part(
        &self,
        release: &Release,
        part: &Part,
        to: &Path,
        format: ImageFormat,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Problem> {
        match &self.converter {
            Some(converter) if format == ImageFormat::Qcow2 || part.is_changed() => {
                converter.write(release, part, to, format, progress).await
            }
            _ => copy::write(release, part, to, progress).await,
        }
    }
}

/// Writes the published disk `role` to `file` as raw content; zeros become holes. `progress` is told of the bytes done
/// and of all bytes. The file appears whole or not at all; one that is there is replaced only if `force` says so.
///
/// # Errors
/// [`Code::Usage`] if the file is there, [`Code::DiskFull`], and what keeps the disk from being read.
pub async fn raw(
    release: &Release,
    role: &str,
    file: &Path,
    force: bool,
    mut progress: impl FnMut(u64, u64),
) -> Result<u64, Problem> {
    place::check_file(file, force)?;
    // It says so if there is no such disk.
    release.disk(role, None)?;
    let parts = Parts::of_release(release, Some(role))?;
    place::check_space(place::folder_of(file), parts.bytes_at_most(release, false).await?)?;
    let (unfinished, size) = (UnfinishedFile::new(file)?, parts.bytes());
    for part in parts.iter() {
        copy::write(release, part, unfinished.path(), &mut |done| progress(done, size)).await?;
    }
    unfinished.keep(force)?;
    Ok(size)
}

/// An own disk that no start has made yet.
fn not_made(role: &str) -> Problem {
    not_found(
        format!("The disk “{role}” is not made yet: it is at the first start."),
        "Start the machine once, then export it.",
    )
}
