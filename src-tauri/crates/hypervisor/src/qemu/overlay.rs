//! Making overlays.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use livepc_durable::Readers;
use livepc_format::shown;
use tokio::process::Command;
use tokio::time::timeout;

use crate::{HypervisorError, Result, os};

/// Writing an empty overlay takes milliseconds; a disk that is busy may take longer.
const TIME: Duration = Duration::from_secs(60);

/// With extended L2 entries a small write copies nothing from the base, which may be far away.
const OPTIONS: &str = "extended_l2=on,cluster_size=128k";

/// Has `img` make an empty qcow2 for a disk of `size` bytes at `path`, without a base.
pub(super) async fn create(img: &Path, path: &Path, size: u64) -> Result<()> {
    if !path.is_absolute() {
        return Err(HypervisorError::BadSpec {
            why: format!("{} is not an absolute path", shown::path(path)),
        });
    }
    let failed = || HypervisorError::file("creating", path);
    if path.try_exists().map_err(failed())? {
        return Err(HypervisorError::OverlayExists { path: path.into() });
    }
    // Half an overlay would be taken for one that is kept.
    let unfinished = livepc_durable::unfinished(path, Readers::User).map_err(failed())?;
    let mut command = Command::new(img);
    command
        .args(["create", "-q", "-f", "qcow2", "-o", OPTIONS])
        .arg(unfinished.path())
        .arg(size.to_string());
    command.stdin(Stdio::null()).kill_on_drop(true);
    os::detach(&mut command);
    let why = match timeout(TIME, command.output()).await {
        Ok(Ok(output)) if output.status.success() => match livepc_durable::put_new(unfinished, path) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(HypervisorError::OverlayExists { path: path.into() });
            }
            Err(error) => error.to_string(),
        },
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            match said.trim() {
                "" => format!("qemu-img ended with {} and without a word", output.status),
                said => said.chars().take(500).collect(),
            }
        }
        Ok(Err(error)) => format!("{} cannot be started ({error})", shown::path(img)),
        Err(_) => format!("qemu-img did not end within {} s", TIME.as_secs()),
    };
    Err(HypervisorError::NoOverlay {
        path: path.into(),
        why,
    })
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_program_that_says_nothing_is_told_by_how_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let img = folder.path().join("qemu-img");
        for (script, why) in [
            ("exit 3", "exit status: 3"),
            ("kill -SEGV $$", "SIGSEGV"),
            ("echo no room >&2; exit 1", "no room"),
        ] {
            std::fs::write(&img, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&img, Permissions::from_mode(0o755)).unwrap();
            let path = folder.path().join("system.qcow2");
            let error = create(&img, &path, 1 << 20).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(!path.exists());
        }
    }
}
