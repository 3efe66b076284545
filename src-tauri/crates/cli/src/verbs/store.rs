//! `prune` and `store`: what the store takes, and where it is.

use std::path::{Path, PathBuf};

use livepc_engine::store_move::move_store;
use livepc_protocol::{Answer, Problem, Pruned, PrunedRelease, Request};
use serde_json::json;

use crate::output::bytes;
use crate::session::{Session, path_text, unexpected};
use crate::verbs::roles::end_agent;

pub(crate) async fn prune(session: &Session<'_>, dry_run: bool, wanted: bool) -> Result<(), Problem> {
    let Answer::Pruned { pruned } = session.ask(Request::Prune { dry_run, wanted }).await? else {
        return Err(unexpected());
    };
    let Pruned {
        releases,
        kept,
        leftover_bytes,
        bytes: freed,
    } = &pruned;
    let object = json!({
        "releases": releases,
        "kept": kept,
        "leftover_bytes": leftover_bytes,
        "bytes": freed,
        "dry_run": dry_run,
    });
    session.output.result(&object, || {
        let named = |release: &PrunedRelease| {
            let label = release.label.as_ref().map(|label| format!(" ({label})"));
            let label = label.unwrap_or_default();
            let size = bytes(release.bytes);
            format!("{}, release {}{label}: {size}", release.title, release.release)
        };
        let mut lines: Vec<String> = releases.iter().map(named).collect();
        if *leftover_bytes > 0 {
            lines.push(format!("what belongs to no release: {}", bytes(*leftover_bytes)));
        }
        let (freed, would) = (bytes(*freed), if dry_run { "would be" } else { "were" });
        lines.push(format!("{freed} {would} freed."));
        if !kept.is_empty() {
            lines.push(
                "Kept, since you fetched them by their number (“livepc prune --wanted” removes them):".into(),
            );
            lines.extend(kept.iter().map(|release| format!("  {}", named(release))));
        }
        lines.join("\n")
    });
    Ok(())
}

pub(crate) async fn move_to(session: &Session<'_>, dir: &Path) -> Result<(), Problem> {
    let to = PathBuf::from(path_text(dir)?);
    // It knows of machines and jobs, and refuses to end while there are any.
    end_agent(session).await?;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let home = session.home.clone();
    let moving = tokio::task::spawn_blocking(move || {
        livepc_panics::caught("Moving the store", || {
            move_store(&home, &to, &mut |done, total| {
                // Who listens may have been interrupted.
                let _ = tell.send((done, total));
            })
        })
    });
    while let Some((done, total)) = told.recv().await {
        session.output.progress("moving", done, total, json!({}));
    }
    let moved = moving
        .await
        .map_err(|e| Problem::io("The store cannot be moved", &std::io::Error::other(e)))?
        .map_err(Problem::of_panic)??;
    let object =
        json!({"store": moved.store.display().to_string(), "bytes": moved.bytes, "renamed": moved.renamed});
    session.output.result(&object, || {
        format!(
            "The store ({}) is in {} now.",
            bytes(moved.bytes),
            moved.store.display()
        )
    });
    Ok(())
}
