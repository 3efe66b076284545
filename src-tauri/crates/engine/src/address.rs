//! Where a subscription's feed lies, and where it lay before.
//!
//! A publisher moves: the server says so for ever (301, 308), the feed says so, or a person subscribes at the new address.
//! The subscription goes along, and the addresses of before still name it: catalogs go on listing them.

use jiff::Timestamp;
use livepc_protocol::Problem;
use rusqlite::{Transaction, params};
use url::Url;

use crate::database::Database;
use crate::published::{Kind, Trouble};
use crate::trust::LASTS;

/// Notes that a subscription's feed lies elsewhere from now on.
pub(crate) fn moved(
    t: &Transaction<'_>,
    id: &str,
    from: &Url,
    to: &Url,
    now: Timestamp,
) -> rusqlite::Result<()> {
    t.execute(
        "UPDATE subscription SET feed_url = ?2, moved_from = ?3 WHERE id = ?1",
        params![id, to.as_str(), from.as_str()],
    )?;
    t.execute(
        "DELETE FROM former_feed WHERE id = ?1 AND url = ?2",
        params![id, to.as_str()],
    )?;
    t.execute(
        "INSERT INTO former_feed (id, url, until) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET until = ?3",
        params![id, from.as_str(), now.to_string()],
    )?;
    Ok(())
}

/// The subscription whose feed lay at an address once.
pub(crate) fn id_of_former(database: &Database, url: &str) -> Result<Option<String>, Problem> {
    let sql = "SELECT id FROM former_feed WHERE url = ?1 ORDER BY until DESC LIMIT 1";
    database.one(sql, [url], |row| row.get(0))
}

/// True if a feed that was found at `from` may be asked for at `to` without anybody's word: never over plain HTTP what came
/// over HTTPS, and no file of this computer that a server names.
pub(crate) fn may_move(from: &Url, to: &Url) -> bool {
    match to.scheme() {
        "https" => true,
        "http" => from.scheme() != "https",
        _ => to.scheme() == from.scheme(),
    }
}

/// What it means that a publisher's server was not believed: that it is behind is trouble of its caches, until it lasts.
pub(crate) fn judge(
    database: &Database,
    id: &str,
    trouble: Trouble,
    now: Timestamp,
) -> Result<Problem, Problem> {
    if trouble.kind != Kind::Behind {
        return Ok(trouble.problem);
    }
    let sql = "UPDATE subscription SET behind_since = COALESCE(behind_since, ?2) WHERE id = ?1";
    database.run(sql, params![id, now.to_string()])?;
    let sql = "SELECT behind_since FROM subscription WHERE id = ?1";
    let since = database.one(sql, [id], |row| row.get::<_, Option<String>>(0))?;
    let since = since.flatten().and_then(|text| text.parse::<Timestamp>().ok());
    let lasts = since.is_some_and(|since| now.duration_since(since) >= LASTS);
    Ok(if lasts {
        let message = trouble.problem.message;
        crate::problems::untrusted(format!(
            "{message} It has been so for more than {} hours: somebody may be holding back what is new.",
            LASTS.as_hours()
        ))
    } else {
        trouble.problem
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_move_makes_a_subscription_weaker() {
        let may = |from: &str, to: &str| may_move(&from.parse().unwrap(), &to.parse().unwrap());
        assert!(may("http://a.example/f", "https://b.example/f"));
        assert!(may("http://a.example/f", "http://b.example/f"));
        assert!(may("file:///a/f", "https://b.example/f"));
        assert!(may("file:///a/f", "file:///b/f"));
        assert!(!may("https://a.example/f", "http://a.example/f"));
        assert!(!may("https://a.example/f", "file:///b/f"));
        assert!(!may("http://a.example/f", "file:///b/f"));
    }
}
