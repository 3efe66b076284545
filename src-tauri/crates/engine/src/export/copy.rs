//! Copying a disk's bytes to a file.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use livepc_disk::block::{BlockDevice, Piece, ReadError, Run, RunKind};
use livepc_durable::folder_of;
use livepc_format::shown;
use livepc_protocol::Problem;

use super::parts::Part;
use crate::problems::of_read;
use crate::serve::Release;
use crate::user_disk::UserDisk;

/// How long an export waits for a server that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that are read at once.
const STEP: u64 = 4 << 20;

/// Writes a disk without changes to the file `to`, which may be there and is empty then; zeros become holes. `progress` is
/// told of the bytes done.
pub(super) async fn write(
    release: &Release,
    part: &Part,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Problem> {
    // It has another name while it is unfinished.
    let doing = format!("Cannot write the export to {}", shown::path(folder_of(to)));
    let failed = |e: std::io::Error| Problem::io(&doing, &e);
    let Some(device) = part.device(release)? else {
        UserDisk::at(to.to_owned(), &part.disk)?.make(part.size())?;
        progress(part.size());
        return Ok(());
    };
    // One that is there is not made shorter: a new file is empty, and nothing else is given to this.
    let out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(to);
    let mut out = out.map_err(failed)?;
    out.set_len(part.size()).map_err(failed)?;
    let mut offset = 0;
    while offset < device.size() {
        for run in runs(release, &*device, offset).await? {
            if run.kind == RunKind::Data {
                copy_data(
                    release,
                    &*device,
                    &mut out,
                    offset..offset + run.len,
                    &doing,
                    progress,
                )
                .await?;
            }
            offset += run.len;
            progress(offset);
        }
    }
    out.sync_all().map_err(failed)
}

async fn copy_data(
    release: &Release,
    device: &dyn BlockDevice,
    out: &mut File,
    range: std::ops::Range<u64>,
    doing: &str,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Problem> {
    let failed = |e: std::io::Error| Problem::io(doing, &e);
    out.seek(SeekFrom::Start(range.start)).map_err(failed)?;
    let mut offset = range.start;
    while offset < range.end {
        let len = STEP.min(range.end - offset);
        let pieces = patiently(release, offset, || device.read(offset, len as u32)).await?;
        for piece in pieces {
            match piece {
                Piece::Zero(zeros) => out.seek(SeekFrom::Current(i64::from(zeros))).map(drop),
                Piece::Data(data) => out.write_all(&data),
            }
            .map_err(failed)?;
        }
        offset += len;
        progress(offset);
    }
    Ok(())
}

/// What is known to be zero from `offset` on.
pub(super) async fn runs(
    release: &Release,
    device: &dyn BlockDevice,
    offset: u64,
) -> Result<Vec<Run>, Problem> {
    let rest = device.size() - offset;
    patiently(release, offset, || device.runs(offset, rest)).await
}

/// Reads; data that is late is waited for some time longer than a guest would, since nothing is paused meanwhile.
async fn patiently<T, F>(release: &Release, offset: u64, read: impl Fn() -> F) -> Result<T, Problem>
where
    F: Future<Output = Result<T, ReadError>>,
{
    let mut waited = Duration::ZERO;
    loop {
        match read().await {
            Ok(read) => return Ok(read),
            Err(ReadError::Waited { limit }) if waited + limit <= PATIENCE || release.trouble().is_none() => {
                waited += limit;
                tracing::warn!(offset, "the disk's data is late");
            }
            Err(late @ ReadError::Waited { .. }) => {
                return Err(release.trouble().unwrap_or_else(|| of_read(late)));
            }
            Err(error) => return Err(of_read(error)),
        }
    }
}
