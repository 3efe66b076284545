//! From a raw image through nginx to an equal raw image.

use std::path::Path;

use livepc_tests::guest;
use livepc_tests::home::TestHome;
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;

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
