//! `prune`: what the store takes.

use livepc_protocol::{Answer, Problem, Pruned, Request};
use serde_json::json;

use crate::output::bytes;
use crate::session::{Session, unexpected};

pub(crate) async fn prune(session: &Session<'_>, dry_run: bool) -> Result<(), Problem> {
    let Answer::Pruned { pruned } = session.ask(Request::Prune { dry_run }).await? else {
        return Err(unexpected());
    };
    let Pruned {
        releases,
        leftover_bytes,
        bytes: freed,
    } = &pruned;
    let object = json!({
        "releases": releases,
        "leftover_bytes": leftover_bytes,
        "bytes": freed,
        "dry_run": dry_run,
    });
    session.output.result(&object, || {
        let mut lines: Vec<String> = releases
            .iter()
            .map(|release| {
                let label = release.label.as_ref().map(|label| format!(" ({label})"));
                let label = label.unwrap_or_default();
                let size = bytes(release.bytes);
                format!("{}, release {}{label}: {size}", release.title, release.release)
            })
            .collect();
        if *leftover_bytes > 0 {
            lines.push(format!("what belongs to no release: {}", bytes(*leftover_bytes)));
        }
        let (freed, would) = (bytes(*freed), if dry_run { "would be" } else { "were" });
        lines.push(format!("{freed} {would} freed."));
        lines.join("\n")
    });
    Ok(())
}
