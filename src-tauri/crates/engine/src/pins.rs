//! What must not be forgotten of a subscription: the publisher's key that was confirmed, the newest list of releases that was
//! accepted, which releases were seen, and what somebody has decided. The database has it, and beside the database there is a
//! file for each subscription that is only ever replaced as a whole.
//!
//! The file is written after the database, and at an end of a subscription removed before it. So whatever becomes of the
//! database, what the files say is at least as new as any copy of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use livepc_durable::Readers;
use livepc_format::{Digest, Head, Keys};
use livepc_protocol::Problem;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};

use crate::database::Database;

/// Bytes of a file at the most: a head and keys have limits of their own.
const MOST: u64 = 64 << 20;

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pin {
    id: String,
    livepc: String,
    feed_url: String,
    head_url: String,
    title: String,
    summary: String,
    publisher: String,
    guest_os: String,
    /// The signed documents, as they came.
    keys: String,
    head: String,
    in_use: Option<u64>,
    subscribed: String,
    last_used: Option<String>,
    policy: String,
    pinned: Option<u64>,
    keep_changes: bool,
    seen: BTreeMap<u64, Seen>,
}

/// A release that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    manifest: String,
    ran: bool,
    wanted: bool,
}

/// The folder with the files, beside the database.
pub(crate) fn folder(database: &Path) -> PathBuf {
    database.with_file_name("subscriptions")
}

fn file(database: &Path, id: &str) -> PathBuf {
    folder(database).join(format!("{id}.json"))
}

/// True if there is a file for any subscription.
pub(crate) fn any(database: &Path) -> bool {
    std::fs::read_dir(folder(database)).is_ok_and(|mut entries| entries.next().is_some())
}

/// Writes down what the database says of a subscription, if that is news. The database has it: that it cannot be written
/// here, too, is only logged.
pub(crate) fn write(database: &Database, id: &str) {
    if let Err(problem) = try_write(database, id) {
        tracing::warn!(
            id,
            "what is known of a subscription is only in the database: {problem}"
        );
    }
}

/// Writes down what the database says of all subscriptions, as far as that is news.
///
/// # Errors
/// What keeps one from being written.
pub(crate) fn write_all(database: &Database) -> Result<(), Problem> {
    for id in crate::subscription::ids(database)? {
        try_write(database, &id)?;
    }
    Ok(())
}

fn try_write(database: &Database, id: &str) -> Result<(), Problem> {
    let Some(pin) = database.work(|connection| Pin::read(connection, id))? else {
        return Ok(());
    };
    put(database.path(), &pin).map_err(|error| {
        Problem::io(
            &format!("{} cannot be written", file(database.path(), id).display()),
            &error,
        )
    })
}

/// Removes the file of a subscription that ends.
///
/// # Errors
/// What the system says: it would bring the subscription back.
pub(crate) fn remove(database: &Database, id: &str) -> Result<(), Problem> {
    let path = file(database.path(), id);
    livepc_durable::remove(&path)
        .map_err(|error| Problem::io(&format!("{} cannot be removed", path.display()), &error))
}

fn put(database: &Path, pin: &Pin) -> std::io::Result<()> {
    let path = file(database, &pin.id);
    let text = pin.text();
    if livepc_durable::read(&path, MOST).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    livepc_durable::create_folder_inside(&folder(database))?;
    livepc_durable::write(&path, Readers::User, text.as_bytes())
}

/// Compares the files with the database: what the database does not know comes back, what it knows older is replaced. With
/// `restored` the database is a copy of an earlier time: then subscriptions without a file were ended meanwhile. Gives the ids
/// that came back.
pub(crate) fn reconcile(
    database: &Path,
    connection: &mut Connection,
    restored: bool,
) -> rusqlite::Result<BTreeSet<String>> {
    let mut back = BTreeSet::new();
    let mut kept = BTreeSet::new();
    let mut pins = Vec::new();
    for (id, read) in list(database) {
        kept.insert(id.clone());
        match read {
            Ok(pin) if pin.id == id => pins.push(pin),
            Ok(_) => tracing::warn!(id, "the file of a subscription says that it is another's"),
            Err(why) => {
                tracing::warn!("{} cannot be understood: {why}", file(database, &id).display());
            }
        }
    }
    let transaction = connection.transaction()?;
    if restored && folder(database).is_dir() {
        for id in ids(&transaction)? {
            if !kept.contains(&id) {
                tracing::info!(id, "a subscription that ended after the copy was made");
                transaction.execute("DELETE FROM subscription WHERE id = ?1", [&id])?;
            }
        }
    }
    for pin in &pins {
        let there = Pin::read(&transaction, &pin.id)?;
        if there.as_ref() == Some(pin) || has_another(&transaction, pin)? {
            continue;
        }
        let newer = match &there {
            None => true,
            Some(there) => there.livepc == pin.livepc && (restored || pin.order() > there.order()),
        };
        if newer {
            tracing::info!(id = pin.id, "what is known of a subscription comes from its file");
            pin.enter(&transaction)?;
            back.insert(pin.id.clone());
        } else if there.is_some_and(|there| there.livepc == pin.livepc) {
            // What was seen once is never unseen.
            pin.enter_seen(&transaction, "NOTHING")?;
        }
    }
    transaction.commit()?;
    for id in ids(connection)? {
        if let Some(pin) = Pin::read(connection, &id)?
            && let Err(error) = put(database, &pin)
        {
            tracing::warn!(id, %error, "what is known of a subscription is only in the database");
        }
    }
    Ok(back)
}

/// True if the LivePC is subscribed under another id.
fn has_another(connection: &Connection, pin: &Pin) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare("SELECT 1 FROM subscription WHERE livepc = ?1 AND id <> ?2")?;
    statement.exists([&pin.livepc, &pin.id])
}

fn ids(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT id FROM subscription")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// The files, by the ids that they are for.
fn list(database: &Path) -> Vec<(String, Result<Pin, String>)> {
    let entries = std::fs::read_dir(folder(database))
        .into_iter()
        .flatten()
        .flatten();
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.path()) {
        let id = path.file_stem().and_then(|stem| stem.to_str());
        if let Some(id) = id.filter(|_| path.extension().is_some_and(|end| end == "json")) {
            files.push((id.to_owned(), read(&path)));
        }
    }
    files
}

fn read(path: &Path) -> Result<Pin, String> {
    let text = livepc_durable::read_text(path, MOST).map_err(|error| error.to_string())?;
    Pin::of(&text)
}

impl Pin {
    /// The file's content: the digest of all after the first line, and that.
    fn text(&self) -> String {
        // Names, texts and numbers.
        let body = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        format!("{}\n{body}", Digest::of(body.as_bytes()))
    }

    /// What a file says, if all of it is there and its signatures are good.
    fn of(text: &str) -> Result<Self, String> {
        let (digest, body) = text.split_once('\n').ok_or("it is cut off")?;
        if digest != Digest::of(body.as_bytes()).to_string() {
            return Err("its content is not what was written".into());
        }
        let pin: Self = serde_json::from_str(body).map_err(|error| error.to_string())?;
        let (keys, _) = pin.open().map_err(|error| error.to_string())?;
        if keys.livepc().to_string() != pin.livepc {
            return Err("its key is another LivePC's".into());
        }
        Ok(pin)
    }

    fn open(&self) -> livepc_format::Result<(Keys, Head)> {
        let keys = Keys::open(self.keys.as_bytes())?;
        let head = Head::open(self.head.as_bytes(), &keys)?;
        Ok((keys, head))
    }

    /// What orders lists of releases; one that cannot be read is before all others.
    fn order(&self) -> (u32, u64) {
        self.open()
            .map_or((0, 0), |(_, head)| (head.epoch, head.revision))
    }

    /// What the database says of a subscription; `None` if it has none, or nothing that could be written down.
    fn read(connection: &Connection, id: &str) -> rusqlite::Result<Option<Self>> {
        let sql = "SELECT id, livepc, feed_url, head_url, title, summary, publisher, guest_os, keys, head, in_use, \
                   subscribed, last_used, policy, pinned, keep_changes FROM subscription WHERE id = ?1";
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
        let pin = connection
            .query_row(sql, [id], |row| {
                let (Some(keys), Some(head)) = (text(row.get(8)?), text(row.get(9)?)) else {
                    return Ok(None);
                };
                Ok(Some(Self {
                    id: row.get(0)?,
                    livepc: row.get(1)?,
                    feed_url: row.get(2)?,
                    head_url: row.get(3)?,
                    title: row.get(4)?,
                    summary: row.get(5)?,
                    publisher: row.get(6)?,
                    guest_os: row.get(7)?,
                    keys,
                    head,
                    in_use: row.get(10)?,
                    subscribed: row.get(11)?,
                    last_used: row.get(12)?,
                    policy: row.get(13)?,
                    pinned: row.get(14)?,
                    keep_changes: row.get(15)?,
                    seen: BTreeMap::new(),
                }))
            })
            .optional()?
            .flatten();
        let Some(mut pin) = pin else { return Ok(None) };
        let mut seen =
            connection.prepare("SELECT sequence, manifest, ran, wanted FROM seen_release WHERE id = ?1")?;
        let seen = seen.query_map([id], |row| {
            let seen = Seen {
                manifest: row.get(1)?,
                ran: row.get(2)?,
                wanted: row.get(3)?,
            };
            Ok((row.get(0)?, seen))
        })?;
        pin.seen = seen.collect::<rusqlite::Result<_>>()?;
        Ok(Some(pin))
    }

    /// Has the database say what this says; what only the database knows, it goes on knowing.
    fn enter(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        transaction.execute(
            "INSERT INTO subscription (id, livepc, feed_url, head_url, title, summary, publisher, guest_os, keys, head, \
             in_use, subscribed, last_used, policy, pinned, keep_changes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) ON CONFLICT (id) DO UPDATE SET \
             feed_url = ?3, head_url = ?4, title = ?5, summary = ?6, publisher = ?7, guest_os = ?8, keys = ?9, head = ?10, \
             in_use = ?11, last_used = ?13, policy = ?14, pinned = ?15, keep_changes = ?16, feed_etag = NULL, \
             feed_modified = NULL, head_etag = NULL, head_modified = NULL",
            params![
                self.id,
                self.livepc,
                self.feed_url,
                self.head_url,
                self.title,
                self.summary,
                self.publisher,
                self.guest_os,
                self.keys.as_bytes(),
                self.head.as_bytes(),
                self.in_use,
                self.subscribed,
                self.last_used,
                self.policy,
                self.pinned,
                self.keep_changes,
            ],
        )?;
        self.enter_seen(transaction, "UPDATE SET manifest = ?3, ran = ?4, wanted = ?5")
    }

    /// Has the database know the releases that were seen; `known` is done to those that it knows.
    fn enter_seen(&self, transaction: &Transaction<'_>, known: &str) -> rusqlite::Result<()> {
        let sql = format!(
            "INSERT INTO seen_release (id, sequence, manifest, ran, wanted) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT DO {known}"
        );
        let mut enter = transaction.prepare_cached(&sql)?;
        for (sequence, seen) in &self.seen {
            enter.execute(params![self.id, sequence, seen.manifest, seen.ran, seen.wanted])?;
        }
        Ok(())
    }
}
