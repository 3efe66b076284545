//! `source` and `search`.

use livepc_protocol::{Answer, LibraryEntry, Problem, Request};
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
                let key = match &entry.fingerprint {
                    Some(fingerprint) if entry.alike => format!("\n  key {}", short(fingerprint)),
                    None if entry.alike => {
                        "\n  looks like another one: compare the key when you subscribe".to_owned()
                    }
                    _ => String::new(),
                };
                format!("{}\n  {}{key}", described(entry), entry.feed_url)
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

/// The title of an entry, and what its catalog says besides: nothing need be said.
fn described(entry: &LibraryEntry) -> String {
    let size = entry.full_bytes.map(bytes).unwrap_or_default();
    let known: Vec<&str> = [entry.publisher.as_str(), &size]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    let mut text = entry.title.clone();
    if !known.is_empty() {
        text.push_str(&format!(" ({})", known.join(", ")));
    }
    if !entry.summary.is_empty() {
        text.push_str(&format!("\n  {}", entry.summary));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_catalog_does_not_say_leaves_no_gap() {
        let entry = |publisher: &str, summary: &str, full_bytes| LibraryEntry {
            feed_url: "https://example.org/feed.xml".into(),
            title: "Lab".into(),
            summary: summary.into(),
            description: String::new(),
            publisher: publisher.into(),
            categories: Vec::new(),
            guest_os: String::new(),
            boot_ready_bytes: None,
            full_bytes,
            source: String::new(),
            subscribed: None,
            fingerprint: None,
            alike: false,
        };
        for (publisher, summary, size, told) in [
            ("Ada", "A net", Some(250_000_000), "Lab (Ada, 250 MB)\n  A net"),
            ("", "A net", Some(250_000_000), "Lab (250 MB)\n  A net"),
            ("Ada", "", None, "Lab (Ada)"),
            ("", "", None, "Lab"),
        ] {
            assert_eq!(described(&entry(publisher, summary, size)), told);
        }
    }
}
