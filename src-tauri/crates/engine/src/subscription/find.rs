//! Which subscription is meant.

use livepc_format::{Release, text};
use livepc_protocol::{Code, Problem};
use rusqlite::Params;

use super::Subscription;
use super::row::{COLUMNS, read};
use crate::address;
use crate::database::Database;
use crate::problems::not_found;

/// How much an id is like another one that it may be mistaken for; 1 is the same.
const ALIKE: f64 = 0.6;

/// The ids of all subscriptions.
pub(crate) fn ids(database: &Database) -> Result<Vec<String>, Problem> {
    database.all("SELECT id FROM subscription", [], |row| row.get(0))
}

/// All subscriptions, by title.
pub(crate) fn all(database: &Database) -> Result<Vec<Subscription>, Problem> {
    select(database, "ORDER BY title COLLATE NOCASE, id", [])
}

/// The subscriptions whose rows this clause selects, in its order.
fn select(
    database: &Database,
    clause: &str,
    params: impl Params + Clone,
) -> Result<Vec<Subscription>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM subscription {clause}");
    let mut found = Vec::new();
    for row in database.all(&sql, params, |row| Ok(read(row)))? {
        match row {
            Ok(mut subscription) => {
                add_former(database, &mut subscription)?;
                found.push(subscription);
            }
            Err(problem) if problem.code == Code::UpdateLivepc => return Err(problem),
            // It is set aside when the agent starts next; the others have nothing to do with it.
            Err(problem) => tracing::warn!("a subscription is left out: {problem}"),
        }
    }
    Ok(found)
}

/// Adds the releases that are no longer listed.
fn add_former(database: &Database, subscription: &mut Subscription) -> Result<(), Problem> {
    let former = "SELECT data FROM former_release WHERE id = ?1 ORDER BY sequence DESC";
    let former = database.all(former, [&subscription.id], |row| row.get::<_, String>(0))?;
    let former = former.iter().filter_map(|data| serde_json::from_str(data).ok());
    let head = &subscription.head;
    let former = former.filter(|release: &Release| head.release(release.sequence).is_none());
    subscription.former = former.collect();
    Ok(())
}

/// The subscription that `id` names exactly: its id, or its feed's URL. Whatever changes, stops or removes something is asked
/// for by such a name: an id that was removed already must never hit another one that only begins like it.
///
/// # Errors
/// [`Code::NotFound`]; it names an id that may have been meant.
pub(crate) fn find(database: &Database, id: &str) -> Result<Subscription, Problem> {
    match exactly(database, id)? {
        Some(subscription) => Ok(subscription),
        None => Err(no_such(database, &all(database)?, id)),
    }
}

/// As [`find`]; the beginning of an id will do if no other id begins so. For requests that only look, or do what can be
/// undone.
pub(crate) fn find_by_beginning(database: &Database, id: &str) -> Result<Subscription, Problem> {
    if let Some(subscription) = exactly(database, id)? {
        return Ok(subscription);
    }
    let mut all = all(database)?;
    let former = address::id_of_former(database, id)?;
    if let Some(place) = all.iter().position(|s| Some(&s.id) == former.as_ref()) {
        return Ok(all.swap_remove(place));
    }
    let mut matches: Vec<usize> = (0..all.len())
        .filter(|&i| !id.is_empty() && all[i].id.starts_with(id))
        .collect();
    match (matches.pop(), matches.is_empty()) {
        (Some(place), true) => Ok(all.swap_remove(place)),
        (Some(_), false) => Err(Problem::new(
            Code::Usage,
            format!("“{}” is the beginning of several ids.", text::line(id, 80)),
            "Give more of the id; “livepc list” shows them.",
        )),
        (None, _) => Err(no_such(database, &all, id)),
    }
}

/// The one with this id, or else with this feed.
fn exactly(database: &Database, id: &str) -> Result<Option<Subscription>, Problem> {
    let clause = "WHERE id = ?1 OR feed_url = ?1 ORDER BY id <> ?1";
    Ok(select(database, clause, [id])?.into_iter().next())
}

/// Says that there is none, and which id looks most like what was asked for.
fn no_such(database: &Database, all: &[Subscription], id: &str) -> Problem {
    let set_aside = database.set_aside().unwrap_or_default();
    let mut damaged = set_aside.iter().filter(|row| row.what == "subscription");
    if let Some(row) = damaged.find(|row| row.name == id) {
        return not_found(
            row.text(false),
            "“livepc subscribe” brings it back; its data is still there.",
        );
    }
    let asked = id.to_lowercase();
    let likeness = |s: &&Subscription| {
        let begins = !asked.is_empty() && (s.id.starts_with(&asked) || asked.starts_with(&s.id));
        let likeness = strsim::normalized_damerau_levenshtein(&s.id, &asked);
        if begins { likeness + 1.0 } else { likeness }
    };
    let like = all.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = match like.filter(|s| likeness(s) >= ALIKE) {
        Some(like) => format!(
            "There is “{}”; if that is meant, give this id in full. “livepc list” shows the subscriptions.",
            like.id
        ),
        None => "“livepc list” shows the subscriptions.".into(),
    };
    not_found(
        format!("There is no subscription “{}”.", text::line(id, 80)),
        hint,
    )
}
