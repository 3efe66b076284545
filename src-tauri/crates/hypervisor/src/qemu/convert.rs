//! Converting disks with `qemu-img`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use livepc_format::shown;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::{Search, disks, find};
use crate::spec::absolute;
use crate::{Base, HypervisorError, Overlay, Result, os};

/// Bytes of what `qemu-img` says that are looked at.
const SAID: u64 = 16 << 10;
/// Characters of what it says that are told.
const TOLD: usize = 500;

/// QEMU's program for disk images, which works without the one that runs machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageTool {
    program: PathBuf,
}

/// What a disk is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// Its bytes; zeros become holes.
    Raw,
    /// QEMU's own format, version 3, without a base.
    Qcow2,
}

/// Where a disk's content is: in a base, in an overlay over a base, or in an overlay that holds the whole disk.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// What is under the overlay.
    pub base: Option<&'a Base>,
    /// What was written over the base.
    pub overlay: Option<&'a Overlay>,
}

impl ImageTool {
    /// The `qemu-img` beside the program that `search` names, or the first of those that it finds.
    ///
    /// # Errors
    /// [`HypervisorError::NotFound`], which names the package that has it.
    pub fn find(search: &Search) -> Result<Self> {
        find::image_tool(search).map(|program| Self { program })
    }

    pub(super) fn at(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
        }
    }

    /// Writes the disk to the file `target`: what is there is written over. `progress` is told of parts of the whole, from
    /// 0 to 1. When this future is dropped, the program is ended; the file is worth nothing then.
    ///
    /// # Errors
    /// When a path is not absolute or not Unicode, and [`HypervisorError::NotConverted`].
    pub async fn convert(
        &self,
        disk: Layers<'_>,
        target: &Path,
        format: ImageFormat,
        mut progress: impl FnMut(f64),
    ) -> Result<()> {
        // An absolute path is never taken for an option or a protocol.
        absolute(target)?;
        let format = match format {
            ImageFormat::Raw => "raw",
            ImageFormat::Qcow2 => "qcow2",
        };
        let mut command = Command::new(&self.program);
        command
            .args(["convert", "-p", "-O", format])
            .arg(format!("json:{}", source(disk)?))
            .arg(target)
            // Numbers with a point.
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        os::detach(&mut command);
        let broken = |error: std::io::Error| HypervisorError::NotConverted {
            why: format!("{} cannot be used ({error})", shown::path(&self.program)),
        };
        let mut child = command.spawn().map_err(broken)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (_, said) = tokio::join!(follow(stdout, &mut progress), all_of(stderr));
        let status = child.wait().await.map_err(broken)?;
        if status.success() {
            return Ok(());
        }
        let said: String = said.trim().chars().take(TOLD).collect();
        let why = if said.is_empty() {
            format!("qemu-img ended with {status}")
        } else {
            said
        };
        Err(HypervisorError::NotConverted { why })
    }
}

/// The disk as QEMU's block layer is told of it: paths and names are values of their own there.
fn source(disk: Layers<'_>) -> Result<Value> {
    if let Some(Base::File(path) | Base::Vmdk(path) | Base::NbdUnix { socket: path, .. }) = disk.base {
        absolute(path)?;
    }
    let (driver, path) = match disk.overlay {
        Some(Overlay::Qcow2(path)) => ("qcow2", path),
        Some(Overlay::Vmdk(path)) => ("vmdk", path),
        Some(Overlay::Raw(path)) => ("raw", path),
        None => {
            let base = disk.base.map(disks::base);
            return base.ok_or_else(|| HypervisorError::BadSpec {
                why: "a disk is nowhere".into(),
            });
        }
    };
    absolute(path)?;
    let mut node = json!({
        "driver": driver,
        "read-only": true,
        "file": { "driver": "file", "filename": path },
    });
    if driver != "raw" {
        node["backing"] = disk.base.map_or(Value::Null, disks::base);
    }
    Ok(node)
}

/// Reads `    (12.50/100%)\r` again and again.
async fn follow(stdout: Option<impl AsyncRead + Unpin>, progress: &mut impl FnMut(f64)) {
    let Some(mut stdout) = stdout else { return };
    let mut line = Vec::new();
    while let Ok(byte) = stdout.read_u8().await {
        if byte != b'\r' && byte != b'\n' {
            // Nothing that is longer is progress.
            if line.len() < 64 {
                line.push(byte);
            }
            continue;
        }
        if let Some(part) = part_done(&String::from_utf8_lossy(&line)) {
            progress(part);
        }
        line.clear();
    }
}

fn part_done(line: &str) -> Option<f64> {
    let (percent, _) = line.trim().strip_prefix('(')?.split_once('/')?;
    let percent: f64 = percent.trim().parse().ok()?;
    Some((percent / 100.0).clamp(0.0, 1.0))
}

/// What a program says, up to a limit: the rest is read and dropped, so that it does not wait for its reader.
async fn all_of(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stderr) = stderr else {
        return String::new();
    };
    let mut said = Vec::new();
    let _ = (&mut stderr).take(SAID).read_to_end(&mut said).await;
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read() {
        assert_eq!(part_done("    (12.50/100%)"), Some(0.125));
        assert_eq!(part_done("(100.00/100%)"), Some(1.0));
        for other in ["", "(x/100%)", "12.50/100%", "(nan", "warning: (1)"] {
            assert_eq!(part_done(other), None, "{other}");
        }
    }

    #[test]
    fn names_and_paths_stay_values() {
        let base = Base::NbdUnix {
            socket: std::env::temp_dir().join("a,b\":x"),
            export: "x\",\"driver\":\"file".into(),
        };
        let overlay = Overlay::Qcow2(std::env::temp_dir().join("json:{}"));
        let disk = Layers {
            base: Some(&base),
            overlay: Some(&overlay),
        };
        let read: Value = serde_json::from_str(&source(disk).unwrap().to_string()).unwrap();
        assert_eq!(read["driver"], "qcow2");
        assert_eq!(read["backing"]["driver"], "nbd");
        assert_eq!(read["backing"]["export"], "x\",\"driver\":\"file");
        let relative = Overlay::Raw("nbd:localhost:1".into());
        for layers in [
            Layers {
                base: None,
                overlay: Some(&relative),
            },
            Layers {
                base: None,
                overlay: None,
            },
        ] {
            assert!(source(layers).is_err(), "{layers:?}");
        }
    }

    #[tokio::test]
    async fn a_tool_that_is_missing_is_named_with_its_package() {
        let empty = tempfile::tempdir().unwrap();
        let search = Search {
            path: Some(empty.path().into()),
            ..Search::default()
        };
        let error = ImageTool::find(&search).unwrap_err().to_string();
        assert!(error.contains("qemu-img was not found"), "{error}");
        let tool = ImageTool {
            program: empty.path().join("qemu-img"),
        };
        let whole = Overlay::Raw(empty.path().join("disk.raw"));
        let layers = Layers {
            base: None,
            overlay: Some(&whole),
        };
        let target = empty.path().join("out");
        let gone = tool.convert(layers, &target, ImageFormat::Raw, |_| {}).await;
        assert!(
            matches!(gone, Err(HypervisorError::NotConverted { .. })),
            "{gone:?}"
        );
        let relative = tool
            .convert(layers, Path::new("out"), ImageFormat::Raw, |_| {})
            .await;
        assert!(matches!(relative, Err(HypervisorError::BadSpec { .. })));
    }
}
