//! Disks as files for other programs: what is in them is what the guest had, and they start without LivePC.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use livepc_tests::forge::disk;
use livepc_tests::guest::{self, Console};
use livepc_tests::home::{TestHome, kill};
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;
use tempfile::TempDir;

const ID: &str = "sample";
/// How long what needs no guest may take.
const SOON: Duration = Duration::from_secs(60);

/// A subscriber of the sample guest, whose machine has a disk of the subscriber's own.
struct Subscriber {
    home: TestHome,
    out: TempDir,
    _publisher: Publisher,
    _server: Origin,
}

impl Subscriber {
    fn new() -> Self {
        let publisher = Publisher::new(&guest::disk(1), "Sample");
        publisher.own_disk("user", "64 MiB", "label = \"livepc-user\"");
        publisher.publish(&[]);
        let server = Origin::start(publisher.site()).expect("the origin starts");
        let home = TestHome::new();
        home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
        Self {
            home,
            out: tempfile::Builder::new().prefix("x").tempdir().expect("a folder"),
            _publisher: publisher,
            _server: server,
        }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.out.path().join(name)
    }

    fn export(&self, name: &str, more: &[&str]) -> livepc_tests::home::Ran {
        let place = self.place(name);
        let mut args = vec!["export", ID, place.to_str().expect("UTF-8")];
        args.extend(more);
        self.home.run(&args)
    }

    /// What is in the folder of exports; unfinished ones too.
    fn names(&self) -> Vec<String> {
        let entries = self.out.path().read_dir().expect("the folder").flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

#[track_caller]
fn succeeds(program: &str, args: &[&str], files: &[&Path]) -> String {
    let output = Command::new(program)
        .args(args)
        .args(files)
        .output()
        .expect(program);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {args:?} {files:?}: {said}");
    said
}

#[track_caller]
fn same(format: &str, one: &Path, other_format: &str, other: &Path) {
    succeeds(
        "qemu-img",
        &["compare", "-f", format, "-F", other_format],
        &[one, other],
    );
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The console at a socket that a program has just been started with.
fn console(socket: &Path) -> Console {
    let until = Instant::now() + SOON;
    loop {
        // A socket that comes into being tells nobody.
        match Console::try_open(socket, guest::BOOT) {
            Ok(console) => return console,
            Err(error) => assert!(Instant::now() < until, "there is no console: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Starts a qcow2 image in QEMU, as anybody would.
fn boot_qcow2(image: &Path, socket: &Path) -> (Ended, Console) {
    let serial = format!("unix:{},server=on,wait=on", socket.display());
    let drive = format!("file={},format=qcow2,if=virtio", image.display());
    let qemu = Command::new("qemu-system-x86_64")
        // Emulated: it works everywhere, and a start of the sample guest takes seconds.
        .args(["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256"])
        .args(["-nodefaults", "-display", "none", "-snapshot"])
        .args(["-drive", &drive, "-serial", &serial])
        .stdin(Stdio::null())
        .spawn()
        .expect("QEMU starts");
    let ended = Ended(qemu);
    (ended, console(socket))
}

/// An exported folder in the stand-in for VMware: it starts as it is, but for a serial port to see it by.
struct InVmware {
    vmx: PathBuf,
    state: TempDir,
}

impl InVmware {
    fn boot(folder: &Path, socket: &Path) -> (Self, Console) {
        let vmx = folder.join("machine.vmx");
        let text = std::fs::read_to_string(&vmx).expect("the configuration");
        let none = "serial0.present = \"FALSE\"\n";
        assert!(text.contains(none), "{text}");
        let port = format!(
            "serial0.present = \"TRUE\"\nserial0.fileType = \"pipe\"\nserial0.fileName = \"{}\"\n",
            socket.display()
        );
        std::fs::write(&vmx, text.replace(none, &port)).expect("a serial port");
        let state = tempfile::Builder::new().prefix("v").tempdir().expect("a folder");
        let machine = Self { vmx, state };
        machine.vmrun("start", "nogui");
        (machine, console(socket))
    }

    #[track_caller]
    fn vmrun(&self, order: &str, how: &str) {
        let output = Command::new(env!("CARGO_BIN_EXE_standin-vmrun"))
            .env("LIVEPC_STANDIN_DIR", self.state.path())
            .args(["-T", "ws", order])
            .arg(&self.vmx)
            .arg(how)
            .output()
            .expect("the stand-in runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() || std::thread::panicking(),
            "{order}: {said}"
        );
    }
}

impl Drop for InVmware {
    fn drop(&mut self) {
        self.vmrun("stop", "hard");
    }
}

#[test]
fn a_release_is_what_was_published_in_every_format() {
    let subscriber = Subscriber::new();
    let (home, source) = (&subscriber.home, guest::disk(1));
    for (more, code, word) in [
        // There is nothing but the release yet.
        (&["--changes"][..], 3, "not-found"),
        (&["--disk", "user"], 3, "not-found"),
        (&["--disk", "nothing"], 3, "not-found"),
        (&["--format", "vmx", "--disk", "system"], 2, "usage"),
        (&["--changes", "--release", "1"], 2, "usage"),
        (&["--format", "ova"], 2, "usage"),
    ] {
        subscriber.export("refused", more).refused(code, word);
    }
    assert!(
        !home.home().machine(ID).exists(),
        "to ask makes no machine, which would belong to nobody"
    );
    assert_eq!(
        home.listed()["complete"],
        false,
        "nothing was fetched for what is refused"
    );

    let raw = subscriber.export("1.raw", &[]).done();
    assert_eq!(raw["bytes"], source.metadata().expect("its size").len(), "{raw}");
    same("raw", &source, "raw", &subscriber.place("1.raw"));

    let exported = subscriber.export("1.qcow2", &["--format", "qcow2"]);
    let last = exported.said.iter().rfind(|line| line["type"] == "progress");
    let last = last.expect("it tells how far it is");
    assert_eq!(last["bytes_done"], last["bytes_total"], "{last}");
    let qcow2 = exported.done();
    assert_eq!(qcow2["changes"], false, "{qcow2}");
    let file = subscriber.place("1.qcow2");
    succeeds("qemu-img", &["check", "-f", "qcow2"], &[&file]);
    same("raw", &source, "qcow2", &file);
    let info = succeeds("qemu-img", &["info", "--output=json"], &[&file]);
    assert!(!info.contains("backing"), "it needs nothing else: {info}");

    let vmx = subscriber.export("1", &["--format", "vmx"]).done();
    let folder = subscriber.place("1");
    assert_eq!(
        vmx["file"],
        folder.join("machine.vmx").to_str().expect("UTF-8"),
        "{vmx}"
    );
    same("raw", &source, "vmdk", &folder.join("disk0.vmdk"));
    let own = folder.join("disk1-flat.vmdk").metadata().expect("the own disk");
    assert_eq!(own.len(), 64 << 20, "as a first start would make it");
    assert!(!home.home().machine(ID).exists());

    for name in ["1.raw", "1.qcow2", "1"] {
        let format = if name == "1" { "vmx" } else { "qcow2" };
        subscriber.export(name, &["--format", format]).refused(2, "usage");
    }
    let _ = subscriber.export("1", &["--format", "vmx", "--force"]).done();
    std::fs::write(folder.join("letters.txt"), "dear").expect("a file of somebody's");
    subscriber
        .export("1", &["--format", "vmx", "--force"])
        .refused(2, "usage");
    subscriber.export("1", &["--force"]).refused(2, "usage");
    assert!(folder.join("letters.txt").exists());
    let _ = subscriber.export("1.qcow2", &["--force"]).done();
    same("raw", &source, "raw", &subscriber.place("1.qcow2"));
    assert_eq!(
        subscriber.names(),
        ["1", "1.qcow2", "1.raw"],
        "nothing unfinished is left, and nothing of what was refused"
    );
}

#[test]
fn a_machine_is_exported_with_its_changes_and_starts_elsewhere() {
    let subscriber = Subscriber::new();
    let home = &subscriber.home;
    let (_, mut machine) = guest::start(home, ID, "serial.log", &["--no-fill"]);
    let _ = machine.ask("write /root/mark on the system disk", "WROTE");
    let _ = machine.ask("write /home/mark on my own disk", "WROTE");
    let digests = ["/root/mark", "/home/mark"].map(|path| machine.ask(&format!("sha256 {path}"), "SHA256"));
    for more in [&["--changes"][..], &["--disk", "user"]] {
        subscriber.export("refused", more).refused(1, "busy");
    }
    home.done(&["suspend", ID]);
    subscriber.export("refused", &["--changes"]).refused(1, "busy");
    home.done(&["start", ID, "--display", "none", "--no-fill"]);
    home.done(&["stop", ID]);

    let exported = subscriber
        .export("1.qcow2", &["--changes", "--format", "qcow2"])
        .done();
    assert_eq!(
        (&exported["changes"], &exported["release"]),
        (&true.into(), &1.into()),
        "{exported}"
    );
    let qcow2 = subscriber.place("1.qcow2");
    succeeds("qemu-img", &["check", "-f", "qcow2"], &[&qcow2]);
    let _ = subscriber.export("1.raw", &["--changes"]).done();
    same("qcow2", &qcow2, "raw", &subscriber.place("1.raw"));
    let _ = subscriber.export("1", &["--changes", "--format", "vmx"]).done();
    let folder = subscriber.place("1");
    same("qcow2", &qcow2, "vmdk", &folder.join("disk0.vmdk"));
    let own = home.home().machine(ID).join("user.raw");
    same("raw", &own, "vmdk", &folder.join("disk1.vmdk"));
    let _ = subscriber.export("user.raw", &["--disk", "user"]).done();
    same("raw", &own, "raw", &subscriber.place("user.raw"));
    let _ = subscriber
        .export(
            "user.qcow2",
            &["--disk", "user", "--changes", "--format", "qcow2"],
        )
        .done();
    same("raw", &own, "qcow2", &subscriber.place("user.qcow2"));
    let _ = subscriber.export("clean.raw", &[]).done();
    same("raw", &guest::disk(1), "raw", &subscriber.place("clean.raw"));
    assert_eq!(
        subscriber.names().len(),
        6,
        "nothing unfinished: {:?}",
        subscriber.names()
    );

    let (qemu, mut machine) = boot_qcow2(&qcow2, &subscriber.place("q"));
    let _ = machine.hear("LIVEPC READY");
    assert_eq!(machine.ask("sha256 /root/mark", "SHA256"), digests[0], "in QEMU");
    drop(qemu);
    let (_vmware, mut machine) = InVmware::boot(&folder, &subscriber.place("v"));
    let _ = machine.hear("LIVEPC READY");
    for digest in &digests {
        let path = digest.rsplit(' ').next().expect("a path");
        let read = machine.ask(&format!("sha256 {path}"), "SHA256");
        assert_eq!(read, *digest, "in VMware's stand-in");
    }
}

/// What a machine under VMware leaves: a child of the VMDK that the release is mounted as.
#[cfg(target_os = "linux")]
#[test]
fn changes_in_vmwares_format_are_exported() {
    use std::io::{BufRead, BufReader};

    let work = tempfile::tempdir().expect("a folder");
    let source = disk(work.path(), "1.raw", 4, 1);
    let publisher = Publisher::new(&source, "Sample");
    publisher.publish(&[]);
    let server = Origin::start(publisher.site()).expect("the origin starts");
    let home = TestHome::new();
    home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
    let mounted = work.path().join("mounted");
    let folder = mounted.to_str().expect("UTF-8");
    let mut serve = home.spawn(&["serve", ID, "--mount", folder]);
    let mut line = String::new();
    let output = serve.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut line).expect("a line");
    assert!(line.starts_with("ready"), "{line}");

    let machine = home.home().machine(ID);
    std::fs::create_dir_all(&machine).expect("the machine's folder");
    let (child, base) = (machine.join("system.vmdk"), mounted.join("disk.vmdk"));
    let backing = format!("backing_file={},backing_fmt=vmdk", base.display());
    succeeds(
        "qemu-img",
        &["create", "-q", "-f", "vmdk", "-o", &backing],
        &[&child],
    );
    succeeds("qemu-io", &["-f", "vmdk", "-c", "write -P 7 64k 4k"], &[&child]);
    let record = "{\"release\":1,\"hypervisor\":\"vmware\"}";
    std::fs::write(machine.join("overlay.json"), record).expect("the record");
    assert!(
        Command::new("kill")
            .arg(serve.id().to_string())
            .status()
            .is_ok_and(|status| status.success())
    );
    assert!(serve.wait().expect("it ends").success());

    let mut expected = std::fs::read(&source).expect("the source");
    expected[64 << 10..68 << 10].fill(7);
    for (name, format) in [("out.raw", "raw"), ("out.qcow2", "qcow2")] {
        let out = work.path().join(name);
        let place = out.to_str().expect("UTF-8");
        home.done(&["export", ID, place, "--changes", "--format", format]);
        let raw = work.path().join("expected.raw");
        std::fs::write(&raw, &expected).expect("a file");
        same("raw", &raw, format, &out);
    }
}

#[test]
fn an_export_holds_its_machine_and_outlives_the_agent() {
    let work = tempfile::tempdir().expect("a folder");
    let source = disk(work.path(), "1.raw", 24, 1);
    let publisher = Publisher::new(&source, "Sample");
    publisher.publish(&[]);
    let server = Origin::start(publisher.site()).expect("the origin starts");
    let home = TestHome::new();
    home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
    let machine = home.home().machine(ID);
    std::fs::create_dir_all(&machine).expect("the machine's folder");
    let overlay = machine.join("system.qcow2");
    let size = source.metadata().expect("its size").len().to_string();
    succeeds(
        "qemu-img",
        &[
            "create",
            "-q",
            "-f",
            "qcow2",
            overlay.to_str().expect("UTF-8"),
            &size,
        ],
        &[],
    );
    succeeds(
        "qemu-io",
        &["-f", "qcow2", "-c", "write -P 7 64k 64k"],
        &[&overlay],
    );
    let record = "{\"release\":1,\"hypervisor\":\"qemu\"}";
    std::fs::write(machine.join("overlay.json"), record).expect("the record");

    let out = tempfile::tempdir().expect("a folder");
    let place = out.path().join("out.raw");
    let export = ["export", ID, place.to_str().expect("UTF-8"), "--changes"];
    server.set_bytes_per_second(Some(512 << 10));
    // Begins to fetch what it exports.
    let begin = || {
        server.log().clear();
        let export = home.spawn(&export);
        let until = Instant::now() + SOON;
        while server.log().sent("/packs/") == 0 {
            assert!(Instant::now() < until, "it fetches nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
        export
    };
    let mut interrupted = begin();
    for change in [
        &["start", ID][..],
        &["reset", ID, "--yes"],
        &["unsubscribe", ID, "--delete-data"],
    ] {
        home.run(change).refused(1, "busy");
    }
    succeeds("kill", &["-INT", &interrupted.id().to_string()], &[]);
    assert_eq!(interrupted.wait().expect("it ends").code(), Some(130));
    home.run(&["grow", ID, "--size", "1G"]).refused(3, "not-found");

    let mut orphan = begin();
    kill(home.processes("agent")[0]);
    assert!(
        !orphan.wait().expect("it ends").success(),
        "it says that the agent is gone"
    );
    server.set_bytes_per_second(None);
    home.done(&export);
    let mut expected = std::fs::read(&source).expect("the source");
    expected[64 << 10..128 << 10].fill(7);
    assert!(
        std::fs::read(&place).expect("the export") == expected,
        "the disk as the machine left it"
    );
    assert_eq!(
        out.path().read_dir().expect("the folder").count(),
        1,
        "nothing unfinished"
    );
    home.done(&["reset", ID, "--yes"]);
}
