//! Subscriptions as the state database keeps them: what is pinned, what was accepted, and which release is in use.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use livepc_format::feed::Feed;
use livepc_format::head::ReleaseState;
use livepc_format::{Digest, Fingerprint, Head, Keys, LivePcId, Release, text};
use livepc_protocol::{Code, Problem, UpdatePolicy};
use livepc_transfer::{Origin, Validators, shown};
use rusqlite::{Row, ToSql, params};
use url::Url;

use crate::address;
use crate::agent::Owner;
use crate::database::Database;
use crate::pins;
use crate::problems::{not_found, of_format, untrusted};
use crate::published::{Known, Published, Trouble};
use crate::session_end;
use crate::trust::{Accepted, Pinned};
use crate::words::word;

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) livepc: LivePcId,
    pub(crate) feed_url: Url,
    /// Where it lay before.
    pub(crate) moved_from: Option<Url>,
    /// Where the feed says that it lies.
    pub(crate) announced: Option<Url>,
    pub(crate) head_url: Url,
    pub(crate) title: String,
    pub(crate) summary: String,
    pub(crate) publisher: String,
    pub(crate) guest_os: String,
    pub(crate) keys: Keys,
    pub(crate) head: Head,
    /// Releases that its publisher no longer lists, by falling sequence. Who has one may keep it.
    pub(crate) former: Vec<Release>,
    pub(crate) known: Known,
    pub(crate) in_use: Option<u64>,
    pub(crate) checked: Option<Timestamp>,
    pub(crate) last_used: Option<Timestamp>,
    /// Why the feed could not be read or accepted lately.
    pub(crate) problem: Option<Problem>,
    /// How the machine ended last: a problem, if it should not have.
    pub(crate) outcome: Option<Problem>,
    /// What happens when there is a new release.
    pub(crate) policy: UpdatePolicy,
    /// The release that cold starts use, if somebody has chosen one.
    pub(crate) pinned: Option<u64>,
    /// Whether changes of the system disk outlive the machine.
    pub(crate) keep_changes: bool,
    /// The release whose starts failed last, and how many in a row.
    pub(crate) failed_release: Option<u64>,
    pub(crate) failures: u64,
}

/// What was done with a subscription's releases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// Those that have run: the guest executed, and the machine ended as it should.
    pub(crate) ran: BTreeSet<u64>,
    /// Those that somebody had fetched by their number.
    pub(crate) wanted: BTreeSet<u64>,
}

/// Ids of one name that are tried: `lab`, `lab-2`, …
const IDS: u32 = 100;

/// The channel that is followed.
pub(crate) const CHANNEL: &str = "stable";

impl Subscription {
    /// The newest release that may be used.
    pub(crate) fn newest(&self) -> Option<&Release> {
        self.head.newest(CHANNEL)
    }

    /// All releases that are known: those that are listed, then those that no longer are.
    pub(crate) fn releases(&self) -> impl Iterator<Item = &Release> {
        self.head.releases.iter().chain(&self.former)
    }

    /// The release with this sequence, listed or not, or the newest one.
    pub(crate) fn release(&self, sequence: Option<u64>) -> Result<&Release, Problem> {
        let found = match sequence {
            Some(sequence) => self.releases().find(|release| release.sequence == sequence),
            None => self.newest(),
        };
        found.ok_or_else(|| match sequence {
            Some(sequence) => not_found(
                format!("“{}” has no release {sequence}.", self.id),
                format!("“livepc show {}” lists its releases.", self.id),
            ),
            None => not_found(
                format!("“{}” has no release that may be used.", self.id),
                "Its publisher has withdrawn all of them, or published none yet.",
            ),
        })
    }

    /// True if its publisher has taken back this release for a fault.
    pub(crate) fn is_yanked(&self, sequence: u64) -> bool {
        let release = self.head.release(sequence);
        release.is_some_and(|release| release.state == ReleaseState::Yanked)
    }

    /// True if its publisher does not offer this release any more, whether it is still listed or not.
    pub(crate) fn is_withdrawn(&self, sequence: u64) -> bool {
        let listed = self.head.release(sequence);
        listed.is_none_or(|release| release.state == ReleaseState::Withdrawn)
    }

    /// Where its files lie.
    pub(crate) fn origin(&self) -> Origin {
        Origin::of_head(&self.head_url, &self.head.mirrors)
    }

    /// The name of a release in the chunk store.
    pub(crate) fn key(&self, sequence: u64) -> String {
        format!("{}-{sequence}", self.livepc)
    }
}

const COLUMNS: &str = "id, livepc, feed_url, head_url, title, summary, publisher, guest_os, keys, head, feed_etag, \
                       feed_modified, head_etag, head_modified, in_use, checked, last_used, problem, outcome, policy, pinned, keep_changes, \
                       failed_release, failures, announced, moved_from";

/// How much an id is like another one that it may be mistaken for; 1 is the same.
const ALIKE: f64 = 0.6;

/// The ids of all subscriptions.
pub(crate) fn ids(database: &Database) -> Result<Vec<String>, Problem> {
    database.all("SELECT id FROM subscription", [], |row| row.get(0))
}

/// All subscriptions, by title.
pub(crate) fn all(database: &Database) -> Result<Vec<Subscription>, Problem> {
    let rows = database.all(
        &format!("SELECT {COLUMNS} FROM subscription ORDER BY title COLLATE NOCASE, id"),
        [],
        |row| Ok(read(row)),
    )?;
    let mut all = Vec::new();
    for row in rows {
        match row {
            Ok(subscription) => all.push(subscription),
            Err(problem) if problem.code == Code::UpdateLivepc => return Err(problem),
            // It is set aside when the agent starts next; the others have nothing to do with it.
            Err(problem) => tracing::warn!("a subscription is left out: {problem}"),
        }
    }
    add_former(database, &mut all)?;
    Ok(all)
}

/// Adds the releases that are no longer listed.
fn add_former(database: &Database, all: &mut [Subscription]) -> Result<(), Problem> {
    let former = "SELECT id, data FROM former_release ORDER BY sequence DESC";
    for (id, data) in database.all(former, [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })? {
        let release = serde_json::from_str::<Release>(&data).ok();
        if let (Some(subscription), Some(release)) = (all.iter_mut().find(|s| s.id == id), release)
            && subscription.head.release(release.sequence).is_none()
        {
            subscription.former.push(release);
        }
    }
    Ok(())
}

/// Says what is wrong with a row of the table of subscriptions. One that a newer version has written is good.
pub(crate) fn check(row: &Row<'_>) -> Result<(), String> {
    match read(row) {
        Err(problem) if problem.code != Code::UpdateLivepc => Err(problem.message),
        _ => Ok(()),
    }
}

/// The subscription that `id` names exactly: its id, or its feed's URL. Whatever changes, stops or removes something is asked
/// for by such a name: an id that was removed already must never hit another one that only begins like it.
///
/// # Errors
/// [`Code::NotFound`]; it names an id that may have been meant.
pub(crate) fn find(database: &Database, id: &str) -> Result<Subscription, Problem> {
    let mut all = all(database)?;
    match place_of(&all, id) {
        Some(place) => Ok(all.swap_remove(place)),
        None => Err(no_such(database, &all, id)),
    }
}

/// As [`find`]; the beginning of an id will do if no other id begins so. For requests that only look, or do what can be
/// undone.
pub(crate) fn find_by_beginning(database: &Database, id: &str) -> Result<Subscription, Problem> {
    let mut all = all(database)?;
    if let Some(place) = place_of(&all, id) {
        return Ok(all.swap_remove(place));
    }
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

fn place_of(all: &[Subscription], id: &str) -> Option<usize> {
    all.iter()
        .position(|s| s.id == id)
        .or_else(|| all.iter().position(|s| s.feed_url.as_str() == id))
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

fn read(row: &Row<'_>) -> Result<Subscription, Problem> {
    let broken = |why: String| {
        Problem::new(
            Code::Failed,
            format!("LivePC's state is damaged: {why}."),
            "Subscribe to it again.",
        )
    };
    let get = |name: &str| row.get::<_, String>(name).map_err(|e| broken(e.to_string()));
    let maybe = |name: &str| {
        row.get::<_, Option<String>>(name)
            .map_err(|e| broken(e.to_string()))
    };
    let bytes = |name: &str| row.get::<_, Vec<u8>>(name).map_err(|e| broken(e.to_string()));
    let url = |name: &str| Url::parse(&get(name)?).map_err(|e| broken(e.to_string()));
    let maybe_url = |name: &str| Ok(maybe(name)?.and_then(|text| Url::parse(&text).ok()));
    let time = |name: &str| Ok(maybe(name)?.and_then(|text| text.parse::<Timestamp>().ok()));
    let problem = |name: &str| Ok(maybe(name)?.and_then(|text| serde_json::from_str(&text).ok()));
    // They are verified again each time: a state file that somebody edited earns no trust.
    let keys = Keys::open(&bytes("keys")?).map_err(|e| of_format(&e))?;
    let head = Head::open(&bytes("head")?, &keys).map_err(|e| of_format(&e))?;
    let head_url = url("head_url")?;
    let known = Known {
        head_url: Some(head_url.clone()),
        feed: Validators {
            etag: maybe("feed_etag")?,
            last_modified: maybe("feed_modified")?,
        },
        head: Validators {
            etag: maybe("head_etag")?,
            last_modified: maybe("head_modified")?,
        },
    };
    Ok(Subscription {
        id: get("id")?,
        livepc: keys.livepc(),
        former: Vec::new(),
        feed_url: url("feed_url")?,
        moved_from: maybe_url("moved_from")?,
        announced: maybe_url("announced")?,
        head_url,
        title: get("title")?,
        summary: get("summary")?,
        publisher: get("publisher")?,
        guest_os: get("guest_os")?,
        keys,
        head,
        known,
        in_use: row.get("in_use").map_err(|e| broken(e.to_string()))?,
        checked: time("checked")?,
        last_used: time("last_used")?,
        problem: problem("problem")?,
        outcome: problem("outcome")?,
        policy: if get("policy")? == word(&UpdatePolicy::Notify) {
            UpdatePolicy::Notify
        } else {
            UpdatePolicy::Auto
        },
        pinned: row.get("pinned").map_err(|e| broken(e.to_string()))?,
        keep_changes: row.get("keep_changes").map_err(|e| broken(e.to_string()))?,
        failed_release: row.get("failed_release").map_err(|e| broken(e.to_string()))?,
        failures: row.get("failures").map_err(|e| broken(e.to_string()))?,
    })
}
