//! Reading a disk of which all is here: over NBD and as a file, beside what serves a raw file over NBD.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use livepc_tests::forge::disk;
use livepc_tests::home::TestHome;
use livepc_tests::publisher::Publisher;
use serde_json::Value;

use crate::machine::Running;
use crate::table::{self, median};

const MIB: usize = 1024;
/// Seconds of one measurement.
const SECONDS: u32 = 3;

/// What serves the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    QemuNbd,
    Nbdkit,
    LivePcNbd,
    LivePcFuse,
    LivePcFuseCached,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::QemuNbd,
        Self::Nbdkit,
        Self::LivePcNbd,
        Self::LivePcFuse,
        Self::LivePcFuseCached,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::QemuNbd => "qemu-nbd, raw file",
            Self::Nbdkit => "nbdkit, raw file",
            Self::LivePcNbd => "LivePC, NBD",
            Self::LivePcFuse => "LivePC, FUSE, each read anew",
            Self::LivePcFuseCached => "LivePC, FUSE, through the page cache",
        }
    }
}

/// How the disk is read.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// From the beginning on, a MiB at a time, four of them asked for at once.
    Sequential,
    /// 4 KiB anywhere, sixteen of them asked for at once.
    Random,
}

/// What fio measured.
#[derive(Clone, Copy, Debug)]
struct Measured {
    bytes_per_second: f64,
    reads_per_second: f64,
    /// Milliseconds that 99 of 100 reads do not take.
    p99: f64,
}

/// Where fio finds the disk.
enum Place {
    Socket(PathBuf),
    /// Whether what the system has in memory of the file is passed by, so that each read gets to LivePC.
    File {
        path: PathBuf,
        direct: bool,
    },
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let runs = match args {
        [] => 5,
        [name, runs] if name == "--runs" => runs.parse()?,
        _ => bail!("it takes --runs N"),
    };
    let work = tempfile::tempdir()?;
    eprintln!("publishing a disk of {MIB} MiB, and fetching it");
    let raw = disk(work.path(), "disk.raw", MIB, 1);
    let publisher = Publisher::new(&raw, "Lab");
    publisher.publish(&[]);
    let home = TestHome::new();
    let feed = format!("file://{}/feed.xml", publisher.site().display());
    home.done(&["subscribe", &feed, "--yes"]);
    home.done(&["download", "lab"]);

    let mut all = vec![(Vec::new(), Vec::new()); Way::ALL.len()];
    for run in 1..=runs {
        for (way, (sequential, random)) in Way::ALL.iter().zip(&mut all) {
            let (server, place) = serve(*way, &raw, &home, work.path())?;
            // Once for all of it, so that the system has it in memory.
            measure(&place, Load::Sequential)?;
            sequential.push(measure(&place, Load::Sequential)?);
            random.push(measure(&place, Load::Random)?);
            eprintln!(
                "run {run}: {}: {:?} {:?}",
                way.name(),
                sequential.last(),
                random.last()
            );
            end(*way, server)?;
        }
    }
    let of = |values: &[Measured], field: fn(&Measured) -> f64| {
        median(&values.iter().map(field).collect::<Vec<_>>())
    };
    let first = (
        of(&all[0].0, |one| one.bytes_per_second),
        of(&all[0].1, |one| one.reads_per_second),
    );
    let rows = Way::ALL.iter().zip(&all).map(|(way, (sequential, random))| {
        let (bytes, reads) = (
            of(sequential, |one| one.bytes_per_second),
            of(random, |one| one.reads_per_second),
        );
        vec![
            way.name().to_owned(),
            format!("{:.0}", bytes / 1e6),
            format!("{:.2}", bytes / first.0),
            format!("{:.1}", reads / 1e3),
            format!("{:.2}", reads / first.1),
            format!("{:.2}", of(random, |one| one.p99)),
        ]
    });
    println!("All of a disk of {MIB} MiB is here and in memory; medians of {runs}:\n");
    let heading = [
        "",
        "MB/s in order",
        "× qemu-nbd",
        "1000 reads/s of 4 KiB",
        "× qemu-nbd",
        "p99 ms",
    ];
    table::print(&heading, &rows.collect::<Vec<_>>());
    Ok(())
}

/// Starts a server; returns when the disk can be read.
fn serve(way: Way, raw: &Path, home: &TestHome, work: &Path) -> Result<(Running, Place)> {
    let socket = work.join("socket");
    // What an earlier server left.
    let _ = std::fs::remove_file(&socket);
    let text = |path: &Path| path.to_str().map(str::to_owned).context("UTF-8");
    let server = match way {
        Way::QemuNbd => {
            let mut command = Command::new("qemu-nbd");
            command.args([
                "--read-only",
                "--format=raw",
                "--persistent",
                "--shared=16",
                "--socket",
            ]);
            command.arg(&socket).arg(raw);
            command.stdin(Stdio::null()).spawn().context("qemu-nbd")?
        }
        Way::Nbdkit => {
            let mut command = Command::new("nbdkit");
            command
                .args(["--foreground", "--readonly", "--unix"])
                .arg(&socket);
            command.arg("file").arg(raw);
            command.stdin(Stdio::null()).spawn().context("nbdkit")?
        }
        Way::LivePcNbd => ready(home.spawn(&["serve", "lab", "--nbd", &text(&socket)?]))?,
        Way::LivePcFuse | Way::LivePcFuseCached => {
            let folder = work.join("disks");
            let server = ready(home.spawn(&["serve", "lab", "--mount", &text(&folder)?]))?;
            let place = Place::File {
                path: folder.join("disk-flat.vmdk"),
                direct: way == Way::LivePcFuse,
            };
            return Ok((Running(server), place));
        }
    };
    let server = Running(server);
    let begun = Instant::now();
    while !socket.exists() {
        ensure!(
            begun.elapsed() < Duration::from_secs(20),
            "{} does not listen",
            way.name()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok((server, Place::Socket(socket)))
}

/// Waits until LivePC says that the disk can be read.
fn ready(mut server: Child) -> Result<Child> {
    let output = server.stdout.take().context("its output is a pipe")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    ensure!(
        line.starts_with("ready "),
        "LivePC does not serve the disk: {line}"
    );
    Ok(server)
}

/// Ends a server; one that has mounted something must be asked to.
fn end(way: Way, mut server: Running) -> Result<()> {
    if matches!(way, Way::LivePcFuse | Way::LivePcFuseCached) {
        Command::new("kill")
            .args(["-TERM", &server.0.id().to_string()])
            .status()?;
        server.0.wait()?;
    }
    Ok(())
}

fn measure(place: &Place, load: Load) -> Result<Measured> {
    let mut fio = Command::new("fio");
    fio.args([
        "--name=reads",
        "--output-format=json",
        "--time_based",
        "--group_reporting",
    ]);
    fio.arg(format!("--runtime={SECONDS}"));
    match place {
        Place::Socket(socket) => {
            fio.arg("--ioengine=nbd");
            fio.arg(format!("--uri=nbd+unix:///?socket={}", socket.display()));
        }
        Place::File { path, direct } => {
            fio.args(["--readonly", "--invalidate=0"]);
            fio.arg(format!("--filename={}", path.display()));
            if *direct {
                fio.args(["--ioengine=libaio", "--direct=1"]);
            } else {
                // What is in the page cache is read at once: as many threads as others ask for at a time.
                let threads = match load {
                    Load::Sequential => 1,
                    Load::Random => 16,
                };
                fio.args(["--ioengine=psync", "--thread", &format!("--numjobs={threads}")]);
            }
        }
    }
    match load {
        Load::Sequential => fio.args(["--rw=read", "--bs=1m", "--iodepth=4"]),
        Load::Random => fio.args(["--rw=randread", "--bs=4k", "--iodepth=16"]),
    };
    let output = fio.output().context("fio")?;
    ensure!(
        output.status.success(),
        "fio: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    // It may say something else first.
    let begin = output.stdout.iter().position(|byte| *byte == b'{').unwrap_or(0);
    let said: Value = serde_json::from_slice(&output.stdout[begin..])?;
    let read = &said["jobs"][0]["read"];
    let number = |value: &Value| value.as_f64().context("a number of fio's");
    Ok(Measured {
        bytes_per_second: number(&read["bw_bytes"])?,
        reads_per_second: number(&read["iops"])?,
        p99: number(&read["clat_ns"]["percentile"]["99.000000"])? / 1e6,
    })
}
