//! The Library: catalogs and feeds that the user added, kept so that browsing works offline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use livepc_format::feed::{self, Catalog, CatalogEntry, Source};
use livepc_format::limits;
use livepc_format::machine::GuestOs;
use livepc_panics as panics;
use livepc_protocol::{Code, LibraryEntry, Problem, SourceStatus};
use livepc_transfer::{Client, Document, Validators, shown, without_login};
use rusqlite::params;
use url::Url;

use crate::database::Database;
use crate::lookalike::Owners;
use crate::problems::{not_found, of_format, of_transfer};
use crate::published::address;
use crate::{pages, subscription};

/// Sources that are asked at the same time.
const AT_ONCE: usize = 4;
/// How long a source may take for all of it.
const PATIENCE: Duration = Duration::from_secs(2 * 60);
/// The hint for what is a mistake of LivePC's own.
const UNREAD: &str =
    "Its entries are from before. “livepc doctor” shows where the logs are: please report this.";

/// Adds a source, after it was read: what cannot be read is not added. Adding again refreshes it.
pub(crate) async fn add(
    database: &Database,
    client: &Client,
    url: &Url,
    now: Timestamp,
) -> Result<(), Problem> {
    let Some(read) = fetch(client, url, None).await? else {
        return Ok(());
    };
    let (asked, url) = (url, &read.url);
    database.change(|t| {
        move_to(t, asked.as_str(), url)?;
        t.execute(
            "INSERT INTO source (url, place, title) VALUES (?1, (SELECT COALESCE(MAX(place), 0) + 1 FROM source), ?2) \
             ON CONFLICT DO UPDATE SET title = ?2",
            params![url.as_str(), read.title],
        )?;
        keep(t, &read, now)
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

/// Asks all sources again; true if anything has changed. A source that cannot be read keeps its entries, and keeps no other
/// from being read, whatever is wrong with it.
pub(crate) async fn refresh(database: &Database, client: &Client, now: Timestamp) -> Result<bool, Problem> {
    refresh_with(database, now, PATIENCE, |url, known| async move {
        fetch(client, &url, Some(&known)).await
    })
    .await
}

async fn refresh_with<F: Future<Output = Result<Option<Read>, Problem>>>(
    database: &Database,
    now: Timestamp,
    patience: Duration,
    fetch: impl Fn(Url, Validators) -> F,
) -> Result<bool, Problem> {
    let known = database.all(
        "SELECT url, etag, last_modified FROM source ORDER BY place",
        [],
        |row| {
            Ok((
                row.get::<_, String>(0)?,
                Validators {
                    etag: row.get(1)?,
                    last_modified: row.get(2)?,
                },
            ))
        },
    )?;
    let (fetch, changed) = (&fetch, AtomicBool::new(false));
    let each = futures_util::stream::iter(known).for_each_concurrent(AT_ONCE, |(text, validators)| {
        let changed = &changed;
        async move {
            let one = refresh_one(database, now, &text, async {
                let url = Url::parse(&text).map_err(|error| not_an_address(&error))?;
                fetch(url, validators).await
            });
            // Whatever it is that fails here, it is this source's.
            let one = panics::fenced("A source of the Library", one);
            let result = match tokio::time::timeout(patience, one).await {
                Ok(Ok(result)) => result,
                Ok(Err(panicked)) => Err(Problem::new(Code::Failed, format!("{panicked}."), UNREAD)),
                Err(_) => Err(Problem::new(
                    Code::Network,
                    format!(
                        "Its server did not answer within {} minutes.",
                        patience.as_secs() / 60
                    ),
                    "It is asked again later.",
                )),
            };
            let news = result.unwrap_or_else(|problem| {
                tracing::warn!(source = text, "{problem}");
                note(database, &text, &problem);
                true
            });
            changed.fetch_or(news, Ordering::Relaxed);
        }
    });
    each.await;
    Ok(changed.into_inner())
}

/// Asks one source; true if anything has changed.
async fn refresh_one(
    database: &Database,
    now: Timestamp,
    text: &str,
    fetched: impl Future<Output = Result<Option<Read>, Problem>>,
) -> Result<bool, Problem> {
    let Some(read) = fetched.await? else {
        let sql = "UPDATE source SET checked = ?2, problem = NULL WHERE url = ?1";
        database.run(sql, params![text, now.to_string()])?;
        return Ok(false);
    };
    database.change(|t| {
        move_to(t, text, &read.url)?;
        keep(t, &read, now)
    })?;
    Ok(true)
}

/// Notes why a source could not be read; its entries stay.
fn note(database: &Database, url: &str, problem: &Problem) {
    let json = serde_json::to_string(problem).unwrap_or_default();
    let sql = "UPDATE source SET problem = ?2 WHERE url = ?1";
    if let Err(problem) = database.run(sql, params![url, json]) {
        tracing::warn!("{problem}");
    }
}

fn not_an_address(error: &url::ParseError) -> Problem {
    Problem::new(
        Code::Failed,
        format!("Its address cannot be read: {error}."),
        "Remove it with “livepc source remove”, then add it again.",
    )
}

/// Gives a source the address that its server has moved it to for ever. One that has that address already takes its place.
fn move_to(t: &rusqlite::Transaction<'_>, from: &str, to: &Url) -> rusqlite::Result<()> {
    if from == to.as_str() {
        return Ok(());
    }
    tracing::info!(from, to = %shown(to), "a source has moved");
    t.execute(
        "INSERT INTO source (url, place, title, moved_from) SELECT ?2, place, title, ?1 FROM source WHERE url = ?1 \
         ON CONFLICT DO NOTHING",
        params![from, to.as_str()],
    )?;
    t.execute("DELETE FROM source WHERE url = ?1", [from])?;
    Ok(())
}

/// What a source has now.
struct Read {
    /// Where it lies from now on.
    url: Url,
    title: String,
    entries: Vec<CatalogEntry>,
    validators: Validators,
}

async fn fetch(client: &Client, url: &Url, known: Option<&Validators>) -> Result<Option<Read>, Problem> {
    let ask = async |known| {
        let answer = client.document(url, limits::CATALOG_BYTES, known).await;
        answer.map_err(|error| of_transfer(&error))
    };
    let mut answer = ask(known).await?;
    // That there is a catalog at the new place is seen before it is kept.
    if matches!(answer, Document::NotModified { moved: Some(_) }) {
        answer = ask(None).await?;
    }
    let Document::New {
        bytes,
        validators,
        url: found,
        moved,
        charset,
    } = answer
    else {
        return Ok(None);
    };
    let kept = moved.unwrap_or_else(|| url.clone());
    let parse = |base: Url| {
        let (bytes, charset) = (bytes.clone(), charset.clone());
        parse(bytes, charset, base)
    };
    let mut source = parse(kept.clone()).await?;
    // A redirect may lead into a storage, where what an entry says leads nowhere, or to the place that entries mean.
    if found != kept {
        let there = parse(found).await?;
        if let (Source::Catalog(here), Source::Catalog(other)) = (&source, &there)
            && let Some((entry, other)) = first_that_differ(here, other)
            && !is_feed(client, &entry.feed).await
            && is_feed(client, &other.feed).await
        {
            source = there;
        }
    }
    let (mut title, mut entries) = match source {
        Source::Catalog(catalog) => (catalog.title, catalog.entries),
        // One LivePC's feed is a Library of one.
        Source::Feed(feed) => {
            let entry = CatalogEntry {
                title: feed.title.clone(),
                summary: feed.summary,
                description: String::new(),
                publisher: feed.publisher,
                feed: kept.clone(),
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
        title = place_name(&kept);
    }
    for entry in entries.iter_mut().filter(|entry| entry.title.is_empty()) {
        entry.title = place_name(&entry.feed);
    }
    Ok(Some(Read {
        url: kept,
        title,
        entries,
        validators,
    }))
}

/// Where something lies, for people: `example.org/lab`.
fn place_name(url: &Url) -> String {
    let place = format!("{}{}", url.host_str().unwrap_or_default(), url.path());
    let folder = place
        .rsplit_once('/')
        .map_or(place.as_str(), |(folder, _)| folder);
    livepc_format::text::line(folder.trim_start_matches('/'), 120)
}

/// Reads a document where that may take long.
async fn parse(bytes: Bytes, charset: Option<String>, base: Url) -> Result<Source, Problem> {
    let read = panics::blocking("Reading a catalog", move || {
        feed::read(&bytes, charset.as_deref(), &base).map_err(|error| of_format(&error))
    });
    read.await
        .unwrap_or_else(|panicked| Err(Problem::new(Code::Failed, format!("{panicked}."), UNREAD)))
}

/// The first entry that leads elsewhere by one reading than by the other.
fn first_that_differ<'a>(
    one: &'a Catalog,
    other: &'a Catalog,
) -> Option<(&'a CatalogEntry, &'a CatalogEntry)> {
    let pairs = one.entries.iter().zip(&other.entries);
    pairs.into_iter().find(|(one, other)| one.feed != other.feed)
}

async fn is_feed(client: &Client, url: &Url) -> bool {
    match client.document(url, limits::FEED_BYTES, None).await {
        Ok(Document::New { bytes, charset, .. }) => parse(bytes, charset, url.clone()).await.is_ok(),
        _ => false,
    }
}

fn keep(t: &rusqlite::Transaction<'_>, read: &Read, now: Timestamp) -> rusqlite::Result<()> {
    let Read {
        url,
        title,
        entries,
        validators,
    } = read;
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
        fingerprint: None,
        alike: false,
    }
}

/// The sources, in the order in which they were added.
pub(crate) fn sources(database: &Database) -> Result<Vec<SourceStatus>, Problem> {
    let sql = "SELECT url, title, checked, problem, moved_from, (SELECT COUNT(*) FROM entry WHERE source = url) FROM source \
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
            moved_from: row.get(4)?,
            entries: row.get(5)?,
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
    let mut owners = Owners::of(subscription::all(database)?);
    let sql = "SELECT e.source, e.place, e.feed_url, e.words, json_extract(e.data, '$.title'), \
               COALESCE((SELECT id FROM subscription s WHERE s.feed_url = e.feed_url), \
               (SELECT id FROM former_feed f WHERE f.url = e.feed_url ORDER BY until DESC)) \
               FROM entry e JOIN source ON source.url = e.source GROUP BY e.feed_url \
               HAVING source.place = MIN(source.place)";
    let mut total = 0;
    let mut found = Vec::new();
    database.all(sql, [], |row| {
        total += 1;
        let entry: (String, i64, String, String, Option<String>) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(5)?);
        let (source, place, feed_url, text, subscribed) = entry;
        let title: Option<String> = row.get(4)?;
        owners.add(&title.unwrap_or_default(), &feed_url, subscribed.as_deref());
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
        Some(owners.told(LibraryEntry { subscribed, ..entry }))
    });
    let (entries, more) = pages::page(entries);
    let next = more.then(|| keys.swap_remove(entries.len() - 1));
    Ok(Found { entries, total, next })
}

#[cfg(test)]
mod tests;
