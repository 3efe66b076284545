//! What a destination must be so that subscribers accept what goes on from it: files that are lost, old copies, and other
//! computers.

use std::fs;
use std::path::Path;

use livepc_format::{Head, SecretKey, paths};
use livepc_publish::{
    Ledger, ProjectContent, ProjectDisk, PublishError, PublishOptions, Published, Result, renew,
};

use crate::support::{MIB, Publisher, Site, noise, now};

/// A publisher who notes what is published, and has published a release.
fn noting() -> Publisher {
    let mut publisher = Publisher::new(&noise(1, MIB));
    publisher.keys.ledger = Some(Ledger::new(publisher.dir.path().join("published")));
    publisher.publish().unwrap();
    publisher
}

fn follow(publisher: &Publisher, seed: u64) -> Result<Published> {
    publisher.set_disk(&noise(seed, MIB));
    publisher.publish()
}

fn start_over(publisher: &Publisher) -> Result<Published> {
    publisher.publish_with(&PublishOptions {
        start_over: true,
        ..publisher.options()
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn sequences(head: &Head) -> Vec<u64> {
    head.releases.iter().map(|release| release.sequence).collect()
}

/// Every subscriber would see a false list, and stop to follow.
#[test]
fn a_list_does_not_begin_anew_unless_its_publisher_says_so() {
    let publisher = noting();
    let first = Site::open(publisher.site());
    fs::rename(publisher.site(), publisher.dir.path().join("lost")).unwrap();
    let refused = publisher.publish().unwrap_err();
    assert!(
        matches!(refused, PublishError::BeginsAnew { next: 2, .. }),
        "{refused}"
    );
    assert!(refused.is_trust());
    assert!(refused.to_string().contains("--start-over"), "{refused}");
    let renewed = renew(&publisher.project, &publisher.dest, &publisher.keys, now());
    assert!(matches!(renewed, Err(PublishError::BeginsAnew { .. })));
    let elsewhere = Publisher {
        dest: livepc_publish::Folder::new(publisher.dir.path().join("elsewhere")),
        ..publisher
    };
    assert!(
        matches!(elsewhere.publish(), Err(PublishError::BeginsAnew { .. })),
        "another folder is none that subscribers know either"
    );

    let over = start_over(&elsewhere).unwrap();
    assert_eq!(over.sequence, 2);
    let site = Site::open(elsewhere.site());
    assert_eq!((site.head.revision, sequences(&site.head)), (2, vec![2]));
    assert!(site.keys.extends(&first.keys));
    assert_eq!(
        site.read(2).manifest.previous,
        Some(first.release(1).manifest),
        "it follows what subscribers have"
    );
    assert_eq!(
        follow(&elsewhere, 2).unwrap().sequence,
        3,
        "and goes on from there"
    );
}

#[test]
fn an_old_copy_is_not_gone_on_from() {
    let publisher = noting();
    let copied = publisher.dir.path().join("copy");
    copy(publisher.site(), &copied);
    follow(&publisher, 2).unwrap();
    fs::remove_dir_all(publisher.site()).unwrap();
    copy(&copied, publisher.site());
    let before = fs::read(publisher.site().join(paths::HEAD)).unwrap();
    let refused = follow(&publisher, 3).unwrap_err();
    assert!(
        matches!(
            refused,
            PublishError::HeadOlder {
                revision: 1,
                published: 2,
                ..
            }
        ),
        "{refused}"
    );
    let renewed = renew(&publisher.project, &publisher.dest, &publisher.keys, now());
    assert!(matches!(renewed, Err(PublishError::HeadOlder { .. })));
    assert_eq!(fs::read(publisher.site().join(paths::HEAD)).unwrap(), before);

    start_over(&publisher).unwrap();
    let site = Site::open(publisher.site());
    assert_eq!(
        (site.head.revision, sequences(&site.head)),
        (3, vec![3, 1]),
        "what is there of it stays"
    );
    assert!(site.read(1).disks[0] == noise(1, MIB) && site.read(3).disks[0] == noise(3, MIB));
}

/// The same, but what is listed is not all there.
#[test]
fn releases_whose_files_are_lost_leave_a_list_that_is_started_over() {
    let publisher = noting();
    follow(&publisher, 2).unwrap();
    let site = Site::open(publisher.site());
    let pack = site.read(1).chunks.keys().next().unwrap().0;
    fs::remove_file(publisher.site().join(paths::pack(&pack))).unwrap();
    start_over(&publisher).unwrap();
    let site = Site::open(publisher.site());
    assert_eq!(sequences(&site.head), [3, 2]);
    assert!(
        site.read(3).disks[0] == noise(2, MIB),
        "the same disk, published anew"
    );
}

#[test]
fn what_another_computer_published_is_gone_on_from_unless_it_contradicts() {
    let mut publisher = noting();
    let ledger = publisher.keys.ledger.take();
    follow(&publisher, 2).unwrap();
    publisher.keys.ledger = ledger;
    assert_eq!(follow(&publisher, 3).unwrap().sequence, 3);

    // It goes on from a copy that does not have that one.
    let there = publisher.dir.path().join("there");
    copy(publisher.site(), &there);
    follow(&publisher, 4).unwrap();
    let ledger = publisher.keys.ledger.take();
    fs::remove_dir_all(publisher.site()).unwrap();
    copy(&there, publisher.site());
    follow(&publisher, 5).unwrap();
    publisher.keys.ledger = ledger;
    for disk in [5, 6] {
        let refused = follow(&publisher, disk).unwrap_err();
        assert!(
            matches!(refused, PublishError::HeadContradicts { .. }),
            "{refused}"
        );
    }
    start_over(&publisher).unwrap();
    let site = Site::open(publisher.site());
    assert_eq!(
        sequences(&site.head),
        [5, 3, 2, 1],
        "without the 4 that contradicts"
    );
    assert_eq!(site.head.revision, 5);
}

/// Who lost the folder may have put the root key into a safe place long ago.
#[test]
fn lost_keys_are_put_back_with_their_history() {
    let mut publisher = noting();
    publisher.keys.signing = SecretKey::generate().unwrap();
    publisher.publish().unwrap();
    let keys = Site::open(publisher.site()).keys;
    assert_eq!(keys.epoch(), 2);
    fs::remove_dir_all(publisher.site()).unwrap();
    publisher.keys.root = None;
    start_over(&publisher).unwrap();
    let site = Site::open(publisher.site());
    assert_eq!(site.keys, keys);
    assert_eq!(
        (site.head.epoch, site.head.revision, sequences(&site.head)),
        (2, 3, vec![2])
    );
}

#[test]
fn each_file_that_is_lost_alone_is_put_back_or_gone_on_without() {
    for lost in [paths::KEYS, paths::HEAD, paths::FEED] {
        let publisher = noting();
        let keys = Site::open(publisher.site()).keys;
        fs::remove_file(publisher.site().join(lost)).unwrap();
        if lost != paths::FEED {
            publisher.publish().expect_err(lost);
        }
        assert_eq!(start_over(&publisher).unwrap().sequence, 2, "{lost}");
        let site = Site::open(publisher.site());
        assert_eq!((&site.keys, site.head.revision), (&keys, 2), "{lost}");
        assert!(publisher.site().join(paths::FEED).exists());
    }
}

/// A sequence that was used is used up, also when its release is gone from the list.
#[test]
fn a_release_that_left_the_list_keeps_its_number() {
    let publisher = noting();
    follow(&publisher, 2).unwrap();
    let mut site = Site::open(publisher.site());
    site.head.revision += 1;
    site.head.releases.remove(0);
    let bytes = site.head.seal(&publisher.keys.signing).unwrap();
    fs::write(publisher.site().join(paths::HEAD), bytes).unwrap();
    assert_eq!(follow(&publisher, 3).unwrap().sequence, 3);
}

/// Not to know is not to be sure.
#[test]
fn notes_that_cannot_be_read_are_told() {
    let publisher = noting();
    let folder = publisher.dir.path().join("published");
    let note = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    for bad in ["", "{}", "[1]"] {
        fs::write(&note, bad).unwrap();
        let refused = follow(&publisher, 2).unwrap_err();
        assert!(matches!(refused, PublishError::Ledger { .. }), "{refused}");
        assert!(refused.to_string().contains(note.to_str().unwrap()), "{refused}");
    }
    fs::remove_file(&note).unwrap();
    follow(&publisher, 2).unwrap();
    assert!(note.exists(), "it is noted again");
}

/// What subscribers have of an own disk, or have changed on a published one, would be taken for the other.
#[test]
fn a_role_stays_what_it_is() {
    let mut publisher = noting();
    let data = publisher.dir.path().join("data.raw");
    fs::write(&data, noise(7, MIB)).unwrap();
    let disk = |content| ProjectDisk {
        role: "data".into(),
        controller: Default::default(),
        content,
    };
    let own = disk(ProjectContent::User {
        size: 1 << 20,
        label: None,
        file_system: None,
    });
    let published = disk(ProjectContent::Source(data));
    for (first, then) in [(&own, &published), (&published, &own)] {
        let mut publisher = Publisher::new(&noise(1, MIB));
        publisher.project.disks.push(first.clone());
        publisher.publish().unwrap();
        publisher.project.disks.pop();
        publisher.publish().unwrap();
        publisher.project.disks.push(then.clone());
        let refused = publisher.publish().unwrap_err();
        assert!(
            matches!(refused, PublishError::DiskRole { release: 1, .. }),
            "also after a release without it: {refused}"
        );
        publisher.project.disks[1].role = "more".into();
        publisher.publish().unwrap();
    }
    publisher.project.disks.push(own.clone());
    publisher.publish().unwrap();
    publisher.project.disks[1].content = ProjectContent::User {
        size: 2 << 20,
        label: None,
        file_system: None,
    };
    publisher.publish().expect("an own disk may be made larger");
}
