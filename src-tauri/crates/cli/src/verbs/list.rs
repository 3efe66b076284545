//! `list`, `show` and `status`.

use livepc_protocol::{Answer, LivePc, MachineState, Problem, Request, StaleReason};
use serde_json::{Value, json};

use crate::output::{bytes, day, short, time};
use crate::session::{Session, unexpected};

/// A subscription as `list` tells it; the fields are part of the contract with scripts.
fn listed(livepc: &LivePc) -> Value {
    json!({
        "id": livepc.id,
        "title": livepc.title,
        "feed_url": livepc.feed_url,
        "publisher_key": livepc.publisher_key,
        "fingerprint": livepc.fingerprint,
        "alike": livepc.alike,
        "release_in_use": livepc.release_in_use,
        "release_available": livepc.release_available,
        "boot_ready": livepc.boot_ready,
        "complete": livepc.complete,
        "bytes_local": livepc.bytes_local,
        "bytes_total": livepc.bytes_total,
        "state": livepc.state,
        "stale": livepc.stale,
        "yanked": livepc.yanked,
    })
}

fn word(state: MachineState) -> &'static str {
    state.into()
}

fn line(livepc: &LivePc) -> String {
    let here = if livepc.complete {
        "complete".to_owned()
    } else {
        format!("{} of {}", bytes(livepc.bytes_local), bytes(livepc.bytes_total))
    };
    let update = match (&livepc.label_available, livepc.update_bytes) {
        (Some(label), Some(size)) => format!("  update {label} ({})", bytes(size)),
        _ => String::new(),
    };
    let key = if livepc.alike {
        format!("  key {}", short(&livepc.fingerprint))
    } else {
        String::new()
    };
    let first = format!(
        "{:20} {:10} {here:24} {}{key}{update}",
        livepc.id,
        word(livepc.state),
        livepc.title
    );
    std::iter::once(first)
        .chain(warnings(livepc))
        .collect::<Vec<_>>()
        .join("\n")
}

/// What a subscriber should know of the publisher's word, a line each.
fn warnings(livepc: &LivePc) -> impl Iterator<Item = String> {
    let stale = livepc.stale.map(|stale| {
        let day = day(stale.since);
        match stale.why {
            StaleReason::Expired => {
                format!("  The publisher's feed has not been renewed since {day}: it may be out of date.")
            }
            StaleReason::Refused => {
                format!("  What the publisher's server says is refused; what was accepted last is of {day}.")
            }
            StaleReason::Unreachable => format!("  The publisher's feed could not be read since {day}."),
        }
    });
    let yanked = livepc
        .yanked
        .map(|release| format!("  Its publisher has taken back release {release} for a fault."));
    let withdrawn = livepc.withdrawn.map(|release| {
        format!("  Its publisher no longer offers release {release}: what is here of it works, what is missing cannot be fetched.")
    });
    stale.into_iter().chain(yanked).chain(withdrawn)
}

pub(crate) async fn list(session: &Session<'_>) -> Result<(), Problem> {
    let Answer::List { livepcs, .. } = session.ask(Request::list()).await? else {
        return Err(unexpected());
    };
    let all: Vec<Value> = livepcs.iter().map(listed).collect();
    session.output.result(&json!({"livepcs": all}), || {
        if livepcs.is_empty() {
            return "No subscriptions yet: “livepc subscribe FEED_URL” makes one.".into();
        }
        livepcs.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

pub(crate) async fn show(session: &Session<'_>, id: String) -> Result<(), Problem> {
    let Answer::Shown { livepc, releases, .. } = session.ask(Request::show(id)).await? else {
        return Err(unexpected());
    };
    session
        .output
        .result(&json!({"livepc": livepc, "releases": releases}), || {
            let mut text = format!("{} ({})\n", livepc.title, livepc.id);
            if !livepc.summary.is_empty() {
                text.push_str(&format!("  {}\n", livepc.summary));
            }
            if !livepc.publisher.is_empty() {
                text.push_str(&format!("  published by {}\n", livepc.publisher));
            }
            text.push_str(&format!(
                "  feed  {}\n  key   {}\n  state {}\n",
                livepc.feed_url,
                livepc.fingerprint,
                word(livepc.state)
            ));
            if let Some(before) = &livepc.moved_from {
                text.push_str(&format!("  moved from {before}\n"));
            }
            for warning in warnings(&livepc) {
                text.push_str(&warning);
                text.push('\n');
            }
            if let Some(problem) = &livepc.problem {
                text.push_str(&format!("  {}\n  {}\n", problem.message, problem.hint));
            }
            for release in &releases {
                let used = if Some(release.sequence) == livepc.release_in_use {
                    ", in use"
                } else {
                    ""
                };
                let state = match release.state.as_str() {
                    "current" => String::new(),
                    taken_back => format!(", {taken_back} by its publisher"),
                };
                text.push_str(&format!(
                    "  release {} “{}”, {}, {} to fetch{used}{state}\n",
                    release.sequence,
                    release.label,
                    time(release.created),
                    bytes(release.bytes_to_fetch)
                ));
            }
            text
        });
    Ok(())
}

pub(crate) async fn status(session: &Session<'_>, id: Option<String>) -> Result<(), Problem> {
    let Answer::Snapshot { snapshot } = session.ask(Request::Snapshot).await? else {
        return Err(unexpected());
    };
    let chosen = match id {
        None => None,
        Some(id) => {
            let Answer::Shown { livepc, .. } = session.ask(Request::show(id)).await? else {
                return Err(unexpected());
            };
            Some(livepc.id)
        }
    };
    let wanted = |id: &str| chosen.as_deref().is_none_or(|chosen| chosen == id);
    let machines: Vec<&LivePc> = snapshot
        .livepcs
        .iter()
        .filter(|livepc| wanted(&livepc.id))
        .collect();
    let jobs: Vec<_> = snapshot
        .jobs
        .iter()
        .filter(|job| wanted(&job.id) && !job.status.has_ended())
        .collect();
    let object = json!({
        "machines": machines.iter().map(|livepc| json!({
            "id": livepc.id, "state": livepc.state, "release": livepc.release_in_use, "problem": livepc.problem,
            "stale": livepc.stale, "yanked": livepc.yanked,
        })).collect::<Vec<_>>(),
        "jobs": jobs,
        "paused": snapshot.paused,
    });
    session.output.result(&object, || {
        let mut lines: Vec<String> = machines.iter().map(|livepc| line(livepc)).collect();
        lines.extend(jobs.iter().map(|job| {
            format!(
                "  job {}: {} of {}",
                job.job,
                bytes(job.bytes_done),
                bytes(job.bytes_total)
            )
        }));
        lines.join("\n")
    });
    Ok(())
}
