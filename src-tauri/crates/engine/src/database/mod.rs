//! The state database: sources, subscriptions, jobs and settings. Only the agent opens it.
//!
//! What a person was told is on the disk by then: each change is flushed, except those that say themselves that they may be
//! lost ([`Database::run_lazily`]). A database that is damaged is made again from its copy (`recover`), a row that cannot be
//! understood is set aside (`sweep`), and what must not be forgotten of a subscription is in a file of its own as well
//! (`crate::pins`). None of that keeps the rest from working.

mod copy;
mod recover;
mod reserve;
mod sweep;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use livepc_protocol::{Code, Problem};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Row};
use rusqlite_migration::M;

pub(crate) use self::sweep::SetAside;
use crate::locked::lock;

/// Each change of the schema is a migration of its own; none is ever edited once it was released.
const MIGRATIONS: &[M<'_>] = &[
    M::up(
        "CREATE TABLE source (
         url TEXT PRIMARY KEY, place INTEGER NOT NULL, title TEXT NOT NULL, etag TEXT, last_modified TEXT,
         checked TEXT, problem TEXT);
     CREATE TABLE entry (
         source TEXT NOT NULL REFERENCES source(url) ON DELETE CASCADE, place INTEGER NOT NULL,
         feed_url TEXT NOT NULL, data TEXT NOT NULL, words TEXT NOT NULL, PRIMARY KEY (source, place));
     CREATE TABLE subscription (
         id TEXT PRIMARY KEY, livepc TEXT NOT NULL UNIQUE, feed_url TEXT NOT NULL, head_url TEXT NOT NULL,
         title TEXT NOT NULL, summary TEXT NOT NULL, publisher TEXT NOT NULL, guest_os TEXT NOT NULL,
         keys BLOB NOT NULL, head BLOB NOT NULL, feed_etag TEXT, feed_modified TEXT,
         head_etag TEXT, head_modified TEXT,
         in_use INTEGER, subscribed TEXT NOT NULL, checked TEXT, last_used TEXT, problem TEXT, outcome TEXT);
     CREATE TABLE seen_release (
         id TEXT NOT NULL REFERENCES subscription(id) ON DELETE CASCADE, sequence INTEGER NOT NULL,
         manifest TEXT NOT NULL, PRIMARY KEY (id, sequence));
     CREATE TABLE job (job INTEGER PRIMARY KEY AUTOINCREMENT, active INTEGER NOT NULL, data TEXT NOT NULL);
     CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);",
    ),
    M::up(
        "ALTER TABLE subscription ADD COLUMN policy TEXT NOT NULL DEFAULT 'auto';
     ALTER TABLE subscription ADD COLUMN pinned INTEGER;
     ALTER TABLE subscription ADD COLUMN keep_changes INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE subscription ADD COLUMN failed_release INTEGER;
     ALTER TABLE subscription ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;",
    ),
    M::up(
        "ALTER TABLE seen_release ADD COLUMN ran INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE seen_release ADD COLUMN wanted INTEGER NOT NULL DEFAULT 0;",
    ),
    M::up(
        "CREATE TABLE damaged_chunk (
         job INTEGER NOT NULL REFERENCES job(job) ON DELETE CASCADE, pack TEXT NOT NULL, first_page INTEGER NOT NULL,
         pages INTEGER NOT NULL, repaired INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (job, pack, first_page));",
    ),
    M::up("CREATE TABLE login (server TEXT PRIMARY KEY, user TEXT NOT NULL, place TEXT NOT NULL);"),
    // What could not be understood, in the place of being in everybody's way: a row of a table, or the whole file before.
    M::up(
        "CREATE TABLE set_aside (
         number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, what TEXT NOT NULL, name TEXT NOT NULL,
         why TEXT NOT NULL, data TEXT NOT NULL);",
    ),
    M::up(
        "CREATE TABLE former_release (
         id TEXT NOT NULL REFERENCES subscription(id) ON DELETE CASCADE, sequence INTEGER NOT NULL, data TEXT NOT NULL,
         PRIMARY KEY (id, sequence));",
    ),
    M::up(
        "ALTER TABLE subscription ADD COLUMN announced TEXT;
     ALTER TABLE subscription ADD COLUMN moved_from TEXT;
     ALTER TABLE subscription ADD COLUMN behind_since TEXT;
     CREATE TABLE former_feed (
         id TEXT NOT NULL REFERENCES subscription(id) ON DELETE CASCADE, url TEXT NOT NULL, until TEXT NOT NULL,
         PRIMARY KEY (id, url));
     ALTER TABLE source ADD COLUMN moved_from TEXT;",
    ),
];

/// The version of the schema that this LivePC writes.
pub(crate) fn newest_version() -> i64 {
    MIGRATIONS.len() as i64
}

/// The state database.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Held by who reads, decides, and then writes what only one may decide.
    deciding: Mutex<()>,
    /// True if something durable has changed since the last copy.
    changed: AtomicBool,
}

impl Database {
    /// Opens the database, and brings an older one up to date. A newer one is refused untouched; one that is damaged is made
    /// again from what is kept of it.
    ///
    /// # Errors
    /// If it is of a newer version, and what the system says.
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        reserve::make(path);
        let connection = recover::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            deciding: Mutex::new(()),
            changed: AtomicBool::new(false),
        })
    }

    /// Opens a database that is there and of this version, to read only: what it says is not kept from changing.
    pub(crate) fn open_to_read(path: &Path) -> Result<Self, Problem> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|e| problem(&e))?;
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            deciding: Mutex::new(()),
            changed: AtomicBool::new(false),
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in the middle of a transaction rolls it back: the connection stays usable.
        lock(&self.connection)
    }

    /// Keeps everybody else from deciding, until it is dropped: what is read meanwhile still holds when it is written.
    /// Nobody may ask for it who has it.
    pub(crate) fn decision(&self) -> MutexGuard<'_, ()> {
        lock(&self.deciding)
    }

    /// Works on the database. If the disk is full, what is kept in reserve is given up, and it is tried once more; if the
    /// database proves to be damaged, it is made again.
    pub(crate) fn work<T>(
        &self,
        mut work: impl FnMut(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Problem> {
        let mut connection = self.connection();
        let error = match work(&mut connection) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if reserve::is_full(&error, &self.path) && reserve::release(&self.path) {
            return work(&mut connection).map_err(|e| self.told(&e));
        }
        if !is_damage(&error) {
            return Err(self.told(&error));
        }
        tracing::error!(path = %self.path.display(), "the state is damaged: {error}");
        // The file must be closed before it can be set aside everywhere.
        *connection = Connection::open_in_memory().map_err(|e| problem(&e))?;
        *connection = recover::again(&self.path)?;
        Err(Problem::new(
            Code::Failed,
            format!("LivePC's state was damaged ({error}), and has just been made again from its copy."),
            "Try again. “livepc doctor” shows what was found.",
        ))
    }

    fn told(&self, error: &rusqlite::Error) -> Problem {
        if reserve::is_full(error, &self.path) {
            return full();
        }
        problem(error)
    }

    /// Runs a statement, durably; gives the number of rows that it changed.
    pub(crate) fn run(&self, sql: &str, params: impl Params + Clone) -> Result<usize, Problem> {
        self.changed.store(true, Ordering::SeqCst);
        self.work(|connection| connection.prepare_cached(sql)?.execute(params.clone()))
    }

    /// Runs a statement whose change a power cut may take back, since nobody was told of it: how far a job is, when somebody
    /// was asked. It takes no flush of the disk.
    pub(crate) fn run_lazily(&self, sql: &str, params: impl Params + Clone) -> Result<usize, Problem> {
        self.work(|connection| {
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            let done = connection
                .prepare_cached(sql)
                .and_then(|mut s| s.execute(params.clone()));
            connection.pragma_update(None, "synchronous", "FULL")?;
            done
        })
    }

    /// The first row of a query.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        params: impl Params + Clone,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Problem> {
        self.work(|connection| connection.query_row(sql, params.clone(), &mut read).optional())
    }

    /// All rows of a query. One that cannot be understood is left out, and set aside when the agent starts next.
    pub(crate) fn all<T>(
        &self,
        sql: &str,
        params: impl Params + Clone,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Problem> {
        self.work(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params.clone())?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                match read(row) {
                    Ok(row) => found.push(row),
                    Err(error) if is_bad_value(&error) => {
                        tracing::warn!(%error, sql, "a row of the state cannot be understood");
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(found)
        })
    }

    /// Runs several statements as one durable change: all of them, or none.
    pub(crate) fn change<T>(
        &self,
        mut work: impl FnMut(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Problem> {
        self.changed.store(true, Ordering::SeqCst);
        self.work(|connection| {
            let transaction = connection.transaction()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }

    /// The value of a setting.
    pub(crate) fn setting(&self, name: &str) -> Result<Option<String>, Problem> {
        self.one("SELECT value FROM setting WHERE name = ?1", [name], |row| {
            row.get(0)
        })
    }

    /// Changes a setting.
    pub(crate) fn set(&self, name: &str, value: &str) -> Result<(), Problem> {
        let sql = "INSERT INTO setting VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2";
        self.run(sql, [name, value]).map(drop)
    }

    /// True if it is not known of all that was subscribed that it was: what nobody seems to need may be needed.
    pub(crate) fn has_lost(&self) -> Result<bool, Problem> {
        Ok(self.setting(recover::LOST)?.is_some())
    }

    /// Somebody has decided what is needed.
    pub(crate) fn nothing_is_lost(&self) -> Result<(), Problem> {
        self.run("DELETE FROM setting WHERE name = ?1", [recover::LOST])
            .map(drop)
    }

    /// What could not be understood and was set aside, newest first.
    pub(crate) fn set_aside(&self) -> Result<Vec<SetAside>, Problem> {
        sweep::list(&self.connection()).map_err(|e| problem(&e))
    }

    /// Copies the database if it is time for that: a day after the last copy, or, when the agent is about to end, if
    /// anything has changed since. What the state needs when the disk is full is put back into reserve.
    pub(crate) fn keep_copy(&self, ending: bool) {
        reserve::make(&self.path);
        let changed = self.changed.swap(false, Ordering::SeqCst);
        let wanted = ending && changed;
        if !wanted && !copy::is_old(&self.path) {
            self.changed.fetch_or(changed, Ordering::SeqCst);
            return;
        }
        // A subscription without a file would be taken for one that ended after the copy.
        let written = crate::pins::write_all(self).map_err(|problem| problem.message);
        if let Err(why) = written.and_then(|()| copy::make(&self.path)) {
            tracing::warn!("no copy of the state could be made: {why}");
            self.changed.store(true, Ordering::SeqCst);
        }
    }
}

/// True if a row has a value that does not fit: of another type, or no text.
fn is_bad_value(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(
        error,
        FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..)
    )
}

/// True if the file is no database, or no longer a sound one.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
    )
}

fn full() -> Problem {
    Problem::new(
        Code::DiskFull,
        "There is no space left to write LivePC's state.",
        "Free some space, then try again: nothing that was there is lost.",
    )
}

fn problem(error: &rusqlite::Error) -> Problem {
    if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
        return full();
    }
    Problem::new(
        Code::Failed,
        format!("LivePC's state cannot be read or written: {error}."),
        "“livepc doctor” looks at the state and its disk.",
    )
}

#[cfg(test)]
mod tests;
