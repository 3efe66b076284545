//! Processes that end at any moment: nothing is lost, and what is here is not fetched again.

use std::time::{Duration, Instant};

use livepc_tests::forge::disk;
use livepc_tests::home::{TestHome, kill};
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;

/// Kills that a download must survive.
const KILLS: u64 = 10;
const MIB: usize = 96;

#[test]
fn a_download_that_is_killed_again_and_again_fetches_little_twice() {
    let work = tempfile::tempdir().expect("a folder");
    let raw = disk(work.path(), "1.raw", MIB, 1);
    let publisher = Publisher::new(&raw, "Lab");
    publisher.publish(&[]);
    let server = Origin::start(publisher.site()).expect("the origin starts");
    server.set_bytes_per_second(Some(16 << 20));
    let home = TestHome::new();
    home.done(&["subscribe", &format!("{}feed.xml", server.url()), "--yes"]);
    let total = home.listed()["bytes_total"].as_u64().expect("a size");

    for n in 1..=KILLS {
        let goal = total * n / (KILLS + 2);
        let mut download = home.spawn(&["download", "lab"]);
        let until = Instant::now() + Duration::from_secs(120);
        while server.log().sent("/packs/") < goal {
            assert!(
                Instant::now() < until,
                "the download does not go on after {n} kills"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        for pid in home.processes("agent") {
            kill(pid);
        }
        let _ = download.wait();
    }
    let job = home.done(&["download", "lab"]);
    assert_eq!(
        job["job"], 1,
        "the job that was killed goes on, and no other is made: {job}"
    );
    let fetched = server.log().sent("/packs/");
    assert!(
        fetched <= total + KILLS * 4_000_000,
        "{fetched} bytes were fetched for {total}: more than 4 MB a kill were lost"
    );
    let out = work.path().join("out.raw");
    home.done(&["export", "lab", out.to_str().expect("UTF-8")]);
    assert!(
        std::fs::read(&raw).expect("it") == std::fs::read(&out).expect("it"),
        "the export must be equal"
    );
    home.done(&["verify", "lab"]);
}
