//! The store's database: which release needs which packs and objects, and where content lies that was once written here.
//!
//! Losing it loses no page: content that is not listed is fetched instead of copied, and nothing is pruned before it is
//! known again what is needed.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use livepc_durable::Readers;
use livepc_format::{Digest, PackId};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, params};
use rusqlite_migration::{M, Migrations};

use crate::error::{Result, StoreError};
use crate::release_key::ReleaseKey;

/// Bytes of a database that is looked at wholly each time: it takes a second for each 100 MB.
const SMALL: u64 = 16 << 20;
/// With less than this free, whatever fails fails for that.
const NOTHING: u64 = 256 << 10;

const MIGRATIONS: &[M<'static>] = &[M::up(
    "CREATE TABLE packs (
         id INTEGER PRIMARY KEY,
         digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32)
     ) STRICT;
     -- Runs of pages, by the SHA-256 of their bytes
     CREATE TABLE contents (
         pack INTEGER NOT NULL REFERENCES packs ON DELETE CASCADE,
         first_page INTEGER NOT NULL,
         pages INTEGER NOT NULL,
         digest BLOB NOT NULL CHECK (length(digest) = 32),
         PRIMARY KEY (pack, first_page)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX contents_by_digest ON contents (digest);
     -- A release that is no longer kept stays until nobody uses it
     CREATE TABLE releases (
         id INTEGER PRIMARY KEY,
         key TEXT NOT NULL UNIQUE,
         kept INTEGER NOT NULL
     ) STRICT;
     CREATE TABLE release_packs (
         release INTEGER NOT NULL REFERENCES releases ON DELETE CASCADE,
         digest BLOB NOT NULL CHECK (length(digest) = 32),
         PRIMARY KEY (release, digest)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE release_objects (
         release INTEGER NOT NULL REFERENCES releases ON DELETE CASCADE,
         digest BLOB NOT NULL CHECK (length(digest) = 32),
         PRIMARY KEY (release, digest)
     ) STRICT, WITHOUT ROWID;
     -- One row while it is not known what the releases need
     CREATE TABLE references_lost (at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) STRICT;",
)];

/// Where a run of pages lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pack: PackId,
    pub(crate) first_page: u32,
    pub(crate) pages: u32,
}

/// The database. There is one connection, and it is the writer's: readers do without.
pub(crate) struct Database {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl Database {
    /// Opens the database at `path`. One that is damaged is moved aside and made anew; `has_packs` says whether a new
    /// one means that references were lost.
    pub(crate) fn open(path: &Path, has_packs: bool) -> Result<Self> {
        let mut lost = has_packs && !path.exists();
        let connection = match connect(path) {
            Err(error) if is_damage(&error) => {
                tracing::warn!(path = %path.display(), %error, "the chunk store's database is damaged and made anew");
                lost = true;
                move_aside(path)?;
                connect(path)
            }
            connection => connection,
        };
        let connection = connection.map_err(|error| failed(path, error))?;
        if suspect(path).exists() {
            // It was looked at, and is good by now.
            livepc_durable::remove(&suspect(path)).map_err(|error| StoreError::io("removed", path, error))?;
        }
        if lost {
            connection
                .execute("INSERT INTO references_lost DEFAULT VALUES", [])
                .map_err(|error| failed(path, error))?;
        }
        Ok(Self {
            connection: Mutex::new(connection),
            path: path.to_owned(),
        })
    }

    /// Lists where content lies that was just written. What is lost of this in a crash is content that will be fetched
    /// instead of copied, so it is not made durable.
    pub(crate) fn add_contents(&self, contents: &[(Place, Digest)]) -> Result<()> {
        let mut connection = self.lock();
        self.run(&mut connection, Durable::No, |transaction| {
            let mut add = transaction.prepare_cached(
                "INSERT OR REPLACE INTO contents (pack, first_page, pages, digest)
                 VALUES ((SELECT id FROM packs WHERE digest = ?1), ?2, ?3, ?4)",
            )?;
            let mut add_pack =
                transaction.prepare_cached("INSERT OR IGNORE INTO packs (digest) VALUES (?1)")?;
            for (place, digest) in contents {
                let pack = place.pack.0.as_bytes();
                add_pack.execute([pack])?;
                add.execute(params![pack, place.first_page, place.pages, digest.as_bytes()])?;
            }
            Ok(())
        })
    }

    /// Where content with this digest lies.
    pub(crate) fn places(&self, content: &Digest) -> Result<Vec<Place>> {
        let connection = self.lock();
        let find = |connection: &Connection| {
            let mut find = connection.prepare_cached(
                "SELECT packs.digest, first_page, pages FROM contents JOIN packs ON packs.id = contents.pack
                 WHERE contents.digest = ?1 LIMIT 8",
            )?;
            let rows = find.query_map([content.as_bytes()], |row| {
                let pack = PackId(Digest::from_bytes(row.get(0)?));
                Ok(Place {
                    pack,
                    first_page: row.get(1)?,
                    pages: row.get(2)?,
                })
            })?;
            rows.collect::<Result<_, _>>()
        };
        find(&connection).map_err(|error| self.failed(error))
    }

    /// Forgets the content that touches these pages.
    pub(crate) fn drop_contents(&self, pack: PackId, first: u32, end: u32) -> Result<()> {
        let mut connection = self.lock();
        self.run(&mut connection, Durable::No, |transaction| {
            transaction.execute(
                "DELETE FROM contents WHERE pack = (SELECT id FROM packs WHERE digest = ?1)
                 AND first_page < ?3 AND first_page + pages > ?2",
                params![pack.0.as_bytes(), first, end],
            )?;
            Ok(())
        })
    }

    /// Forgets all content of a pack that was removed.
    pub(crate) fn drop_packs(&self, packs: &[PackId]) -> Result<()> {
        let mut connection = self.lock();
        self.run(&mut connection, Durable::No, |transaction| {
            let mut drop = transaction.prepare_cached("DELETE FROM packs WHERE digest = ?1")?;
            for pack in packs {
                drop.execute([pack.0.as_bytes()])?;
            }
            Ok(())
        })
    }

    /// Sets what a release needs, or `adds` to what is known of that.
    pub(crate) fn keep(
        &self,
        release: &ReleaseKey,
        packs: &[PackId],
        objects: &[Digest],
        adds: bool,
    ) -> Result<()> {
        let mut connection = self.lock();
        self.run(&mut connection, Durable::Yes, |transaction| {
            if !adds {
                transaction.execute("DELETE FROM releases WHERE key = ?1", [release.as_str()])?;
            }
            let id: i64 = transaction.query_row(
                "INSERT INTO releases (key, kept) VALUES (?1, 1)
                 ON CONFLICT (key) DO UPDATE SET kept = 1 RETURNING id",
                [release.as_str()],
                |row| row.get(0),
            )?;
            let mut add = transaction.prepare("INSERT OR IGNORE INTO release_packs VALUES (?1, ?2)")?;
            for pack in packs {
                add.execute(params![id, pack.0.as_bytes()])?;
            }
            let mut add = transaction.prepare("INSERT OR IGNORE INTO release_objects VALUES (?1, ?2)")?;
            for digest in objects {
                add.execute(params![id, digest.as_bytes()])?;
            }
            Ok(())
        })
    }

    /// Says that a release need not be kept any more; false if it was not.
    pub(crate) fn forget(&self, release: &ReleaseKey) -> Result<bool> {
        let mut connection = self.lock();
        self.run(&mut connection, Durable::Yes, |transaction| {
            let sql = "UPDATE releases SET kept = 0 WHERE key = ?1 AND kept = 1";
            Ok(transaction.execute(sql, [release.as_str()])? > 0)
        })
    }

    /// The releases, and whether each is kept.
    pub(crate) fn releases(&self) -> Result<Vec<(ReleaseKey, bool)>> {
        let rows: Vec<(String, bool)> = self.all("SELECT key, kept FROM releases ORDER BY key", |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        rows.into_iter()
            .map(|(key, kept)| Ok((ReleaseKey::new(key)?, kept)))
            .collect()
    }

    /// Removes all that is known of releases.
    pub(crate) fn remove_releases(&self, releases: &[ReleaseKey]) -> Result<()> {
        let mut connection = self.lock();
        self.run(&mut connection, Durable::Yes, |transaction| {
            let mut remove = transaction.prepare("DELETE FROM releases WHERE key = ?1")?;
            for release in releases {
                remove.execute([release.as_str()])?;
            }
            Ok(())
        })
    }

    /// What the release needs: packs and objects.
    pub(crate) fn needs(&self, release: &ReleaseKey) -> Result<(Vec<Digest>, Vec<Digest>)> {
        let connection = self.lock();
        let find = |table: &str| -> rusqlite::Result<Vec<Digest>> {
            let mut find = connection.prepare(&format!(
                "SELECT digest FROM {table} JOIN releases ON releases.id = release WHERE key = ?1"
            ))?;
            find.query_map([release.as_str()], |row| Ok(Digest::from_bytes(row.get(0)?)))?
                .collect()
        };
        Ok((
            find("release_packs").map_err(|error| self.failed(error))?,
            find("release_objects").map_err(|error| self.failed(error))?,
        ))
    }

    /// True while it is not known what the releases need.
    pub(crate) fn references_lost(&self) -> Result<bool> {
        let connection = self.lock();
        let row: Option<i64> = connection
            .query_row("SELECT 1 FROM references_lost", [], |row| row.get(0))
            .optional()
            .map_err(|error| self.failed(error))?;
        Ok(row.is_some())
    }

    /// Says that it is known again what the releases need.
    pub(crate) fn references_restored(&self) -> Result<()> {
        let mut connection = self.lock();
        self.run(&mut connection, Durable::Yes, |transaction| {
            transaction.execute("DELETE FROM references_lost", [])?;
            Ok(())
        })
    }

    fn all<T>(
        &self,
        sql: &str,
        row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let connection = self.lock();
        let find = || {
            connection
                .prepare_cached(sql)?
                .query_map([], row)?
                .collect::<Result<_, _>>()
        };
        find().map_err(|error| self.failed(error))
    }

    fn run<T>(
        &self,
        connection: &mut Connection,
        durable: Durable,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let run = || {
            // NORMAL never damages the database; it may lose the last transactions when the power fails.
            let synchronous = match durable {
                Durable::Yes => "FULL",
                Durable::No => "NORMAL",
            };
            connection.pragma_update(None, "synchronous", synchronous)?;
            let transaction = connection.transaction()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(|error| self.failed(error))
    }

    /// The error of a statement. One that shows damage has the database looked at wholly when it is opened next.
    fn failed(&self, error: rusqlite::Error) -> StoreError {
        if error.sqlite_error_code().is_some_and(is_damage_code) {
            tracing::error!(path = %self.path.display(), %error, "the chunk store's database is damaged");
            if let Err(error) = livepc_durable::write(&suspect(&self.path), Readers::User, b"") {
                tracing::warn!(%error, "it may not be mended by itself");
            }
        }
        told(&self.path, error)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic left open was rolled back when it was dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a transaction must survive a power cut.
#[derive(Clone, Copy)]
enum Durable {
    Yes,
    No,
}

/// The file that says that a database has shown damage while it was used.
fn suspect(path: &Path) -> PathBuf {
    path.with_extension("suspect")
}

fn connect(path: &Path) -> Result<Connection, rusqlite_migration::Error> {
    let mut connection = Connection::open(path)?;
    let small = path.metadata().is_ok_and(|found| found.len() <= SMALL);
    if small || suspect(path).exists() {
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(code, Some(found)).into());
        }
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Migrations::from_slice(MIGRATIONS).to_latest(&mut connection)?;
    Ok(connection)
}

fn is_damage(error: &rusqlite_migration::Error) -> bool {
    let rusqlite_migration::Error::RusqliteError { err, .. } = error else {
        return false;
    };
    err.sqlite_error_code().is_some_and(is_damage_code)
}

fn is_damage_code(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
}

fn move_aside(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut from = path.as_os_str().to_owned();
        from.push(suffix);
        let mut to = path.as_os_str().to_owned();
        to.push(format!(".damaged{suffix}"));
        match livepc_durable::rename(Path::new(&from), Path::new(&to)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("moved aside", Path::new(&from), error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The error of a database that could not be opened.
fn failed(path: &Path, error: impl Into<rusqlite_migration::Error>) -> StoreError {
    use rusqlite_migration::{Error, MigrationDefinitionError};
    match error.into() {
        Error::RusqliteError { err, .. } => told(path, err),
        Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => StoreError::Newer {
            path: path.to_owned(),
            found: MIGRATIONS.len() as u64 + 1,
            known: MIGRATIONS.len() as u64,
        },
        other => StoreError::Damaged {
            path: path.to_owned(),
            why: other.to_string(),
        },
    }
}

/// The error of a statement. On a disk that is full SQLite may only say that it could not write, or make a file.
fn told(path: &Path, error: rusqlite::Error) -> StoreError {
    let code = error.sqlite_error_code();
    let vague = matches!(code, Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen));
    let free = path.parent().map_or(u64::MAX, |folder| {
        fs4::available_space(folder).unwrap_or(u64::MAX)
    });
    if vague && free < NOTHING {
        return StoreError::DiskFull {
            path: path.to_owned(),
        };
    }
    database(error)
}

fn database(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::DiskFull {
            path: "store.db".into(),
        },
        _ => StoreError::Database(error),
    }
}
