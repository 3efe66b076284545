//! The size that a file system says it has, of those that are common on disks.

/// Bytes from the beginning of a file system that [`find`] wants to see, if there are so many.
pub(super) const HEAD: usize = 68 << 10;

/// A file system, or what holds some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileSystem {
    /// How it is called.
    pub(super) name: &'static str,
    /// Bytes that it takes.
    pub(super) bytes: u64,
    /// Bytes of the sectors that it was made for, where that matters to who reads it.
    pub(super) sector: Option<u64>,
}

/// The file system that begins with `head`.
pub(super) fn find(head: &[u8]) -> Option<FileSystem> {
    let head = Head(head);
    let finders = [iso, ext, xfs, btrfs, ntfs, exfat, fat, lvm, swap, squashfs];
    finders.iter().find_map(|finder| finder(&head))
}

/// The beginning of a file system. What lies behind its end reads as zero.
struct Head<'a>(&'a [u8]);

impl Head<'_> {
    fn has(&self, at: usize, mark: &[u8]) -> bool {
        self.0.get(at..).is_some_and(|rest| rest.starts_with(mark))
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let found = self.0.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
        found.unwrap_or([0; N])
    }

    fn le(&self, at: usize, len: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&self.bytes::<8>(at)[..len]);
        u64::from_le_bytes(bytes)
    }

    fn be(&self, at: usize, len: usize) -> u64 {
        self.le(at, len).swap_bytes() >> (64 - 8 * len)
    }
}

fn found(name: &'static str, blocks: u64, block: u64) -> Option<FileSystem> {
    Some(FileSystem {
        name,
        bytes: blocks.checked_mul(block)?,
        sector: None,
    })
}

fn ext(head: &Head<'_>) -> Option<FileSystem> {
    const AT: usize = 1024;
    const WITH_64_BITS: u64 = 0x80;
    let log = head.le(AT + 24, 4);
    if !head.has(AT + 56, &[0x53, 0xef]) || log > 6 {
        return None;
    }
    let high = if head.le(AT + 96, 4) & WITH_64_BITS != 0 {
        head.le(AT + 0x150, 4)
    } else {
        0
    };
    found("ext2/3/4", high << 32 | head.le(AT + 4, 4), 1024 << log)
}

fn xfs(head: &Head<'_>) -> Option<FileSystem> {
    head.has(0, b"XFSB")
        .then(|| found("XFS", head.be(8, 8), head.be(4, 4)))?
}

fn btrfs(head: &Head<'_>) -> Option<FileSystem> {
    const AT: usize = 64 << 10;
    // What it has on this disk: it may be spread over several.
    head.has(AT + 64, b"_BHRfS_M")
        .then(|| found("Btrfs", head.le(AT + 0xc9 + 8, 8), 1))?
}

fn ntfs(head: &Head<'_>) -> Option<FileSystem> {
    let sector = head.le(11, 2);
    let bytes = head
        .has(3, b"NTFS    ")
        .then(|| found("NTFS", head.le(40, 8), sector))??;
    Some(FileSystem {
        sector: Some(sector),
        ..bytes
    })
}

fn exfat(head: &Head<'_>) -> Option<FileSystem> {
    let shift = head.le(108, 1);
    if !head.has(3, b"EXFAT   ") || !(9..=12).contains(&shift) {
        return None;
    }
    let bytes = found("exFAT", head.le(72, 8), 1 << shift)?;
    Some(FileSystem {
        sector: Some(1 << shift),
        ..bytes
    })
}

/// FAT has no mark of its own: its numbers must make sense.
fn fat(head: &Head<'_>) -> Option<FileSystem> {
    let (sector, cluster, tables) = (head.le(11, 2), head.le(13, 1), head.le(16, 1));
    let jumps = head.has(0, &[0xeb]) || head.has(0, &[0xe9]);
    let media = head.le(21, 1);
    let sound = jumps
        && head.has(510, &[0x55, 0xaa])
        && sector.is_power_of_two()
        && (512..=4096).contains(&sector)
        && cluster.is_power_of_two()
        && matches!(tables, 1 | 2)
        && (media == 0xf0 || media >= 0xf8);
    if !sound {
        return None;
    }
    let sectors = match head.le(19, 2) {
        0 => head.le(32, 4),
        few => few,
    };
    let bytes = found("FAT", sectors, sector)?;
    Some(FileSystem {
        sector: Some(sector),
        ..bytes
    })
}

fn iso(head: &Head<'_>) -> Option<FileSystem> {
    const AT: usize = 32 << 10;
    head.has(AT, b"\x01CD001\x01")
        .then(|| found("ISO 9660", head.le(AT + 80, 4), head.le(AT + 128, 2)))?
}

fn lvm(head: &Head<'_>) -> Option<FileSystem> {
    let label = (0..4)
        .map(|sector| sector * 512)
        .find(|at| head.has(*at, b"LABELONE") && head.has(at + 24, b"LVM2 001"))?;
    let header = label
        + usize::try_from(head.le(label + 20, 4))
            .ok()
            .filter(|at| *at < 512)?;
    found("LVM", head.le(header + 32, 8), 1)
}

fn swap(head: &Head<'_>) -> Option<FileSystem> {
    const PAGE: u64 = 4096;
    head.has(PAGE as usize - 10, b"SWAPSPACE2")
        .then(|| found("swap", head.le(1028, 4) + 1, PAGE))?
}

fn squashfs(head: &Head<'_>) -> Option<FileSystem> {
    head.has(0, b"hsqs")
        .then(|| found("squashfs", head.le(40, 8), 1))?
}
