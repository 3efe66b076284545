//! The power goes in the middle of what is done, at a moment that nobody chose: the home opens, it works, nothing that was
//! confirmed before is lost, all that it claims to have is there, and what a publisher's folder has can be read by others.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use livepc_tests::forge::disk;
use livepc_tests::home::TestHome;
use livepc_tests::origin::{Origin, Random};
use livepc_tests::powered::PoweredVolume;
use livepc_tests::publisher::Publisher;
use tempfile::TempDir;

const MIB: usize = 8;
/// The power goes at most so long after the beginning of what is done: most is done by then.
const LATEST: Duration = Duration::from_millis(600);
/// After so many cuts all must be well again, without one in between.
const ROW: u32 = 8;
/// What somebody wrote to their own disk.
const MARK: [u8; 16] = *b"what I wrote !!!";
const MARK_AT: u64 = 5 << 20;

const SUBSCRIBER: [&[&str]; 14] = [
    &["download", "lab"],
    &["update", "lab"],
    &["start", "lab", "--display", "none", "--no-fill"],
    &["stop", "lab", "--force"],
    &["suspend", "lab"],
    &["download", "lab"],
    &["verify", "lab", "--repair"],
    &["prune"],
    &["keep", "lab"],
    &["reset", "lab", "--yes"],
    &["pin", "lab", "--release", "1"],
    &["pin", "lab", "--newest"],
    &["subscribe"],
    &["store", "move"],
];
const PUBLISHER: [&[&str]; 4] = [
    &["publish"],
    &["key", "rotate"],
    &["publish"],
    &["catalog", "add"],
];

fn enough() -> u32 {
    if std::env::var_os("LIVEPC_TEST_LONG").is_some() {
        200
    } else {
        16
    }
}

struct World {
    /// The homes first: they are ended before their disk goes.
    home: TestHome,
    publisher_home: TestHome,
    /// Somebody else, whose power stays.
    other: TestHome,
    volume: PoweredVolume,
    work: TempDir,
    published: Publisher,
    server: Origin,
    release: u8,
    own_release: u8,
    random: Random,
    stores: u32,
    rate: u64,
}

impl World {
    fn new(volume: PoweredVolume, seed: u64) -> Self {
        let work = tempfile::tempdir().expect("a folder");
        let published = Publisher::new(&disk(work.path(), "1.raw", MIB, 1), "Lab");
        published.own_disk("user", "8 MiB", "label = \"own\"");
        published.publish(&[]);
        let server = Origin::start(published.site()).expect("the origin starts");
        server.set_bytes_per_second(Some(40 << 20));
        let mut world = Self {
            home: TestHome::new_in(&volume.path()),
            publisher_home: TestHome::new_in(&volume.path()),
            other: TestHome::new(),
            volume,
            work,
            published,
            server,
            release: 1,
            own_release: 0,
            random: Random::new(seed),
            stores: 0,
            rate: 0,
        };
        world.begin();
        world
    }

    fn feed(&self) -> String {
        format!("{}feed.xml", self.server.url())
    }

    fn project(&self) -> PathBuf {
        self.volume.path().join("project")
    }

    fn site(&self) -> PathBuf {
        self.volume.path().join("www")
    }

    fn own_feed(&self) -> String {
        self.site().join("feed.xml").display().to_string()
    }

    fn user_disk(&self) -> PathBuf {
        self.home.home().machine("lab").join("user.raw")
    }

    /// What was confirmed before any cut.
    fn begin(&mut self) {
        self.home.done(&["subscribe", &self.feed(), "--yes"]);
        self.home
            .done(&["start", "lab", "--display", "none", "--no-fill"]);
        self.home.done(&["stop", "lab", "--force"]);
        let mut own = std::fs::File::options().write(true).open(self.user_disk());
        let own = own.as_mut().expect("the own disk");
        own.seek(SeekFrom::Start(MARK_AT))
            .and_then(|_| own.write_all(&MARK))
            .and_then(|()| own.sync_all())
            .expect("it is written");
        self.publisher_home.done(&["key", "new", "--no-password"]);
        self.change_own_disk();
        let (source, project) = (self.own_source(), self.project().display().to_string());
        self.publisher_home
            .done(&["project", "init", &source, "--name", "Own", "--dir", &project]);
        let site = self.site().display().to_string();
        self.publisher_home.done(&["publish", &project, "--to", &site]);
        let catalog = self.volume.path().join("catalog.xml").display().to_string();
        self.publisher_home
            .done(&["catalog", "init", &catalog, "--title", "All"]);
        self.other.done(&["subscribe", &self.own_feed(), "--yes"]);
        // What the publisher's files are based on lies here too.
        self.volume.sync();
    }

    fn own_source(&self) -> String {
        self.work.path().join("own.raw").display().to_string()
    }

    fn change_own_disk(&mut self) {
        self.own_release += 1;
        let _ = disk(self.work.path(), "own.raw", 2, self.own_release);
    }

    fn arguments(&mut self, verb: &[&str]) -> Vec<String> {
        let path = |name: &str| self.volume.path().join(name).display().to_string();
        let more = match verb {
            ["subscribe"] => vec![self.feed(), "--yes".to_owned()],
            ["store", "move"] => {
                self.stores += 1;
                vec![path(&format!("store-{}", self.stores))]
            }
            ["publish"] => vec![path("project"), "--to".to_owned(), path("www")],
            ["key", "rotate"] => vec!["--no-password".to_owned()],
            ["catalog", "add"] => vec![path("catalog.xml"), "--feed".to_owned(), self.own_feed()],
            _ => Vec::new(),
        };
        verb.iter().map(ToString::to_string).chain(more).collect()
    }

    /// Something is begun, and the power goes; gives what it was.
    fn one(&mut self) -> String {
        // What nobody is asked about later.
        self.rate += 1_000_000;
        let rate = self.rate.to_string();
        self.home
            .done(&["config", "set", "download.max-bytes-per-second", &rate]);
        let is_publisher = self.random.below(4) == 0;
        let verb = if is_publisher {
            PUBLISHER[self.random.below(PUBLISHER.len())]
        } else {
            SUBSCRIBER[self.random.below(SUBSCRIBER.len())]
        };
        if verb[0] == "publish" {
            self.change_own_disk();
        }
        let arguments = self.arguments(verb);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let home = if is_publisher {
            &self.publisher_home
        } else {
            &self.home
        };
        let mut client = home.spawn(&arguments);
        // No event tells when something is half done: the moment is chosen by chance.
        std::thread::sleep(LATEST.mul_f64(self.random.below(1000) as f64 / 1000.0));
        self.volume.cut();
        let _ = client.kill();
        let _ = client.wait();
        self.volume.restore();
        verb.join(" ")
    }

    fn check(&self, after: &str) {
        let settings = self
            .home
            .done(&["config", "get", "download.max-bytes-per-second"]);
        let rate = &settings["settings"]["download.max-bytes-per-second"];
        assert_eq!(
            *rate,
            self.rate.to_string(),
            "after {after}: a setting that was confirmed"
        );
        assert_eq!(self.home.listed()["id"], "lab", "after {after}");
        let mut mark = [0; MARK.len()];
        let mut own = std::fs::File::open(self.user_disk()).expect("the own disk");
        own.seek(SeekFrom::Start(MARK_AT))
            .and_then(|_| own.read_exact(&mut mark))
            .expect("it can be read");
        assert_eq!(mark, MARK, "after {after}: the own disk");
        let verified = self.home.run(&["verify", "lab"]);
        assert_eq!(verified.code, 0, "after {after}: {}", verified.text);
        let notice = std::fs::read_to_string(self.home.home().root().join("state-notice.txt"));
        assert!(
            notice.is_err(),
            "after {after} the state had to be mended: {notice:?}"
        );
        // Others read on: what they find is as it was, or as it is to be.
        let read = self.other.run(&["update", "own"]);
        assert_eq!(read.code, 0, "after {after} others cannot read: {}", read.text);
    }

    /// Without a cut everything works, and a next release is published.
    fn settle(&mut self) {
        let home = &self.home;
        let _ = home.run(&["stop", "lab", "--force"]);
        home.done(&["pin", "lab", "--newest"]);
        home.done(&["update", "lab"]);
        home.done(&["download", "lab"]);
        let out = self.work.path().join("out.raw");
        let _ = std::fs::remove_file(&out);
        home.done(&["export", "lab", out.to_str().expect("UTF-8")]);
        let published = std::fs::read(self.work.path().join(format!("{}.raw", self.release)));
        assert!(
            std::fs::read(&out).expect("the export") == published.expect("the disk"),
            "release {} is what was published",
            self.release
        );
        self.release += 1;
        let next = disk(
            self.work.path(),
            &format!("{}.raw", self.release),
            MIB,
            self.release,
        );
        self.published.project(&next, "Lab");
        self.published.own_disk("user", "8 MiB", "label = \"own\"");
        self.published.publish(&[]);

        self.change_own_disk();
        let (project, site) = (self.project(), self.site());
        let [project, site] = [&project, &site].map(|path| path.to_str().expect("UTF-8"));
        self.publisher_home.done(&["publish", project, "--to", site]);
        self.other.done(&["update", "own"]);
        let out = self.work.path().join("own-out.raw");
        let _ = std::fs::remove_file(&out);
        self.other.done(&["export", "own", out.to_str().expect("UTF-8")]);
        assert!(
            std::fs::read(&out).expect("the export") == std::fs::read(self.own_source()).expect("the disk"),
            "what others have is what was published"
        );
    }
}

#[test]
fn the_power_goes_at_any_moment_and_everything_goes_on() {
    // Nothing is written but what is flushed: else ext4 does it every five seconds by itself.
    let volume = PoweredVolume::new("mkfs.ext4", &["-q"], 3 << 30, "commit=600");
    let mut world = World::new(volume, 88_172_645_463_325_252);
    let mut count: BTreeMap<String, u32> = BTreeMap::new();
    for n in 1..=enough() {
        let verb = world.one();
        world.check(&verb);
        *count.entry(verb).or_default() += 1;
        if n % ROW == 0 {
            world.settle();
        }
    }
    println!("{count:?} cuts, {} releases", world.release);
}
