//! A subscription from its row in the state database.

use jiff::Timestamp;
use livepc_format::{Head, Keys};
use livepc_protocol::{Code, Problem, UpdatePolicy};
use livepc_transfer::Validators;
use rusqlite::Row;
use url::Url;

use super::Subscription;
use crate::problems::of_format;
use crate::published::Known;
use crate::words::word;

/// What [`read`] reads.
pub(super) const COLUMNS: &str = "id, livepc, feed_url, head_url, title, summary, publisher, guest_os, keys, head, feed_etag, \
                       feed_modified, head_etag, head_modified, in_use, checked, last_used, problem, outcome, policy, pinned, keep_changes, \
                       failed_release, failures, announced, moved_from";

/// Says what is wrong with a row of the table of subscriptions. One that a newer version has written is good.
pub(crate) fn check(row: &Row<'_>) -> Result<(), String> {
    match read(row) {
        Err(problem) if problem.code != Code::UpdateLivepc => Err(problem.message),
        _ => Ok(()),
    }
}

pub(super) fn read(row: &Row<'_>) -> Result<Subscription, Problem> {
    let broken = |why: String| {
        Problem::new(
            Code::Failed,
            format!("LivePC's state is damaged: {why}."),
            "Subscribe to it again.",
        )
    };
    let get = |name: &str| row.get::<_, String>(name).map_err(|e| broken(e.to_string()));
    let maybe = |name: &str| {
        row.get::<_, Option<String>>(name)
            .map_err(|e| broken(e.to_string()))
    };
    let bytes = |name: &str| row.get::<_, Vec<u8>>(name).map_err(|e| broken(e.to_string()));
    let url = |name: &str| Url::parse(&get(name)?).map_err(|e| broken(e.to_string()));
    let maybe_url = |name: &str| Ok(maybe(name)?.and_then(|text| Url::parse(&text).ok()));
    let time = |name: &str| Ok(maybe(name)?.and_then(|text| text.parse::<Timestamp>().ok()));
    let problem = |name: &str| Ok(maybe(name)?.and_then(|text| serde_json::from_str(&text).ok()));
    // They are verified again each time: a state file that somebody edited earns no trust.
    let keys = Keys::open(&bytes("keys")?).map_err(|e| of_format(&e))?;
    let head = Head::open(&bytes("head")?, &keys).map_err(|e| of_format(&e))?;
    let head_url = url("head_url")?;
    let known = Known {
        head_url: Some(head_url.clone()),
        feed: Validators {
            etag: maybe("feed_etag")?,
            last_modified: maybe("feed_modified")?,
        },
        head: Validators {
            etag: maybe("head_etag")?,
            last_modified: maybe("head_modified")?,
        },
    };
    Ok(Subscription {
        id: get("id")?,
        livepc: keys.livepc(),
        former: Vec::new(),
        feed_url: url("feed_url")?,
        moved_from: maybe_url("moved_from")?,
        announced: maybe_url("announced")?,
        head_url,
        title: get("title")?,
        summary: get("summary")?,
        publisher: get("publisher")?,
        guest_os: get("guest_os")?,
        keys,
        head,
        known,
        in_use: row.get("in_use").map_err(|e| broken(e.to_string()))?,
        checked: time("checked")?,
        last_used: time("last_used")?,
        problem: problem("problem")?,
        outcome: problem("outcome")?,
        policy: if get("policy")? == word(&UpdatePolicy::Notify) {
            UpdatePolicy::Notify
        } else {
            UpdatePolicy::Auto
        },
        pinned: row.get("pinned").map_err(|e| broken(e.to_string()))?,
        keep_changes: row.get("keep_changes").map_err(|e| broken(e.to_string()))?,
        failed_release: row.get("failed_release").map_err(|e| broken(e.to_string()))?,
        failures: row.get("failures").map_err(|e| broken(e.to_string()))?,
    })
}
