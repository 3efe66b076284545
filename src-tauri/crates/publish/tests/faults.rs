//! What goes wrong while a release is made, and what subscribers see of it: nothing.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod support;

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use livepc_format::manifest::Licence;
use livepc_format::{Digest, FileSystem, Head, Keys, SecretKey, paths};
use livepc_publish::{
    Destination, Folder, Lock, Phase, Progress, ProjectContent, ProjectDisk, PublishError, PublishOptions,
    Put, Result, publish, renew,
};
use support::{MIB, PAGE, Publisher, Site, files, noise};

/// A folder that fails once: at the nth write, before or after it is done.
struct Failing<'a> {
    folder: &'a Folder,
    left: AtomicUsize,
    after: bool,
}

impl Failing<'_> {
    fn write<T>(&self, write: impl FnOnce() -> Result<T>) -> Result<T> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        assert!(left > 0, "nothing is written after a failure");
        if left > 1 {
            return write();
        }
        if self.after {
            write()?;
        }
        Err(PublishError::Io {
            what: "writing".into(),
            error: io::ErrorKind::StorageFull.into(),
        })
    }
}

impl Destination for Failing<'_> {
    fn name(&self) -> String {
        self.folder.name()
    }

    fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        self.folder.read(path, limit)
    }

    fn size(&self, path: &str) -> Result<Option<u64>> {
        self.folder.size(path)
    }

    fn put_new(&self, path: &str, bytes: &[u8]) -> Result<Put> {
        self.write(|| self.folder.put_new(path, bytes))
    }

    fn replace(&self, path: &str, bytes: &[u8], expected: Option<Digest>) -> Result<()> {
        self.write(|| self.folder.replace(path, bytes, expected))
    }

    fn lock(&self) -> Result<Lock> {
        self.folder.lock()
    }
}

#[test]
fn a_publication_that_stops_anywhere_is_repeated() {
    let first = noise(1, 2 * MIB);
    let second = noise(2, 2 * MIB);
    // The first publication, and then an update.
    for published in [0, 1] {
        for after in [false, true] {
            let mut failures = 0;
            for left in 1.. {
                let publisher = Publisher::new(&first);
                if published == 1 {
                    publisher.publish().unwrap();
                    publisher.set_disk(&second);
                }
                let failing = Failing {
                    folder: &publisher.dest,
                    left: AtomicUsize::new(left),
                    after,
                };
                let options = publisher.options();
                let run = |dest: &dyn Destination| {
                    publish(
                        &publisher.project,
                        dest,
                        &publisher.keys,
                        &options,
                        &livepc_publish::Silent,
                    )
                };
                let Err(error) = run(&failing) else { break };
                assert!(error.is_disk_full(), "{error}");
                failures += 1;
                let stale = matches!(error, PublishError::FeedStale { .. });
                let head = publisher.site().join("head.json").exists();
                let announced = head && Site::open(publisher.site()).head.releases.len() as u64 > published;
                if !after {
                    assert_eq!(
                        stale, announced,
                        "it says whether the release is published: {error}"
                    );
                }
                if published == 1 {
                    let site = Site::open(publisher.site());
                    for release in &site.head.releases {
                        let disk = if release.sequence == 1 { &first } else { &second };
                        assert!(site.read(release.sequence).disks[0] == *disk);
                    }
                }
                let kept = files(publisher.site());
                let again = publisher.publish().expect("it is simply done again");
                assert_eq!(
                    again.changed, !announced,
                    "what is published is not published again"
                );
                for (name, bytes) in files(publisher.site()) {
                    if !matches!(name.as_str(), "head.json" | "feed.xml") {
                        assert!(kept.get(&name).is_none_or(|old| *old == bytes), "{name} stays");
                    }
                }
                let site = Site::open(publisher.site());
                let newest = published + 1;
                assert_eq!(
                    site.head.releases.len() as u64,
                    newest,
                    "no release is made twice"
                );
                site.check_bytes(newest);
                let feed = publisher.dest.read("feed.xml", 1 << 20).unwrap().unwrap();
                assert!(
                    String::from_utf8(feed)
                        .unwrap()
                        .contains(&format!(":{newest}</id>")),
                    "the feed tells the newest release"
                );
            }
            assert!(failures > 8, "there are many files to fail at, not {failures}");
        }
    }
}

/// Keys and head are two files: there is a moment between them.
#[test]
fn a_new_signing_key_that_is_not_quite_published_is_published_again() {
    let mut between = 0;
    for after in [false, true] {
        for left in 1.. {
            let mut publisher = Publisher::new(&noise(1, MIB));
            publisher.publish().unwrap();
            publisher.keys.signing = SecretKey::generate().unwrap();
            let failing = Failing {
                folder: &publisher.dest,
                left: AtomicUsize::new(left),
                after,
            };
            let now = support::now();
            let Err(error) = renew(&publisher.project, &failing, &publisher.keys, now) else {
                break;
            };
            assert!(error.is_disk_full(), "{error}");
            let read = |path: &str| fs::read(publisher.site().join(path)).unwrap();
            let keys = Keys::open(&read(paths::KEYS)).unwrap();
            between += usize::from(Head::open(&read(paths::HEAD), &keys).is_err());
            assert!(!publisher.publish().unwrap().changed, "it is simply done again");
            let site = Site::open(publisher.site());
            assert_eq!(
                (site.keys.epoch(), site.head.epoch, site.head.releases.len()),
                (2, 2, 1),
                "the key is added once"
            );
        }
    }
    assert_eq!(between, 2, "before the head, and after the keys");
}

/// Does something once, when a phase begins.
struct At<'a> {
    phase: Phase,
    act: Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>,
}

impl<'a> At<'a> {
    fn new(phase: Phase, act: impl FnOnce() + Send + 'a) -> Self {
        Self {
            phase,
            act: Mutex::new(Some(Box::new(act))),
        }
    }
}

impl Progress for At<'_> {
    fn report(&self, phase: Phase, _done: u64, _total: u64) {
        if phase == self.phase
            && let Some(act) = self.act.lock().unwrap().take()
        {
            act();
        }
    }
}

#[test]
fn a_disk_that_changes_meanwhile_is_not_published() {
    let disk = noise(1, 2 * MIB);
    let publisher = Publisher::new(&disk);
    publisher.publish().unwrap();
    let before = Site::open(publisher.site()).head;
    let run = |progress: &dyn Progress| {
        publish(
            &publisher.project,
            &publisher.dest,
            &publisher.keys,
            &publisher.options(),
            progress,
        )
    };
    let write = |page: usize, seed: u64| {
        let mut changed = fs::read(publisher.image()).unwrap();
        changed[page * PAGE..][..PAGE].copy_from_slice(&noise(seed, PAGE));
        let mut file = File::options().write(true).open(publisher.image()).unwrap();
        io::Write::write_all(&mut file, &changed).unwrap();
    };
    let an_hour_ago = || {
        let time = SystemTime::now() - Duration::from_secs(3600);
        let file = File::options().write(true).open(publisher.image()).unwrap();
        file.set_modified(time).unwrap();
    };
    for (phase, page, why) in [
        (Phase::Pack, 10, "a new page is another one at the second reading"),
        (
            Phase::Index,
            300,
            "the file was written to, whatever was read of it",
        ),
    ] {
        write(10, 20);
        an_hour_ago();
        let changing = At::new(phase, || write(page, 21));
        assert!(
            matches!(run(&changing), Err(PublishError::SourceChanged(_))),
            "{why}"
        );
        assert_eq!(
            Site::open(publisher.site()).head,
            before,
            "there is no release of it"
        );
    }
    let truncated = At::new(Phase::Pack, || {
        File::options()
            .write(true)
            .open(publisher.image())
            .unwrap()
            .set_len(PAGE as u64)
            .unwrap();
    });
    assert!(matches!(run(&truncated), Err(PublishError::SourceChanged(_))));
    publisher.set_disk(&disk);
    write(10, 20);
    assert_eq!(
        publisher.publish().unwrap().sequence,
        2,
        "at rest it is published"
    );
}

#[test]
fn two_publishers_at_once_do_not_mix() {
    let one = Publisher::new(&noise(1, 2 * MIB));
    let refused = Mutex::new(None);
    let intruder = At::new(Phase::Pack, || {
        let result = publish(
            &one.project,
            &Folder::new(one.site()),
            &one.keys,
            &one.options(),
            &livepc_publish::Silent,
        );
        *refused.lock().unwrap() = Some(result);
    });
    publish(&one.project, &one.dest, &one.keys, &one.options(), &intruder).unwrap();
    drop(intruder);
    let refused = refused.into_inner().unwrap().expect("the second one tried");
    assert!(
        matches!(refused, Err(PublishError::DestinationBusy(_))),
        "the second one is told to wait"
    );
    let site = Site::open(one.site());
    assert_eq!(site.head.releases.len(), 1);
    assert!(site.read(1).disks[0] == noise(1, 2 * MIB));
    one.set_disk(&noise(2, 2 * MIB));
    assert_eq!(one.publish().unwrap().sequence, 2, "afterwards it may");
}

#[test]
fn files_that_never_change_do_not_change() {
    let publisher = Publisher::new(&noise(1, MIB));
    let twin = Publisher::new(&noise(1, MIB));
    twin.publish().unwrap();
    for (name, bytes) in files(&twin.site().join("packs")) {
        let path = publisher.site().join("packs").join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut other = bytes.clone();
        other[5] ^= 1;
        fs::write(&path, &other).unwrap();
        assert!(
            matches!(publisher.publish(), Err(PublishError::Immutable { .. })),
            "{name} with other bytes is not overwritten"
        );
        assert!(fs::read(&path).unwrap() == other, "nor touched");
        assert!(
            !publisher.site().join("head.json").exists(),
            "and nothing names it"
        );
        fs::write(&path, &bytes).unwrap();
    }
    publisher
        .publish()
        .expect("what is there with the same bytes is used");
    Site::open(publisher.site()).check_bytes(1);
}

#[test]
fn a_person_can_stop_it() {
    struct Stop(Phase, Mutex<Cell<bool>>);
    impl Progress for Stop {
        fn report(&self, phase: Phase, _done: u64, _total: u64) {
            if phase == self.0 {
                self.1.lock().unwrap().set(true);
            }
        }
        fn cancelled(&self) -> bool {
            self.1.lock().unwrap().get()
        }
    }
    let publisher = Publisher::new(&noise(1, 2 * MIB));
    for phase in [Phase::Scan, Phase::Pack, Phase::Index] {
        let stopped = publish(
            &publisher.project,
            &publisher.dest,
            &publisher.keys,
            &publisher.options(),
            &Stop(phase, Mutex::default()),
        );
        assert!(matches!(stopped, Err(PublishError::Cancelled)), "in {phase:?}");
        assert!(!publisher.site().join("head.json").exists());
    }
    publisher.publish().unwrap();
}

#[test]
fn progress_reaches_its_total() {
    struct Seen(Mutex<Vec<(Phase, u64, u64)>>);
    impl Progress for Seen {
        fn report(&self, phase: Phase, done: u64, total: u64) {
            self.0.lock().unwrap().push((phase, done, total));
        }
    }
    let publisher = Publisher::new(&noise(1, 3 * MIB));
    publisher.publish().unwrap();
    publisher.set_disk(&noise(2, 3 * MIB));
    let seen = Seen(Mutex::default());
    publish(
        &publisher.project,
        &publisher.dest,
        &publisher.keys,
        &publisher.options(),
        &seen,
    )
    .unwrap();
    let seen = seen.0.into_inner().unwrap();
    let order: Vec<Phase> = seen.chunk_by(|a, b| a.0 == b.0).map(|of| of[0].0).collect();
    assert_eq!(
        order,
        [
            Phase::Known,
            Phase::Scan,
            Phase::Pack,
            Phase::Index,
            Phase::Reckon
        ]
    );
    for of in seen.chunk_by(|a, b| a.0 == b.0) {
        let (phase, done, total) = of[of.len() - 1];
        assert_eq!(done, total, "{phase:?} ends at its total");
        assert!(
            of.windows(2).all(|pair| pair[0].1 <= pair[1].1),
            "{phase:?} only rises"
        );
    }
    let scan = seen.iter().find(|(phase, ..)| *phase == Phase::Scan).unwrap();
    assert_eq!(scan.2, 3 * MIB as u64, "bytes of the disk");
}

#[test]
fn what_cannot_be_published_is_found_before_a_disk_is_read() {
    let good = || Publisher::new(&noise(1, PAGE));
    let mut mirrors = good();
    mirrors.project.mirrors = vec!["https://example.org/?lab/".parse().unwrap()];
    let mut spdx = good();
    spdx.project.licence = Some(Licence {
        spdx: Some("MIT\n".into()),
        text: None,
        redistributable: true,
    });
    let mut label = good();
    label.project.disks.push(ProjectDisk {
        role: "user".into(),
        content: ProjectContent::User {
            size: 1 << 30,
            label: Some("seventeen letters".into()),
            file_system: None,
        },
        ..label.project.disks[0].clone()
    });
    let mut small = good();
    small.project.disks.push(ProjectDisk {
        role: "user".into(),
        content: ProjectContent::User {
            size: 1 << 20,
            label: None,
            file_system: Some(FileSystem::Fat32),
        },
        ..small.project.disks[0].clone()
    });
    for publisher in [mirrors, spdx, label, small] {
        fs::remove_file(publisher.image()).unwrap();
        let refused = publisher.publish();
        assert!(matches!(refused, Err(PublishError::Format(_))), "{refused:?}");
    }
    let publisher = good();
    fs::remove_file(publisher.image()).unwrap();
    let refused = publisher.publish_with(&PublishOptions {
        changelog: "x".repeat((64 << 10) + 1),
        ..publisher.options()
    });
    assert!(
        matches!(refused, Err(PublishError::Changelog(65_537))),
        "{refused:?}"
    );
}

#[test]
fn a_release_names_no_pack_that_is_lost() {
    let publisher = Publisher::new(&noise(1, MIB));
    publisher.publish().unwrap();
    publisher.set_disk(&[noise(1, MIB / 2), noise(2, MIB / 2)].concat());
    let packs = files(&publisher.site().join("packs"));
    let (name, bytes) = packs.iter().find(|(name, _)| name.ends_with(".pack")).unwrap();
    let path = publisher.site().join("packs").join(name);
    let before = files(publisher.site());
    let lost = || {
        for dry_run in [true, false] {
            let options = PublishOptions {
                dry_run,
                ..publisher.options()
            };
            match publisher.publish_with(&options) {
                Err(PublishError::Lost { path, .. }) => assert!(path.ends_with(name), "{path}"),
                other => panic!("{other:?}"),
            }
        }
    };
    fs::write(&path, &bytes[1..]).unwrap();
    lost();
    fs::remove_file(&path).unwrap();
    lost();
    publisher.set_disk(&noise(3, MIB));
    assert!(
        publisher
            .publish_with(&PublishOptions {
                dry_run: true,
                ..publisher.options()
            })
            .is_ok(),
        "what the release does not use is not missed"
    );
    fs::write(&path, bytes).unwrap();
    assert!(files(publisher.site()) == before, "nothing was written");
    publisher.set_disk(&[noise(1, MIB / 2), noise(2, MIB / 2)].concat());
    assert_eq!(publisher.publish().unwrap().sequence, 2);
}
