//! Kills by the hundred, at any moment of what changes the store: it opens, all that it claims to have is what was published,
//! and work goes on where it was.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use livepc_format::index::ChunkTable;
use livepc_format::{PackId, paths};
use livepc_store::{Store, StoreError};
use livepc_tests::forge::Site;
use livepc_tests::home::kill;
use livepc_tests::lab::Lab;
use livepc_tests::origin::Random;

const MIB: usize = 12;
/// What is killed, and how often of sixteen times.
const VERBS: [(&[&str], usize); 6] = [
    (&["download", "lab"], 5),
    (&["update", "lab"], 4),
    (&["verify", "lab", "--repair"], 3),
    (&["prune"], 2),
    (&["unsubscribe", "lab", "--delete-data"], 1),
    (&["subscribe"], 1),
];
/// A kill comes at most so long after the verb's beginning: most are done by then.
const LATEST: Duration = Duration::from_millis(400);
/// After so many kills all must be well again, without one in between.
const ROW: u32 = 10;
/// Where the pages begin in a local pack file.
const PAGES_AT: u64 = 274_432;

fn enough() -> u32 {
    if std::env::var_os("LIVEPC_TEST_LONG").is_some() {
        400
    } else {
        80
    }
}

struct Kills {
    lab: Lab,
    release: u8,
    random: Random,
    /// Pages of packs that are damaged on purpose.
    damaged: Vec<(PackId, u32)>,
    /// Bytes whose claims were checked.
    checked: u64,
}

impl Kills {
    /// One of the verbs, ended at a moment that nobody chose; gives its name.
    fn one(&mut self) -> &'static str {
        let all = VERBS
            .iter()
            .flat_map(|(verb, times)| std::iter::repeat_n(*verb, *times));
        let verb = all.collect::<Vec<_>>()[self.random.below(16)];
        let feed = self.lab.feed();
        let args = match verb {
            ["subscribe"] => vec!["subscribe", &feed, "--yes"],
            verb => verb.to_vec(),
        };
        let after = LATEST.mul_f64(self.random.below(1000) as f64 / 1000.0);
        let client_first = self.random.below(2) == 0;
        let mut client = self.lab.home.spawn(&args);
        // No event tells when something is half done: the moment is chosen by chance.
        std::thread::sleep(after);
        if client_first {
            kill(client.id());
        }
        for agent in self.lab.home.processes("agent") {
            kill(agent);
        }
        if !client_first {
            // It meets an agent that is gone, and may start another.
            std::thread::sleep(after / 4);
            kill(client.id());
        }
        let _ = client.wait();
        for agent in self.lab.home.processes("agent") {
            kill(agent);
        }
        verb[0]
    }

    /// The store, which no process has any longer.
    fn store(&self) -> Option<Store> {
        let folder = self.lab.home.home().store();
        if !folder.join("store.json").is_file() {
            return None; // It was not made yet.
        }
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match Store::open(&folder) {
                Ok(store) => return Some(store),
                // A killed process takes a moment to be gone.
                Err(StoreError::InUse(_)) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("the store must open: {error}"),
            }
        }
    }

    /// The packs that the store has files of, with their tables.
    fn packs(&self) -> Vec<(PathBuf, ChunkTable)> {
        let list = |folder: PathBuf| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path())
        };
        let folders = list(self.lab.home.home().store().join("packs"));
        let files = folders
            .flat_map(list)
            .filter(|file| file.extension().is_some_and(|e| e == "pages"));
        let site = Site::of(&self.lab.publisher);
        let packs = files.filter_map(|file| {
            let id = PackId(file.file_stem()?.to_str()?.parse().ok()?);
            let table = site.read(&paths::object(&id.0));
            Some((file, ChunkTable::open(&table, id).expect("a published table")))
        });
        packs.collect()
    }

    /// Everything that the store claims to have must be what was published.
    fn check(&mut self, what: &str) {
        let Some(store) = self.store() else { return };
        for (_, table) in self.packs() {
            let report = store.verify(&table, false).expect("it can be read");
            self.checked += report.bytes;
            for pages in &report.damaged {
                let known = |(pack, page): &(PackId, u32)| *pack == table.id() && pages.contains(page);
                assert!(
                    self.damaged.iter().any(known),
                    "after a kill of `{what}` pages {pages:?} of pack {} are claimed, and are not what was published",
                    table.id()
                );
            }
            assert!(
                !report.lost,
                "after a kill of `{what}` the file of pack {} is lost",
                table.id()
            );
        }
    }

    /// Damages one page, for `verify --repair` to find.
    fn damage(&mut self) {
        let packs = self.packs();
        if packs.is_empty() {
            return;
        }
        let (file, table) = &packs[self.random.below(packs.len())];
        let page = table.chunks()[self.random.below(table.chunks().len())].first_page;
        let at = PAGES_AT + u64::from(page) * 4096;
        let mut file = File::options().write(true).open(file).expect("the file");
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.write_all(&[0x5a; 16]))
            .expect("it is damaged");
        self.damaged.push((table.id(), page));
    }

    /// Without a kill everything works, and a next release is published.
    fn settle(&mut self) {
        let home = &self.lab.home;
        // A subscription that is there already is no reason to fail.
        let _ = home.run(&["subscribe", &self.lab.feed(), "--yes"]);
        home.done(&["update", "lab"]);
        home.done(&["verify", "lab", "--repair"]);
        home.done(&["download", "lab"]);
        assert_eq!(home.listed()["complete"], true);
        let out = self.lab.work.path().join("out.raw");
        let _ = std::fs::remove_file(&out);
        home.done(&["export", "lab", out.to_str().expect("UTF-8")]);
        let published = std::fs::read(self.lab.disk(self.release)).expect("the disk");
        assert!(
            std::fs::read(&out).expect("the export") == published,
            "release {} is what was published",
            self.release
        );
        self.damaged.clear();
        home.done(&["agent", "stop"]);
        self.release += 1;
        self.lab.publish(self.release, &[]);
        self.damage();
    }
}

#[test]
fn after_hundreds_of_kills_every_claim_is_true_and_nothing_is_stuck() {
    let mut kills = Kills {
        lab: Lab::subscribed(MIB),
        release: 1,
        random: Random::new(88_172_645_463_325_252),
        damaged: Vec::new(),
        checked: 0,
    };
    kills.lab.server.set_bytes_per_second(Some(40 << 20));
    let mut count: BTreeMap<&str, u32> = BTreeMap::new();
    for n in 1..=enough() {
        let verb = kills.one();
        *count.entry(verb).or_default() += 1;
        kills.check(verb);
        if n % ROW == 0 {
            kills.settle();
        }
    }
    println!(
        "{count:?} kills, {} releases, {:.1} GB of claims checked",
        kills.release,
        kills.checked as f64 / 1e9
    );
}
