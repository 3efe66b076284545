//! `catalog`.

use livepc_engine::catalog_entry;
use livepc_protocol::{Code, Problem};
use livepc_publish::catalog;
use serde_json::json;

use crate::args::publisher::{CatalogArgs, CatalogVerb};
use crate::session::Session;
use crate::verbs::publish::of_publish;

pub(crate) async fn run(session: &Session<'_>, verb: CatalogVerb) -> Result<(), Problem> {
    match &verb {
        CatalogVerb::Init(args) => {
            let title = args.title.as_deref().unwrap_or("LivePCs");
            catalog::init(&args.catalog, title).map_err(|e| of_publish(&e))?;
        }
        CatalogVerb::Add(args) => {
            let (entry, livepc) = catalog_entry::read(feed(args)?).await?;
            let listed = catalog::list(&args.catalog).map_err(|e| of_publish(&e))?;
            let (before, unknown) = catalog_entry::elsewhere(&listed.entries, &entry, livepc).await?;
            for feed in &before {
                session.output.note(&format!(
                    "It was listed at {feed} before: that entry is replaced."
                ));
            }
            for feed in &unknown {
                session.output.note(&format!(
                    "“{}” is listed at {feed} too, which does not answer: if it has moved from there, take that entry out with \
                     “livepc catalog remove”.",
                    entry.title
                ));
            }
            catalog::add(&args.catalog, entry, &before).map_err(|e| of_publish(&e))?;
        }
        CatalogVerb::Remove(args) => {
            let feed = catalog_entry::feed_address(feed(args)?)?;
            catalog::remove(&args.catalog, &feed).map_err(|e| of_publish(&e))?;
        }
        CatalogVerb::List(_) => {}
    }
    let (CatalogVerb::Init(args)
    | CatalogVerb::Add(args)
    | CatalogVerb::Remove(args)
    | CatalogVerb::List(args)) = &verb;
    let listed = catalog::list(&args.catalog).map_err(|e| of_publish(&e))?;
    let entries: Vec<_> = listed
        .entries
        .iter()
        .map(|entry| {
            json!({
                "title": entry.title, "feed_url": entry.feed, "publisher": entry.publisher,
                "boot_ready_bytes": entry.boot_ready_bytes, "full_bytes": entry.full_bytes,
            })
        })
        .collect();
    session
        .output
        .result(&json!({"title": listed.title, "entries": entries}), || {
            let lines = listed
                .entries
                .iter()
                .map(|entry| format!("{}  {}", entry.feed, entry.title));
            format!(
                "{} has {} LivePCs\n{}",
                args.catalog.display(),
                listed.entries.len(),
                lines.collect::<Vec<_>>().join("\n")
            )
        });
    Ok(())
}

fn feed(args: &CatalogArgs) -> Result<&str, Problem> {
    args.feed.as_deref().ok_or_else(|| {
        Problem::new(
            Code::Usage,
            "Which LivePC?",
            "Add --feed and the address of its feed.",
        )
    })
}
