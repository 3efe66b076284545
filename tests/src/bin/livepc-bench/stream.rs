//! Starting a machine over a line: how long to the login prompt, and what was fetched until then.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use livepc_tests::home::TestHome;
use livepc_tests::line::{Line, Speed};
use livepc_tests::namespace::Namespace;
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::machine::{Model, PROMPT, Running, busy, wait_for_prompt};
use crate::table::{self, median};

/// To the server and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(20);
const ID: &str = "system";

/// What is measured.
pub(crate) struct Options {
    image: PathBuf,
    mbit: Vec<u32>,
    runs: usize,
    /// Only the ways whose names begin so, beside the local file.
    only: String,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self {
            image: PathBuf::new(),
            mbit: vec![20, 100, 1000],
            runs: 5,
            only: String::new(),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} takes a value"));
            match arg.as_str() {
                "--mbit" => {
                    options.mbit = value()?
                        .split(',')
                        .map(str::parse)
                        .collect::<Result<_, _>>()
                        .context("--mbit takes numbers")?;
                }
                "--only" => options.only = value()?.clone(),
                "--runs" => options.runs = value()?.parse().context("--runs takes a number")?,
                _ => options.image = arg.into(),
            }
        }
        ensure!(options.image.is_file(), "which image?");
        ensure!(options.runs > 0, "at least one run");
        Ok(options)
    }
}

/// A way to start the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Local,
    LivePc,
    LivePcTrace,
    QemuHttp,
    Nbdkit,
    DownloadAll,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::Local,
        Self::LivePc,
        Self::LivePcTrace,
        Self::QemuHttp,
        Self::Nbdkit,
        Self::DownloadAll,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Local => "a local raw file",
            Self::LivePc => "LivePC",
            Self::LivePcTrace => "LivePC, without the rest (--no-fill)",
            Self::QemuHttp => "QEMU's http driver",
            Self::Nbdkit => "nbdkit curl, cache, readahead",
            Self::DownloadAll => "download all (zstd), then start",
        }
    }
}

/// What one start took.
#[derive(Clone, Copy, Debug)]
struct Measured {
    seconds: f64,
    /// Of these, the guest's processor had nothing to do, or was not there yet. A firmware that waits for its disk is busy.
    idle: f64,
    /// Bytes that came over the line until the prompt, with their headers.
    bytes: u64,
    /// Requests that were answered until then.
    requests: usize,
}

struct Bench {
    image: PathBuf,
    size: u64,
    _publisher: Publisher,
    /// Stored bytes of what a start reads.
    trace: u64,
    model: Model,
    www: TempDir,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let bench = Bench::prepare(&options.image)?;
    println!(
        "The recorded start reads {:.1} MB of stored chunks; the image has {:.0} MB.\n",
        bench.trace as f64 / 1e6,
        allocated(&options.image)? as f64 / 1e6
    );
    let is_wanted = |way: &Way| *way == Way::Local || way.name().starts_with(&options.only);
    let ways: Vec<Way> = Way::ALL.into_iter().filter(is_wanted).collect();
    for mbit in &options.mbit {
        bench.at(*mbit, options.runs, &ways)?;
    }
    Ok(())
}

impl Bench {
    fn prepare(image: &Path) -> Result<Self> {
        let publisher = Publisher::new(image, "System");
        eprintln!("publishing {}, and recording a start", image.display());
        let published = publisher.publish(&["--record-boot", "--boot-until", PROMPT]);
        let trace = published["bytes_boot_ready"]
            .as_u64()
            .context("the bytes of a start")?;
        let www = tempfile::tempdir()?;
        std::os::unix::fs::symlink(publisher.site(), www.path().join("site"))?;
        std::os::unix::fs::symlink(image, www.path().join("disk.raw"))?;
        let packed = Command::new("zstd")
            .args(["-q", "-9", "-T0", "-o"])
            .arg(www.path().join("disk.raw.zst"))
            .arg(image)
            .status();
        ensure!(packed.context("zstd")?.success(), "the image is not packed");
        let model = {
            let home = TestHome::new();
            let feed = format!("file://{}/feed.xml", publisher.site().display());
            home.done(&["subscribe", &feed, "--yes"]);
            home.done(&["start", ID, "--display", "none", "--no-fill"]);
            let model = Model::of(*home.hypervisors().first().context("a hypervisor")?)?;
            home.done(&["stop", ID, "--force"]);
            model
        };
        Ok(Self {
            image: image.to_owned(),
            size: image.metadata()?.len(),
            _publisher: publisher,
            trace,
            model,
            www,
        })
    }

    fn at(&self, mbit: u32, runs: usize, ways: &[Way]) -> Result<()> {
        let speed = Speed {
            mbit,
            round_trip: ROUND_TRIP,
        };
        let (namespace, line) = Namespace::at_end_of_line(speed);
        let server = Nginx::serve_in(self.www.path(), &namespace);
        let mut all = vec![Vec::new(); ways.len()];
        for run in 0..runs {
            for (way, measured) in ways.iter().zip(&mut all) {
                let one = self.measure(*way, &server, &line)?;
                eprintln!("{mbit} Mbit/s, run {}: {}: {one:?}", run + 1, way.name());
                measured.push(one);
            }
        }
        println!(
            "{mbit} Mbit/s, {} ms there and back, median of {runs}:\n",
            ROUND_TRIP.as_millis()
        );
        let of = |measured: &[Measured], figure: fn(&Measured) -> f64| {
            median(&measured.iter().map(figure).collect::<Vec<_>>())
        };
        let seconds = |measured: &[Measured]| of(measured, |one| one.seconds);
        let local = seconds(&all[0]);
        let rows = ways.iter().zip(&all).map(|(way, measured)| {
            let bytes = of(measured, |one| one.bytes as f64);
            let requests = of(measured, |one| one.requests as f64);
            vec![
                way.name().to_owned(),
                format!("{:.1}", seconds(measured)),
                format!("{:.2}", seconds(measured) / local),
                format!("{:.1}", of(measured, |one| one.idle)),
                format!("{:.1}", bytes / 1e6),
                format!("{:.2}", bytes / self.trace as f64),
                format!("{requests:.0}"),
            ]
        });
        let heading = [
            "",
            "s to login",
            "× local",
            "s idle",
            "MB fetched",
            "× trace",
            "requests",
        ];
        table::print(&heading, &rows.collect::<Vec<_>>());
        println!(
            "The trace alone takes {:.1} s on this line.\n",
            self.trace as f64 * 8.0 / (f64::from(mbit) * 1e6)
        );
        Ok(())
    }

    fn measure(&self, way: Way, server: &Nginx, line: &Arc<Line>) -> Result<Measured> {
        let home = (way == Way::LivePc || way == Way::LivePcTrace).then(|| {
            let home = TestHome::new();
            home.done(&["subscribe", &server.url("site/feed.xml"), "--yes"]);
            home
        });
        let work = tempfile::tempdir()?;
        let before = line.received();
        server.forget();
        let begun = Instant::now();
        let of_peer =
            |base: &Value| -> Result<(Running, PathBuf)> { self.model.start(base, self.size, work.path()) };
        let mut helpers = Vec::new();
        let serial = if let Some(home) = &home {
            let serial = work.path().join("serial.log");
            let mut args = vec![
                "start",
                ID,
                "--display",
                "none",
                "--serial",
                serial.to_str().context("UTF-8")?,
            ];
            if way == Way::LivePcTrace {
                args.push("--no-fill");
            }
            home.done(&args);
            serial
        } else {
            let base = match way {
                Way::QemuHttp => json!({"driver": "raw", "read-only": true, "file": {
                    "driver": "http", "url": server.url("disk.raw"), "read-only": true}}),
                Way::Nbdkit => {
                    let socket = work.path().join("nbdkit");
                    helpers.push(nbdkit(&server.url("disk.raw"), &socket)?);
                    json!({"driver": "nbd", "read-only": true, "server": {"type": "unix", "path": socket}})
                }
                Way::DownloadAll => {
                    let file = work.path().join("disk.raw");
                    download(&server.url("disk.raw.zst"), &file)?;
                    raw(&file)
                }
                _ => raw(&self.image),
            };
            let (machine, serial) = of_peer(&base)?;
            helpers.push(machine);
            serial
        };
        wait_for_prompt(&serial, helpers.last_mut())?;
        let seconds = begun.elapsed().as_secs_f64();
        let hypervisor = match &home {
            Some(home) => home.hypervisors().first().copied(),
            None => helpers.last().map(|machine| machine.0.id()),
        };
        let measured = Measured {
            seconds,
            idle: (seconds - busy(hypervisor.context("a hypervisor")?)?).max(0.0),
            bytes: line.received() - before,
            requests: server.asked().len(),
        };
        // The machine before what it reads from.
        while helpers.pop().is_some() {}
        if let Some(home) = home {
            home.done(&["stop", ID, "--force"]);
            ensure!(
                home.listed()["state"] == "stopped",
                "it ends as it should: {}",
                home.listed()
            );
            home.kill_all();
        }
        Ok(measured)
    }
}

fn raw(file: &Path) -> Value {
    json!({"driver": "raw", "read-only": true, "file": {"driver": "file", "filename": file, "read-only": true}})
}

/// nbdkit's curl plugin over a URL, with the filters that make it fast.
fn nbdkit(url: &str, socket: &Path) -> Result<Running> {
    let server = Command::new("nbdkit")
        .args(["--foreground", "--readonly", "--unix"])
        .arg(socket)
        .args(["--filter=readahead", "--filter=cache", "curl"])
        .arg(format!("url={url}"))
        .arg("cache-on-read=true")
        .stdin(Stdio::null())
        .spawn()
        .context("nbdkit")?;
    let server = Running(server);
    let begun = Instant::now();
    while !socket.exists() {
        if begun.elapsed() > Duration::from_secs(20) {
            bail!("nbdkit does not listen");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(server)
}

/// Fetches and unpacks, as one would by hand.
fn download(url: &str, file: &Path) -> Result<()> {
    let script = "set -o pipefail; curl -sSf \"$1\" | zstd -q -d --sparse -o \"$2\"";
    let done = Command::new("bash")
        .args(["-c", script, "bash", url])
        .arg(file)
        .env("no_proxy", "*")
        .status();
    ensure!(done.context("bash")?.success(), "the download failed");
    Ok(())
}

fn allocated(file: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(file.metadata()?.blocks() * 512)
}
