//! VMware's virtual disks: a sparse child for the guest's writes, and a descriptor over a raw user disk.
//!
//! The layout is that of VMware's “Virtual Disk Format 5.0”: a *hosted sparse extent* with its descriptor inside
//! (`monolithicSparse`), grains of 64 KiB, 512 entries in a grain table, and a redundant copy of the grain directory and
//! its tables.
//!
//! # Content identifiers
//! A descriptor has a CID, and a child names its parent's (`parentCID`): VMware refuses a chain in which they differ,
//! because the parent was written to under its child. The rules that are kept here:
//! - `ffffffff` means “no parent”, and `fffffffe` “never written”: neither is ever a disk's own CID here;
//! - whoever writes to a disk for the first time after opening it gives it a new CID; a base is never written to, so its
//!   own stays, and the child's is the hypervisor's affair: [`put_on`] leaves it as it is;
//! - a child's parent is named anew at each start, since the folder of the base may have moved.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use livepc_durable::Readers;

use livepc_format::limits::SECTOR;
use livepc_format::shown;

use crate::{HypervisorError, Result};

/// Sectors of a grain: 64 KiB.
const GRAIN: u64 = 128;
/// Entries of a grain table.
const TABLE: u64 = 512;
/// Sectors of a grain table: 512 entries of four bytes.
const TABLE_SECTORS: u64 = 4;
/// The sector that the embedded descriptor begins at.
const DESCRIPTOR_AT: u64 = 1;
/// Sectors of the embedded descriptor.
const DESCRIPTOR_SECTORS: u64 = 20;
/// `KDMV` at the begin of a sparse extent.
const MAGIC: &[u8; 4] = b"KDMV";
/// Bytes of a disk at the most: what the four-byte offsets of a hosted sparse extent reach.
const LARGEST: u64 = 2 << 40;
/// Bytes of a descriptor of its own at the most.
const DESCRIPTOR_LIMIT: u64 = 64 << 10;
/// `parentCID` of a disk without a parent.
const NO_PARENT: u32 = 0xffff_ffff;

/// Where the parts of a sparse extent are, in sectors.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    capacity: u64,
    tables: u64,
    directory_sectors: u64,
    redundant_directory: u64,
    directory: u64,
    overhead: u64,
}

impl Layout {
    fn of(size: u64) -> Self {
        let capacity = size / SECTOR;
        let tables = capacity.div_ceil(GRAIN * TABLE);
        let directory_sectors = (tables * 4).div_ceil(SECTOR);
        let redundant_directory = DESCRIPTOR_AT + DESCRIPTOR_SECTORS;
        let directory = redundant_directory + directory_sectors + tables * TABLE_SECTORS;
        let end = directory + directory_sectors + tables * TABLE_SECTORS;
        Self {
            capacity,
            tables,
            directory_sectors,
            redundant_directory,
            directory,
            overhead: end.next_multiple_of(GRAIN),
        }
    }

    fn header(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(SECTOR as usize);
        header.extend_from_slice(MAGIC);
        header.extend(1_u32.to_le_bytes());
        // Line ends can be checked for damage, and the redundant tables are in use.
        header.extend(3_u32.to_le_bytes());
        for field in [self.capacity, GRAIN, DESCRIPTOR_AT, DESCRIPTOR_SECTORS] {
            header.extend(field.to_le_bytes());
        }
        header.extend((TABLE as u32).to_le_bytes());
        for field in [self.redundant_directory, self.directory, self.overhead] {
            header.extend(field.to_le_bytes());
        }
        // Closed in order; then the line ends that a transfer as text would spoil; no compression.
        header.push(0);
        header.extend_from_slice(b"\n \r\n");
        header.extend(0_u16.to_le_bytes());
        header.resize(SECTOR as usize, 0);
        header
    }

    /// A grain directory at sector `at`: its tables follow it. No table has an entry yet.
    fn directory_at(&self, at: u64) -> Vec<u8> {
        let first = at + self.directory_sectors;
        (0..self.tables)
            .flat_map(|table| ((first + table * TABLE_SECTORS) as u32).to_le_bytes())
            .collect()
    }
}

/// Makes an empty disk of `size` bytes at `path`, that has no parent. What is there already is kept.
pub(super) fn create_overlay(path: &Path, size: u64) -> Result<()> {
    let refused = |why: &str| {
        Err(HypervisorError::NoOverlay {
            path: path.into(),
            why: why.into(),
        })
    };
    if size == 0 || !size.is_multiple_of(SECTOR) {
        return refused("a disk has whole sectors of 512 bytes");
    }
    if size > LARGEST {
        return refused("VMware has no such disks of more than 2 TiB");
    }
    let Some(name) = path
        .file_name()
        .and_then(|name| name.to_str())
        .filter(|name| is_plain(name))
    else {
        return refused("its name cannot be written into a VMware disk");
    };
    // Half an overlay would be taken for one that is kept.
    let written = livepc_durable::unfinished(path, Readers::User).and_then(|mut unfinished| {
        write_empty(unfinished.as_file_mut(), name, size)?;
        livepc_durable::put_new(unfinished, path)
    });
    match written {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(HypervisorError::OverlayExists { path: path.into() })
        }
        Err(error) => Err(HypervisorError::file("writing", path)(error)),
    }
}

fn write_empty(file: &mut File, name: &str, size: u64) -> io::Result<()> {
    let layout = Layout::of(size);
    file.set_len(layout.overhead * SECTOR)?;
    file.write_all(&layout.header())?;
    let extent = format!("RW {} SPARSE \"{name}\"", layout.capacity);
    let text = descriptor(new_cid(), "monolithicSparse", &extent, layout.capacity);
    file.write_all(text.as_bytes())?;
    for at in [layout.redundant_directory, layout.directory] {
        file.seek(SeekFrom::Start(at * SECTOR))?;
        file.write_all(&layout.directory_at(at))?;
    }
    Ok(())
}

/// Puts the disk at `child` on top of the disk whose descriptor is `base`, or of nothing. It is written only if that is
/// news, so that a suspended machine finds what it left.
pub(super) fn put_on(child: &Path, base: Option<&Path>) -> Result<()> {
    let parent = match base {
        Some(base) => Some((read_cid(base)?, path_text(base)?)),
        None => None,
    };
    let reading = HypervisorError::file("reading", child);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(child)
        .map_err(HypervisorError::file("opening", child))?;
    let (at, room, old) = embedded(&mut file).map_err(reading)?;
    let new = with_parent(&old, parent.as_ref().map(|(cid, path)| (*cid, path.as_str())));
    if new == old {
        return Ok(());
    }
    let mut bytes = new.into_bytes();
    if bytes.len() > room {
        return Err(HypervisorError::BadSpec {
            why: format!("the path of the base of {} is too long", shown::path(child)),
        });
    }
    bytes.resize(room, 0);
    let write = |file: &mut File| {
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&bytes)?;
        file.sync_data()
    };
    write(&mut file).map_err(HypervisorError::file("writing", child))
}

/// Where the descriptor of a sparse extent is, how many bytes it may have, and what it says.
fn embedded(file: &mut File) -> io::Result<(u64, usize, String)> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut header = [0; SECTOR as usize];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut header)?;
    if header[..4] != *MAGIC {
        return Err(invalid("it is no VMware disk with its descriptor inside"));
    }
    let field = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&header[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let (at, sectors) = (field(28), field(36));
    if !(1..=1 << 20).contains(&at) || !(1..=DESCRIPTOR_LIMIT / SECTOR).contains(&sectors) {
        return Err(invalid("its descriptor is out of place"));
    }
    let (at, room) = (at * SECTOR, (sectors * SECTOR) as usize);
    let mut bytes = vec![0; room];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(room));
    let text = String::from_utf8(bytes).map_err(|_| invalid("its descriptor is not text"))?;
    Ok((at, room, text))
}

/// A descriptor that names this parent, and is else as it was.
fn with_parent(text: &str, parent: Option<(u32, &str)>) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.split_once('=').map(|(key, _)| key.trim()) {
            Some("parentCID" | "parentFileNameHint") => {}
            Some("CID") => {
                lines.push(line.to_owned());
                lines.push(format!(
                    "parentCID={:08x}",
                    parent.map_or(NO_PARENT, |(cid, _)| cid)
                ));
            }
            Some("createType") => {
                lines.push(line.to_owned());
                if let Some((_, path)) = parent {
                    lines.push(format!("parentFileNameHint=\"{path}\""));
                }
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

/// The CID in a descriptor: a file of its own, or inside a sparse extent.
fn read_cid(path: &Path) -> Result<u32> {
    let read = || {
        let mut file = File::open(path)?;
        let mut start = Vec::new();
        Read::by_ref(&mut file)
            .take(DESCRIPTOR_LIMIT)
            .read_to_end(&mut start)?;
        let text = if start.starts_with(MAGIC) {
            embedded(&mut file)?.2
        } else {
            String::from_utf8_lossy(&start).into_owned()
        };
        let cid = text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == "CID").then(|| u32::from_str_radix(value.trim(), 16).ok())?
        });
        cid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no descriptor of a VMware disk"))
    };
    read().map_err(HypervisorError::file("reading", path))
}

/// The descriptor that stands beside a raw user disk.
pub(super) fn descriptor_of_raw(raw: &Path) -> PathBuf {
    raw.with_extension("vmdk")
}

/// Writes the descriptor of a raw disk of `size` bytes beside it, so that one user disk serves every hypervisor. One that
/// is there and fits is left as it is.
pub(super) fn describe_raw(raw: &Path, size: u64) -> Result<PathBuf> {
    let path = descriptor_of_raw(raw);
    let name = raw
        .file_name()
        .map_or_else(|| Ok(String::new()), |name| path_text(Path::new(name)))?;
    let capacity = size / SECTOR;
    let extent = format!("RW {capacity} FLAT \"{name}\" 0");
    let mut there = String::new();
    match livepc_durable::open(&path) {
        Ok(file) => {
            let _ = file.take(DESCRIPTOR_LIMIT).read_to_string(&mut there);
            if there.lines().any(|line| line == extent) {
                return Ok(path);
            }
            if !there.contains("createType=\"monolithicFlat\"") {
                return Err(HypervisorError::OverlayExists { path });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(HypervisorError::file("opening", &path)(error)),
    }
    let text = descriptor(new_cid(), "monolithicFlat", &extent, capacity);
    let written = livepc_durable::write(&path, Readers::User, text.as_bytes());
    written.map_err(HypervisorError::file("writing", &path))?;
    Ok(path)
}

/// A descriptor of a disk without a parent. `capacity`: sectors.
fn descriptor(cid: u32, kind: &'static str, extent: &str, capacity: u64) -> String {
    // The geometry that VMware gives to disks on every adapter but IDE; guests of today do not look at it.
    let cylinders = (capacity / (255 * 63)).clamp(1, 65535);
    format!(
        "# Disk DescriptorFile\n\
         version=1\n\
         encoding=\"UTF-8\"\n\
         CID={cid:08x}\n\
         parentCID={NO_PARENT:08x}\n\
         createType=\"{kind}\"\n\
         \n\
         # Extent description\n\
         {extent}\n\
         \n\
         # The Disk Data Base\n\
         #DDB\n\
         \n\
         ddb.virtualHWVersion = \"14\"\n\
         ddb.adapterType = \"lsilogic\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"255\"\n\
         ddb.geometry.sectors = \"63\"\n"
    )
}

/// An identifier that means nothing else.
fn new_cid() -> u32 {
    let random = RandomState::new().hash_one(std::process::id()) as u32;
    if random >= 0xffff_fffe { 1 } else { random }
}

/// Whether a text can stand between quotes in a descriptor, which knows no escapes.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c == '"' || c.is_control())
}

/// A path as a descriptor has it.
fn path_text(path: &Path) -> Result<String> {
    match path.to_str().filter(|text| is_plain(text)) {
        Some(text) => Ok(text.to_owned()),
        None => Err(HypervisorError::BadSpec {
            why: format!(
                "{} cannot be told to VMware because of its quotes or control characters; move LivePC's folder",
                shown::path(path)
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_the_specification() {
        let layout = Layout::of(512 << 20);
        assert_eq!(layout.capacity, 1 << 20, "sectors");
        assert_eq!(layout.tables, 16, "each table is for 32 MiB");
        assert_eq!(layout.redundant_directory, 21);
        assert_eq!(layout.directory, 21 + 1 + 64);
        assert_eq!(layout.overhead, 256, "grains are aligned");
        let header = layout.header();
        assert_eq!(header.len(), 512);
        assert_eq!(
            &header[72..79],
            b"\0\n \r\n\0\0",
            "the line ends are where the specification has them"
        );
        assert_eq!(Layout::of(512).tables, 1);
    }

    #[test]
    fn an_overlay_is_never_written_over_and_nothing_impossible_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("system.vmdk");
        create_overlay(&path, 1 << 20).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(
            create_overlay(&path, 2 << 20),
            Err(HypervisorError::OverlayExists { .. })
        ));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        for size in [0, 1000, LARGEST + 512] {
            let path = dir.path().join("other.vmdk");
            assert!(create_overlay(&path, size).is_err(), "{size}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_child_is_put_on_its_base_and_taken_off_and_keeps_all_else() {
        let dir = tempfile::tempdir().unwrap();
        let (child, raw) = (dir.path().join("system.vmdk"), dir.path().join("base.raw"));
        create_overlay(&child, 1 << 20).unwrap();
        let empty = std::fs::read(&child).unwrap();
        let base = describe_raw(&raw, 1 << 20).unwrap();
        put_on(&child, Some(&base)).unwrap();
        let text = embedded(&mut File::open(&child).unwrap()).unwrap().2;
        let cid = read_cid(&base).unwrap();
        assert!(text.contains(&format!("\nparentCID={cid:08x}\n")), "{text}");
        assert!(
            text.contains(&format!("parentFileNameHint=\"{}\"", base.display())),
            "{text}"
        );
        put_on(&child, None).unwrap();
        assert_eq!(
            std::fs::read(&child).unwrap(),
            empty,
            "and its own CID is the same"
        );
    }

    #[test]
    fn a_descriptor_that_fits_is_left_alone_and_another_file_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("user.raw");
        let path = describe_raw(&raw, 1 << 20).unwrap();
        assert_eq!(path, dir.path().join("user.vmdk"));
        let first = std::fs::read_to_string(&path).unwrap();
        assert!(first.contains("RW 2048 FLAT \"user.raw\" 0\n"), "{first}");
        describe_raw(&raw, 1 << 20).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            first,
            "its CID is VMware's affair"
        );
        describe_raw(&raw, 2 << 20).unwrap();
        assert!(
            std::fs::read_to_string(&path).unwrap().contains("RW 4096 "),
            "a disk that grew"
        );
        std::fs::write(&path, "something of the user").unwrap();
        assert!(describe_raw(&raw, 1 << 20).is_err());
    }

    #[test]
    fn identifiers_with_a_meaning_are_not_used_and_hostile_paths_are_refused() {
        assert!((0..1000).all(|_| new_cid() < 0xffff_fffe));
        assert!(path_text(Path::new("/a\"\nRW 1 FLAT \"/etc/shadow\" 0")).is_err());
        assert!(path_text(Path::new("/a b/ü.vmdk")).is_ok());
    }
}
