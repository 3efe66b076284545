//! A release's disk as a file.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use livepc_disk::block::{BlockDevice, Piece, ReadError};
use livepc_protocol::{Code, Problem};

use crate::problems::of_read;
use crate::serve::Release;

/// How long an export waits for a server that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that are read at once.
const STEP: u64 = 4 << 20;

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
    let doing = format!("Cannot write {}", file.display());
    if !force && file.symlink_metadata().is_ok() {
        return Err(Problem::new(
            Code::Usage,
            format!("{} is there already.", file.display()),
            "Choose another name, or add --force to replace it.",
        ));
    }
    let disk = release.disk(role, None)?;
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // It is gone with this future, however that ends.
    let mut unfinished = tempfile::Builder::new();
    unfinished.prefix(".livepc-");
    like_any_other(&mut unfinished);
    let mut unfinished = unfinished
        .tempfile_in(folder)
        .map_err(|e| Problem::io(&doing, &e))?;
    let size = disk.size();
    let out = unfinished.as_file_mut();
    out.set_len(size).map_err(|e| Problem::io(&doing, &e))?;
    let mut offset = 0;
    while offset < size {
        let len = STEP.min(size - offset);
        for piece in read(release, &*disk, offset, len).await? {
            match piece {
                Piece::Zero(zeros) => out.seek(SeekFrom::Current(i64::from(zeros))).map(drop),
                Piece::Data(data) => out.write_all(&data),
            }
            .map_err(|e| Problem::io(&doing, &e))?;
        }
        offset += len;
        progress(offset, size);
    }
    out.sync_all().map_err(|e| Problem::io(&doing, &e))?;
    let kept = if force {
        unfinished.persist(file)
    } else {
        // Unlike `persist`, it never replaces what came there meanwhile.
        unfinished.persist_noclobber(file)
    };
    kept.map_err(|e| Problem::io(&doing, &e.error))?;
    Ok(size)
}

/// Gives a file the permissions of any other that the user makes: a temporary one is private.
#[cfg(unix)]
fn like_any_other(file: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt as _;
    // Without what the user's mask takes away.
    file.permissions(std::fs::Permissions::from_mode(0o666));
}

/// Permissions are inherited from the folder on Windows.
#[cfg(windows)]
fn like_any_other(_: &mut tempfile::Builder<'_, '_>) {}

/// Reads; data that is late is waited for some time longer than a guest would, since nothing is paused meanwhile.
async fn read(
    release: &Release,
    disk: &impl BlockDevice,
    offset: u64,
    len: u64,
) -> Result<Vec<Piece>, Problem> {
    let mut waited = Duration::ZERO;
    loop {
        match disk.read(offset, len as u32).await {
            Ok(pieces) => return Ok(pieces),
            Err(ReadError::Waited { limit }) if waited + limit <= PATIENCE || release.trouble().is_none() => {
                waited += limit;
                tracing::warn!(offset, "the disk's data is late");
            }
            Err(ReadError::Waited { limit }) => {
                let late = ReadError::Waited { limit };
                return Err(release.trouble().unwrap_or_else(|| of_read(late)));
            }
            Err(error) => return Err(of_read(error)),
        }
    }
}
