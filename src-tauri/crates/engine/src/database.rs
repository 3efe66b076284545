//! The state database: sources, subscriptions, jobs and settings. Only the agent opens it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use livepc_protocol::{Code, Problem};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Params, Row};
use rusqlite_migration::{M, Migrations};

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
];

/// The state database.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Mutex<Connection>,
}

impl Database {
    /// Opens the database, and brings an older one up to date. A newer one is refused untouched.
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let mut connection = Connection::open(path).map_err(|e| problem(&e))?;
        let version: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|e| problem(&e))?;
        if version > MIGRATIONS.len() as i64 {
            return Err(Problem::new(
                Code::UpdateLivepc,
                format!("The state in {} was written by a newer LivePC.", path.display()),
                "Install the newest LivePC, then try again. Nothing was changed.",
            ));
        }
        for (name, value) in [
            ("journal_mode", "WAL"),
            ("synchronous", "NORMAL"),
            ("foreign_keys", "ON"),
        ] {
            connection
                .pragma_update(None, name, value)
                .map_err(|e| problem(&e))?;
        }
        Migrations::from_slice(MIGRATIONS)
            .to_latest(&mut connection)
            .map_err(|e| {
                Problem::new(
                    Code::Failed,
                    format!("The state cannot be brought up to date: {e}."),
                    "",
                )
            })?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    /// Opens a database that is there and of this version, to read only: what it says is not kept from changing.
    pub(crate) fn open_to_read(path: &Path) -> Result<Self, Problem> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|e| problem(&e))?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic in the middle of a transaction rolls it back: the connection stays usable.
        lock(&self.connection)
    }

    /// Runs a statement; gives the number of rows that it changed.
    pub(crate) fn run(&self, sql: &str, params: impl Params) -> Result<usize, Problem> {
        self.connection()
            .prepare_cached(sql)
            .and_then(|mut s| s.execute(params))
            .map_err(|e| problem(&e))
    }

    /// The first row of a query.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Problem> {
        self.connection()
            .query_row(sql, params, read)
            .optional()
            .map_err(|e| problem(&e))
    }

    /// All rows of a query.
    pub(crate) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Problem> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql).map_err(|e| problem(&e))?;
        let rows = statement.query_map(params, read).map_err(|e| problem(&e))?;
        rows.collect::<rusqlite::Result<_>>().map_err(|e| problem(&e))
    }

    /// Runs several statements as one change: all of them, or none.
    pub(crate) fn change<T>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Problem> {
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(|e| problem(&e))?;
        let done = work(&transaction).map_err(|e| problem(&e))?;
        transaction.commit().map_err(|e| problem(&e))?;
        Ok(done)
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
}

fn problem(error: &rusqlite::Error) -> Problem {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
        return Problem::new(
            Code::DiskFull,
            "There is no space left to write LivePC's state.",
            "Free some space, then try again: nothing that was there is lost.",
        );
    }
    Problem::new(
        Code::Failed,
        format!("LivePC's state cannot be read or written: {error}."),
        "Look at the disk.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_database_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let newer = Connection::open(&path).unwrap();
        newer.pragma_update(None, "user_version", 999).unwrap();
        drop(newer);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(Database::open(&path).unwrap_err().code, Code::UpdateLivepc);
        assert_eq!(std::fs::read(&path).unwrap(), before, "not a byte may change");
    }

    #[test]
    fn settings_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        Database::open(&path).unwrap().set("a", "1").unwrap();
        let again = Database::open(&path).unwrap();
        again.set("b", "2").unwrap();
        assert_eq!(again.setting("a").unwrap().as_deref(), Some("1"));
        assert_eq!(again.setting("c").unwrap(), None);
    }
}
