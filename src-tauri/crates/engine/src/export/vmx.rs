//! A folder that VMware opens: a configuration, and for each disk a descriptor and its bytes.

use std::io::Write;
use std::num::NonZeroU64;
use std::path::Path;

use livepc_disk::vmdk::{SECTOR, flat_descriptor};
use livepc_format::limits::DISKS;
use livepc_hypervisor::{ImageFormat, vmware};
use livepc_protocol::{Code, Export, Problem};

use super::parts::{Part, Source};
use super::place::{UnfinishedFolder, cannot_write};
use super::{Plan, Progress};
use crate::serve::Release;

/// The descriptor of disk `number`.
fn descriptor_name(number: usize) -> String {
    format!("disk{number}.vmdk")
}

/// The bytes of disk `number`.
fn flat_name(number: usize) -> String {
    format!("disk{number}-flat.vmdk")
}

/// Whether a file of this name is one that an export makes.
pub(super) fn is_own_name(name: &str) -> bool {
    name == Export::VMX
        || (0..DISKS).any(|number| name == descriptor_name(number) || name == flat_name(number))
}

/// Refuses a machine that VMware does not have.
pub(super) fn check(release: &Release) -> Result<(), Problem> {
    configuration(release).map(drop)
}

/// Nothing of the manifest but numbers, members of closed sets and a harmless title gets into it.
fn configuration(release: &Release) -> Result<String, Problem> {
    let manifest = &release.manifest;
    let disks = manifest.disks.iter().enumerate();
    let disks: Vec<_> = disks
        .map(|(number, disk)| (disk.controller, descriptor_name(number)))
        .collect();
    vmware::exported(&manifest.title, &manifest.machine, &disks)
        .map_err(|e| Problem::of_text(Code::Failed, &e.to_string()))
}

/// Writes the folder.
pub(super) async fn write(export: &Plan, release: &Release, progress: Progress<'_>) -> Result<(), Problem> {
    let place = &export.wanted.place;
    let unfinished = UnfinishedFolder::new(place)?;
    let folder = unfinished.path();
    let vmx = folder.join(Export::VMX);
    put(&vmx, &configuration(release)?).map_err(|e| cannot_write(place, &e))?;
    let total = export.parts.bytes();
    let mut before = 0;
    for (number, part) in export.parts.iter().enumerate() {
        let flat = folder.join(flat_name(number));
        let mut told = |done: u64| progress(before + done, total);
        export
            .write_part(release, part, &flat, ImageFormat::Raw, &mut told)
            .await?;
        finish(&flat, &vmx).map_err(|e| cannot_write(place, &e))?;
        let sectors = NonZeroU64::new(part.size() / SECTOR).ok_or_else(|| {
            let why = format!("The disk “{}” has no bytes.", part.disk.role);
            Problem::new(Code::Failed, why, "Ask the publisher.")
        })?;
        let text = flat_descriptor(&flat_name(number), sectors, &identity(release, part)?);
        put(&folder.join(descriptor_name(number)), &text).map_err(|e| cannot_write(place, &e))?;
        before += part.size();
    }
    progress(total, total);
    unfinished.keep(export.wanted.force, is_own_name)
}

/// What VMware knows the disk's content by.
fn identity(release: &Release, part: &Part) -> Result<[u8; 32], Problem> {
    if let (Source::Published, Some(identity)) = (&part.source, release.identity(&part.disk.role)) {
        return Ok(identity);
    }
    let mut identity = [0; 32];
    getrandom::fill(&mut identity).map_err(|e| Problem::new(Code::Failed, format!("{e}."), "Try again."))?;
    Ok(identity)
}

fn put(file: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::create_new(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes sure that a disk outlives a power failure, and that who may read the configuration may read it: an own disk in a
/// home is private.
fn finish(flat: &Path, like: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).open(flat)?.sync_all()?;
    std::fs::set_permissions(flat, like.metadata()?.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_knows_its_own_names() {
        for own in ["machine.vmx", "disk0.vmdk", "disk7-flat.vmdk"] {
            assert!(is_own_name(own), "{own}");
        }
        for other in [
            "disk8.vmdk",
            "disk.vmdk",
            "machine.nvram",
            "vmware.log",
            "disk0.vmdk.lck",
        ] {
            assert!(!is_own_name(other), "{other}");
        }
    }
}
