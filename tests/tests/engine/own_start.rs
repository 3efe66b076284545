//! What a start reads is learnt from the machine's own starts, where the publisher has not recorded one.

use std::time::{Duration, Instant};

use livepc_tests::forge::Site;
use livepc_tests::guest;
use livepc_tests::home::TestHome;
use livepc_tests::origin::Origin;
use livepc_tests::presence::Partition;
use livepc_tests::publisher::Publisher;
use serde_json::Value;

const ID: &str = "sample";
/// The guest's ext4 partition begins here, in bytes.
const ROOT: u64 = 33 << 20;
/// Pages of a stretch that is noted.
const STRETCH: u64 = 64;
/// How long the slow line may take for what a start reads.
const SOON: Duration = Duration::from_secs(120);

#[test]
fn what_the_last_start_read_is_fetched_first() {
    let publisher = Publisher::new(&guest::disk(1), "Sample");
    publisher.publish(&[]);
    let server = Origin::start(publisher.site()).expect("the origin starts");
    let home = TestHome::new();
    let feed = format!("{}feed.xml", server.url());
    home.done(&["subscribe", &feed, "--yes"]);
    let _ = guest::start(&home, ID, "serial.log", &["--no-fill"]);
    let by_start = home.listed()["bytes_local"].as_u64().expect("bytes");
    home.done(&["stop", ID]);
    let noted = home.home().machine(ID).join("start.json");
    let noted: Value =
        serde_json::from_slice(&std::fs::read(noted).expect("a start was noted")).expect("JSON");

    // Its data stays, but nothing of the release.
    home.done(&["unsubscribe", ID, "--keep-data"]);
    home.done(&["subscribe", &feed, "--yes"]);
    assert_eq!(home.listed()["bytes_local"], 0, "it begins with nothing");
    let partition = Partition::at(&Site::of(&publisher), ROOT);
    let stretches = noted["stretches"].as_array().expect("a list");
    let pages: Vec<u64> = stretches
        .iter()
        .filter(|stretch| stretch[0] == 0 && stretch[1] == partition.region)
        .map(|stretch| stretch[2].as_u64().expect("a number") * STRETCH)
        .flat_map(|page| page..page + STRETCH)
        .collect();
    let (absent, read) = partition.absent(&home.home(), &pages);
    assert!(
        absent == read && read > 1000,
        "{absent} of {read} pages are absent"
    );
    server.set_bytes_per_second(Some(8 << 20));
    let mut download = home.spawn(&["download", ID]);
    let until = Instant::now() + SOON;
    while partition.absent(&home.home(), &pages).0 > 0 {
        assert!(Instant::now() < until, "what a start reads does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
    let listed = home.listed();
    let here = listed["bytes_local"].as_u64().expect("bytes");
    assert!(
        here < 2 * by_start + (32 << 20) && listed["complete"] == false,
        "{here} bytes came before what a start reads was here, which are {by_start}"
    );
    server.set_bytes_per_second(None);
    assert!(download.wait().expect("it ends").success());
}
