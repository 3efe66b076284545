//! What a publisher's server says becomes a subscription, or what one knows from now on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use livepc_format::feed::Feed;
use livepc_format::head::ReleaseState;
use livepc_format::{Digest, Fingerprint, Head, Keys, Release};
use livepc_protocol::Problem;
use livepc_transfer::shown;
use rusqlite::params;
use url::Url;

use super::{all, find, ids};
use crate::address;
use crate::agent::Owner;
use crate::database::Database;
use crate::pins;
use crate::problems::untrusted;
use crate::published::{Known, Published, Trouble};
use crate::trust::{Accepted, Pinned};

/// Ids of one name that are tried: `lab`, `lab-2`, …
const IDS: u32 = 100;

/// Refuses a publisher who appears at the address of another one that is subscribed: only the key that was confirmed may
/// be replaced, and only by its owner.
pub(crate) fn check_feed_is_its_own(database: &Database, feed_url: &Url, keys: &Keys) -> Result<(), Problem> {
    let other = all(database)?
        .into_iter()
        .find(|s| s.feed_url == *feed_url && s.livepc != keys.livepc());
    match other {
        None => Ok(()),
        Some(pinned) => Err(untrusted(format!(
            "You are subscribed to “{}” at this address, whose key has the fingerprint {}; now another LivePC is there, with \
             the fingerprint {}.",
            pinned.id,
            pinned.keys.root.fingerprint(),
            keys.root.fingerprint()
        ))),
    }
}

/// Subscribes to what was looked at, if its key has the confirmed fingerprint; gives the id. A LivePC that is
/// subscribed already keeps its id. `owner` tells whose data a machine's folder has, if there is one: data that was kept is
/// found again by its own LivePC, and never given to another.
pub(crate) fn add(
    database: &Database,
    published: &Published,
    fingerprint: &Fingerprint,
    owner: impl Fn(&str) -> Result<Owner, Problem>,
    now: Timestamp,
) -> Result<String, Problem> {
    let feed_url = &published.feed_url;
    let _decision = database.decision();
    check_feed_is_its_own(database, feed_url, &published.keys)?;
    let actual = published.keys.root.fingerprint();
    if actual != *fingerprint {
        return Err(untrusted(format!(
            "The publisher's key has the fingerprint {actual}, not {fingerprint}."
        )));
    }
    let livepc = published.keys.livepc();
    let existing = database.one(
        "SELECT id FROM subscription WHERE livepc = ?1",
        [livepc.to_string()],
        |row| row.get::<_, String>(0),
    )?;
    if let Some(id) = existing {
        accept_alone(database, &id, published, now).map_err(|trouble| trouble.problem)?;
        return Ok(id);
    }
    let Some(feed) = &published.feed else {
        return Err(untrusted("The feed is not there."));
    };
    let taken = ids(database)?;
    let name = &published.keys.name;
    let names = (1..=IDS).map(|n| {
        if n == 1 {
            name.clone()
        } else {
            format!("{name}-{n}")
        }
    });
    let (mut own, mut unused, mut unreadable) = (None, None, None);
    for id in names.filter(|id| !taken.contains(id)) {
        match owner(&id) {
            Ok(Owner::LivePc(other)) if other == livepc => {
                own = Some(id);
                break;
            }
            Ok(Owner::Nobody) => {
                unused.get_or_insert(id);
            }
            Ok(Owner::Unknown | Owner::LivePc(_)) => {}
            Err(problem) => {
                unreadable.get_or_insert(problem);
            }
        }
    }
    let id = match (own, unreadable) {
        (Some(id), _) => id,
        // It may be the one with this LivePC's data.
        (None, Some(problem)) => return Err(problem),
        (None, None) => unused.unwrap_or_else(|| livepc.to_string()),
    };
    database.change(|t| {
        t.execute(
            "INSERT INTO subscription (id, livepc, feed_url, head_url, title, summary, publisher, guest_os, keys, head, \
             subscribed, announced) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, '', ?8, ?9, ?10, ?11)",
            params![
                id,
                livepc.to_string(),
                feed_url.as_str(),
                published.head_url.as_str(),
                feed.title,
                feed.summary,
                feed.publisher,
                published.keys_bytes,
                published.head_bytes,
                now.to_string(),
                announced(feed),
            ],
        )?;
        remember(t, &id, published, now)
    })?;
    pins::write(database, &id);
    Ok(id)
}

/// Accepts what a publisher's server says now, by the rules of `trust`, or says why not. Nothing changes then but the
/// problem that is shown. Where it was found is where the feed lies from now on.
pub(crate) fn accept(
    database: &Database,
    id: &str,
    published: &Published,
    now: Timestamp,
) -> Result<Accepted, Trouble> {
    let _decision = database.decision();
    accept_alone(database, id, published, now)
}

/// [`accept`], for who has the decision: two heads at once would leave the older one.
fn accept_alone(
    database: &Database,
    id: &str,
    published: &Published,
    now: Timestamp,
) -> Result<Accepted, Trouble> {
    let subscription = find(database, id)?;
    let (from, to) = (&subscription.feed_url, &published.feed_url);
    if from != to {
        check_feed_is_its_own(database, to, &published.keys)?;
    }
    let seen = database.all(
        "SELECT sequence, manifest FROM seen_release WHERE id = ?1",
        [id],
        |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?)),
    )?;
    let seen: BTreeMap<u64, Digest> = seen
        .into_iter()
        .filter_map(|(sequence, text)| Some((sequence, text.parse().ok()?)))
        .collect();
    let former = no_longer_listed(&subscription.head, &published.head);
    let pinned = Pinned {
        keys: subscription.keys,
        head: subscription.head,
        seen,
    };
    let accepted = pinned.accept(&published.keys, &published.head)?;
    database.change(|t| {
        if from != to {
            tracing::info!(id, from = %shown(from), to = %shown(to), "the feed has moved");
            address::moved(t, id, from, to, now)?;
        }
        t.execute(
            "UPDATE subscription SET keys = COALESCE(?2, keys), head = ?3, head_url = ?4 WHERE id = ?1",
            params![
                id,
                published.keys_bytes,
                published.head_bytes,
                published.head_url.as_str()
            ],
        )?;
        if let Some(feed) = &published.feed {
            let Feed {
                title,
                summary,
                publisher,
                ..
            } = feed;
            t.execute(
                "UPDATE subscription SET title = ?2, summary = ?3, publisher = ?4, announced = ?5 WHERE id = ?1",
                params![id, title, summary, publisher, announced(feed)],
            )?;
        }
        for release in &former {
            t.execute(
                "INSERT OR REPLACE INTO former_release (id, sequence, data) VALUES (?1, ?2, ?3)",
                params![
                    id,
                    release.sequence,
                    serde_json::to_string(release).unwrap_or_default()
                ],
            )?;
        }
        remember(t, id, published, now)
    })?;
    pins::write(database, id);
    Ok(accepted)
}

/// The releases of `old` that `new` does not list any more: they say how to read what is here of them. Their files went away.
fn no_longer_listed(old: &Head, new: &Head) -> Vec<Release> {
    let gone = old
        .releases
        .iter()
        .filter(|release| new.release(release.sequence).is_none());
    let withdrawn = |release: &Release| Release {
        state: ReleaseState::Withdrawn,
        ..release.clone()
    };
    gone.map(withdrawn).collect()
}

fn announced(feed: &Feed) -> Option<&str> {
    feed.moved_to.as_ref().or(feed.address.as_ref()).map(Url::as_str)
}

/// Notes the releases that were seen, what to ask the server next time, and that asking worked.
fn remember(
    t: &rusqlite::Transaction<'_>,
    id: &str,
    published: &Published,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let Known { feed, head, .. } = &published.known;
    t.execute(
        "UPDATE subscription SET feed_etag = ?2, feed_modified = ?3, head_etag = ?4, head_modified = ?5, checked = ?6, \
         problem = NULL, behind_since = NULL WHERE id = ?1",
        params![id, feed.etag, feed.last_modified, head.etag, head.last_modified, now.to_string()],
    )?;
    for release in &published.head.releases {
        t.execute(
            "INSERT OR IGNORE INTO seen_release (id, sequence, manifest) VALUES (?1, ?2, ?3)",
            params![id, release.sequence, release.manifest.to_string()],
        )?;
    }
    Ok(())
}
