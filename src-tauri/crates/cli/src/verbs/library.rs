//! `source` and `search`.

use livepc_protocol::{Answer, Problem, Request};
use serde_json::json;

use crate::args::SourceVerb;
use crate::output::{bytes, short};
use crate::session::{Session, unexpected};
use crate::verbs::login;

pub(crate) async fn source(session: &Session<'_>, verb: SourceVerb) -> Result<(), Problem> {
    let request = match verb {
        SourceVerb::Add { url } => Request::SourceAdd { url },
        SourceVerb::List => Request::source_list(),
        SourceVerb::Remove { url } => Request::SourceRemove { url },
    };
    let client = session.client().await?;
    let Answer::Sources { sources, .. } = login::call(session, &client, request).await? else {
        return Err(unexpected());
    };
    session.output.result(&json!({"sources": sources}), || {
        let lines = sources.iter().map(|source| {
            let trouble = source
                .problem
                .as_ref()
                .map(|p| format!("  ({})", p.message))
                .unwrap_or_default();
            let moved = source.moved_from.as_ref();
            let moved = moved
                .map(|before| format!("  (moved from {before})"))
                .unwrap_or_default();
            format!(
                "{}  {} ({} LivePCs){moved}{trouble}",
                source.url, source.title, source.entries
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    Ok(())
}

pub(crate) async fn search(session: &Session<'_>, text: String) -> Result<(), Problem> {
    let Answer::Library {
        entries,
        total,
        sources,
        ..
    } = session.ask(Request::search(text)).await?
    else {
        return Err(unexpected());
    };
    session.output.result(
        &json!({"entries": entries, "total": total, "sources": sources}),
        || {
            if sources.is_empty() {
                return "The Library has no source yet: “livepc source add URL” adds a catalog or a feed."
                    .into();
            }
            let lines = entries.iter().map(|entry| {
                let size = entry
                    .full_bytes
                    .map(|size| format!(", {}", bytes(size)))
                    .unwrap_or_default();
                let key = match &entry.fingerprint {
                    Some(fingerprint) if entry.alike => format!("\n  key {}", short(fingerprint)),
                    None if entry.alike => {
                        "\n  looks like another one: compare the key when you subscribe".to_owned()
                    }
                    _ => String::new(),
                };
                format!(
                    "{} ({}{size})\n  {}\n  {}{key}",
                    entry.title, entry.publisher, entry.summary, entry.feed_url
                )
            });
            let found = lines.collect::<Vec<_>>().join("\n");
            if found.is_empty() {
                format!("None of {total} LivePCs has that.")
            } else {
                found
            }
        },
    );
    Ok(())
}
