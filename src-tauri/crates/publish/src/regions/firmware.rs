//! Which firmware starts a disk.

use livepc_format::limits::SECTOR;

use super::mbr::Entry;
use super::{Partition, ReadSectors, mbr, tables};

/// Bytes of sector 0 before the table and what belongs to it.
const BOOT_CODE: usize = 440;

/// True if UEFI starts the disk, and nothing says that a BIOS does: code in sector 0 says nothing, since Windows and many
/// tools put some there in any case. Whether the tables make sense otherwise does not matter: those of an ISO say that a
/// partition begins at sector 0, or overlap.
///
/// # Errors
/// Only those of `read`.
pub(crate) fn needs_uefi<E>(size: u64, read: &impl ReadSectors<E>) -> Result<bool, E> {
    let sectors = size / SECTOR;
    let Some(entries) = mbr::primary(sectors, read)? else {
        return Ok(false);
    };
    let mut boot_code = [0; BOOT_CODE];
    read(0, &mut boot_code)?;
    let has_code = boot_code != [0; BOOT_CODE];
    let partitions = tables(size, read)?.partitions;
    // The system partition of UEFI may be marked as well; without code nothing starts by that.
    let active = |entry: &Entry| entry.is_active() && (has_code || !entry.is_efi());
    let bios_boot = |partition: &Partition| partition.bios && (has_code || !partition.efi);
    let efi = entries.iter().any(Entry::is_efi) || partitions.iter().any(|partition| partition.efi);
    let bios = entries.iter().any(active) || partitions.iter().any(bios_boot);
    Ok(efi && !bios)
}
