//! The power goes right after something was confirmed: the file system is shut down without a flush, everybody is killed, and
//! it is mounted again. Nothing that was confirmed is lost, and the home works.
//!
//! Each cut has its control: a file that was written beside, and not flushed, is lost with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use livepc_format::Digest;
use livepc_tests::forge::disk;
use livepc_tests::home::TestHome;
use livepc_tests::nginx::Nginx;
use livepc_tests::origin::Origin;
use livepc_tests::powered::PoweredVolume;
use livepc_tests::publisher::Publisher;
use serde_json::Value;
use tempfile::TempDir;

const PASSWORD: &str = "a password";

/// A subscriber's and a publisher's home on a volume, and a server elsewhere.
struct World {
    /// The homes first: they are ended before their disk goes.
    home: TestHome,
    publisher_home: TestHome,
    volume: PoweredVolume,
    work: TempDir,
    published: Publisher,
    server: Origin,
    release: u8,
    cuts: u32,
}

impl World {
    fn new(volume: PoweredVolume) -> Self {
        let work = tempfile::tempdir().expect("a folder");
        let published = Publisher::new(&disk(work.path(), "1.raw", 4, 1), "Lab");
        published.own_disk("user", "8 MiB", "label = \"own\"");
        published.publish(&[]);
        let server = Origin::start(published.site()).expect("the origin starts");
        Self {
            home: TestHome::new_in(&volume.path()),
            publisher_home: TestHome::new_in(&volume.path()),
            volume,
            work,
            published,
            server,
            release: 1,
            cuts: 0,
        }
    }

    fn feed(&self) -> String {
        format!("{}feed.xml", self.server.url())
    }

    /// A path on the volume, as an argument.
    fn on_disk(&self, name: &str) -> String {
        self.volume.path().join(name).display().to_string()
    }

    fn publish_next(&mut self) {
        self.release += 1;
        let name = format!("{}.raw", self.release);
        self.published
            .project(&disk(self.work.path(), &name, 4, self.release), "Lab");
        self.published.own_disk("user", "8 MiB", "label = \"own\"");
        self.published.publish(&[]);
    }

    /// Cuts the power, and gives it back.
    fn cut(&mut self, after: &str) {
        self.cuts += 1;
        let control = self.volume.path().join(format!("control-{}", self.cuts));
        std::fs::write(&control, "not flushed").expect("it is written, to memory");
        self.volume.cut();
        self.volume.restore();
        let lost = std::fs::read(&control).map_or(true, |left| left != b"not flushed");
        assert!(
            lost,
            "after {after}: the cut is none, since what was not flushed is there"
        );
    }

    fn lab(&self) -> Value {
        self.home.done(&["show", "lab"])["livepc"].clone()
    }

    /// The digests of all files below a folder.
    fn tree(folder: &Path) -> BTreeMap<PathBuf, Digest> {
        let (mut folders, mut found) = (vec![folder.to_owned()], BTreeMap::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = std::fs::read(&path).expect("a file");
                    found.insert(path, Digest::of(&bytes));
                }
            }
        }
        found
    }

    /// Cuts the power; the files of a folder must be as they are now.
    fn cut_keeps(&mut self, after: &str, folder: &Path) {
        let before = Self::tree(folder);
        assert!(!before.is_empty(), "{after}");
        self.cut(after);
        assert_eq!(Self::tree(folder), before, "after {after}");
    }

    /// What a publisher does.
    fn publishing(&mut self) {
        let keys = self.publisher_home.home().keys();
        self.publisher_home.done(&["key", "new", "--no-password"]);
        self.cut_keeps("key new", &keys);
        let source = disk(self.work.path(), "source.raw", 2, 9).display().to_string();
        let (project, site) = (self.on_disk("projects/lab"), self.on_disk("www/lab"));
        self.publisher_home
            .done(&["project", "init", &source, "--name", "Lab", "--dir", &project]);
        self.cut_keeps("project init", Path::new(&project));
        self.publisher_home.done(&["publish", &project, "--to", &site]);
        self.cut_keeps("publish", Path::new(&site));
        self.publisher_home.done(&["key", "rotate", "--no-password"]);
        self.cut_keeps("key rotate", &keys);
        self.publisher_home.done(&["publish", &project, "--to", &site]);
        self.cut_keeps("publish with the next key", Path::new(&site));
        let catalog = self.on_disk("www/catalog.xml");
        self.publisher_home
            .done(&["catalog", "init", &catalog, "--title", "All"]);
        self.cut_keeps("catalog init", &self.volume.path().join("www"));
        let feed = format!("{site}/feed.xml");
        self.publisher_home
            .done(&["catalog", "add", &catalog, "--feed", &feed]);
        self.cut_keeps("catalog add", &self.volume.path().join("www"));
        self.publisher_home.done(&["source", "add", &catalog]);
        self.cut("source add");
        let sources = self.publisher_home.done(&["source", "list"]);
        assert_eq!(sources["sources"].as_array().map(Vec::len), Some(1), "{sources}");
        self.publisher_home.done(&["source", "remove", &catalog]);
        self.cut("source remove");
        let sources = self.publisher_home.done(&["source", "list"]);
        assert_eq!(sources["sources"].as_array().map(Vec::len), Some(0), "{sources}");
    }

    /// What a subscriber decides.
    fn subscribing(&mut self) {
        self.home
            .done(&["config", "set", "download.max-bytes-per-second", "900000000"]);
        self.cut("config set");
        let value = self
            .home
            .done(&["config", "get", "download.max-bytes-per-second"]);
        let settings = &value["settings"];
        assert_eq!(settings["download.max-bytes-per-second"], "900000000", "{value}");
        let users = self.work.path().join("users");
        let private = Nginx::serve_privately(&self.published.site(), &users);
        std::fs::set_permissions(
            self.work.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .expect("the server's own user may read it");
        std::fs::write(&users, format!("ada:{{PLAIN}}{PASSWORD}\n")).expect("it is written");
        let login = [
            "login",
            &private.url("feed.xml"),
            "--user",
            "ada",
            "--password-stdin",
        ];
        let ran = self.home.run_with(&login, &format!("{PASSWORD}\n"));
        assert_eq!(ran.code, 0, "{}", ran.text);
        self.cut("login");
        // The server asks for the password.
        self.home.done(&["subscribe", &private.url("feed.xml"), "--yes"]);
        self.home.done(&["unsubscribe", "lab", "--keep-data"]);
        self.home.done(&["subscribe", &self.feed(), "--yes"]);
        self.cut("subscribe");
        assert_eq!(self.lab()["id"], "lab");
        self.home.done(&["download", "lab"]);
        self.cut("download");
        assert_eq!(self.lab()["complete"], true);
        self.home
            .done(&["start", "lab", "--display", "none", "--no-fill"]);
        self.home.done(&["stop", "lab", "--force"]);
        self.cut("stop");
        assert_eq!(self.lab()["release_in_use"], 1);
        self.publish_next();
        self.home.done(&["update", "lab"]);
        self.cut("update");
        assert_eq!(self.lab()["release_available"], self.release);
        self.home.done(&["download", "lab"]);
        self.home
            .done(&["pin", "lab", "--release", &self.release.to_string()]);
        self.cut("pin");
        assert_eq!(self.lab()["pinned"], self.release);
        self.home.done(&["pin", "lab", "--newest", "--updates", "notify"]);
        self.cut("pin --updates");
        assert_eq!(
            (&self.lab()["pinned"], &self.lab()["policy"]),
            (&Value::Null, &"notify".into())
        );
        // What the first release has left.
        self.home.done(&["reset", "lab", "--yes"]);
        self.home.done(&["keep", "lab"]);
        self.cut("keep");
        assert_eq!(self.lab()["keep_changes"], true);
    }

    /// What a machine leaves.
    fn running(&mut self) {
        let machine = self.home.home().machine("lab");
        self.home.done(&["grow", "lab", "--size", "12M"]);
        self.cut("an own disk made");
        let own = || machine.join("user.raw").metadata().map(|found| found.len()).ok();
        assert_eq!(own(), Some(12 << 20));
        self.home.done(&["grow", "lab", "--size", "16M"]);
        self.cut("an own disk grown");
        assert_eq!(own(), Some(16 << 20));
        self.home
            .done(&["start", "lab", "--display", "none", "--no-fill"]);
        self.cut("start with kept changes");
        let lab = self.lab();
        assert_eq!(
            (&lab["release_in_use"], lab["changes_bytes"].as_u64() > Some(0)),
            (&self.release.into(), true)
        );
        self.home
            .done(&["start", "lab", "--display", "none", "--no-fill"]);
        let suspended = self.home.done(&["suspend", "lab"]);
        assert_eq!(suspended["state"], "suspended");
        self.cut("suspend");
        let lab = self.lab();
        assert_eq!(
            (&lab["state"], &lab["suspended_bytes"]),
            (&"suspended".into(), &suspended["suspended_bytes"])
        );
        let resumed = self
            .home
            .done(&["start", "lab", "--display", "none", "--no-fill"]);
        assert_eq!(resumed["state"], "running");
        self.cut("going on");
        assert_ne!(self.lab()["state"], "suspended", "its disks are further along");
        self.home
            .done(&["start", "lab", "--display", "none", "--no-fill"]);
        self.home.done(&["suspend", "lab"]);
        self.home.done(&["revert", "lab", "--yes"]);
        self.cut("revert");
        assert_ne!(self.lab()["state"], "suspended");
        self.home.done(&["reset", "lab", "--yes"]);
        self.cut("reset");
        assert_eq!(self.lab()["changes_bytes"], 0);
        self.home.done(&["keep", "lab", "--off", "--yes"]);
        self.cut("keep --off");
        assert_eq!(self.lab()["keep_changes"], false);
        let rolled = self.home.done(&["rollback", "lab"]);
        self.cut("rollback");
        assert_eq!(self.lab()["pinned"], rolled["pinned"]);
    }

    /// What is done with what is here, and the end.
    fn keeping(&mut self) {
        let out = self.volume.path().join("exports");
        std::fs::create_dir_all(&out).expect("a folder");
        self.volume.sync();
        self.home
            .done(&["export", "lab", &self.on_disk("exports/lab.raw")]);
        self.cut_keeps("export", &out);
        self.home.done(&[
            "export",
            "lab",
            &self.on_disk("exports/lab-vmx"),
            "--format",
            "vmx",
        ]);
        self.cut_keeps("export of a folder", &out);
        std::fs::remove_dir_all(&out).expect("it goes");
        self.home.done(&["prune"]);
        self.cut("prune");
        self.home.done(&["verify", "lab"]);
        let repaired = self.home.done(&["verify", "lab", "--repair"]);
        self.cut("verify --repair");
        let again = self.home.done(&["verify", "lab"]);
        assert_eq!(again["bytes"], repaired["bytes"], "{again}");
        for place in ["moved", "back"] {
            let to = self.volume.path().join(format!("{place}-{}", self.cuts));
            let moved = self.home.done(&["store", "move", &to.display().to_string()]);
            assert_eq!(moved["renamed"], true, "{moved}");
            self.cut("store move");
            assert_eq!(self.home.home().store(), to);
            self.home.done(&["verify", "lab"]);
        }
        assert_eq!(self.lab()["id"], "lab");
        self.home.done(&["unsubscribe", "lab", "--delete-data"]);
        self.cut("unsubscribe");
        let list = self.home.done(&["list"]);
        assert_eq!(list["livepcs"].as_array().map(Vec::len), Some(0), "{list}");
        assert!(!self.home.home().machine("lab").exists());
        let ran = self
            .home
            .run_with(&["config", "set", "download.max-bytes-per-second", "0"], "");
        assert_eq!(ran.code, 0, "the home works: {}", ran.text);
    }

    /// All of it.
    fn live(&mut self) {
        // The first verbs make the homes.
        self.home.done(&["list"]);
        self.publisher_home.done(&["source", "list"]);
        self.cut("the first use of a version");
        self.publishing();
        self.subscribing();
        self.running();
        self.keeping();
        let said = std::fs::read_to_string(self.home.home().root().join("state-notice.txt"));
        assert!(said.is_err(), "nothing had to be mended: {said:?}");
    }
}

fn ext4() -> PoweredVolume {
    // Nothing is written but what is flushed: else ext4 does it every five seconds by itself.
    PoweredVolume::new("mkfs.ext4", &["-q"], 3 << 30, "commit=600")
}

fn xfs() -> PoweredVolume {
    PoweredVolume::new("mkfs.xfs", &["-q"], 3 << 30, "")
}

#[test]
fn nothing_that_was_confirmed_is_lost_with_the_power() {
    let rounds = if std::env::var_os("LIVEPC_TEST_LONG").is_some() {
        4
    } else {
        1
    };
    let mut cuts = 0;
    for round in 0..rounds {
        let volumes: &[fn() -> PoweredVolume] = if rounds > 1 { &[ext4, xfs] } else { &[ext4] };
        for volume in volumes {
            let mut world = World::new(volume());
            world.live();
            cuts += world.cuts;
        }
        println!("{cuts} cuts after round {round}, nothing lost");
    }
}

/// What kills alone would not show: without the flush the same file is there after a kill.
#[test]
fn the_cut_takes_what_is_not_flushed_and_leaves_what_is() {
    for volume in [ext4(), xfs()] {
        let (flushed, not) = (volume.path().join("flushed"), volume.path().join("not"));
        livepc_durable::write(&flushed, livepc_durable::Readers::User, b"1").expect("it is written");
        std::fs::write(&not, "2").expect("it is written, to memory");
        volume.cut();
        volume.restore();
        assert_eq!(std::fs::read(&flushed).expect("it is there"), b"1");
        assert!(
            std::fs::read(&not).map_or(true, |left| left != b"2"),
            "it is lost"
        );
    }
}
