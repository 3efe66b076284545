//! Opening the database whatever has become of its file: what is damaged is kept beside it, and made again from the copy.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use livepc_protocol::{Code, Problem};
use rusqlite::Connection;
use rusqlite_migration::Migrations;

use super::{MIGRATIONS, copy, full, is_damage, problem, reserve, sweep};
use crate::pins;

/// Bytes of a state that is looked at wholly each time.
const SMALL: u64 = 16 << 20;
/// Damaged files that are kept.
const KEPT: usize = 5;
/// Tables that every state has.
const TABLES: [&str; 10] = [
    "source",
    "entry",
    "subscription",
    "seen_release",
    "former_release",
    "former_feed",
    "job",
    "setting",
    "login",
    "set_aside",
];
/// The setting that says that subscriptions were lost.
pub(super) const LOST: &str = "lost-subscriptions";

/// Why a database was not opened.
enum Refused {
    /// The file is not a sound database.
    Damaged(String),
    /// Something else, of which it is not known whose fault it is.
    Other(Problem),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) {
            Self::Damaged(error.to_string())
        } else {
            Self::Other(problem(&error))
        }
    }
}

/// What was made again, and how.
struct Restored {
    why: String,
    /// The damaged file, under its new name.
    kept: Option<PathBuf>,
    /// When the copy was made that it was made from.
    copy: Option<Timestamp>,
}

/// Opens the database at `path`, in any case.
pub(super) fn open(path: &Path) -> Result<Connection, Problem> {
    let opened = match lost(path) {
        Some(why) => Err(Refused::Damaged(why.into())),
        None => connect(path),
    };
    match opened {
        Ok(connection) => settle(path, connection, None),
        Err(Refused::Other(problem)) => Err(problem),
        Err(Refused::Damaged(why)) => make_again(path, why),
    }
}

/// Opens it after a part of it could not be read.
pub(super) fn again(path: &Path) -> Result<Connection, Problem> {
    open(path)
}

/// Why the file must have been there, if it is not: an empty one would be taken for a new one.
fn lost(path: &Path) -> Option<&'static str> {
    let why = match path.metadata() {
        Ok(found) if found.len() > 0 => return None,
        Ok(_) => "it is empty",
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "it is gone",
        Err(_) => return None,
    };
    let was_there = copy::file(path).exists() || pins::any(path);
    was_there.then_some(why)
}

fn connect(path: &Path) -> Result<Connection, Refused> {
    match try_connect(path) {
        Err(Tried::Sql(error)) if reserve::is_full(&error, path) => {
            if !reserve::release(path) {
                return Err(Refused::Other(full()));
            }
            try_connect(path).map_err(|tried| match tried {
                Tried::Sql(error) if reserve::is_full(&error, path) => Refused::Other(full()),
                tried => tried.into(),
            })
        }
        tried => tried.map_err(Refused::from),
    }
}

/// Why a try failed.
enum Tried {
    Sql(rusqlite::Error),
    Refused(Refused),
}

impl From<rusqlite::Error> for Tried {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Tried> for Refused {
    fn from(tried: Tried) -> Self {
        match tried {
            Tried::Sql(error) => error.into(),
            Tried::Refused(refused) => refused,
        }
    }
}

fn try_connect(path: &Path) -> Result<Connection, Tried> {
    let mut connection = Connection::open(path)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > MIGRATIONS.len() as i64 {
        return Err(Tried::Refused(Refused::Other(Problem::new(
            Code::UpdateLivepc,
            format!("The state in {} was written by a newer LivePC.", path.display()),
            "Install the newest LivePC, then try again. Nothing was changed.",
        ))));
    }
    // A quick look does not compare indexes with tables, which takes a second for each 100 MB.
    let small = path.metadata().is_ok_and(|found| found.len() <= SMALL);
    let look = if small {
        "PRAGMA integrity_check(1)"
    } else {
        "PRAGMA quick_check(1)"
    };
    let found: String = connection.query_row(look, [], |row| row.get(0))?;
    if found != "ok" {
        return Err(Tried::Refused(Refused::Damaged(found)));
    }
    for (name, value) in [
        ("journal_mode", "WAL"),
        // What is told is on the disk: with NORMAL the last half minute goes with a power cut.
        ("synchronous", "FULL"),
        // On macOS a flush else stops at the drive's own memory.
        ("fullfsync", "ON"),
        ("checkpoint_fullfsync", "ON"),
        ("foreign_keys", "ON"),
    ] {
        connection.pragma_update(None, name, value)?;
    }
    if version > 0
        && version < MIGRATIONS.len() as i64
        && let Err(why) = copy::make(path)
    {
        tracing::warn!("no copy of the state before its change of version could be made: {why}");
    }
    match Migrations::from_slice(MIGRATIONS).to_latest(&mut connection) {
        Ok(()) => {}
        Err(rusqlite_migration::Error::RusqliteError { err, .. }) => return Err(err.into()),
        Err(error) => {
            let message = format!("The state cannot be brought up to date: {error}.");
            let hint = "“livepc doctor” shows where the logs are.";
            return Err(Tried::Refused(Refused::Other(Problem::new(
                Code::Failed,
                message,
                hint,
            ))));
        }
    }
    for table in TABLES {
        if let Err(error) = connection.prepare(&format!("SELECT * FROM {table}")) {
            return Err(Tried::Refused(Refused::Damaged(error.to_string())));
        }
    }
    Ok(connection)
}

fn make_again(path: &Path, why: String) -> Result<Connection, Problem> {
    tracing::error!(path = %path.display(), "the state is damaged: {why}");
    let failed = |e: std::io::Error| {
        Problem::io(
            &format!("{} is damaged, and cannot be set aside", path.display()),
            &e,
        )
    };
    let kept = set_aside(path).map_err(failed)?;
    let mut copied = None;
    match copy::open(path) {
        Ok(copy) => {
            drop(copy);
            let time = copy::time(path).and_then(|time| Timestamp::try_from(time).ok());
            let bytes = livepc_durable::read(&copy::file(path), u64::MAX).map_err(failed)?;
            livepc_durable::write(path, livepc_durable::Readers::User, &bytes).map_err(failed)?;
            copied = time;
        }
        Err(why) => tracing::warn!("there is no copy of the state to use: {why}"),
    }
    let connection = match connect(path) {
        Ok(connection) => connection,
        Err(Refused::Other(problem)) => return Err(problem),
        Err(Refused::Damaged(why)) => {
            // The copy was no better.
            tracing::error!("the copy of the state is damaged: {why}");
            copied = None;
            set_aside(path).map_err(failed)?;
            connect(path).map_err(|refused| match refused {
                Refused::Other(problem) => problem,
                Refused::Damaged(why) => Problem::new(Code::Failed, format!("{why}."), "Look at the disk."),
            })?
        }
    };
    let restored = Restored {
        why,
        kept,
        copy: copied,
    };
    settle(path, connection, Some(restored))
}

/// Moves the files of a damaged database out of the way; gives where the main one is now, if there was one.
fn set_aside(path: &Path) -> std::io::Result<Option<PathBuf>> {
    let stamp = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3f").to_string();
    let name = |suffix: &str, end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("{suffix}{end}"));
        PathBuf::from(name)
    };
    let mut kept = None;
    for end in ["", "-wal", "-shm", "-journal"] {
        let (from, to) = (name("", end), name(&format!(".damaged-{stamp}"), end));
        match livepc_durable::rename(&from, &to) {
            Ok(()) if end.is_empty() => kept = Some(to),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    forget_old(path);
    Ok(kept)
}

/// Removes all but the last damaged files.
fn forget_old(path: &Path) {
    let Some((folder, name)) = path.parent().zip(path.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let prefix = format!("{name}.damaged-");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
    names.sort();
    let mut stamps: Vec<&str> = names.iter().filter_map(|name| name.split('-').nth(1)).collect();
    stamps.dedup();
    let old = stamps.len().saturating_sub(KEPT);
    for name in names
        .iter()
        .filter(|name| stamps[..old].iter().any(|stamp| name.contains(stamp)))
    {
        let _ = std::fs::remove_file(folder.join(name));
    }
}

/// Sets aside what cannot be understood, and brings back what is kept elsewhere; tells what has happened.
fn settle(
    path: &Path,
    mut connection: Connection,
    restored: Option<Restored>,
) -> Result<Connection, Problem> {
    let failed = |e: rusqlite::Error| problem(&e);
    let bad = sweep::run(&mut connection).map_err(failed)?;
    let back = pins::reconcile(path, &mut connection, restored.is_some()).map_err(failed)?;
    let lost = bad
        .iter()
        .any(|row| row.what == sweep::SUBSCRIPTION && !back.contains(&row.name))
        || restored.as_ref().is_some_and(|restored| restored.copy.is_none());
    if lost {
        let sql = "INSERT INTO setting VALUES (?1, 'true') ON CONFLICT DO UPDATE SET value = 'true'";
        connection.execute(sql, [LOST]).map_err(failed)?;
    }
    let mut told = Vec::new();
    if let Some(restored) = &restored {
        let text = restored.text(path);
        let kept = restored.kept.as_deref().unwrap_or(path).display().to_string();
        sweep::note(&connection, "database", &kept, &text, "").map_err(failed)?;
        told.push(text);
    }
    told.extend(bad.iter().map(|row| row.text(back.contains(&row.name))));
    if !told.is_empty() {
        tracing::warn!("{}", told.join(" "));
        let text = told.join("\n") + "\n";
        let notice = notice(path);
        if let Err(error) = livepc_durable::write(&notice, livepc_durable::Readers::User, text.as_bytes()) {
            tracing::warn!(%error, "{} is not written", notice.display());
        }
    }
    Ok(connection)
}

/// What a person has not been told yet of the state.
fn notice(path: &Path) -> PathBuf {
    path.with_file_name(livepc_protocol::Home::NOTICE)
}

impl Restored {
    fn text(&self, path: &Path) -> String {
        let from = match self.copy {
            Some(time) => format!(
                "It was made again from the copy of {}, and from what is kept of each subscription.",
                time.strftime("%Y-%m-%d %H:%M UTC")
            ),
            None => "There was no copy: it was made anew, from what is kept of each subscription.".into(),
        };
        let kept = match &self.kept {
            Some(kept) => format!(" The damaged file is {}.", kept.display()),
            None => String::new(),
        };
        let why = self.why.trim_end_matches('.');
        format!(
            "LivePC's state, {}, was damaged ({why}). {from}{kept}",
            path.display()
        )
    }
}
