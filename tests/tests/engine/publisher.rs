//! What a publisher does between releases, and what a subscriber sees of it: a list of releases that expires and is renewed,
//! and a signing key that is replaced.

use jiff::{SignedDuration, Timestamp};
use livepc_format::paths;
use livepc_tests::forge::{Site, disk, root_key, signing_key};
use livepc_tests::home::TestHome;
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A publisher, and a subscriber of what it has published.
struct Scene {
    work: TempDir,
    publisher: Publisher,
    site: Site,
    home: TestHome,
    _server: Origin,
}

impl Scene {
    fn new(prepare: impl FnOnce(&Publisher)) -> Self {
        let work = tempfile::tempdir().expect("a folder");
        let publisher = Publisher::new(&disk(work.path(), "1.raw", 1, 1), "Lab");
        prepare(&publisher);
        publisher.publish(&[]);
        let server = Origin::start(publisher.site()).expect("the origin starts");
        let home = TestHome::new();
        home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
        Self {
            work,
            site: Site::of(&publisher),
            publisher,
            home,
            _server: server,
        }
    }

    /// Whether the subscriber finds the list of releases fresh, after a look at the server.
    fn stale(&self) -> Value {
        self.home.done(&["update", "lab", "--check"]);
        self.home.listed()["stale"].clone()
    }

    /// Lets the time pass that the publisher has promised to renew its list in.
    fn expire(&self) {
        self.site.resign(&signing_key(&self.publisher), |head| {
            head.revision += 1;
            head.expires = Some(Timestamp::UNIX_EPOCH);
        });
    }

    fn key_file(&self, name: &str) -> std::path::PathBuf {
        self.publisher.home.home().keys().join(name)
    }
}

/// Who is told too late that news are held back runs a machine with holes; who is told without need stops to listen.
#[test]
fn a_list_that_expires_is_fresh_again_when_it_is_renewed() {
    let scene = Scene::new(|publisher| publisher.expire_after("30 days"));
    let promised = scene
        .site
        .head()
        .expires
        .expect("the project says that it expires");
    let days = promised.duration_since(Timestamp::now()) + SignedDuration::from_hours(1);
    assert_eq!(days.as_hours() / 24, 30, "{promised}");
    assert_eq!(scene.stale(), Value::Null);

    for renewal in [["--renew"].as_slice(), &[]] {
        scene.expire();
        let old = scene.site.head();
        assert_eq!(scene.stale(), json!({"why": "expired", "since": old.issued}));
        let published = scene.publisher.publish(renewal);
        let new = scene.site.head();
        assert_eq!(
            (
                &published["changed"],
                &published["release"],
                &published["expires"]
            ),
            (&json!(false), &json!(1), &json!(new.expires)),
            "{published}"
        );
        assert_eq!(new.releases, old.releases, "there is no release");
        assert_eq!(new.revision, old.revision + 1);
        assert_eq!(scene.stale(), Value::Null, "by {renewal:?}");
    }
}

#[test]
fn a_project_that_promises_nothing_never_expires() {
    let scene = Scene::new(|_| ());
    assert_eq!(scene.site.head().expires, None);
    let head = scene.site.read(paths::HEAD);
    assert_eq!(scene.publisher.publish(&[])["expires"], Value::Null);
    assert_eq!(scene.site.read(paths::HEAD), head, "there is nothing to renew");
    assert_eq!(scene.stale(), Value::Null);
}

#[test]
fn a_renewal_needs_something_to_renew_and_is_no_release() {
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 1, 1), "Lab");
    publisher.try_publish(&["--renew"]).refused(3, "not-found");
    assert!(!publisher.site().exists(), "nothing is made for it");
    for release in [["--label", "2"].as_slice(), &["--record-boot"], &["--dry-run"]] {
        let args = [["--renew"].as_slice(), release].concat();
        publisher.try_publish(&args).refused(2, "usage");
    }
    publisher.publish(&[]);
    publisher.publish(&["--renew"]);
}

/// A key that was stolen or lost must not end a LivePC: its subscribers go on, and believe nobody but the new key.
#[test]
fn subscribers_follow_a_signing_key_that_was_replaced() {
    let scene = Scene::new(|_| ());
    let (root, old) = (root_key(&scene.publisher), signing_key(&scene.publisher));
    let rotated = scene.publisher.home.done(&["key", "rotate", "--no-password"]);
    let shown = scene.publisher.home.done(&["key", "show"]);
    assert_eq!(shown["signing_key"], rotated["signing_key"]);
    assert_eq!(
        shown["root_key"],
        root.public_key().expect("its public half").as_str()
    );
    let kept = std::fs::read_to_string(rotated["kept"].as_str().expect("a path")).expect("the key before");
    let kept = livepc_format::SecretKey::from_file_text(&kept, None).expect("it opens");
    assert_eq!(
        kept.public_key().expect("its public half"),
        old.public_key().expect("its public half")
    );
    assert_eq!(
        scene.stale(),
        Value::Null,
        "nothing changes before it is published"
    );

    // The root key is needed there once more.
    let safe = scene.work.path().join("root.key");
    std::fs::rename(scene.key_file("root.key"), &safe).expect("the root key is moved");
    let before = scene.site.read(paths::HEAD);
    scene.publisher.try_publish(&["--renew"]).refused(4, "trust");
    scene.publisher.try_publish(&[]).refused(4, "trust");
    assert_eq!(scene.site.read(paths::HEAD), before, "nothing was written");
    std::fs::rename(&safe, scene.key_file("root.key")).expect("the root key is moved back");
    scene.publisher.publish(&["--renew"]);
    std::fs::rename(scene.key_file("root.key"), &safe).expect("the root key is moved");

    let head = scene.site.head();
    assert_eq!((head.epoch, head.revision, head.releases.len()), (2, 2, 1));
    assert_eq!(scene.stale(), Value::Null, "it is followed");
    scene
        .publisher
        .project(&disk(scene.work.path(), "2.raw", 1, 2), "Lab");
    scene.publisher.publish(&[]);
    let followed = scene.site.read(paths::HEAD);
    scene.home.done(&["update", "lab"]);
    assert_eq!(scene.home.listed()["release_available"], 2);

    // Who has the old key is not believed any more.
    scene.site.resign(&old, |head| head.revision += 1);
    scene.home.run(&["update", "lab"]).refused(4, "trust");
    scene.site.write(paths::HEAD, followed);
    assert_eq!(scene.stale(), Value::Null);
}

#[test]
fn a_signing_key_is_not_replaced_without_the_root_key() {
    let scene = Scene::new(|_| ());
    let before = scene.publisher.home.done(&["key", "show"]);
    let safe = scene.work.path().join("root.key");
    std::fs::rename(scene.key_file("root.key"), &safe).expect("the root key is moved");
    let refused = scene.publisher.home.run(&["key", "rotate", "--no-password"]);
    refused.refused(3, "not-found");
    assert!(
        refused.text.contains("offline") && refused.text.contains("root.key"),
        "{}",
        refused.text
    );
    assert_eq!(scene.publisher.home.done(&["key", "show"]), before);
    scene.publisher.publish(&["--renew"]);
    std::fs::rename(&safe, scene.key_file("root.key")).expect("the root key is moved back");

    // Nobody can be asked for a password here, and none is made up.
    scene.publisher.home.run(&["key", "rotate"]).refused(2, "usage");
    assert_eq!(scene.publisher.home.done(&["key", "show"]), before);
}
