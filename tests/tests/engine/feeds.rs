//! Between a publisher's server and what is accepted: networks that answer for it, caches that are behind, servers that move,
//! storages, encodings, and sources that are none.

mod behind;
mod moves;
mod reading;

use livepc_tests::forge::Site;
use livepc_tests::home::TestHome;
use livepc_tests::lab::Lab;
use livepc_tests::origin::{Fault, Origin, Rule};
use serde_json::Value;

fn site(lab: &Lab) -> Site {
    Site::of(&lab.publisher)
}

/// Has every request for such a path lead elsewhere.
fn lead(server: &Origin, path: &str, code: u16, to: &str) {
    let to = to.to_owned();
    server.fail(Rule::always(path, Fault::Leads { code, to }));
}

fn shown(home: &TestHome) -> Value {
    home.done(&["show", "lab"])["livepc"].clone()
}
