//! What is refused, with a positive control beside each: the same home, the same server, and data as it should be.

use std::path::Path;

use jiff::Timestamp;
use livepc_format::head::ReleaseState;
use livepc_format::keys::SigningKeyEntry;
use livepc_format::{Digest, Keys, SecretKey, paths};
use livepc_tests::forge::{Site, disk, root_key, signing_key};
use livepc_tests::home::TestHome;
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A publisher with one release, its server, and a home.
struct Scene {
    work: TempDir,
    publisher: Publisher,
    site: Site,
    server: Nginx,
    home: TestHome,
}

impl Scene {
    fn new() -> Self {
        let work = tempfile::tempdir().expect("a folder");
        let publisher = Publisher::new(&disk(work.path(), "1.raw", 2, 1), "Lab");
        publisher.publish(&[]);
        let site = Site::of(&publisher);
        let server = Nginx::serve(&publisher.site());
        Self {
            work,
            publisher,
            site,
            server,
            home: TestHome::new(),
        }
    }

    /// A scene in which the first release is subscribed and complete.
    fn subscribed() -> Self {
        let scene = Self::new();
        scene.subscribe();
        scene.home.done(&["download", "lab"]);
        scene
    }

    fn feed(&self) -> String {
        self.server.url("feed.xml")
    }

    fn subscribe(&self) -> Value {
        self.home.done(&["subscribe", &self.feed(), "--yes"])
    }

    fn publish_second(&self, seed: u8) {
        self.publisher
            .project(&disk(self.work.path(), "2.raw", 2, seed), "Lab");
        self.publisher.publish(&[]);
    }

    /// Subscribing must be refused so, with nothing changed; then, with the file as it was, it must work.
    #[track_caller]
    fn refuses_to_subscribe(&self, path: &str, bytes: impl AsRef<[u8]>, exit: i32, code: &str) {
        let good = self.site.read(path);
        self.site.write(path, bytes);
        self.home
            .run(&["subscribe", &self.feed(), "--yes"])
            .refused(exit, code);
        assert_eq!(
            self.home.done(&["list"])["livepcs"],
            serde_json::json!([]),
            "nothing may be subscribed"
        );
        self.site.write(path, good);
        let id = self.subscribe()["id"].as_str().expect("an id").to_owned();
        self.home.done(&["unsubscribe", &id, "--delete-data"]);
    }

    /// An update must be refused so, with nothing changed but the problem that is shown, and since when nothing newer was
    /// accepted.
    #[track_caller]
    fn refuses_to_update(&self, exit: i32, code: &str) {
        let before = self.home.listed();
        let accepted = self.home.done(&["show", "lab"])["livepc"]["checked"].clone();
        self.home.run(&["update", "lab"]).refused(exit, code);
        let after = self.home.listed();
        assert_eq!(
            after["stale"],
            json!({"why": "refused", "since": accepted}),
            "it is out of date from now on"
        );
        let known = |listed: &Value| {
            let mut listed = listed.clone();
            listed["stale"] = Value::Null;
            listed
        };
        assert_eq!(known(&before), known(&after), "the subscription is as it was");
        let shown = self.home.done(&["show", "lab"]);
        assert_eq!(
            shown["livepc"]["problem"]["code"], code,
            "and the reason is shown: {shown}"
        );
    }
}

#[test]
fn a_head_that_is_not_signed_by_its_key_is_refused() {
    let scene = Scene::new();
    let head = String::from_utf8(scene.site.read(paths::HEAD)).expect("JSON");
    let changed = head.replace("stable", "stales");
    assert_ne!(head, changed, "the test must change something");
    scene.refuses_to_subscribe(paths::HEAD, changed, 4, "trust");

    let stranger = SecretKey::generate().expect("a key");
    let sealed = scene.site.head().seal(&stranger).expect("a head");
    scene.refuses_to_subscribe(paths::HEAD, sealed, 4, "trust");
}

#[test]
fn a_head_of_another_livepc_or_epoch_is_refused() {
    let scene = Scene::new();
    let key = signing_key(&scene.publisher);
    let mut other = scene.site.head();
    other.livepc = livepc_format::LivePcId(Digest::of(b"another"));
    scene.refuses_to_subscribe(paths::HEAD, other.seal(&key).expect("a head"), 4, "trust");
    let mut early = scene.site.head();
    early.epoch = 0;
    scene.refuses_to_subscribe(paths::HEAD, early.seal(&key).expect("a head"), 4, "trust");
}

#[test]
fn a_manifest_of_another_livepc_is_refused() {
    let (scene, other) = (Scene::new(), Scene::new());
    let foreign = other.site.head().releases[0].manifest;
    let path = paths::manifest(&foreign);
    scene.site.write(&path, other.site.read(&path));
    let mut head = scene.site.head();
    head.releases[0].manifest = foreign;
    let head = head.seal(&signing_key(&scene.publisher)).expect("a head");
    scene.refuses_to_subscribe(paths::HEAD, head, 4, "trust");
}

#[test]
fn a_pack_that_was_cut_off_is_refused_and_fetched_when_it_is_whole() {
    let scene = Scene::new();
    scene.subscribe();
    let packs = scene.site.files("packs");
    let pack = packs
        .iter()
        .find(|file| file.extension().is_some_and(|e| e == "pack"));
    let pack = pack.expect("a pack");
    let whole = std::fs::read(pack).expect("the pack");
    std::fs::write(pack, &whole[..whole.len() / 2]).expect("half of it is written");
    scene.home.run(&["download", "lab"]).refused(5, "network");
    assert_eq!(scene.home.listed()["complete"], false);
    std::fs::write(pack, &whole).expect("all of it is written");
    scene.home.done(&["download", "lab"]);
    scene.home.done(&["verify", "lab"]);
}

#[test]
fn a_wrong_fingerprint_is_refused_and_the_right_one_taken() {
    let scene = Scene::new();
    let wrong = "0000 0000 0000 0000 0000 0000 0000 0000";
    scene
        .home
        .run(&["subscribe", &scene.feed(), "--fingerprint", wrong])
        .refused(4, "trust");
    scene
        .home
        .run(&["subscribe", &scene.feed(), "--fingerprint", "abc"])
        .refused(2, "usage");
    assert_eq!(scene.home.done(&["list"])["livepcs"], serde_json::json!([]));
    let right = scene.publisher.home.done(&["key", "show"])["fingerprint"]
        .as_str()
        .expect("it")
        .to_owned();
    scene
        .home
        .done(&["subscribe", &scene.feed(), "--fingerprint", &right]);
}

#[test]
fn two_heads_under_one_number_and_a_release_that_changes_are_refused() {
    let scene = Scene::subscribed();
    let key = signing_key(&scene.publisher);
    let good = scene.site.read(paths::HEAD);
    scene
        .site
        .resign(&key, |head| head.releases[0].label = "other".into());
    scene.refuses_to_update(4, "trust");
    scene.site.write(paths::HEAD, &good);
    scene.site.resign(&key, |head| {
        head.revision += 1;
        head.releases[0].manifest = Digest::of(b"other");
    });
    scene.refuses_to_update(4, "trust");
    scene.site.write(paths::HEAD, &good);
    scene.site.resign(&key, |head| head.revision += 1);
    scene.home.done(&["update", "lab"]);
}

#[test]
fn another_key_at_a_subscribed_address_is_refused() {
    let scene = Scene::subscribed();
    let stranger = Publisher::new(&disk(scene.work.path(), "stranger.raw", 2, 7), "Lab");
    stranger.publish(&[]);
    let (site, aside) = (scene.publisher.site(), scene.work.path().join("aside"));
    let swap = |from: &Path, to: &Path| std::fs::rename(from, to).expect("the folder is moved");
    swap(&site, &aside);
    swap(&stranger.site(), &site);
    scene
        .home
        .run(&["subscribe", &scene.feed(), "--yes"])
        .refused(4, "trust");
    scene.refuses_to_update(4, "trust");
    swap(&site, &stranger.site());
    swap(&aside, &site);
    assert_eq!(scene.subscribe()["id"], "lab", "the same subscription goes on");
    scene.home.done(&["update", "lab"]);
}

#[test]
fn a_release_that_was_taken_back_is_only_for_those_who_have_it() {
    let scene = Scene::subscribed();
    scene.home.done(&["pin", "lab", "--release", "1"]);
    scene.publish_second(2);
    scene.home.done(&["update", "lab"]);
    scene.site.resign(&signing_key(&scene.publisher), |head| {
        head.revision += 1;
        let first = head.releases.iter_mut().find(|release| release.sequence == 1);
        first.expect("it is listed").state = ReleaseState::Yanked;
    });
    scene.home.done(&["update", "lab"]);
    let out = scene.work.path().join("out.raw").display().to_string();
    scene.home.done(&["export", "lab", &out, "--release", "1"]);

    let late = TestHome::new();
    late.done(&["subscribe", &scene.feed(), "--yes"]);
    late.run(&["download", "lab", "--release", "1"])
        .refused(3, "not-found");
    late.done(&["download", "lab", "--release", "2"]);
}

/// A signing key that was lost, or that somebody has stolen, is replaced by the root key, and by nothing else.
#[test]
fn a_new_signing_key_is_followed_if_the_root_key_says_so() {
    let scene = Scene::subscribed();
    let before = (scene.site.read(paths::KEYS), scene.site.read(paths::HEAD));
    let (root, old) = (root_key(&scene.publisher), signing_key(&scene.publisher));
    let (new, stranger) = (
        SecretKey::generate().expect("a key"),
        SecretKey::generate().expect("a key"),
    );
    let mut keys = scene.site.keys();
    keys.keys.push(SigningKeyEntry {
        epoch: 2,
        key: new.public_key().expect("its public half"),
        issued: Timestamp::UNIX_EPOCH,
    });
    let mut head = scene.site.head();
    (head.epoch, head.revision) = (2, 1);
    scene.site.write(paths::HEAD, head.seal(&new).expect("a head"));

    // Who has stolen the signing key, or nothing at all, cannot name another.
    for wrong in [&old, &stranger] {
        scene
            .site
            .write(paths::KEYS, keys.seal(wrong).expect("false keys"));
        scene.refuses_to_update(4, "trust");
    }
    let own_root = Keys {
        root: stranger.public_key().expect("its public half"),
        ..keys.clone()
    };
    let mut own_head = head.clone();
    own_head.livepc = own_root.livepc();
    scene
        .site
        .write(paths::KEYS, own_root.seal(&stranger).expect("keys of a stranger"));
    scene
        .site
        .write(paths::HEAD, own_head.seal(&new).expect("a head"));
    scene.refuses_to_update(4, "trust");

    scene.site.write(paths::KEYS, keys.seal(&root).expect("keys"));
    scene.site.write(paths::HEAD, head.seal(&new).expect("a head"));
    scene.home.done(&["update", "lab"]);
    assert_eq!(scene.home.listed()["stale"], Value::Null, "all is well again");
    let relabel = |key: &SecretKey, label: &str| {
        scene.site.resign(key, |head| {
            head.revision += 1;
            head.releases[0].label = label.into();
        });
    };
    relabel(&new, "by the new key");
    scene.home.done(&["update", "lab"]);
    let followed = scene.site.read(paths::HEAD);
    let shown = scene.home.done(&["show", "lab"]);
    assert_eq!(shown["releases"][0]["label"], "by the new key");

    // The time of the old key is over, with the new keys beside it and with its own.
    relabel(&old, "by the old key, which is lost");
    scene.refuses_to_update(4, "trust");
    // Both as they were before are what a cache may have that is behind; they are not taken either.
    scene.site.write(paths::KEYS, &before.0);
    scene.site.write(paths::HEAD, &before.1);
    scene.home.run(&["update", "lab"]).refused(5, "network");
    assert_eq!(
        scene.home.done(&["show", "lab"])["releases"][0]["label"],
        "by the new key"
    );
    scene.site.write(paths::KEYS, keys.seal(&root).expect("keys"));
    scene.site.write(paths::HEAD, &followed);
    scene.home.done(&["update", "lab"]);
}

#[test]
fn an_expired_head_is_shown_and_not_refused() {
    let scene = Scene::new();
    let key = signing_key(&scene.publisher);
    assert_eq!(scene.subscribe()["stale"], Value::Null);
    scene.site.resign(&key, |head| {
        head.revision += 1;
        head.expires = Some(Timestamp::UNIX_EPOCH);
    });
    scene.home.done(&["update", "lab", "--check"]);
    let issued = scene.site.head().issued;
    assert_eq!(
        scene.home.listed()["stale"],
        json!({"why": "expired", "since": issued}),
        "it was fresh when it was signed"
    );
    scene.home.done(&["download", "lab"]);
}

#[test]
fn wrong_bytes_are_refused_at_every_level() {
    for folder in ["manifests", "index", "packs"] {
        let scene = Scene::new();
        for file in scene
            .site
            .files(folder)
            .iter()
            .filter(|file| file.extension().is_none_or(|e| e != "pages"))
        {
            scene.site.damage(file);
        }
        if folder == "manifests" {
            scene
                .home
                .run(&["subscribe", &scene.feed(), "--yes"])
                .refused(4, "trust");
            let listed = scene.home.done(&["list"]);
            assert_eq!(listed["livepcs"], serde_json::json!([]), "nothing is subscribed");
        } else {
            scene.subscribe();
            scene.home.run(&["download", "lab"]).refused(4, "trust");
            assert_eq!(scene.home.listed()["complete"], false, "{folder}");
        }
        for file in scene
            .site
            .files(folder)
            .iter()
            .filter(|file| file.extension().is_none_or(|e| e != "pages"))
        {
            scene.site.damage(file);
        }
        scene.subscribe();
        scene.home.done(&["download", "lab"]);
    }
}

#[test]
fn answers_that_are_no_feed_or_no_head_are_refused() {
    let scene = Scene::new();
    scene
        .home
        .run(&["subscribe", &scene.server.url("nowhere.xml"), "--yes"])
        .refused(3, "not-found");
    scene
        .home
        .run(&["subscribe", "http://127.0.0.1:1/feed.xml", "--yes"])
        .refused(5, "network");
    scene
        .home
        .run(&["subscribe", "ftp://127.0.0.1/feed.xml", "--yes"])
        .refused(2, "usage");
    scene.refuses_to_subscribe(paths::FEED, "<html><body>Hello</body></html>", 1, "failed");
    scene.refuses_to_subscribe(paths::FEED, vec![b' '; 9 << 20], 5, "network");
    let head = scene.site.read(paths::HEAD);
    scene.refuses_to_subscribe(paths::HEAD, &head[..head.len() / 2], 5, "network");
    scene.refuses_to_subscribe(paths::HEAD, vec![b'{'; 9 << 20], 5, "network");
    let newer = String::from_utf8(scene.site.read(paths::KEYS))
        .expect("JSON")
        .replace("\\\"version\\\": 1", "\\\"version\\\": 2");
    scene.refuses_to_subscribe(paths::KEYS, newer, 1, "update-livepc");
}
