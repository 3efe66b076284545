//! What becomes of the state when its file or a part of it is damaged.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use jiff::Timestamp;
use livepc_format::feed::Feed;
use livepc_format::head::{FetchBytes, ReleaseState};
use livepc_format::{Digest, Head, Keys, Release, SecretKey};
use livepc_protocol::UpdatePolicy;
use tempfile::TempDir;
use url::Url;

use super::*;
use crate::agent::Owner;
use crate::published::{Kind, Known, Published, Trouble};
use crate::subscription::{self, Subscription};

#[test]
fn a_newer_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 999).unwrap();
    drop(newer);
    let before = std::fs::read(&path).unwrap();
    assert_eq!(Database::open(&path).unwrap_err().code, Code::UpdateLivepc);
    assert_eq!(std::fs::read(&path).unwrap(), before, "not a byte may change");
}

#[test]
fn settings_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    Database::open(&path).unwrap().set("a", "1").unwrap();
    let again = Database::open(&path).unwrap();
    again.set("b", "2").unwrap();
    assert_eq!(again.setting("a").unwrap().as_deref(), Some("1"));
    assert_eq!(again.setting("c").unwrap(), None);
}

/// The file's pages cannot grow as long as the reserve takes the space, as on a disk that is full.
#[test]
fn what_is_in_reserve_is_given_up_when_the_disk_is_full_and_is_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let reserve = path.with_extension("reserve");
    let database = Database::open(&path).unwrap();
    let grow = || {
        database.work(|connection| {
            let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let space = if reserve.exists() { 0 } else { 100 };
            connection.pragma_update(None, "max_page_count", pages + space)?;
            let value = "x".repeat(50 * 4096);
            connection.execute(
                "INSERT OR REPLACE INTO setting VALUES (?1, ?2)",
                [pages.to_string(), value],
            )
        })
    };
    assert!(reserve.is_file(), "this test needs a disk that is not full");
    grow().expect("there is room for it now");
    assert!(!reserve.exists());
    database.keep_copy(false);
    assert!(reserve.is_file());
    // From now on nothing that is given up makes room.
    let full = database.work(|connection| connection.pragma_update(None, "max_page_count", 1));
    full.unwrap();
    let problem = database.set("large", &"x".repeat(1 << 20)).unwrap_err();
    assert_eq!(problem.code, Code::DiskFull, "{problem}");
    assert!(!reserve.exists(), "it was tried with all there is");
}

/// A publisher.
struct Publisher {
    root: SecretKey,
    signing: SecretKey,
    name: &'static str,
}

impl Publisher {
    fn new(name: &'static str) -> Self {
        Self {
            root: SecretKey::generate().unwrap(),
            signing: SecretKey::generate().unwrap(),
            name,
        }
    }

    /// What the server says at this revision, with as many releases.
    fn says(&self, revision: u64) -> Published {
        let keys = Keys::new(
            self.root.public_key().unwrap(),
            self.name,
            self.signing.public_key().unwrap(),
            Timestamp::UNIX_EPOCH,
        );
        let release = |sequence: u64| Release {
            sequence,
            label: sequence.to_string(),
            created: Timestamp::UNIX_EPOCH,
            manifest: Digest::of(&sequence.to_le_bytes()),
            manifest_bytes: 1,
            channel: "stable".into(),
            state: ReleaseState::Current,
            gone_after: None,
            boot_map: None,
            bytes: FetchBytes::default(),
            patches: vec![],
        };
        let head = Head {
            version: 1,
            requires: vec![],
            livepc: keys.livepc(),
            epoch: keys.epoch(),
            revision,
            issued: Timestamp::UNIX_EPOCH,
            expires: None,
            mirrors: vec![],
            releases: (1..=revision).rev().map(release).collect(),
        };
        let head_url = self.feed_url().join("head.json").unwrap();
        let feed = Feed {
            title: self.name.to_uppercase(),
            summary: String::new(),
            publisher: String::new(),
            logo: None,
            updated: None,
            categories: vec![],
            head: head_url.clone(),
            address: None,
            moved_to: None,
            entries: vec![],
        };
        Published {
            feed: Some(feed),
            feed_url: self.feed_url(),
            head_url,
            keys_bytes: Some(keys.seal(&self.root).unwrap()),
            head_bytes: head.seal(&self.signing).unwrap(),
            keys,
            head,
            known: Known::default(),
        }
    }

    fn feed_url(&self) -> Url {
        format!("https://{}.example/feed.xml", self.name).parse().unwrap()
    }

    fn subscribe(&self, database: &Database) -> String {
        let published = self.says(1);
        let fingerprint = published.keys.root.fingerprint();
        let nobody = |_: &str| Ok(Owner::Nobody);
        subscription::add(database, &published, &fingerprint, nobody, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn accept(&self, database: &Database, revision: u64) -> Result<(), Trouble> {
        let published = self.says(revision);
        subscription::accept(database, self.name, &published, Timestamp::UNIX_EPOCH).map(drop)
    }
}

/// A state with two subscriptions, of which there is a copy; then much was told that the copy does not have.
struct State {
    folder: TempDir,
    lab: Publisher,
    /// Ended after the copy.
    old: Publisher,
}

impl State {
    fn new() -> Self {
        let state = Self {
            folder: tempfile::tempdir().unwrap(),
            lab: Publisher::new("lab"),
            old: Publisher::new("old"),
        };
        let database = state.open();
        state.lab.subscribe(&database);
        state.old.subscribe(&database);
        config(&database, "0");
        database.keep_copy(true);
        state.lab.accept(&database, 5).unwrap();
        subscription::keep_changes(&database, "lab", true).unwrap();
        subscription::pin(&database, "lab", Some(2)).unwrap();
        subscription::set_policy(&database, "lab", UpdatePolicy::Notify).unwrap();
        subscription::used(&database, "lab", 2, Timestamp::UNIX_EPOCH).unwrap();
        subscription::ended(&database, "lab", 2, None, true).unwrap();
        subscription::remove(&database, "old").unwrap();
        state
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    fn open(&self) -> Database {
        Database::open(&self.path()).expect("it opens, whatever happened")
    }

    fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// All that was told must be so.
    fn check(&self, database: &Database, how: &str) -> Subscription {
        let all = subscription::all(database).unwrap();
        let ids: Vec<_> = all.iter().map(|found| found.id.as_str()).collect();
        assert_eq!(ids, ["lab"], "{how}: what was ended does not come back");
        let lab = all[0].clone();
        assert_eq!(
            (
                lab.head.revision,
                lab.keep_changes,
                lab.pinned,
                lab.policy,
                lab.in_use
            ),
            (5, true, Some(2), UpdatePolicy::Notify, Some(2)),
            "{how}"
        );
        assert_eq!(lab.keys.root, self.lab.root.public_key().unwrap(), "{how}");
        let ran = subscription::history(database, "lab").unwrap().ran;
        assert!(ran.contains(&2), "{how}");
        let older = self.lab.accept(database, 4).unwrap_err();
        assert_eq!(older.kind, Kind::Behind, "{how}: an older list of releases");
        self.lab.accept(database, 5).expect("the same");
        lab
    }

    fn damaged_files(&self) -> usize {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".damaged-")).count()
    }
}

fn config(database: &Database, rate: &str) {
    database.set("download.max-bytes-per-second", rate).unwrap();
}

#[test]
fn whatever_becomes_of_the_file_what_was_told_is_so() {
    type Damage = fn(&mut Vec<u8>);
    let ways: [(&str, Damage); 6] = [
        ("no database", |bytes| bytes.fill(b'x')),
        ("its first page is zero", |bytes| bytes[..4096].fill(0)),
        ("zeros in the middle", |bytes| {
            let len = bytes.len();
            bytes[4096..len - 4096].fill(0);
        }),
        ("cut in half", |bytes| bytes.truncate(bytes.len() / 2)),
        ("the subscription's page is another's", |bytes| {
            let page = bytes[4096..8192].to_vec();
            let name = b"https://lab.example/feed.xml";
            let at = bytes.windows(name.len()).position(|found| found == name).unwrap() & !4095;
            bytes[at..at + 4096].copy_from_slice(&page);
        }),
        ("empty", Vec::clear),
    ];
    for copy in [true, false] {
        for (how, damage) in ways {
            let how = format!("{how}, with a copy: {copy}");
            let state = State::new();
            let mut bytes = std::fs::read(state.path()).unwrap();
            damage(&mut bytes);
            std::fs::write(state.path(), bytes).unwrap();
            if !copy {
                std::fs::remove_file(copy::file(&state.path())).unwrap();
            }
            let database = state.open();
            state.check(&database, &how);
            let setting = database.setting("download.max-bytes-per-second").unwrap();
            assert_eq!(setting.is_some(), copy, "{how}");
            assert_eq!(state.damaged_files(), 1, "{how}: the damaged one is kept");
            let told = &database.set_aside().unwrap()[0];
            assert_eq!(told.what, "database", "{how}");
            let notice = state.folder.path().join(livepc_protocol::Home::NOTICE);
            assert!(
                std::fs::read_to_string(notice).unwrap().contains("was damaged"),
                "{how}"
            );
            assert_eq!(database.has_lost().unwrap(), !copy, "{how}");
            drop(database);
            let again = state.open();
            state.check(&again, &how);
            assert_eq!(again.set_aside().unwrap().len(), 1, "{how}: it is told once");
        }
    }
}

#[test]
fn a_file_that_is_gone_is_made_again() {
    let state = State::new();
    std::fs::remove_file(state.path()).unwrap();
    state.check(&state.open(), "gone");
}

#[test]
fn a_copy_that_is_damaged_is_not_used() {
    let state = State::new();
    for file in [state.path(), copy::file(&state.path())] {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[4096..].fill(0);
        std::fs::write(&file, bytes).unwrap();
    }
    let database = state.open();
    state.check(&database, "both damaged");
}

#[test]
fn a_database_that_is_older_than_the_files_learns_from_them() {
    let state = State::new();
    std::fs::copy(copy::file(&state.path()), state.path()).unwrap();
    let database = state.open();
    let older = state.lab.accept(&database, 4).unwrap_err();
    assert_eq!(older.kind, Kind::Behind, "somebody put an old state back");
}

#[test]
fn damage_that_shows_while_it_is_used_is_mended() {
    let state = State::new();
    let database = state.open();
    subscription::all(&database).unwrap();
    // A change by somebody else, so that it reads the file again; then all pages but the first are damaged.
    state
        .raw()
        .execute_batch("INSERT INTO setting VALUES ('x', 'y'); PRAGMA wal_checkpoint(TRUNCATE);")
        .unwrap();
    let mut file = std::fs::File::options().write(true).open(state.path()).unwrap();
    let len = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0x5a; (len - 4096) as usize]).unwrap();
    let mut told = Vec::new();
    let read = (0..10).find_map(|_| {
        subscription::all(&database)
            .map_err(|problem| told.push(problem))
            .ok()
    });
    assert!(read.is_some(), "it works again: {told:?}");
    assert!(
        told.iter().any(|problem| problem.message.contains("damaged")),
        "{told:?}"
    );
    state.check(&database, "while it was used");
}

#[test]
fn a_bad_row_is_set_aside_and_mended_if_it_can_be() {
    let spoil = [
        "UPDATE subscription SET head = x'00'",
        "UPDATE subscription SET keys = 'nonsense'",
        "UPDATE subscription SET title = x'ff'",
        "UPDATE subscription SET feed_url = 'nowhere'",
        "UPDATE subscription SET keep_changes = 'maybe'",
        "UPDATE subscription SET pinned = -1",
        "UPDATE seen_release SET manifest = 'none'",
    ];
    for sql in spoil {
        let state = State::new();
        state.raw().execute(sql, []).unwrap();
        let database = state.open();
        state.check(&database, sql);
        assert!(!database.set_aside().unwrap().is_empty(), "{sql}");
        assert!(!database.has_lost().unwrap(), "{sql}");
    }
}

#[test]
fn a_bad_row_that_cannot_be_mended_is_in_nobodys_way() {
    let state = State::new();
    let other = Publisher::new("other");
    other.subscribe(&state.open());
    state
        .raw()
        .execute("UPDATE subscription SET head = x'00' WHERE id = 'lab'", [])
        .unwrap();
    std::fs::write(state.folder.path().join("subscriptions/lab.json"), "torn").unwrap();
    let database = state.open();
    let ids: Vec<_> = subscription::all(&database)
        .unwrap()
        .into_iter()
        .map(|s| s.id)
        .collect();
    assert_eq!(ids, ["other"]);
    let problem = subscription::find(&database, "lab").unwrap_err();
    assert!(problem.message.contains("set aside"), "{problem}");
    assert!(database.has_lost().unwrap(), "what it needs is not removed");
    let notice = state.folder.path().join(livepc_protocol::Home::NOTICE);
    assert!(std::fs::read_to_string(notice).unwrap().contains("“lab”"));
    state.lab.subscribe(&database);
    assert_eq!(subscription::find(&database, "lab").unwrap().head.revision, 1);
}

#[test]
fn bad_rows_of_other_tables_are_set_aside() {
    for (sql, what) in [
        ("INSERT INTO setting VALUES ('x', x'ff')", "setting"),
        ("INSERT INTO login VALUES ('x', x'ff', 'file')", "login"),
        ("INSERT INTO job (active, data) VALUES (1, 'torn')", "job"),
        (
            "INSERT INTO source (url, place, title) VALUES ('no address', 1, 'x')",
            "source",
        ),
        (
            "INSERT INTO source (url, place, title) VALUES ('https://a/', 1, x'ff')",
            "source",
        ),
    ] {
        let state = State::new();
        state.raw().execute(sql, []).unwrap();
        let database = state.open();
        assert_eq!(database.set_aside().unwrap()[0].what, what);
        state.check(&database, what);
    }
}

/// How a flush that is missing would be noticed without a power cut: by what the connection was told.
#[test]
fn what_is_told_is_flushed_and_the_rest_is_not() {
    let state = State::new();
    let database = state.open();
    let synchronous = || -> i64 {
        database
            .work(|connection| connection.pragma_query_value(None, "synchronous", |row| row.get(0)))
            .unwrap()
    };
    assert_eq!(synchronous(), 2, "FULL");
    database
        .run_lazily("UPDATE subscription SET checked = 'x'", [])
        .unwrap();
    assert_eq!(synchronous(), 2, "and again afterwards");
}

/// Twenty who subscribe and ask at once, as windows and verbs do: each reads, decides, and then writes.
#[test]
fn what_many_decide_at_once_is_decided_one_after_another() {
    for round in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("state.db")).unwrap();
        let lab = Publisher::new("lab");
        std::thread::scope(|scope| {
            let crowd: Vec<_> = (0..20)
                .map(|_| scope.spawn(|| lab.subscribe(&database)))
                .collect();
            for one in crowd {
                assert_eq!(one.join().expect("nobody fails"), "lab", "round {round}");
            }
            for revision in 2..12 {
                let (lab, database) = (&lab, &database);
                // Who is late hears that there is something newer, and nothing else.
                scope.spawn(move || {
                    lab.accept(database, revision)
                        .or_else(|trouble| match trouble.kind {
                            Kind::Behind => Ok(()),
                            _ => Err(trouble),
                        })
                        .unwrap();
                });
            }
        });
        let head = &subscription::find(&database, "lab").unwrap().head;
        assert_eq!(head.revision, 11, "round {round}: the newest stays");
    }
}
