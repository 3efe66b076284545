//! What a file is, told by its content: a disk image of another format, or an archive, is no raw disk.

use std::fmt;
use std::path::Path;

use livepc_format::limits::SECTOR;

/// Bytes from the beginning of a file that [`FileKind::of`] wants to see, if it has so many.
pub(crate) const HEAD: usize = 34 << 10;
/// Where the descriptors of ISO 9660 and UDF begin.
const DESCRIPTORS: usize = 16 * 2048;

/// A kind of file that is no raw disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A disk image of another format, by its name.
    Image(&'static str),
    /// A disk image of a format that is made of others' pieces: what a person calls it, and what to do.
    Other(&'static str, &'static str),
    /// Something compressed: how it is called, and the command that unpacks it.
    Compressed(&'static str, &'static str),
    /// An archive: how it is called, and the command that unpacks it.
    Archive(&'static str, &'static str),
    /// An image of a CD that a computer does not start from as a disk.
    Cd,
}

/// What a file of a kind has at its beginning.
const BEGINNINGS: [(&[u8], FileKind); 30] = [
    (b"QFI\xfb", FileKind::Image("qcow2")),
    (b"QED\0", FileKind::Image("QED")),
    (b"KDMV", FileKind::Image("VMDK")),
    (b"COWD", FileKind::Image("VMDK")),
    (b"\xbe\xba\xfe\xca\0\0\0\0", FileKind::Image("VMDK")),
    (b"# Disk DescriptorFile", FileKind::Image("VMDK")),
    (b"#Disk DescriptorFile", FileKind::Image("VMDK")),
    (b"conectix", FileKind::Image("VHD")),
    (b"vhdxfile", FileKind::Image("VHDX")),
    (b"WithoutFreeSpace", FileKind::Image("Parallels")),
    (b"WithouFreSpacExt", FileKind::Image("Parallels")),
    (b"Bochs Virtual HD Image", FileKind::Image("Bochs")),
    (b"#!/bin/sh\n#V2.0 Format\n", FileKind::Image("cloop")),
    (
        b"EVF\x09\x0d\x0a\xff\0",
        FileKind::Other("EnCase", "export it as a raw image: `ewfexport -f raw`"),
    ),
    (
        b"\x3a\xff\x26\xed",
        FileKind::Other("Android sparse", "convert it first: `simg2img`"),
    ),
    (
        b"partclone-image",
        FileKind::Other(
            "Partclone",
            "restore it to a raw image first: `partclone.restore`",
        ),
    ),
    (
        b"MSWIM\0\0\0",
        FileKind::Other("WIM", "it has files, not a disk: install them to one"),
    ),
    (b"\x1f\x8b\x08", FileKind::Compressed("gzip", "gunzip -k")),
    (b"\xfd7zXZ\0", FileKind::Compressed("xz", "unxz -k")),
    (b"\x28\xb5\x2f\xfd", FileKind::Compressed("zstd", "unzstd")),
    (b"\x04\x22\x4d\x18", FileKind::Compressed("lz4", "unlz4 -k")),
    (b"LZIP\x01", FileKind::Compressed("lzip", "lzip -dk")),
    (b"\x89LZO\0\r\n\x1a\n", FileKind::Compressed("lzop", "lzop -d")),
    (b"\x1f\x9d", FileKind::Compressed("compress", "uncompress -k")),
    (
        b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff",
        FileKind::Compressed("lzma", "unlzma -k"),
    ),
    (b"PK\x03\x04", FileKind::Archive("zip", "unzip")),
    (b"PK\x05\x06", FileKind::Archive("zip", "unzip")),
    (b"7z\xbc\xaf\x27\x1c", FileKind::Archive("7z", "7z x")),
    (b"Rar!\x1a\x07", FileKind::Archive("rar", "unrar x")),
    (b"MSCF\0\0\0\0", FileKind::Archive("cabinet", "cabextract")),
];

/// How documents begin, in letters of either case.
const PAGES: [&[u8]; 3] = [b"<!doctype", b"<html", b"<?xml"];

impl FileKind {
    /// What a file is that begins with `head` ([`HEAD`] bytes, or all of it) and ends with the bytes `tail` (its last
    /// [`SECTOR`], or all of it); `None` if nothing says that it is no raw disk.
    pub(crate) fn of(head: &[u8], tail: &[u8]) -> Option<Self> {
        let has = |at: usize, what: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(what));
        let beginning = BEGINNINGS.iter().find(|(what, _)| has(0, what));
        if let Some((_, kind)) = beginning {
            return Some(*kind);
        }
        if PAGES.iter().any(|page| {
            head.get(..page.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(page))
        }) {
            let advice = "a page, as a server gives in place of a file: download the image again";
            return Some(Self::Other("HTML or XML", advice));
        }
        // Frames that are to be skipped may stand before the first one, as of parallel programs.
        if head.len() >= 4 && head[0] & 0xf0 == 0x50 && has(1, b"\x2a\x4d\x18") {
            return Some(Self::Compressed("zstd", "unzstd"));
        }
        if has(0, b"BZh") && (has(4, b"\x31\x41\x59\x26\x53\x59") || has(4, b"\x17\x72\x45\x38\x50\x90")) {
            return Some(Self::Compressed("bzip2", "bunzip2 -k"));
        }
        if has(64, b"\x7f\x10\xda\xbe") {
            return Some(Self::Image("VDI"));
        }
        if is_tar(head) {
            return Some(Self::Archive("tar or OVA", "tar -xf"));
        }
        if is_vhd_footer(tail) {
            return Some(Self::Image("VHD"));
        }
        if tail.starts_with(b"koly\0\0\0\x04") {
            return Some(Self::Other(
                "DMG",
                "convert it first: `qemu-img convert -f dmg -O raw`",
            ));
        }
        let is_cd = ["CD001", "BEA01", "NSR02", "NSR03"]
            .iter()
            .any(|mark| has(DESCRIPTORS + 1, mark.as_bytes()));
        // With a table in sector 0 it was made to be started from a disk as well.
        (is_cd && !has(510, b"\x55\xaa")).then_some(Self::Cd)
    }

    /// What it is called, and what to do with the file at `path`.
    fn advice(self, path: &Path) -> String {
        let file = quoted(path);
        match self {
            Self::Image(name) => {
                let raw = path.with_extension("raw");
                let raw = if raw == path { path.with_extension("disk.raw") } else { raw };
                let format = match name {
                    "VHD" => "vpc".to_owned(),
                    name => name.to_lowercase(),
                };
                let format = if format == "qcow2" { String::new() } else { format!(" -f {format}") };
                format!(
                    "is a {name} image, not a raw disk; convert it first: `qemu-img convert{format} -O raw {file} {}`",
                    quoted(&raw)
                )
            }
            Self::Other(name, advice) => format!("is a {name} file, not a raw disk; {advice}"),
            Self::Compressed(name, command) => format!(
                "is compressed with {name}; unpack it first: `{command} {file}`, and name the unpacked disk image"
            ),
            Self::Archive(name, command) => format!(
                "is an archive ({name}), not a raw disk; unpack it first: `{command} {file}`, and name the disk image in it \
                 (a VMDK is converted with `qemu-img convert -O raw`)"
            ),
            Self::Cd => "is an image of a CD that starts from no disk; install from it to a disk, or use an ISO that is \
                         made for USB sticks as well"
                .into(),
        }
    }

    /// As a sentence about the file at `path`.
    pub(crate) fn refusal(self, path: &Path) -> impl fmt::Display {
        format!("{} {}", livepc_format::shown::path(path), self.advice(path))
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '\\' | ':' | '.' | '_' | '-');
    if text.chars().all(plain) {
        text
    } else {
        format!("\"{text}\"")
    }
}

/// A header of tar: its mark alone could be anything's.
fn is_tar(head: &[u8]) -> bool {
    let Some(header) = head.get(..512).filter(|header| header[257..262] == *b"ustar") else {
        return false;
    };
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u64::from(*byte)
            }
        })
        .sum();
    let text = String::from_utf8_lossy(&header[148..156]);
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).is_ok_and(|noted| noted == sum)
}

/// The footer of a VHD: what a fixed one has behind a raw disk. Some have one byte less.
fn is_vhd_footer(tail: &[u8]) -> bool {
    const SUM: std::ops::Range<usize> = 64..68;
    let footers = [tail, tail.get(1..).unwrap_or_default()];
    footers.iter().any(|footer| {
        let sum = footer
            .iter()
            .enumerate()
            .filter(|(at, _)| !SUM.contains(at))
            .fold(0_u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)));
        let noted = footer
            .get(SUM)
            .and_then(|four| four.try_into().ok())
            .map(u32::from_be_bytes);
        footer.len() + 1 >= SECTOR as usize && footer.starts_with(b"conectix") && noted == Some(!sum)
    })
}

#[cfg(test)]
mod tests;
