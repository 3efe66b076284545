//! Recording a start: boots a packed release, straight from where it was published, and notes which pages it reads.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use livepc_disk::block::BlockDevice;
use livepc_disk::nbd::{Exports, Listen, Server, Visibility};
use livepc_disk::release::{Backend, BoxFuture, FetchError, Layout, ReleaseDisk, Trace};
use livepc_format::index::ChunkTable;
use livepc_format::manifest::Content;
use livepc_format::{Head, Keys, Manifest, PackId, limits, paths};
use livepc_hypervisor::{
    DiskSpec, Display, Hypervisor, MachineEvent, MachineSpec, Overlay, Qemu, Search, Serial,
};
use livepc_protocol::{Code, Problem};
use livepc_publish::{BootTrace, TraceRead};
use livepc_store::Store;
use livepc_transfer::{Client, Config, Fetcher, Limits, Origin, Priority, Size};
use regex::bytes::Regex;
use tokio::time::Instant;
use url::Url;

use crate::agent::sink;
use crate::hypervisors::of_hypervisor;
use crate::locked::lock;
use crate::problems::{of_format, of_store, of_transfer};
use crate::user_disk::UserDisk;

/// How a start is recorded.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// The folder that the release was published to.
    pub folder: Url,
    /// The release.
    pub sequence: u64,
    /// What the serial port says when the start is over: a regular expression.
    pub until: Option<String>,
    /// How long the start may take.
    pub limit: Duration,
    /// The `qemu-system-*` program, if it is not to be looked for.
    pub qemu: Option<PathBuf>,
}

/// Without a pattern, a start is over when nothing has been read for this long.
const QUIET: Duration = Duration::from_secs(20);

/// Bytes that a start reads at the least: the firmware alone looks at a few sectors, and goes on to the next disk. Without a
/// pattern nothing else says that there was a start.
const LEAST: u64 = 64 << 10;
/// What UEFI says on the serial port when it finds nothing to start.
const NOTHING_TO_START: [&str; 2] = ["No bootable option or device was found", "No bootable device"];

/// How UEFI's shell asks what to do.
const SHELL: &str = "Shell>";

/// Boots the release headless until the serial line matches (or, without a pattern, until it reads nothing any more), and
/// gives the pages that were read, in order.
///
/// # Errors
/// What keeps it from starting, and [`Code::Failed`] if the line never came, or the guest's firmware found nothing to start.
pub async fn record(options: &RecordOptions) -> Result<BootTrace, Problem> {
    let work =
        tempfile::tempdir().map_err(|e| Problem::io("A folder for the recording cannot be made", &e))?;
    let pattern = options.until.as_deref().map(Regex::new).transpose();
    let pattern = pattern.map_err(|e| {
        Problem::new(
            Code::Usage,
            format!("The pattern cannot be read: {e}."),
            "It is a regular expression.",
        )
    })?;
    let source = Source::open(options, work.path()).await?;
    let recorder = Arc::new(Recorder::default());
    let mut exports = Exports::new();
    for (number, disk) in source.manifest.disks.iter().enumerate() {
        let Content::Published { regions, index, .. } = &disk.content else {
            continue;
        };
        let layout = Layout {
            number: number as u32,
            size: disk.size,
            regions: regions.clone(),
            root: *index,
            boot_map: None,
        };
        let trace: Arc<dyn Trace> = recorder.clone();
        let device: Arc<dyn BlockDevice> = Arc::new(ReleaseDisk::new(
            layout,
            source.store.reader(),
            source.clone(),
            Some(trace),
        ));
        exports
            .add(disk.role.clone(), device, Visibility::Listed)
            .map_err(|e| Problem::new(Code::Failed, e.to_string(), ""))?;
    }
    let server = Server::start(&listen(work.path()), exports).await.map_err(|e| {
        Problem::new(
            Code::Failed,
            format!("The disks cannot be served: {e}."),
            "Try again.",
        )
    })?;
    let over = Over {
        pattern: pattern.as_ref(),
        recorder: &recorder,
        limit: options.limit,
    };
    let booted = boot(options, &source.manifest, &server, work.path(), &over).await;
    server.shutdown().await;
    booted?;
    Ok(BootTrace {
        reads: std::mem::take(&mut *lock(&recorder.0)),
    })
}

#[cfg(unix)]
fn listen(folder: &Path) -> Listen {
    Listen::Unix(folder.join("disks"))
}

#[cfg(windows)]
fn listen(_: &Path) -> Listen {
    Listen::Loopback
}

/// When a start is over.
struct Over<'a> {
    pattern: Option<&'a Regex>,
    recorder: &'a Recorder,
    limit: Duration,
}

impl Over<'_> {
    /// Waits until the serial port says the pattern; without one, until nothing has been read for a while.
    ///
    /// # Errors
    /// If nothing was started that could read.
    async fn is_over(&self, serial: &Path) -> Result<(), Problem> {
        // A serial port's file grows without telling anybody.
        let mut look = tokio::time::interval(Duration::from_millis(100));
        let (mut reads, mut since) = (0, Instant::now());
        loop {
            let now = look.tick().await;
            let Some(pattern) = self.pattern else {
                let before = std::mem::replace(&mut reads, self.recorder.reads());
                if reads != before {
                    since = now;
                } else if now - since > QUIET {
                    return check_started(self.recorder.bytes());
                }
                check_serial(serial).await?;
                continue;
            };
            let said = tokio::fs::read(serial).await.unwrap_or_default();
            if pattern.is_match(&said) {
                return Ok(());
            }
            check_serial(serial).await?;
        }
    }

    fn too_late(&self) -> Result<(), Problem> {
        match self.pattern {
            Some(pattern) => Err(failed_start(&format!(
                "“{pattern}” did not appear on the serial port in {} s",
                self.limit.as_secs()
            ))),
            None => Ok(()),
        }
    }
}

async fn boot(
    options: &RecordOptions,
    manifest: &Manifest,
    server: &Server,
    work: &Path,
    over: &Over<'_>,
) -> Result<(), Problem> {
    let search = Search::of_system(options.qemu.clone());
    let qemu = Qemu::find(&search, manifest.machine.architecture)
        .await
        .map_err(|e| of_hypervisor(&e))?;
    let mut disks = Vec::new();
    for disk in &manifest.disks {
        let published = matches!(disk.content, Content::Published { .. });
        let overlay = if published {
            let overlay = work.join(format!("{}.qcow2", disk.role));
            qemu.create_overlay(&overlay, disk.size)
                .await
                .map_err(|e| of_hypervisor(&e))?;
            Overlay::Qcow2(overlay)
        } else {
            // As each subscriber has it at the first start.
            let own = UserDisk::of(work, disk)?;
            own.make(disk.size)?;
            Overlay::Raw(own.path().to_owned())
        };
        disks.push(DiskSpec {
            role: disk.role.clone(),
            controller: disk.controller,
            size: disk.size,
            base: published.then(|| crate::runner::bases::base(server.address(), &disk.role)),
            overlay,
            complete: true,
        });
    }
    let serial = work.join("serial.log");
    let spec = MachineSpec {
        name: &manifest.title,
        machine: &manifest.machine,
        disks,
        display: Display::None,
        serial: Some(Serial {
            log: Some(serial.clone()),
            console: None,
        }),
        cd: None,
        adapter: None,
        resume: false,
        folder: work,
        uefi_variables: &work.join("uefi.vars"),
        run_dir: &work.join("q"),
        log: &work.join("hypervisor.log"),
    };
    let mut running = qemu.start(spec).await.map_err(|e| of_hypervisor(&e))?;
    let control = running.control().clone();
    let ended = async {
        while let Some(event) = running.next_event().await {
            if let MachineEvent::Ended(ended) = event {
                return ended;
            }
        }
        control.ended().await
    };
    let over = tokio::select! {
        over = over.is_over(&serial) => over,
        ended = ended => Err(failed_start(&format!("the machine ended before its start was over: {}", ended.last_lines.join(" ")))),
        () = tokio::time::sleep(over.limit) => over.too_late(),
        // A machine that nobody ends would go on when this program has ended.
        Ok(()) = crate::session_end::asked_to_end() => Err(Problem::new(
            Code::Cancelled,
            "The recording of the start was interrupted.",
            "The release is published; publish it again with --record-boot to record its start.",
        )),
    };
    let _ = control.quit().await;
    over
}

fn failed_start(why: &str) -> Problem {
    Problem::new(
        Code::Failed,
        format!("The start could not be recorded: {why}."),
        "The release is published, only without a boot map. Check that the guest writes to its first serial port, and what \
         --boot-until looks for; then publish again with --record-boot.",
    )
}

/// Refuses a start that was none.
fn check_started(read: u64) -> Result<(), Problem> {
    if read >= LEAST {
        return Ok(());
    }
    Err(nothing_to_start(&format!(
        "it read almost nothing of its disks, {read} bytes"
    )))
}

/// Refuses to wait for a guest that its firmware did not find.
async fn check_serial(serial: &Path) -> Result<(), Problem> {
    let said = tokio::fs::read(serial).await.unwrap_or_default();
    match firmware_gave_up(&String::from_utf8_lossy(&said)) {
        Some(words) => Err(nothing_to_start(&format!("its firmware says “{words}”"))),
        None => Ok(()),
    }
}

/// What firmware says on the serial port when it has nothing more to try. UEFI's shell runs a script, if the disk has one,
/// before it asks what to do.
fn firmware_gave_up(said: &str) -> Option<&'static str> {
    if let Some(words) = NOTHING_TO_START.iter().find(|words| said.contains(**words)) {
        return Some(words);
    }
    let (_, behind) = said.rsplit_once(SHELL)?;
    let mut rest = behind.trim_start();
    // Colours, as a terminal takes them.
    while let Some(sequence) = rest.strip_prefix("\u{1b}[") {
        let end = sequence.find(|c: char| c.is_ascii_alphabetic())?;
        rest = sequence[end + 1..].trim_start();
    }
    rest.is_empty().then_some(SHELL)
}

fn nothing_to_start(why: &str) -> Problem {
    Problem::new(
        Code::Failed,
        format!("The machine did not start: {why}."),
        "The release is published, only without a boot map. Check that its disk starts a machine, and what livepc.toml says of \
         its firmware (bios or uefi) and the disk's controller; then publish again with --record-boot. If it starts with so \
         little, say with --boot-until what it writes to its first serial port.",
    )
}

/// Notes reads.
#[derive(Default)]
struct Recorder(Mutex<Vec<TraceRead>>);

impl Recorder {
    fn reads(&self) -> usize {
        lock(&self.0).len()
    }

    /// Bytes of the pages that were read, each counted once.
    fn bytes(&self) -> u64 {
        let reads = lock(&self.0);
        let pages: HashSet<(u32, u32, u64)> = reads
            .iter()
            .flat_map(|read| {
                let pages = read.page..read.page + u64::from(read.pages);
                pages.map(|page| (read.disk, read.region, page))
            })
            .collect();
        pages.len() as u64 * limits::PAGE
    }
}

impl Trace for Recorder {
    fn read(&self, disk: u32, region: u32, page: u64, pages: u32) {
        lock(&self.0).push(TraceRead {
            disk,
            region,
            page,
            pages,
        });
    }
}

/// A published release, read through a store of its own that is thrown away.
struct Source {
    manifest: Manifest,
    origin: Arc<Origin>,
    client: Client,
    fetcher: Fetcher,
    store: Arc<Store>,
}

impl Source {
    async fn open(options: &RecordOptions, work: &Path) -> Result<Arc<Self>, Problem> {
        let client = Client::new(Config::default()).map_err(|e| of_transfer(&e))?;
        let origin = Arc::new(Origin::new([options.folder.clone()]));
        let get = async |path: &str, limit| {
            let url = origin.urls(path).next().unwrap_or_else(|| options.folder.clone());
            match client
                .document(&url, limit, None)
                .await
                .map_err(|e| of_transfer(&e))?
            {
                livepc_transfer::Document::New { bytes, .. } => Ok(bytes),
                livepc_transfer::Document::NotModified { .. } => Err(Problem::new(
                    Code::Failed,
                    format!("{url} cannot be read."),
                    "Publish it again.",
                )),
            }
        };
        let keys = Keys::open(&get(paths::KEYS, limits::KEYS_BYTES).await?).map_err(|e| of_format(&e))?;
        let head =
            Head::open(&get(paths::HEAD, limits::HEAD_BYTES).await?, &keys).map_err(|e| of_format(&e))?;
        let release = head.release(options.sequence).ok_or_else(|| {
            crate::problems::not_found(
                format!("There is no release {}.", options.sequence),
                "Publish it first.",
            )
        })?;
        let bytes = client
            .verified(
                &origin,
                &paths::manifest(&release.manifest),
                &release.manifest,
                crate::published::size_of_manifest(release),
            )
            .await
            .map_err(|e| of_transfer(&e))?;
        let manifest = Manifest::open(&bytes, head.livepc, release).map_err(|e| of_format(&e))?;
        let store = Arc::new(Store::open(work.join("store")).map_err(|e| of_store(&e))?);
        let fetcher = Fetcher::new(client.clone(), sink(&store), Limits::default());
        Ok(Arc::new(Self {
            manifest,
            origin,
            client,
            fetcher,
            store,
        }))
    }

    async fn object(&self, digest: livepc_format::Digest, size: Size) -> Result<Vec<u8>, Problem> {
        if let Some(bytes) = self
            .store
            .reader()
            .object(&digest, size.limit)
            .map_err(|e| of_store(&e))?
        {
            return Ok(bytes);
        }
        let bytes = self
            .client
            .verified(&self.origin, &paths::object(&digest), &digest, size)
            .await
            .map_err(|e| of_transfer(&e))?;
        self.store.put_object(&digest, &bytes).map_err(|e| of_store(&e))?;
        Ok(bytes.to_vec())
    }
}

fn failed(problem: Problem) -> FetchError {
    FetchError::Io(std::io::Error::other(problem))
}

impl Backend for Source {
    fn fetch(&self, pack: PackId, first_page: u32, pages: u32) -> BoxFuture<'_, Result<(), FetchError>> {
        Box::pin(async move {
            let table = self
                .object(pack.0, Size::at_most(ChunkTable::MAX_BYTES))
                .await
                .map_err(failed)?;
            let table = ChunkTable::open(&table, pack).map_err(|e| failed(of_format(&e)))?;
            let chunks = table.covering(first_page, pages);
            let fetched = self
                .fetcher
                .fetch(&self.origin, pack, chunks, Priority::Demand)
                .await;
            fetched.map(drop).map_err(|e| failed(of_transfer(&e)))
        })
    }

    fn object(&self, object: livepc_format::index::ObjectRef) -> BoxFuture<'_, Result<(), FetchError>> {
        Box::pin(async move {
            Source::object(self, object.digest, Size::exactly(object.stored))
                .await
                .map(drop)
                .map_err(failed)
        })
    }

    fn read_ahead(&self, _: PackId, _: u32, _: u32) {
        // A local folder has no latency to hide, and what nobody reads is not part of a start.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_read_almost_nothing_is_none() {
        for (read, started) in [
            (0, false),
            (4096, false),
            (LEAST - 1, false),
            (LEAST, true),
            (1 << 30, true),
        ] {
            assert_eq!(check_started(read).is_ok(), started, "{read}");
        }
    }

    #[test]
    fn pages_count_once() {
        let recorder = Recorder::default();
        for (page, pages) in [(0, 2), (1, 2), (0, 1)] {
            recorder.read(0, 0, page, pages);
        }
        recorder.read(1, 0, 0, 1);
        assert_eq!(recorder.bytes(), 4 * limits::PAGE);
    }

    #[test]
    fn firmware_that_gives_up_is_heard() {
        for (said, gave_up) in [
            ("", false),
            (
                "\u{1b}[01;01HBdsDxe: failed to load Boot0001 \"UEFI Misc Device\": Not Found\r\n",
                false,
            ),
            ("BdsDxe: No bootable option or device was found.\r\n", true),
            (
                "UEFI Interactive Shell v2.2\r\nPress ESC in 5 seconds to skip startup.nsh",
                false,
            ),
            (
                "UEFI Interactive Shell v2.2\r\n\u{1b}[33m\u{1b}[40mShell> \u{1b}[37m\u{1b}[40m",
                true,
            ),
            ("Shell> echo Booting\r\nLinux version 6.1", false),
            ("login: ", false),
        ] {
            assert_eq!(firmware_gave_up(said).is_some(), gave_up, "{said:?}");
        }
    }
}
