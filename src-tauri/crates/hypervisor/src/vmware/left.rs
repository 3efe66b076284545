//! A machine that a dead runner left: VMware's machines outlive who starts them. While one runs, a file in its run-time
//! folder says how to end it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::find::Product;
use super::vmrun::Vmrun;
use crate::{HypervisorError, Result, os};

/// The record is longer than this only if it is something else.
const RECORD_BYTES: u64 = 64 * 1024;
/// The file, in the run-time folder.
const FILE: &str = "vmware.json";

/// What is running, and by which program.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub(super) enum Left {
    /// `vmrun` started it, and can end it.
    Vmrun {
        program: PathBuf,
        /// As `vmrun -T` has it.
        product: String,
        vmx: PathBuf,
    },
    /// `vmplayer` runs in a process group of its own, and holds a lock.
    Vmplayer { pid: u32 },
}

impl Left {
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let text = serde_json::to_string(self)
            .map_err(|error| HypervisorError::file("writing", &path)(error.into()))?;
        std::fs::write(&path, text).map_err(HypervisorError::file("writing", &path))
    }
}

/// To be called when the machine is no more.
pub(super) fn clear(folder: &Path) {
    let _ = std::fs::remove_file(folder.join(FILE));
    os::PlayerLock::clear(folder);
}

/// Ends what a dead runner left, if there is something. Returns whether there was.
pub(crate) async fn reap(folder: &Path, grace: Duration) -> Result<bool> {
    let path = folder.join(FILE);
    let text = match livepc_durable::read_text(&path, RECORD_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(HypervisorError::file("reading", &path)(error)),
    };
    let left = match serde_json::from_str(&text) {
        Ok(left) => left,
        Err(error) => {
            // Half written by a runner that died before it started anything.
            tracing::warn!(%error, path = %path.display(), "a record of a machine that cannot be read");
            clear(folder);
            return Ok(false);
        }
    };
    let was_there = match left {
        Left::Vmrun {
            program,
            product,
            vmx,
        } => stop(program, &product, vmx, grace).await?,
        Left::Vmplayer { pid } => os::PlayerLock::reap(folder, pid, grace).await?,
    };
    clear(folder);
    Ok(was_there)
}

async fn stop(program: PathBuf, product: &str, vmx: PathBuf, grace: Duration) -> Result<bool> {
    if !program.is_file() {
        // VMware was removed since then, which it refuses while machines run.
        return Ok(false);
    }
    let product = [Product::Workstation, Product::Player, Product::Fusion]
        .into_iter()
        .find(|known| known.host_type() == product)
        .unwrap_or(Product::Workstation);
    let vmrun = Vmrun {
        program,
        product,
        vmx,
    };
    if !vmrun.runs().await? {
        return Ok(false);
    }
    tracing::warn!(vmx = %vmrun.vmx.display(), "ending a VMware machine that was left running");
    super::force_off(&vmrun, 4 * grace).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_reaped_where_nothing_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let grace = Duration::from_secs(1);
        assert!(!reap(dir.path(), grace).await.unwrap(), "an empty folder");
        for text in [
            "{",
            r#"{"by":"vmrun","program":"/nowhere/vmrun","product":"ws","vmx":"/m.vmx"}"#,
        ] {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            assert!(!reap(dir.path(), grace).await.unwrap(), "{text}");
            assert!(!dir.path().join(FILE).exists(), "what is left over is removed");
        }
        // This process's own id: it must not be believed, for nobody holds the lock.
        Left::Vmplayer {
            pid: std::process::id(),
        }
        .write(dir.path())
        .unwrap();
        assert!(!reap(dir.path(), grace).await.unwrap());
    }
}
