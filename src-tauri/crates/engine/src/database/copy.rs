//! The copy of the database: whole, checked, durable, and never older than a day of changes.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags};

/// How old a copy becomes.
const AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The copy, beside the database at `path`.
pub(super) fn file(path: &Path) -> PathBuf {
    path.with_extension("db.copy")
}

/// True if there is no copy, or an old one.
pub(super) fn is_old(path: &Path) -> bool {
    let made = file(path).metadata().and_then(|found| found.modified());
    // One from the future says nothing.
    made.map_or(true, |made| made.elapsed().map_or(true, |age| age > AGE))
}

/// When the copy was made.
pub(super) fn time(path: &Path) -> Option<SystemTime> {
    file(path).metadata().ok()?.modified().ok()
}

/// Copies the database at `path`, which may be in use, in the place of the copy before. A database that is not sound gives
/// no copy.
pub(super) fn make(path: &Path) -> Result<(), String> {
    let unfinished = path.with_extension("db.copying");
    let made = write(path, &unfinished);
    if made.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    made
}

fn write(path: &Path, unfinished: &Path) -> Result<(), String> {
    let said = |error: rusqlite::Error| error.to_string();
    let failed = |error: std::io::Error| error.to_string();
    livepc_durable::remove(unfinished).map_err(failed)?;
    let name = unfinished.to_str().ok_or("its name cannot be written down")?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(path, flags).map_err(said)?;
    from.execute("VACUUM INTO ?1", [name]).map_err(said)?;
    let copied = Connection::open_with_flags(unfinished, flags).map_err(said)?;
    check(&copied)?;
    drop(copied);
    livepc_durable::sync_file(unfinished).map_err(failed)?;
    livepc_durable::rename(unfinished, &file(path)).map_err(failed)
}

/// Opens the copy, if there is one and it is sound.
pub(super) fn open(path: &Path) -> Result<Connection, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let copy = Connection::open_with_flags(file(path), flags).map_err(|error| error.to_string())?;
    check(&copy)?;
    Ok(copy)
}

/// Looks at all of a database.
fn check(connection: &Connection) -> Result<(), String> {
    let found: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| error.to_string())?;
    if found == "ok" { Ok(()) } else { Err(found) }
}
