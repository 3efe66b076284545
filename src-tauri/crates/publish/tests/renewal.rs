//! How a publisher goes on: without a release, with a new signing key, and after files were lost.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

#[path = "renewal/standing.rs"]
mod standing;
mod support;

use std::fs;

use jiff::SignedDuration;
use livepc_format::SecretKey;
use livepc_publish::{Folder, PublishError, PublishOptions, Silent, publish, renew};
use support::{MIB, Publisher, Site, files, new_keys, noise, now};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn published() -> Publisher {
    let publisher = Publisher::new(&noise(1, MIB));
    publisher.publish().unwrap();
    publisher
}

/// The publisher with a new signing key.
fn rotated(publisher: Publisher) -> (Publisher, SecretKey) {
    let mut publisher = publisher;
    let old = std::mem::replace(&mut publisher.keys.signing, SecretKey::generate().unwrap());
    (publisher, old)
}

#[test]
fn to_publish_again_renews_a_list_that_expires() {
    let mut publisher = Publisher::new(&noise(1, MIB));
    publisher.project.expires_after = Some(90 * DAY);
    assert_eq!(publisher.publish().unwrap().expires, Some(now() + 90 * DAY));
    let before = Site::open(publisher.site()).head;
    assert_eq!(before.expires, Some(now() + 90 * DAY));

    let mut options = publisher.options();
    options.now = now() + 30 * DAY;
    let dry = PublishOptions {
        dry_run: true,
        ..options.clone()
    };
    let told = publisher.publish_with(&dry).unwrap();
    assert_eq!(Site::open(publisher.site()).head, before, "it was only asked");
    let again = publisher.publish_with(&options).unwrap();
    assert!(!again.changed && again.bytes_written == 0, "there is no release");
    let site = Site::open(publisher.site());
    assert_eq!(site.head.expires, Some(now() + 120 * DAY));
    assert_eq!(
        (told.expires, again.expires),
        (site.head.expires, site.head.expires)
    );
    assert_eq!((before.revision, site.head.revision), (1, 2));
    assert_eq!(site.head.issued, options.now);
    assert_eq!(site.head.releases, before.releases);

    publisher.project.expires_after = None;
    assert_eq!(publisher.publish_with(&options).unwrap().expires, None);
    assert_eq!(
        Site::open(publisher.site()).head.expires,
        None,
        "who promises nothing any more breaks no promise"
    );
}

#[test]
fn a_renewal_needs_no_disk_and_makes_no_release() {
    let mut publisher = published();
    publisher.project.expires_after = Some(DAY);
    publisher.project.mirrors = vec!["https://mirror.example.org/lab/".parse().unwrap()];
    fs::remove_file(publisher.image()).unwrap();
    let before = files(publisher.site());
    let old = Site::open(publisher.site()).head;
    let later = now() + 30 * DAY;
    let renewed = renew(&publisher.project, &publisher.dest, &publisher.keys, later).unwrap();
    let site = Site::open(publisher.site());
    assert_eq!(renewed.head, site.head);
    assert_eq!(
        (site.head.revision, site.head.issued, site.head.expires),
        (2, later, Some(later + DAY))
    );
    assert_eq!((site.head.mirrors.len(), &site.head.releases), (1, &old.releases));
    let mut after = files(publisher.site());
    after.insert("head.json".into(), before["head.json"].clone());
    assert!(after == before, "nothing but the head changed");
}

/// A publisher who moves need make no release for it.
#[test]
fn a_renewal_tells_the_new_address_of_the_feed() {
    let mut publisher = published();
    fs::remove_file(publisher.image()).unwrap();
    let path = publisher.site().join("feed.xml");
    let feed = || fs::read_to_string(&path).unwrap();
    let before = feed();
    let address = "https://example.org/lab/feed.xml";
    let link = format!("href=\"{address}\" rel=\"self\"");
    assert!(!before.contains("rel=\"self\""), "{before}");
    publisher.project.address = Some(address.parse().unwrap());
    let renewed = renew(&publisher.project, &publisher.dest, &publisher.keys, now()).unwrap();
    assert_eq!(renewed.address, publisher.project.address);
    assert!(feed().contains(&link), "{}", feed());
    assert_eq!(
        feed()
            .lines()
            .filter(|line| !line.contains("rel=\"self\""))
            .collect::<Vec<_>>(),
        before.lines().collect::<Vec<_>>(),
        "all else is as it was"
    );

    let before = files(publisher.site());
    publisher.project.address = Some("https://ada:secret@example.org/feed.xml".parse().unwrap());
    for refused in [
        renew(&publisher.project, &publisher.dest, &publisher.keys, now()).map(drop),
        publisher.publish().map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, PublishError::Address(_)), "{refused}");
    }
    assert!(files(publisher.site()) == before, "not a byte changed");
}

#[test]
fn what_is_not_there_or_not_ones_own_is_not_renewed() {
    let publisher = published();
    let nowhere = Folder::new(publisher.dir.path().join("nowhere"));
    assert!(matches!(
        renew(&publisher.project, &nowhere, &publisher.keys, now()),
        Err(PublishError::NothingPublished(_))
    ));
    assert!(!nowhere.root().exists(), "a wrong path makes no folder");
    let before = files(publisher.site());
    let refused = renew(&publisher.project, &publisher.dest, &new_keys(), now()).unwrap_err();
    assert!(refused.is_trust(), "{refused}");
    assert!(files(publisher.site()) == before, "not a byte changed");
}

#[test]
fn a_new_signing_key_goes_on_from_where_the_old_one_was() {
    let (publisher, _) = rotated(published());
    let before = Site::open(publisher.site());
    publisher.set_disk(&noise(2, MIB));
    assert_eq!(publisher.publish().unwrap().sequence, 2);
    let site = Site::open(publisher.site());
    assert!(site.keys.extends(&before.keys), "subscribers follow it");
    assert_eq!(
        (site.keys.epoch(), site.keys.current()),
        (2, Some(&publisher.keys.signing.public_key().unwrap()))
    );
    assert_eq!((site.head.epoch, site.head.revision), (2, 2));
    assert_eq!(site.release(1), before.release(1), "its history stays");

    // The root key was needed once.
    let mut publisher = publisher;
    publisher.keys.root = None;
    publisher.set_disk(&noise(3, MIB));
    assert_eq!(publisher.publish().unwrap().sequence, 3);
    assert_eq!(Site::open(publisher.site()).keys, site.keys);
}

#[test]
fn a_new_signing_key_is_published_without_a_release() {
    for by_renewal in [false, true] {
        let (publisher, _) = rotated(published());
        if by_renewal {
            renew(&publisher.project, &publisher.dest, &publisher.keys, now()).unwrap();
        } else {
            assert!(!publisher.publish().unwrap().changed);
        }
        let head = Site::open(publisher.site()).head;
        assert_eq!((head.epoch, head.revision, head.releases.len()), (2, 2, 1));
    }
}

#[test]
fn only_the_root_key_puts_a_signing_key_in_anothers_place() {
    let (mut publisher, old) = rotated(published());
    let before = files(publisher.site());
    let root = publisher.keys.root.take();
    for dry_run in [false, true] {
        let refused = publisher
            .publish_with(&PublishOptions {
                dry_run,
                ..publisher.options()
            })
            .unwrap_err();
        assert!(refused.is_trust(), "{refused}");
        assert!(refused.to_string().contains("kept offline"), "{refused}");
    }
    assert!(files(publisher.site()) == before, "not a byte changed");

    publisher.keys.root = root;
    publisher.publish().unwrap();
    let after = files(publisher.site());
    // A key that may have been stolen does not come back by mistake, not even where the root key lies.
    publisher.keys.signing = old;
    let refused = publisher.publish().unwrap_err();
    assert!(refused.is_trust(), "{refused}");
    assert!(files(publisher.site()) == after, "not a byte changed");
}

/// The keys are there and the head is not: a publication that was stopped between the two.
#[test]
fn a_handover_that_was_stopped_is_finished_by_who_has_the_root_key() {
    let (mut publisher, _) = rotated(published());
    let old = files(publisher.site());
    publisher.publish().unwrap();
    let done = fs::read(publisher.site().join("head.json")).unwrap();
    fs::write(publisher.site().join("head.json"), &old["head.json"]).unwrap();
    let root = publisher.keys.root.take();
    let before = files(publisher.site());
    let publish_again = |publisher: &Publisher| {
        publish(
            &publisher.project,
            &publisher.dest,
            &publisher.keys,
            &publisher.options(),
            &Silent,
        )
    };
    assert!(
        matches!(
            publish_again(&publisher),
            Err(PublishError::HandoverUnfinished(_))
        ),
        "who has the old key could have put its head back"
    );
    assert!(files(publisher.site()) == before, "not a byte changed");

    publisher.keys.root = root;
    // Another change of keys meanwhile must not make it worse.
    let (publisher, _) = rotated(publisher);
    publish_again(&publisher).unwrap();
    let site = Site::open(publisher.site());
    assert_eq!(
        (site.keys.epoch(), site.head.epoch, site.head.revision),
        (3, 3, 2)
    );

    // A head of the key in between is no way back either, once all is done.
    let publisher = Publisher {
        keys: livepc_publish::PublishKeys {
            root: None,
            ..publisher.keys
        },
        ..publisher
    };
    fs::write(publisher.site().join("head.json"), done).unwrap();
    assert!(publish_again(&publisher).unwrap_err().is_trust());
}
