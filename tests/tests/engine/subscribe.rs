//! From a raw image through nginx to an equal raw image.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use livepc_tests::guest;
use livepc_tests::home::TestHome;
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;
use sha2::{Digest as _, Sha256};

fn assert_same(a: &Path, b: &Path) {
    let same = std::process::Command::new("cmp")
        .args([a, b])
        .output()
        .expect("cmp runs");
    assert!(
        same.status.success(),
        "the files differ: {}",
        String::from_utf8_lossy(&same.stdout)
    );
}

/// The pages of a disk, without those that are zero, in order.
fn pages(disk: &Path) -> impl Iterator<Item = Vec<u8>> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(disk).expect("the disk"));
    std::iter::from_fn(move || {
        let mut page = vec![0; 4096];
        file.read_exact(&mut page).is_ok().then_some(page)
    })
    .filter(|page| page.iter().any(|byte| *byte != 0))
}

/// Bytes of the pages of `new` that `old` has not, in groups of 64 with zstd at level 9.
fn compressed_new_pages(old: &Path, new: &Path) -> u64 {
    let mut seen: HashSet<[u8; 32]> = pages(old).map(|page| Sha256::digest(page).into()).collect();
    let new: Vec<_> = pages(new)
        .filter(|page| seen.insert(Sha256::digest(page).into()))
        .collect();
    let groups = new
        .chunks(64)
        .map(|group| zstd::bulk::compress(&group.concat(), 9));
    groups.map(|bytes| bytes.expect("zstd").len() as u64).sum()
}

#[test]
fn a_release_arrives_byte_for_byte_and_the_next_one_as_its_new_pages() {
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    let first = publisher.publish(&["--label", "1.0"]);
    assert_eq!(
        (first["release"].as_u64(), first["changed"].as_bool()),
        (Some(1), Some(true))
    );
    let server = Nginx::serve(&publisher.site());
    let home = TestHome::new();

    let refused = home.run(&["subscribe", &server.url("feed.xml")]);
    refused.refused(2, "usage");
    assert_eq!(
        server.sent("/packs/"),
        0,
        "no pack may be asked for before the user's yes"
    );
    assert_eq!(
        home.done(&["list"])["livepcs"],
        serde_json::json!([]),
        "nothing is subscribed without a yes"
    );

    let subscribed = home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    let id = subscribed["id"].as_str().expect("an id").to_owned();
    let again = home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    assert_eq!(again["id"], subscribed["id"], "subscribing again changes nothing");
    assert_eq!(
        server.sent("/packs/"),
        0,
        "subscribing on the command line fetches metadata only"
    );
    let listed = home.listed();
    assert_eq!(
        (&listed["complete"], &listed["release_available"]),
        (&false.into(), &1.into())
    );

    let job = home.done(&["download", &id, "--until", "complete"]);
    assert_eq!(
        job["bytes_done"], job["bytes_total"],
        "all that the head says is here"
    );
    assert_eq!(home.listed()["complete"], true);
    home.done(&["download", &id]);
    let out = tempfile::tempdir().expect("a folder");
    let exported = out.path().join("disk.raw");
    home.done(&[
        "export",
        &id,
        "--format",
        "raw",
        exported.to_str().expect("UTF-8"),
    ]);
    assert_same(&guest::disk(1), &exported);
    home.run(&[
        "export",
        &id,
        "--format",
        "raw",
        exported.to_str().expect("UTF-8"),
    ])
    .refused(2, "usage");
    home.done(&["verify", &id]);

    publisher.project(&guest::disk(2), "Sample");
    let second = publisher.publish(&["--label", "2.0", "--changelog", "Newer content."]);
    let said = second["bytes_from"]["1"].as_u64().expect("what an update costs");
    server.forget();
    let updates = home.done(&["update", &id]);
    assert_eq!(updates["updates"][0]["to"], 2, "{updates}");
    assert_eq!(updates["updates"][0]["changelog"], "Newer content.");
    let fetched = server.sent("/packs/") + server.sent("/index/");
    let off = fetched.abs_diff(said) as f64 / said as f64;
    assert!(
        off <= 0.03,
        "the head says {said} bytes, the server sent {fetched}"
    );
    let pages = compressed_new_pages(&guest::disk(1), &guest::disk(2));
    println!("release 2 took {fetched} bytes; its new pages alone are {pages} at zstd-9");
    assert!(
        fetched as f64 <= 1.10 * pages as f64,
        "{fetched} bytes were sent for new pages of {pages} compressed bytes"
    );
    let listed = home.listed();
    assert_eq!(
        (&listed["release_available"], &listed["complete"]),
        (&2.into(), &true.into()),
        "{listed}"
    );
    home.done(&["export", &id, "--force", exported.to_str().expect("UTF-8")]);
    assert_same(&guest::disk(2), &exported);
    let old = out.path().join("old.raw");
    home.done(&["export", &id, "--release", "1", old.to_str().expect("UTF-8")]);
    assert_same(&guest::disk(1), &old);
}
