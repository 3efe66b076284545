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

use std::path::Path;

use livepc_hypervisor::ImageFormat;
use livepc_protocol::{Code, Export, ExportFormat, Home, Launcher, Problem};

use self::convert::Converter;
use self::parts::{Part, Parts};
use self::place::UnfinishedFile;
pub(crate) use self::still::StillMachine;
use crate::problems::not_found;
use crate::serve::Release;

/// Told of the bytes done and of all bytes.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// An export that can be made: nothing but data may still be missing.
#[derive(Debug)]
pub(crate) struct Plan {
    wanted: Export,
    parts: Parts,
    converter: Option<Converter>,
    /// Nothing of the machine changes meanwhile.
    still: Option<StillMachine>,
}

impl Plan {
    /// Finds out what the export of a release takes, or of the machine `still`, with its changes. Nothing is written yet.
    ///
    /// # Errors
    /// [`Code::Usage`] if the place is taken or the disk is not one that can be exported, [`Code::NotFound`] if there are
    /// no changes, [`Code::Busy`] if an own disk is in use, and [`Code::Hypervisor`] if `qemu-img` is needed and missing.
    pub(crate) async fn make(
        home: &Home,
        launcher: &Launcher,
        release: &Release,
        still: Option<StillMachine>,
        wanted: Export,
    ) -> Result<Self, Problem> {
        place::check_outside(home, &wanted.place)?;
        if wanted.format == ExportFormat::Vmx {
            place::check_folder(&wanted.place, wanted.force, vmx::is_own_name)?;
        } else {
            place::check_file(&wanted.place, wanted.force)?;
        }
        let role = match (&wanted.disk, wanted.format) {
            (Some(_), ExportFormat::Vmx) => {
                return Err(Problem::new(
                    Code::Usage,
                    "A folder for VMware has all disks of the machine.",
                    "Leave --disk out, or choose another format.",
                ));
            }
            (None, ExportFormat::Vmx) => None,
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
        if wanted.format == ExportFormat::Vmx {
            vmx::check(release)?;
        }
        let converter = if wanted.format == ExportFormat::Qcow2 || parts.have_changes() {
            Some(Converter::find(home, launcher, &release.opened.id).await?)
        } else {
            None
        };
        Ok(Self {
            wanted,
            parts,
            converter,
            still,
        })
    }

    /// Whether a machine is exported, and cannot be started meanwhile.
    pub(crate) fn holds_machine(&self) -> bool {
        self.still.is_some()
    }

    /// Bytes of the disks in it, as their machine sees them.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.bytes()
    }

    /// Whether data of the release is read, which has to be here then.
    #[must_use]
    pub(crate) fn reads_release(&self) -> bool {
        self.parts.read_release()
    }

    /// Writes it. It appears whole or not at all.
    ///
    /// # Errors
    /// [`Code::DiskFull`], and what keeps the disks from being read or written.
    pub(crate) async fn write(&self, release: &Release, progress: Progress<'_>) -> Result<(), Problem> {
        let clusters = self.wanted.format == ExportFormat::Qcow2;
        let needed = self.parts.bytes_at_most(release, clusters).await?;
        let folder = livepc_durable::folder_of(&self.wanted.place);
        place::check_space(folder, needed)?;
        match self.wanted.format {
            ExportFormat::Vmx => vmx::write(self, release, progress).await,
            ExportFormat::Raw | ExportFormat::Qcow2 => self.write_file(release, progress).await,
        }
    }

    async fn write_file(&self, release: &Release, progress: Progress<'_>) -> Result<(), Problem> {
        let unfinished = UnfinishedFile::new(&self.wanted.place)?;
        let format = match self.wanted.format {
            ExportFormat::Qcow2 => ImageFormat::Qcow2,
            ExportFormat::Raw | ExportFormat::Vmx => ImageFormat::Raw,
        };
        for part in self.parts.iter() {
            let size = part.size();
            let mut told = |done: u64| progress(done, size);
            self.write_part(release, part, unfinished.path(), format, &mut told)
                .await?;
        }
        unfinished.keep(self.wanted.force)
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

/// Writes the published disk `role` to `file` as raw content; zeros become holes. The file appears whole or not at all; one that is there is replaced only if `force` says so.
///
/// # Errors
/// [`Code::Usage`] if the file is there, [`Code::DiskFull`], and what keeps the disk from being read.
pub(crate) async fn raw(
    release: &Release,
    role: &str,
    file: &Path,
    force: bool,
    progress: Progress<'_>,
) -> Result<(), Problem> {
    place::check_file(file, force)?;
    // It says so if there is no such disk.
    release.disk(role, None)?;
    let plan = Plan {
        parts: Parts::of_release(release, Some(role))?,
        converter: None,
        still: None,
        wanted: Export {
            format: ExportFormat::Raw,
            disk: Some(role.to_owned()),
            changes: false,
            place: file.to_owned(),
            force,
        },
    };
    plan.write(release, progress).await
}

/// An own disk that no start has made yet.
fn not_made(role: &str) -> Problem {
    not_found(
        format!("The disk “{role}” is not made yet: it is at the first start."),
        "Start the machine once, then export it.",
    )
}
