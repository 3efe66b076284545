//! What happened to a subscription, and what somebody decided about it.

use jiff::Timestamp;
use livepc_protocol::{Code, Problem, UpdatePolicy};
use rusqlite::{ToSql, params};

use super::History;
use crate::database::Database;
use crate::pins;
use crate::session_end;
use crate::words::word;

/// Notes that the server was asked and had nothing new.
pub(crate) fn unchanged(database: &Database, id: &str, now: Timestamp) -> Result<(), Problem> {
    let sql = "UPDATE subscription SET checked = ?2, problem = NULL, behind_since = NULL WHERE id = ?1";
    database.run_lazily(sql, params![id, now.to_string()]).map(drop)
}

/// Notes why the server's word was not accepted.
pub(crate) fn refused(database: &Database, id: &str, problem: &Problem) -> Result<(), Problem> {
    database
        .run_lazily(
            "UPDATE subscription SET problem = ?2 WHERE id = ?1",
            params![id, json(problem)],
        )
        .map(drop)
}

/// Forgets what has kept a subscription from being up to date, and its machine from starting.
pub(crate) fn forgive(database: &Database, id: &str) -> Result<(), Problem> {
    let sql = "UPDATE subscription SET problem = NULL, outcome = NULL WHERE id = ?1";
    database.run(sql, [id]).map(drop)
}

/// Notes that a release is in use from `now` on.
pub(crate) fn used(database: &Database, id: &str, sequence: u64, now: Timestamp) -> Result<(), Problem> {
    let sql = "UPDATE subscription SET in_use = ?2, last_used = ?3, outcome = NULL WHERE id = ?1";
    database.run(sql, params![id, sequence, now.to_string()])?;
    pins::write(database, id);
    Ok(())
}

/// Notes how the machine ended on a release, and how often in a row that was a failure of the release. One whose guest
/// executed (`executed`), and that did not fail, has run.
pub(crate) fn ended(
    database: &Database,
    id: &str,
    sequence: u64,
    outcome: Option<&Problem>,
    executed: bool,
) -> Result<(), Problem> {
    let sql = match outcome {
        Some(problem) if is_of_release(problem) => {
            "UPDATE subscription SET outcome = ?3, failed_release = ?2, \
             failures = CASE WHEN failed_release = ?2 THEN failures + 1 ELSE 1 END WHERE id = ?1"
        }
        Some(_) => "UPDATE subscription SET outcome = ?3 WHERE id = ?1",
        None => {
            "UPDATE subscription SET outcome = ?3, failures = CASE WHEN failed_release = ?2 THEN 0 ELSE failures END \
             WHERE id = ?1"
        }
    };
    database.change(|t| {
        t.execute(sql, params![id, sequence, outcome.map(json)])?;
        if executed && outcome.is_none_or(session_end::is_of_it) {
            let sql = "UPDATE seen_release SET ran = 1 WHERE id = ?1 AND sequence = ?2";
            t.execute(sql, params![id, sequence])?;
        }
        Ok(())
    })?;
    pins::write(database, id);
    Ok(())
}

/// True if the release may be the cause: its machine failed after a hypervisor was told to start it. Data that cannot be
/// fetched and a hypervisor that is missing would stop every other release too.
fn is_of_release(problem: &Problem) -> bool {
    problem.code == Code::Hypervisor && !problem.of_this_computer
}

/// Notes that somebody wanted this very release here.
pub(crate) fn wanted(database: &Database, id: &str, sequence: u64) -> Result<(), Problem> {
    let sql = "UPDATE seen_release SET wanted = 1 WHERE id = ?1 AND sequence = ?2";
    decide(database, id, sql, params![id, sequence])
}

/// Forgets what somebody wanted here.
pub(crate) fn nothing_wanted(database: &Database) -> Result<(), Problem> {
    database.run("UPDATE seen_release SET wanted = 0", []).map(drop)
}

/// The releases that have run, and those that somebody wanted.
pub(crate) fn history(database: &Database, id: &str) -> Result<History, Problem> {
    let sequences = |sql: &str| {
        let rows = database.all(sql, [id], |row| row.get(0))?;
        Ok(rows.into_iter().collect())
    };
    Ok(History {
        ran: sequences("SELECT sequence FROM seen_release WHERE id = ?1 AND ran")?,
        wanted: sequences("SELECT sequence FROM seen_release WHERE id = ?1 AND wanted")?,
    })
}

/// Decides whether changes of the system disk outlive the machine.
pub(crate) fn keep_changes(database: &Database, id: &str, keep: bool) -> Result<(), Problem> {
    let sql = "UPDATE subscription SET keep_changes = ?2 WHERE id = ?1";
    decide(database, id, sql, params![id, keep])
}

/// Decides what happens when there is a new release.
pub(crate) fn set_policy(database: &Database, id: &str, policy: UpdatePolicy) -> Result<(), Problem> {
    let sql = "UPDATE subscription SET policy = ?2 WHERE id = ?1";
    decide(database, id, sql, params![id, word(&policy)])
}

/// Decides which release cold starts use: the newest, if none is given.
pub(crate) fn pin(database: &Database, id: &str, release: Option<u64>) -> Result<(), Problem> {
    let sql = "UPDATE subscription SET pinned = ?2, failed_release = NULL, failures = 0 WHERE id = ?1";
    decide(database, id, sql, params![id, release])
}

/// Writes down what somebody has decided.
fn decide(database: &Database, id: &str, sql: &str, params: &[&dyn ToSql]) -> Result<(), Problem> {
    database.run(sql, params)?;
    pins::write(database, id);
    Ok(())
}

/// Notes what a manifest says of the guest.
pub(crate) fn describe(database: &Database, id: &str, guest_os: &str) -> Result<(), Problem> {
    database
        .run(
            "UPDATE subscription SET guest_os = ?2 WHERE id = ?1",
            params![id, guest_os],
        )
        .map(drop)
}

/// Ends a subscription.
pub(crate) fn remove(database: &Database, id: &str) -> Result<(), Problem> {
    pins::remove(database, id)?;
    let removed = database.run("DELETE FROM subscription WHERE id = ?1", [id]);
    if removed.is_err() {
        // It goes on after all.
        pins::write(database, id);
    }
    removed.map(drop)
}

fn json(problem: &Problem) -> String {
    // A problem is three strings.
    serde_json::to_string(problem).unwrap_or_default()
}
