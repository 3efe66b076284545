//! The state of a suspended machine: its memory and devices, as QEMU's migration writes them, in a file of its folder.
//!
//! The disks are not a part of it: overlays and user disks stay as they are, and nobody may write to them until the
//! machine goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::qmp::{Qmp, QmpError};
use crate::os::StateChannel;
use crate::{HypervisorError, Result};

/// The file, in the machine's folder.
const FILE: &str = "qemu.state";
/// While it is being written.
const UNFINISHED: &str = "qemu.state.new";

/// The longest time that a transfer may take: a disk that is busy may block for long, a dead one for ever.
const TRANSFER: Duration = Duration::from_secs(30 * 60);
/// Bytes a second that QEMU may write at the most; its default would take eight seconds for each GiB.
const BANDWIDTH: u64 = 1 << 40;

/// How a migration stands, as QEMU tells it by events.
pub(super) type Progress = watch::Receiver<String>;

/// The finished state of a machine, if it is suspended.
pub(crate) fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Bytes of the state of a suspended machine; 0 if it is not suspended.
pub(crate) fn bytes(folder: &Path) -> Result<u64> {
    let path = file(folder);
    match path.metadata() {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(HypervisorError::file("reading", &path)(error)),
    }
}

/// Removes the state of a suspended machine, if there is one.
pub(crate) fn discard(folder: &Path) -> Result<()> {
    for name in [FILE, UNFINISHED] {
        let path = folder.join(name);
        // One that came back would be gone on from, with disks that are further along.
        livepc_durable::remove(&path).map_err(HypervisorError::file("removing", &path))?;
    }
    Ok(())
}

/// Takes the state out of use, since the guest is about to go on: it would not fit to the disks any more. Nothing brings it
/// back after this, not even a power cut, but [`unspend`].
pub(super) fn spend(folder: &Path) -> Result<()> {
    let path = file(folder);
    livepc_durable::rename(&path, &folder.join(UNFINISHED)).map_err(HypervisorError::file("renaming", &path))
}

/// The guest did not go on after all.
pub(super) fn unspend(folder: &Path) -> Result<()> {
    let path = file(folder);
    livepc_durable::rename(&folder.join(UNFINISHED), &path).map_err(HypervisorError::file("renaming", &path))
}

/// Has QEMU tell how migrations stand. To be called once, before the others.
pub(super) async fn prepare(qmp: &Qmp) -> Result<()> {
    let capabilities = json!({ "capabilities": [{ "capability": "events", "state": true }] });
    command(qmp, "migrate-set-capabilities", capabilities).await
}

/// Writes the state of a guest that does not execute. On an error nothing of it is left.
pub(super) async fn save(qmp: &Qmp, mut progress: Progress, run_dir: &Path, folder: &Path) -> Result<()> {
    let unfinished = folder.join(UNFINISHED);
    let saved = async {
        let channel = StateChannel::to_file(run_dir, &unfinished)?;
        command(
            qmp,
            "migrate-set-parameters",
            json!({ "max-bandwidth": BANDWIDTH }),
        )
        .await?;
        command(qmp, "migrate", json!({ "uri": channel.uri() })).await?;
        let transferred = channel.transfer();
        // A migration that fails early closes no connection, since there is none.
        tokio::select! {
            written = timeout(TRANSFER, transferred) => match written {
                Ok(written) => written.map_err(HypervisorError::file("writing", &unfinished))?,
                Err(_) => return Err(late("suspend", TRANSFER)),
            },
            () = failure(progress.clone()) => return Err(why(qmp, "suspend").await),
        }
        completed(qmp, &mut progress, "suspend").await?;
        livepc_durable::sync_file(&unfinished).map_err(HypervisorError::file("writing", &unfinished))?;
        let path = file(folder);
        livepc_durable::rename(&unfinished, &path).map_err(HypervisorError::file("renaming", &path))
    };
    let saved = saved.await;
    if saved.is_err() {
        // It may still be under way; this fails if it is not.
        let _ = qmp.execute("migrate_cancel", Value::Null).await;
        discard(folder)?;
    }
    saved
}

/// Gives a QEMU that was started to wait for it the state in `folder`. Its guest does not execute yet afterwards.
pub(super) async fn load(qmp: &Qmp, mut progress: Progress, run_dir: &Path, folder: &Path) -> Result<()> {
    let path = file(folder);
    let channel = StateChannel::from_file(run_dir, &path)?;
    command(qmp, "migrate-incoming", json!({ "uri": channel.uri() })).await?;
    tokio::select! {
        read = timeout(TRANSFER, channel.transfer()) => match read {
            // QEMU ends the connection when it can make nothing of it, and says why elsewhere.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Ok(read) => read.map_err(HypervisorError::file("reading", &path))?,
            Err(_) => return Err(late("resume", TRANSFER)),
        },
        () = failure(progress.clone()) => {}
    }
    completed(qmp, &mut progress, "resume").await
}

/// Waits until QEMU says that a transfer has failed.
async fn failure(mut progress: Progress) {
    if progress.wait_for(|status| status == "failed").await.is_err() {
        // QEMU has ended, which is noticed elsewhere.
        std::future::pending::<()>().await;
    }
}

/// Waits until QEMU says that a transfer has succeeded.
async fn completed(qmp: &Qmp, progress: &mut Progress, asked: &'static str) -> Result<()> {
    let over = |status: &String| matches!(status.as_str(), "completed" | "failed" | "cancelled");
    // The value that is lent must not be held while something is awaited.
    let ended = timeout(TRANSFER, progress.wait_for(over)).await;
    match ended.map(|told| told.map(|status| *status == "completed")) {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(why(qmp, asked).await),
        Ok(Err(_)) => Err(HypervisorError::Ended),
        Err(_) => Err(late(asked, TRANSFER)),
    }
}

/// What QEMU says of a migration that failed.
async fn why(qmp: &Qmp, asked: &'static str) -> HypervisorError {
    let told = match qmp.execute("query-migrate", Value::Null).await {
        Ok(answer) => answer["error-desc"].as_str().map(str::to_owned),
        Err(QmpError::Closed) => return HypervisorError::Ended,
        Err(error) => Some(error.to_string()),
    };
    HypervisorError::Refused {
        asked,
        why: told.unwrap_or_else(|| "the machine's state could not be transferred".into()),
    }
}

fn late(asked: &'static str, limit: Duration) -> HypervisorError {
    HypervisorError::NoAnswer {
        asked,
        seconds: limit.as_secs(),
    }
}

async fn command(qmp: &Qmp, name: &'static str, arguments: Value) -> Result<()> {
    match qmp.execute(name, arguments).await {
        Ok(_) => Ok(()),
        Err(QmpError::Closed) => Err(HypervisorError::Ended),
        Err(error) => Err(HypervisorError::Refused {
            asked: name,
            why: error.to_string(),
        }),
    }
}
