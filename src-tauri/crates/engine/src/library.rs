//! The Library: catalogs and feeds that the user added, kept so that browsing works offline.

use jiff::Timestamp;
use livepc_format::feed::{self, CatalogEntry, Source};
use livepc_format::limits;
use livepc_format::machine::GuestOs;
use livepc_protocol::{Code, LibraryEntry, Problem, SourceStatus};
use livepc_transfer::{Client, Document, Validators, without_login};
use rusqlite::params;
use url::Url;

use crate::database::Database;
use crate::pages;
use crate::problems::{not_found, of_format, of_transfer};
use crate::published::address;

/// Adds a source, after it was read: what cannot be read is not added. Adding again refreshes it.
pub(crate) async fn add(
    database: &Database,
    client: &Client,
    url: &Url,
    now: Timestamp,
) -> Result<(), Problem> {
    let Some((title, entries, validators)) = fetch(client, url, None).await? else {
        return Ok(());
    };
    database.change(|t| {
        t.execute(
            "INSERT INTO source (url, place, title) VALUES (?1, (SELECT COALESCE(MAX(place), 0) + 1 FROM source), ?2) \
             ON CONFLICT DO UPDATE SET title = ?2",
            params![url.as_str(), title],
        )?;
        keep(t, url, &title, &entries, &validators, now)
    })
}

/// Removes a source; subscriptions stay.
pub(crate) fn remove(database: &Database, text: &str) -> Result<(), Problem> {
    let url = address(text).map_or_else(|_| text.to_owned(), |url| without_login(&url).into());
    if database.run("DELETE FROM source WHERE url = ?1", [&url])? == 0 {
        return Err(not_found(
            format!("There is no source {}.", livepc_format::text::line(text, 200)),
            "“livepc source list” shows them.",
        ));
    }
    Ok(())
}

/// Asks all sources again; true if anything has changed. A source that cannot be read keeps its entries.
pub(crate) async fn refresh(database: &Database, client: &Client, now: Timestamp) -> Result<bool, Problem> {
    let known = database.all("SELECT url, etag, last_modified FROM source", [], |row| {
        Ok((
            row.get::<_, String>(0)?,
            Validators {
                etag: row.get(1)?,
                last_modified: row.get(2)?,
            },
        ))
    })?;
    let mut changed = false;
    for (text, validators) in known {
        let Ok(url) = Url::parse(&text) else { continue };
        match fetch(client, &url, Some(&validators)).await {
            Ok(Some((title, entries, validators))) => {
                database.change(|t| keep(t, &url, &title, &entries, &validators, now))?;
                changed = true;
            }
            Ok(None) => {
                let sql = "UPDATE source SET checked = ?2, problem = NULL WHERE url = ?1";
                database.run(sql, params![text, now.to_string()])?;
            }
            Err(problem) => {
                let json = serde_json::to_string(&problem).unwrap_or_default();
                database.run(
                    "UPDATE source SET problem = ?2 WHERE url = ?1",
                    params![text, json],
                )?;
                changed = true;
            }
        }
    }
    Ok(changed)
}

type Read = (String, Vec<CatalogEntry>, Validators);

async fn fetch(client: &Client, url: &Url, known: Option<&Validators>) -> Result<Option<Read>, Problem> {
    let document = client
        .document(url, limits::CATALOG_BYTES, known)
        .await
        .map_err(|e| of_transfer(&e))?;
    let Document::New {
        bytes,
        validators,
        url: found,
    } = document
    else {
        return Ok(None);
    };
    let (mut title, mut entries) = match feed::read(&bytes, &found).map_err(|e| of_format(&e))? {
        Source::Catalog(catalog) => (catalog.title, catalog.entries),
        // One LivePC's feed is a Library of one.
        Source::Feed(feed) => {
            let entry = CatalogEntry {
                title: feed.title.clone(),
                summary: feed.summary,
                description: String::new(),
                publisher: feed.publisher,
                feed: url.clone(),
                thumbnail: feed.logo,
                categories: feed.categories,
                guest_os: None,
                updated: feed.updated,
                boot_ready_bytes: None,
                full_bytes: None,
            };
            (feed.title, vec![entry])
        }
    };
    // What is called nothing that can be seen is shown all the same.
    if title.is_empty() {
        title = place_name(url);
    }
    for entry in entries.iter_mut().filter(|entry| entry.title.is_empty()) {
        entry.title = place_name(&entry.feed);
    }
    Ok(Some((title, entries, validators)))
}

/// Where something lies, for people: `example.org/lab`.
fn place_name(url: &Url) -> String {
    let place = format!("{}{}", url.host_str().unwrap_or_default(), url.path());
    let folder = place
        .rsplit_once('/')
        .map_or(place.as_str(), |(folder, _)| folder);
    livepc_format::text::line(folder.trim_start_matches('/'), 120)
}

fn keep(
    t: &rusqlite::Transaction<'_>,
    url: &Url,
    title: &str,
    entries: &[CatalogEntry],
    validators: &Validators,
    now: Timestamp,
) -> rusqlite::Result<()> {
    t.execute(
        "UPDATE source SET title = ?2, etag = ?3, last_modified = ?4, checked = ?5, problem = NULL WHERE url = ?1",
        params![url.as_str(), title, validators.etag, validators.last_modified, now.to_string()],
    )?;
    t.execute("DELETE FROM entry WHERE source = ?1", [url.as_str()])?;
    let mut insert = t.prepare("INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (place, entry) in entries.iter().enumerate() {
        let words = [
            &entry.title,
            &entry.summary,
            &entry.publisher,
            &entry.categories.join(" "),
        ]
        .map(|text| text.to_lowercase())
        .join("\n");
        let kept = to_library(entry, url);
        let data = serde_json::to_string(&kept).unwrap_or_default();
        insert.execute(params![url.as_str(), place, entry.feed.as_str(), data, words])?;
    }
    Ok(())
}

fn to_library(entry: &CatalogEntry, source: &Url) -> LibraryEntry {
    LibraryEntry {
        feed_url: entry.feed.to_string(),
        title: entry.title.clone(),
        summary: entry.summary.clone(),
        description: entry.description.clone(),
        publisher: entry.publisher.clone(),
        categories: entry.categories.clone(),
        guest_os: entry.guest_os.map_or("", GuestOs::name).to_owned(),
        boot_ready_bytes: entry.boot_ready_bytes,
        full_bytes: entry.full_bytes,
        source: source.to_string(),
        subscribed: None,
    }
}

/// The sources, in the order in which they were added.
pub(crate) fn sources(database: &Database) -> Result<Vec<SourceStatus>, Problem> {
    let sql = "SELECT url, title, checked, problem, (SELECT COUNT(*) FROM entry WHERE source = url) FROM source \
               ORDER BY place";
    database.all(sql, [], |row| {
        Ok(SourceStatus {
            url: row.get(0)?,
            title: row.get(1)?,
            checked: row
                .get::<_, Option<String>>(2)?
                .and_then(|text| text.parse().ok()),
            problem: row
                .get::<_, Option<String>>(3)?
                .and_then(|text| serde_json::from_str(&text).ok()),
            entries: row.get(4)?,
        })
    })
}

/// A page of what a search found.
pub(crate) struct Found {
    /// By title.
    pub(crate) entries: Vec<LibraryEntry>,
    /// Entries of the Library in all.
    pub(crate) total: u64,
    /// Where the page ends, if there are more.
    pub(crate) next: Option<String>,
}

/// The entries that have all words of `text`, by title, each feed once: those that fit into a page, behind the place where
/// another page ended.
pub(crate) fn search(database: &Database, text: &str, after: Option<&str>) -> Result<Found, Problem> {
    if text.len() > 1000 {
        return Err(Problem::new(
            Code::Usage,
            "The search is too long.",
            "Use fewer words.",
        ));
    }
    let words: Vec<String> = text
        .to_lowercase()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let sql = "SELECT e.source, e.place, e.feed_url, e.words, s.id FROM entry e JOIN source ON source.url = e.source \
               LEFT JOIN subscription s ON s.feed_url = e.feed_url GROUP BY e.feed_url \
               HAVING source.place = MIN(source.place)";
    let mut total = 0;
    let mut found = Vec::new();
    database.all(sql, [], |row| {
        total += 1;
        let entry: (String, i64, String, String, Option<String>) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
        let (source, place, feed_url, text, subscribed) = entry;
        if words.iter().all(|word| text.contains(word)) {
            // The first line is the title. A feed stands in it once, so this names one entry.
            let title = text.lines().next().unwrap_or_default();
            let key = format!("{title}\n{feed_url}");
            if after.is_none_or(|after| key.as_str() > after) {
                found.push((key, source, place, subscribed));
            }
        }
        Ok(())
    })?;
    found.sort_unstable();
    let mut keys = Vec::new();
    let entries = found.into_iter().filter_map(|(key, source, place, subscribed)| {
        let sql = "SELECT data FROM entry WHERE source = ?1 AND place = ?2";
        let data = database.one(sql, params![source, place], |row| row.get::<_, String>(0));
        // A source that was read again meanwhile has others in their place.
        let entry: LibraryEntry = serde_json::from_str(&data.ok()??).ok()?;
        keys.push(key);
        Some(LibraryEntry { subscribed, ..entry })
    });
    let (entries, more) = pages::page(entries);
    let next = more.then(|| keys.swap_remove(entries.len() - 1));
    Ok(Found { entries, total, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A catalog of the greatest size, twice: together more than a message may have.
    #[test]
    fn large_catalogs_come_in_pages_that_have_every_entry_once() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("state.db")).unwrap();
        let text = "about ".repeat(1500);
        for catalog in ["a", "b"] {
            let url = Url::parse(&format!("https://{catalog}.example/catalog.xml")).unwrap();
            let entries: Vec<CatalogEntry> = (0..2000)
                .map(|n| CatalogEntry {
                    title: format!("Lab {}", n % 7),
                    summary: if n == 5 {
                        "the Needle".into()
                    } else {
                        String::new()
                    },
                    description: text.clone(),
                    publisher: String::new(),
                    feed: url.join(&format!("{n}.xml")).unwrap(),
                    thumbnail: None,
                    categories: Vec::new(),
                    guest_os: None,
                    updated: None,
                    boot_ready_bytes: None,
                    full_bytes: None,
                })
                .collect();
            let add = |t: &rusqlite::Transaction<'_>| {
                t.execute(
                    "INSERT INTO source (url, place, title) VALUES (?1, (SELECT COUNT(*) FROM source), '')",
                    [url.as_str()],
                )?;
                keep(
                    t,
                    &url,
                    "",
                    &entries,
                    &Validators::default(),
                    Timestamp::UNIX_EPOCH,
                )
            };
            database.change(add).unwrap();
        }
        let (mut pages, mut feeds, mut after) = (0, Vec::new(), None);
        loop {
            let found = search(&database, "", after.as_deref()).unwrap();
            assert_eq!(found.total, 4000);
            let bytes = serde_json::to_vec(&found.entries).unwrap().len();
            assert!(bytes < livepc_protocol::MAX_MESSAGE as usize / 2, "{bytes}");
            pages += 1;
            feeds.extend(
                found
                    .entries
                    .into_iter()
                    .map(|entry| (entry.title, entry.feed_url)),
            );
            after = found.next;
            if after.is_none() {
                break;
            }
        }
        assert!(pages > 8, "{pages}");
        assert!(feeds.is_sorted(), "by title");
        feeds.dedup();
        assert_eq!(feeds.len(), 4000);
        let needles = search(&database, "needle lab", None).unwrap();
        assert_eq!((needles.entries.len(), needles.next), (2, None));
    }
}
