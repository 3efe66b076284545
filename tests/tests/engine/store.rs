//! What is in the store: damage is found and fetched again; what nobody needs goes, and what that frees is told before.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;

use livepc_format::Digest;
use livepc_tests::forge::disk;
use livepc_tests::home::{TestHome, kill};
use livepc_tests::lab::Lab;
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;
use serde_json::{Value, json};

/// Where the pages begin in a local pack file.
const PAGES_AT: u64 = 274_432;
/// Pages of a chunk.
const CHUNK: u64 = 64;
const PAGE: u64 = 4096;

/// The largest of the pack files.
fn pack(lab: &Lab) -> PathBuf {
    let packs = files(&lab.home.home().store().join("packs"));
    let largest = packs
        .into_iter()
        .max_by_key(|file| file.metadata().map_or(0, |data| data.len()));
    largest.expect("a pack")
}

/// Damages the first page of the first two chunks of the largest pack.
fn damage_two_chunks(lab: &Lab) {
    for chunk in 0..2 {
        overwrite(&pack(lab), PAGES_AT + chunk * CHUNK * PAGE);
    }
}

/// What the only job of a check has found damaged and fetched again, in chunks and bytes.
#[track_caller]
fn repaired(lab: &Lab) -> (Value, Value) {
    let verified = lab.home.done(&["verify", "lab", "--repair"]);
    let damage = &verified["verified"][0]["damage"];
    assert_eq!(
        (&damage["bytes"], &damage["chunks"]),
        (&damage["repaired_bytes"], &damage["repaired_chunks"]),
        "all of it is here again: {verified}"
    );
    assert_eq!(lab.home.listed()["complete"], true);
    (damage["chunks"].clone(), damage["bytes"].clone())
}

/// Writes other bytes over the first of a page.
fn overwrite(file: &Path, at: u64) {
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(file)
        .expect("the file");
    let mut bytes = [0; 16];
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.read_exact(&mut bytes))
        .expect("its bytes");
    bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.write_all(&bytes))
        .expect("it is damaged");
}

/// The files in the folders of a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    list(folder).iter().flat_map(|inner| list(inner)).collect()
}

#[test]
fn what_is_damaged_is_fetched_again_and_nothing_else() {
    let lab = Lab::complete(3);
    damage_two_chunks(&lab);
    lab.server.log().clear();
    assert_eq!(repaired(&lab), (json!(2), json!(2 * CHUNK * PAGE)));
    let sent = lab.server.log().sent("packs/");
    assert!(
        (1..3 * CHUNK * PAGE).contains(&sent),
        "two chunks were fetched, not all: {sent} bytes"
    );
    assert_eq!(repaired(&lab), (json!(0), json!(0)), "nothing is left to do");

    // Without the word of somebody nothing is fetched; what is damaged must not stay all the same.
    damage_two_chunks(&lab);
    lab.server.log().clear();
    lab.home.run(&["verify", "lab"]).refused(1, "failed");
    assert_eq!(lab.server.log().sent("packs/"), 0);
    assert_eq!(
        lab.home.listed()["complete"],
        false,
        "who starts it is not deceived"
    );
    assert_eq!(
        repaired(&lab),
        (json!(2), json!(2 * CHUNK * PAGE)),
        "what an earlier check has removed is fetched too"
    );
    assert_eq!(repaired(&lab), (json!(0), json!(0)));
    damage_two_chunks(&lab);
    lab.home.run(&["verify", "lab"]).refused(1, "failed");
    lab.home.done(&["download", "lab"]);
    assert_eq!(repaired(&lab), (json!(0), json!(0)), "a download has fetched it");
}

/// Where the file system has lost the beginning of a file, nobody knows what was in the rest.
#[test]
fn a_pack_and_an_index_that_are_lost_as_a_whole_are_fetched_again() {
    let lab = Lab::complete(3);
    overwrite(&pack(&lab), 0);
    let objects = files(&lab.home.home().store().join("objects"));
    assert!(
        objects.len() > 3,
        "a manifest, a list of packs, an index: {objects:?}"
    );
    for object in &objects {
        overwrite(object, object.metadata().expect("its size").len() / 2);
    }
    let (chunks, _) = repaired(&lab);
    assert!(chunks.as_u64() > Some(3), "{chunks} chunks of a whole pack");
    for object in &objects {
        let name = object
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a digest");
        let bytes = std::fs::read(object).expect("an object");
        assert_eq!(Digest::of(&bytes).to_string(), name, "the index is whole again");
    }
    assert_eq!(repaired(&lab), (json!(0), json!(0)));
}

/// Once damage is removed only the job knows of it: it must not forget.
#[test]
fn a_repair_without_a_network_goes_on_after_the_agent_was_killed() {
    let lab = Lab::complete(3);
    damage_two_chunks(&lab);
    lab.server.stop();
    lab.home.run(&["verify", "lab", "--repair"]).refused(5, "network");
    lab.home.kill_all();
    lab.server.start_again().expect("the port is free");
    assert_eq!(repaired(&lab), (json!(2), json!(2 * CHUNK * PAGE)));
}

/// A LivePC that is published and subscribed to, and all of it here.
fn subscribed(work: &Path, home: &TestHome, name: &str, seed: u8) -> (Publisher, Origin) {
    let publisher = Publisher::new(&disk(work, &format!("{name}.raw"), 2, seed), name);
    publisher.publish(&[]);
    let server = Origin::start(publisher.site()).expect("the origin starts");
    home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
    home.done(&["download", name]);
    (publisher, server)
}

/// Bytes that packs and index take on the disk.
fn on_disk(home: &TestHome) -> u64 {
    let store = home.home().store();
    let files = ["packs", "objects"].map(|folder| files(&store.join(folder)));
    let blocks = files
        .iter()
        .flatten()
        .map(|file| file.metadata().map_or(0, |data| data.blocks()));
    blocks.sum::<u64>() * 512
}

/// A disk that is served until this is dropped.
struct Serving(Child);

impl Serving {
    /// Returns when the disk can be read.
    fn start(home: &TestHome, id: &str, more: &[&str]) -> Self {
        let socket = home.path().join(format!("{id}.sock"));
        let mut args = vec!["serve", id, "--nbd", socket.to_str().expect("UTF-8")];
        args.extend(more);
        let mut serve = home.spawn(&args);
        let output = serve.stdout.take().expect("its output is a pipe");
        let serving = Self(serve);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert!(line.starts_with("ready "), "{line}");
        serving
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        kill(self.0.id());
        // It may have ended before.
        let _ = self.0.wait();
    }
}

#[test]
fn a_prune_says_what_goes_before_it_goes() {
    let work = tempfile::tempdir().expect("a folder");
    let home = TestHome::new();
    let (_stays, _) = subscribed(work.path(), &home, "stays", 1);
    let (_goes, _) = subscribed(work.path(), &home, "goes", 2);
    // The agent tidies the store when it starts: it must not end meanwhile.
    let _held = Serving::start(&home, "stays", &[]);
    let read = Serving::start(&home, "goes", &[]);
    home.done(&["unsubscribe", "goes", "--delete-data"]);
    let nothing = json!({"releases": [], "kept": [], "leftover_bytes": 0, "bytes": 0, "dry_run": true});
    assert_eq!(home.done(&["prune", "--dry-run"]), nothing, "somebody reads it");
    drop(read);
    let name = format!("{}.pages.damaged", Digest::of(b"any"));
    let left = files(&home.home().store().join("packs"))[0].with_file_name(name);
    std::fs::write(&left, [1; 5000])
        .and_then(|()| File::open(&left)?.sync_all())
        .expect("what a crash left");

    let before = on_disk(&home);
    let mut told = home.done(&["prune", "--dry-run"]);
    assert_eq!(on_disk(&home), before, "a dry run removes nothing");
    assert_eq!(
        told["leftover_bytes"],
        left.metadata().expect("its size").blocks() * 512,
        "{told}"
    );
    let releases = told["releases"].as_array().expect("a list");
    assert_eq!(releases.len(), 1, "{told}");
    assert_eq!(
        (&releases[0]["id"], &releases[0]["release"]),
        (&Value::Null, &json!(1)),
        "{told}"
    );
    assert!(releases[0]["bytes"].as_u64() > Some(2 << 20), "{told}");
    told["dry_run"] = json!(false);
    assert_eq!(home.done(&["prune"]), told, "it is as was told");
    assert_eq!(Some(before - on_disk(&home)), told["bytes"].as_u64());
    assert_eq!(home.done(&["prune", "--dry-run"]), nothing);
    assert_eq!(home.listed()["complete"], true, "the other has lost nothing");
}

/// Publishes a disk of 8 MiB as the next release of a LivePC, all of it new; a start uses it.
fn follow(work: &Path, home: &TestHome, publisher: &Publisher, name: &str, seed: u8) {
    publisher.project(&disk(work, &format!("{name}-{seed}.raw"), 8, seed), name);
    publisher.publish(&[]);
    home.done(&["update", name]);
    run_once(home, name);
}

fn run_once(home: &TestHome, name: &str) {
    home.done(&["start", name, "--display", "none", "--no-fill"]);
    home.done(&["stop", name, "--force"]);
}

/// The releases of a LivePC that are here whole, the newest first.
fn here(home: &TestHome, name: &str) -> Vec<u64> {
    let shown = home.done(&["show", name]);
    let releases = shown["releases"].as_array().expect("a list");
    let whole = releases.iter().filter(|release| release["bytes_to_fetch"] == 0);
    whole.filter_map(|release| release["sequence"].as_u64()).collect()
}

/// Two LivePCs with a release to go back to each, and two to come: of 8 and of 20 MiB.
#[test]
fn a_download_keeps_to_the_quota_and_only_what_is_spare_makes_room() {
    let work = tempfile::tempdir().expect("a folder");
    let home = TestHome::new();
    let mut scene = Vec::new();
    for (name, seed) in [("unused", 1), ("used", 3)] {
        let publisher = Publisher::new(&disk(work.path(), &format!("{name}.raw"), 8, seed), name);
        publisher.publish(&[]);
        let server = Origin::start(publisher.site()).expect("the origin starts");
        home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
        home.done(&["download", name]);
        run_once(&home, name);
        follow(work.path(), &home, &publisher, name, seed + 1);
        scene.push((publisher, server));
    }
    for (name, mib) in [("small", 8), ("large", 20)] {
        let publisher = Publisher::new(&disk(work.path(), &format!("{name}.raw"), mib, mib as u8), name);
        publisher.publish(&[]);
        let server = Origin::start(publisher.site()).expect("the origin starts");
        home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
        scene.push((publisher, server));
    }
    assert_eq!(
        (here(&home, "unused"), here(&home, "used")),
        (vec![2, 1], vec![2, 1])
    );
    home.run(&["config", "set", "store.max-bytes", "much"])
        .refused(2, "usage");
    let quota = on_disk(&home) + (4 << 20);
    home.done(&["config", "set", "store.max-bytes", &quota.to_string()]);

    // Somebody reads what would go first, and the other is pinned: nothing is spare.
    let read = Serving::start(&home, "unused", &["--release", "1"]);
    home.done(&["pin", "used", "--release", "1"]);
    let refused = home.run(&["download", "small"]);
    refused.refused(6, "disk-full");
    assert!(
        refused.text.contains("store.max-bytes") && refused.text.contains("; 0 B could be freed"),
        "it tells the quota, and what could be freed: {}",
        refused.text
    );
    drop(read);
    home.done(&["pin", "used", "--newest"]);
    // Who is given a release has a minute to say that it is read; an agent that starts knows of nobody.
    home.done(&["agent", "stop"]);

    let refused = home.run(&["download", "large"]);
    refused.refused(6, "disk-full");
    assert_eq!(
        (here(&home, "unused"), here(&home, "used")),
        (vec![2, 1], vec![2, 1]),
        "nothing goes in vain"
    );
    home.done(&["download", "small"]);
    assert_eq!(
        (here(&home, "unused"), here(&home, "used"), here(&home, "small")),
        (vec![2], vec![2, 1], vec![1]),
        "the one goes that nobody has used for the longest time"
    );
    assert!(
        on_disk(&home) <= quota,
        "{} bytes, and {quota} are allowed",
        on_disk(&home)
    );
    home.done(&["config", "set", "store.max-bytes", "0"]);
    home.done(&["download", "large"]);
    assert_eq!(here(&home, "used"), [2, 1], "without a quota it stays");
}

/// What `show` tells of the disk that a LivePC takes: alone, and with others.
fn shares(home: &TestHome, name: &str) -> (u64, u64) {
    let shown = home.done(&["show", name]);
    let bytes = |field: &str| shown["livepc"][field].as_u64().expect("a number");
    (bytes("store_bytes_private"), bytes("store_bytes_shared"))
}

/// Who unsubscribes to have more room must get what was told.
#[test]
fn unsubscribing_frees_what_was_told_as_private() {
    let work = tempfile::tempdir().expect("a folder");
    let home = TestHome::new();
    // Two publishers who publish the same disk: its packs are the same.
    let (_one, _) = subscribed(work.path(), &home, "one", 1);
    let alone = shares(&home, "one");
    assert_eq!(alone.0, on_disk(&home), "there is nothing else");
    assert_eq!(alone.1, 0);
    let (_same, _) = subscribed(work.path(), &home, "same", 1);
    let (_other, _) = subscribed(work.path(), &home, "other", 2);
    let all = ["one", "same", "other"].map(|name| shares(&home, name));
    assert!(
        all[0].1 > 2 << 20 && all[0].1 == all[1].1,
        "their packs are shared: {all:?}"
    );
    assert!(
        all[0].0 < 1 << 20,
        "what is its own is only what was signed: {all:?}"
    );
    assert_eq!(all[2].1, 0, "{all:?}");
    assert_eq!(
        all.iter().map(|share| share.0).sum::<u64>() + all[0].1,
        on_disk(&home),
        "all of it is somebody's: {all:?}"
    );

    for (name, private) in [("other", all[2].0), ("same", all[1].0)] {
        let before = on_disk(&home);
        home.done(&["unsubscribe", name, "--delete-data"]);
        assert_eq!(before - on_disk(&home), private, "{name}");
    }
    assert_eq!(shares(&home, "one"), alone, "now it is alone again");
    home.done(&["unsubscribe", "one", "--delete-data"]);
    assert_eq!(on_disk(&home), 0, "nothing is left");
}
