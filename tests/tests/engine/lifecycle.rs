//! A machine's life: suspended and gone on with, reverted; changes kept and reset; releases rolled back to and pinned.

use std::os::unix::fs::PermissionsExt;

use livepc_tests::guest::{self, Console};
use livepc_tests::home::TestHome;
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;

const ID: &str = "sample";

/// A subscriber of the sample guest.
struct Subscriber {
    publisher: Publisher,
    home: TestHome,
    _server: Origin,
}

impl Subscriber {
    fn new() -> Self {
        let publisher = Publisher::new(&guest::disk(1), "Sample");
        publisher.publish(&["--label", "1.0"]);
        let server = Origin::start(publisher.site()).expect("the origin starts");
        let home = TestHome::new();
        home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
        Self {
            publisher,
            home,
            _server: server,
        }
    }

    /// A cold start, up to the guest's READY.
    fn start(&self, serial: &str) -> Console {
        guest::start(&self.home, ID, serial, &["--no-fill"]).1
    }

    /// The console of a machine that goes on.
    fn resume(&self) -> Console {
        let started = self.home.done(&["start", ID, "--display", "none", "--no-fill"]);
        assert_eq!(started["state"], "running", "{started}");
        let sockets = self.home.home().machine_sockets(ID).expect("the folder");
        Console::open(&sockets.join("console"))
    }
}

#[test]
fn a_suspended_machine_goes_on_and_can_be_reverted() {
    let subscriber = Subscriber::new();
    let home = &subscriber.home;
    // What does not run cannot be suspended.
    home.run(&["suspend", ID]).refused(1, "busy");
    let mut console = subscriber.start("serial-1.log");
    let _ = console.ask("write /tmp/memory only in memory", "WROTE");
    let _ = console.ask("write /root/disk on the disk", "WROTE");
    let suspended = home.done(&["suspend", ID]);
    assert_eq!(suspended["state"], "suspended", "{suspended}");
    assert!(
        suspended["suspended_bytes"].as_u64() > Some(1 << 20),
        "{suspended}"
    );
    assert!(home.processes("runner").is_empty(), "nothing runs");
    home.done(&["suspend", ID]);
    // Its memory belongs to its disk.
    home.run(&["reset", ID, "--yes"]).refused(1, "busy");

    let mut console = subscriber.resume();
    let kept = console.ask("cat /tmp/memory", "CAT");
    assert!(kept.contains("only in memory"), "{kept}");
    home.done(&["suspend", ID]);
    // An agent that knows nothing of the suspension finds it.
    home.done(&["agent", "stop"]);
    assert_eq!(home.listed()["state"], "suspended");
    // Nobody is there to say yes.
    home.run(&["revert", ID]).refused(2, "usage");
    assert_eq!(home.listed()["state"], "suspended", "nothing was given up");
    let reverted = home.done(&["revert", ID, "--yes"]);
    assert_eq!(
        (&reverted["state"], &reverted["suspended_bytes"]),
        (&"stopped".into(), &0.into()),
        "{reverted}"
    );

    let mut console = subscriber.start("serial-2.log");
    let files = console.ask("ls /tmp", "LS");
    assert!(!files.contains("memory"), "a cold start: {files}");
    let files = console.ask("ls /root", "LS");
    assert!(!files.contains("disk"), "the system disk is clean: {files}");
    home.done(&["stop", ID]);
}

#[test]
fn changes_and_earlier_releases_are_kept_on_request() {
    let subscriber = Subscriber::new();
    let home = &subscriber.home;
    home.done(&["keep", ID]);
    let mut console = subscriber.start("serial-1.log");
    let _ = console.ask("write /root/disk on the disk", "WROTE");
    home.done(&["stop", ID]);
    home.done(&["download", ID, "--until", "complete"]);

    subscriber.publisher.project(&guest::disk(2), "Sample");
    subscriber.publisher.publish(&["--label", "2.0"]);
    home.done(&["update", ID]);
    home.done(&["download", ID, "--until", "complete"]);
    let mut console = subscriber.start("serial-2.log");
    let kept = console.ask("cat /root/disk", "CAT");
    assert!(kept.contains("on the disk"), "{kept}");
    let label = console.ask("label", "LABEL");
    assert_eq!(
        label, "LABEL 1.0",
        "it stays on the release that its changes belong to"
    );
    home.done(&["stop", ID]);
    // The changes would be lost, and nobody is there to say yes.
    home.run(&["rollback", ID]).refused(1, "busy");
    home.run(&["keep", ID, "--off"]).refused(2, "usage");
    home.done(&["keep", ID, "--off", "--yes"]);

    let fails_to_start = |qemu: &str, offered: serde_json::Value, why: &str| {
        let program = home.path().join("qemu-system-x86_64");
        std::fs::write(&program, qemu).expect("a script");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        home.done(&["config", "set", "qemu.program", program.to_str().expect("UTF-8")]);
        home.run(&["start", ID, "--display", "none"])
            .refused(7, "hypervisor");
        let shown = home.done(&["show", ID]);
        assert_eq!(shown["livepc"]["rollback_to"], offered, "{why}: {shown}");
    };
    let none = || serde_json::Value::Null;
    // QEMU that does not work stops every release, so it is not this one's fault.
    for _ in 0..2 {
        fails_to_start("#!/bin/sh\nexit 3\n", none(), "no release is at fault");
    }
    // A QEMU that works, and does not start this machine.
    let refuses = "#!/bin/sh\ncase \"$*\" in *guest=*) exit 1 ;; esac\nexec qemu-system-x86_64 \"$@\"\n";
    fails_to_start(refuses, none(), "once may be chance");
    fails_to_start(refuses, 1.into(), "twice is a pattern");
    home.done(&["config", "set", "qemu.program", ""]);

    let mut console = subscriber.start("serial-3.log");
    assert_eq!(
        console.ask("label", "LABEL"),
        "LABEL 2.0",
        "a clean start uses the newest"
    );
    let files = console.ask("ls /root", "LS");
    assert!(!files.contains("disk"), "it is clean: {files}");
    let pinned = home.done(&["rollback", ID]);
    assert_eq!(pinned["pinned"], 1, "{pinned}");
    home.done(&["stop", ID]);

    let mut console = subscriber.start("serial-4.log");
    assert_eq!(console.ask("label", "LABEL"), "LABEL 1.0", "it was rolled back");
    home.done(&["stop", ID]);
    // There is no release before the first.
    home.run(&["rollback", ID]).refused(3, "not-found");
    let newest = home.done(&["pin", ID, "--newest", "--updates", "notify"]);
    assert_eq!(
        (&newest["pinned"], &newest["policy"]),
        (&serde_json::Value::Null, &"notify".into())
    );
}
