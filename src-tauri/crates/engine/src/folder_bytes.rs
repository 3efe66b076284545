//! What a folder takes on disk.

use std::path::Path;

/// Bytes that the files of a folder take; nothing if it is not there.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => folder_bytes(&entry.path()),
            Ok(data) => allocated(&data),
            Err(_) => 0,
        })
        .sum()
}

/// Bytes that a file takes; nothing if it is not there.
pub(crate) fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |data| allocated(&data))
}

#[cfg(unix)]
fn allocated(data: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    data.blocks() * 512
}

#[cfg(windows)]
fn allocated(data: &std::fs::Metadata) -> u64 {
    data.len()
}
