//! The state: the agent's database is read as a whole, and locked as if it were to be written.

use std::time::Duration;

use livepc_format::shown;
use livepc_protocol::Home;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Check, Finding};
use crate::database::{Database, newest_version};

pub(super) const CHECK: Check = Check("state", "state");

/// Things that were mended which are shown, the last first.
const MENDED: usize = 5;
/// How long an agent may be writing.
const BUSY: Duration = Duration::from_secs(3);

pub(super) fn look(home: &Home) -> Vec<Finding> {
    let path = home.database();
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return vec![Finding::good(CHECK, "none yet")],
        Err(error) => {
            let found = format!("{} cannot be read: {error}.", shown::path(&path));
            return vec![Finding::bad(CHECK, found, "Look at its permissions.")];
        }
    }
    let damaged = "LivePC's agent restores it from its copy when it starts: end it with “livepc agent stop” if it runs, then \
                   look again with “livepc doctor”.";
    let found = match check(home) {
        Ok(State::Sound) => return vec![sound(home)],
        Ok(State::Newer) => {
            return vec![Finding::bad(
                CHECK,
                format!("{} was written by a newer LivePC.", shown::path(&path)),
                "Install the newest LivePC.",
            )];
        }
        Ok(State::Damaged(found)) => format!("{} is damaged: {found}.", shown::path(&path)),
        Err(error) => {
            let (found, hint) = match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                    (format!("{} is damaged: {error}.", shown::path(&path)), damaged)
                }
                Some(ErrorCode::DiskFull) => (
                    "There is no space left to write the state.".into(),
                    "Free some space on the disk of the home.",
                ),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
                    format!("Another program has locked {}.", shown::path(&path)),
                    "End what uses it: only LivePC's agent should.",
                ),
                _ => (
                    format!("{} cannot be read and written: {error}.", shown::path(&path)),
                    "Look at its permissions and at the disk that it is on.",
                ),
            };
            return vec![Finding::bad(CHECK, found, hint)];
        }
    };
    vec![Finding::bad(CHECK, found, damaged)]
}

/// What of a sound database could not be understood, and was set aside.
fn sound(home: &Home) -> Finding {
    let set_aside = Database::open_to_read(&home.database()).and_then(|database| database.set_aside());
    match set_aside {
        Ok(rows) if rows.is_empty() => {
            Finding::good(CHECK, format!("{} is sound", shown::path(&home.database())))
        }
        Ok(rows) => {
            let texts = rows.iter().map(|row| format!("{}: {}", row.at, row.text(false)));
            let found = texts.take(MENDED).collect::<Vec<_>>().join(" ");
            Finding::limited(CHECK, found, "Look at the disk if that happens again.")
        }
        Err(problem) => Finding::of_problem(CHECK, problem),
    }
}

/// What a database is that can be read at all.
enum State {
    Sound,
    Newer,
    Damaged(String),
}

/// Reads all of it, and takes its lock for writing.
fn check(home: &Home) -> rusqlite::Result<State> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(home.database(), flags)?;
    database.busy_timeout(BUSY)?;
    let version: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > newest_version() {
        return Ok(State::Newer);
    }
    let said: String = database.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        return Ok(State::Damaged(livepc_format::text::line(&said, 200)));
    }
    database.execute_batch("BEGIN IMMEDIATE; ROLLBACK;")?;
    Ok(State::Sound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Health;

    #[test]
    fn a_database_is_sound_or_named() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        assert_eq!(look(&home)[0].health, Health::Good, "there is none yet");
        let database = Database::open(&home.database()).unwrap();
        for n in 0..2000 {
            database.set(&format!("filler {n}"), &"x".repeat(100)).unwrap();
        }
        drop(database);
        assert_eq!(
            look(&home),
            [Finding::good(
                CHECK,
                format!("{} is sound", home.database().display())
            )]
        );
        let sound = std::fs::read(home.database()).unwrap();
        let mut garbled = sound.clone();
        // The first page stays: what only looks at the head of the file finds nothing.
        for byte in &mut garbled[4096 * 3..] {
            *byte ^= 0x55;
        }
        std::fs::write(home.database(), garbled).unwrap();
        let found = look(&home);
        assert_eq!(found[0].health, Health::Bad);
        assert!(found[0].found.contains("is damaged"), "{found:?}");
        std::fs::write(home.database(), "something else").unwrap();
        assert_eq!(look(&home)[0].health, Health::Bad, "no database at all");
        let held = {
            std::fs::write(home.database(), sound).unwrap();
            Connection::open(home.database()).unwrap()
        };
        held.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let found = look(&home);
        assert!(found[0].found.contains("locked"), "{found:?}");
    }
}
