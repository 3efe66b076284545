//! The map of what is here, as clients draw it.

use livepc_protocol::{Answer, BlockMap, Client, Problem, Request};
use livepc_tests::home::TestHome;
use livepc_tests::lab::Lab;

/// Asks the home's agent, which is started if it does not run.
fn map(home: &TestHome, release: Option<u64>) -> Result<BlockMap, Problem> {
    let _ = home.listed();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&home.home().agent_whereabouts(), "a test", false).await?;
        let id = "lab".to_owned();
        match client.call(Request::BlockMap { id, release }).await? {
            Answer::BlockMap { map } => Ok(map),
            other => panic!("another answer: {other:?}"),
        }
    })
}

#[test]
fn a_map_shows_what_is_here_and_what_is_on_its_way() {
    let lab = Lab::subscribed(24);
    let unknown = map(&lab.home, None).expect_err("its index is not here");
    assert_eq!(unknown.code, livepc_protocol::Code::NotFound, "{unknown}");

    lab.server.set_bytes_per_second(Some(4 << 20));
    let mut download = lab.home.spawn(&["download", "lab"]);
    lab.home.until("a third here", |listed| {
        listed["bytes_local"].as_u64() > Some(8 << 20)
    });
    let now = map(&lab.home, None).expect("it is drawn");
    let cells = now.here.len();
    assert!(cells > 90, "24 MiB are 96 chunks, and each has a cell: {cells}");
    assert_eq!((now.boot.len(), now.fetching.len()), (cells, cells));
    let whole = now.here.iter().filter(|here| **here == 100).count();
    assert!((cells / 4..cells).contains(&whole), "{whole} of {cells} are here");
    assert!(now.fetching.contains(&true), "something is on its way");
    let again = |at: &usize| now.fetching[*at] && now.here[*at] == 100;
    assert_eq!((0..cells).find(again), None, "what is here is not fetched");
    assert!(!now.boot.contains(&true), "no start was recorded");

    lab.server.set_bytes_per_second(None);
    assert!(download.wait().expect("it ends").success());
    let done = map(&lab.home, Some(1)).expect("it is drawn");
    assert!(done.here.iter().all(|here| *here == 100), "{:?}", done.here);
    assert!(!done.fetching.contains(&true));
    assert!(map(&lab.home, Some(2)).is_err(), "there is no such release");
}
