//! What makes one doubt that a disk image is whole, or that a machine can use it: it looks cut off, or its sectors are of
//! another size. A publisher is told; the image may be right all the same.

mod file_system;

use livepc_format::limits::SECTOR;

use self::file_system::FileSystem;
use crate::regions::{Gpt, Partition, ReadSectors, Tables, tables};

/// Sentences at the most: what follows has the same cause.
const SENTENCES: usize = 4;
/// Sectors as large as those of newer disks.
const LARGE: u64 = 4096;

/// The doubts about a disk of `size` bytes, each a sentence without its subject's name.
///
/// # Errors
/// Only those of `read`.
pub(crate) fn doubts<E>(size: u64, read: &impl ReadSectors<E>) -> Result<Vec<String>, E> {
    let disk = Disk { size, read };
    let tables = tables(size, read)?;
    let mut doubts = Vec::new();
    if tables.large_sectors {
        doubts.push(large_sectors("its partition table"));
    }
    if let Some(gpt) = &tables.gpt {
        doubts.extend(of_gpt(gpt, size));
    }
    if let Some(whole) = disk.file_system(0)? {
        doubts.extend(disk.of_file_system(&whole, "the disk", size));
    }
    for (place, partition) in tables.partitions.iter().enumerate() {
        doubts.extend(disk.of_partition(place + 1, partition)?);
    }
    if doubts.is_empty() {
        doubts.extend(disk.counts_large_sectors(&tables)?);
    }
    doubts.truncate(SENTENCES);
    Ok(doubts)
}

fn of_gpt(gpt: &Gpt, size: u64) -> Option<String> {
    match gpt.sectors {
        Some(sectors) if sectors > size / SECTOR => Some(format!(
            "it looks cut off: its partition table (GPT) is that of a disk of {} bytes, and it has {size}",
            sectors.saturating_mul(SECTOR)
        )),
        _ if gpt.first && !gpt.copy => Some(
            "it may be cut off or damaged: the copy of its partition table (GPT), which belongs to its end, is not there"
                .into(),
        ),
        _ if !gpt.first && gpt.copy => {
            Some("its partition table (GPT) is damaged; only the copy at its end can be used".into())
        }
        _ => None,
    }
}

fn large_sectors(what: &str) -> String {
    format!(
        "{what} counts sectors of {LARGE} bytes, and a machine's disks have sectors of {SECTOR}: it will not be found; make \
         the image from a disk with sectors of {SECTOR}"
    )
}

/// A disk whose content is looked at.
struct Disk<'a, R> {
    size: u64,
    read: &'a R,
}

impl<R> Disk<'_, R> {
    /// The file system that begins at byte `offset`, if one is known there.
    fn file_system<E>(&self, offset: u64) -> Result<Option<FileSystem>, E>
    where
        R: ReadSectors<E>,
    {
        let there = self.size.saturating_sub(offset);
        if there < SECTOR {
            return Ok(None);
        }
        let mut head = vec![0; (file_system::HEAD as u64).min(there) as usize];
        (self.read)(offset, &mut head)?;
        Ok(file_system::find(&head))
    }

    fn of_partition<E>(&self, number: usize, partition: &Partition) -> Result<Vec<String>, E>
    where
        R: ReadSectors<E>,
    {
        let end = partition.end().unwrap_or(u64::MAX).saturating_mul(SECTOR);
        if end > self.size {
            return Ok(vec![format!(
                "it looks cut off: its partition {number} ends at byte {end}, past the end of the disk, which has {} bytes",
                self.size
            )]);
        }
        if partition.start == 0 {
            return Ok(Vec::new()); // What the whole disk is, as on an ISO.
        }
        let Some(found) = self.file_system(partition.start * SECTOR)? else {
            return Ok(Vec::new());
        };
        Ok(self.of_file_system(
            &found,
            &format!("its partition {number}"),
            partition.sectors * SECTOR,
        ))
    }

    fn of_file_system(&self, found: &FileSystem, place: &str, room: u64) -> Vec<String> {
        let FileSystem { name, bytes, sector } = found;
        let mut doubts = Vec::new();
        if *bytes > room {
            doubts.push(format!(
                "it looks cut off: the file system ({name}) on {place} has {bytes} bytes, past the end of that, which has \
                 {room}"
            ));
        }
        if sector.is_some_and(|sector| sector > SECTOR) {
            doubts.push(large_sectors(&format!("the file system ({name}) on {place}")));
        }
        doubts
    }

    /// The PC's table does not say how large the sectors are that it counts: where its partitions begin, file systems are.
    fn counts_large_sectors<E>(&self, tables: &Tables) -> Result<Option<String>, E>
    where
        R: ReadSectors<E>,
    {
        if tables.gpt.is_some() {
            return Ok(None);
        }
        let mut large = false;
        for partition in &tables.partitions {
            if partition.start == 0
                || self
                    .file_system(partition.start.saturating_mul(SECTOR))?
                    .is_some()
            {
                return Ok(None);
            }
            large |= self.file_system(partition.start.saturating_mul(LARGE))?.is_some();
        }
        Ok(large.then(|| large_sectors("its partition table")))
    }
}

#[cfg(test)]
mod tests;
