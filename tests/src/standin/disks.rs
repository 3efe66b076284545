//! Chains of VMDK files, checked as VMware does before it opens one.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Failure;

/// The identifier of no disk.
const NONE: u32 = u32::MAX;

/// Checks a disk and all that it lies on: each names its parent's content identifier.
pub(super) fn check_chain(disk: &Path) -> Result<(), Failure> {
    let mut path = disk.to_owned();
    let mut wanted: Option<u32> = None;
    for _ in 0..16 {
        let text = descriptor(&path)?;
        let field = |key: &str| {
            text.lines().find_map(|line| {
                let (name, value) = line.split_once('=')?;
                (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
            })
        };
        let malformed = |what: &str| format!("The file {} is not a virtual disk: {what}", path.display());
        // Hexadecimal digits, of which QEMU leaves out leading zeros.
        let number = |text: &str| u32::from_str_radix(text, 16).ok();
        let cid = field("CID").ok_or_else(|| malformed("it has no CID"))?;
        let cid = number(&cid).filter(|cid| *cid != NONE);
        let cid = cid.ok_or_else(|| malformed("its CID means nothing"))?;
        if wanted.is_some_and(|wanted| wanted != cid) {
            return Err("The parent virtual disk has been modified since the child was created".into());
        }
        if field("version").as_deref() != Some("1") || field("createType").is_none() {
            return Err(malformed("its version or type is missing"));
        }
        let parent = field("parentCID").and_then(|text| number(&text));
        let parent = parent.ok_or_else(|| malformed("it has no parentCID"))?;
        match (parent, field("parentFileNameHint")) {
            (NONE, None) => return Ok(()),
            (NONE, Some(_)) | (_, None) => {
                return Err(malformed("its parent is named by half"));
            }
            (_, Some(hint)) => {
                wanted = Some(parent);
                path = path.parent().unwrap_or(&path).join(PathBuf::from(hint));
            }
        }
    }
    Err("The chain of disks has no end".into())
}

fn descriptor(path: &Path) -> Result<String, Failure> {
    let cannot = |error: std::io::Error| {
        format!(
            "Cannot open the disk '{}' or one of the disks it depends on: {error}",
            path.display()
        )
    };
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(64 << 10).read_to_end(&mut start))
        .map_err(cannot)?;
    // An extent with its descriptor inside has it after its first sector.
    let text = if start.starts_with(b"KDMV") {
        start.get(512..512 + 20 * 512).unwrap_or_default()
    } else {
        &start
    };
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    Ok(String::from_utf8_lossy(&text[..end]).into_owned())
}
