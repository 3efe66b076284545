//! A machine like the one that LivePC starts, but for where its disk comes from.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// What a serial port says when a start is over.
pub(crate) const PROMPT: &str = "login:";
/// How long a start may take.
const LIMIT: Duration = Duration::from_secs(900);

/// A process that is ended when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the file has the prompt; `machine` must run until then, if it is a process of this one.
pub(crate) fn wait_for_prompt(serial: &Path, mut machine: Option<&mut Running>) -> Result<()> {
    let begun = Instant::now();
    loop {
        // The file grows without telling anybody.
        let said = std::fs::read(serial).unwrap_or_default();
        if String::from_utf8_lossy(&said).contains(PROMPT) {
            return Ok(());
        }
        if let Some(Running(machine)) = &mut machine
            && let Some(ended) = machine.try_wait()?
        {
            bail!("the machine has ended: {ended}");
        }
        ensure!(
            begun.elapsed() < LIMIT,
            "no prompt within {LIMIT:?}; there was: {}",
            String::from_utf8_lossy(&said)
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Seconds that the busiest thread of the process `pid`, which is the guest's processor, has run or was ready to run.
pub(crate) fn busy(pid: u32) -> Result<f64> {
    let mut most = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // `schedstat`: nanoseconds on a processor, nanoseconds in a run queue, time slices.
        let stat = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let of_thread = stat.split(' ').take(2).flat_map(str::parse::<u64>).sum();
        most = most.max(of_thread);
    }
    ensure!(most > 0, "the kernel does not say how long threads run");
    Ok(most as f64 / 1e9)
}

/// The command line of a machine that LivePC runs, without what is about controlling it and about where its disk and its
/// serial port are.
#[derive(Debug, PartialEq)]
pub(crate) struct Model(Vec<String>);

impl Model {
    /// That of the hypervisor process `pid`.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).context("the hypervisor has ended")?;
        let mut words = line
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned());
        let mut kept = vec![words.next().context("a program")?];
        while let Some(word) = words.next() {
            match word.as_str() {
                "" | "-S" => {}
                "-pidfile" | "-chardev" | "-mon" | "-sandbox" | "-blockdev" => drop(words.next()),
                _ => kept.push(word),
            }
        }
        ensure!(
            kept.iter().any(|word| word.contains("isa-serial")),
            "no serial port in {kept:?}"
        );
        Ok(Self(kept))
    }

    /// Starts such a machine over the disk `base`, which QEMU's block layer is told of so, with changes in a file in `work`;
    /// gives the file that has what its serial port says.
    pub(crate) fn start(&self, base: &Value, size: u64, work: &Path) -> Result<(Running, PathBuf)> {
        let overlay = work.join("overlay.qcow2");
        // As LivePC makes its own.
        let made = Command::new("qemu-img")
            .args([
                "create",
                "-q",
                "-f",
                "qcow2",
                "-o",
                "extended_l2=on,cluster_size=128k",
            ])
            .arg(&overlay)
            .arg(size.to_string())
            .status();
        ensure!(made.context("qemu-img")?.success(), "no overlay");
        let disk = json!({
            "driver": "qcow2", "node-name": "disk0", "discard": "unmap",
            "file": {"driver": "file", "filename": overlay},
            "backing": base,
        });
        let serial = work.join("serial.log");
        let Some((program, words)) = self.0.split_first() else {
            bail!("no program");
        };
        let machine = Command::new(program)
            .arg("-chardev")
            .arg(format!("file,id=serial,path={}", serial.display()))
            .arg("-blockdev")
            .arg(disk.to_string())
            .args(words)
            .current_dir(work)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("QEMU")?;
        Ok((Running(machine), serial))
    }
}
