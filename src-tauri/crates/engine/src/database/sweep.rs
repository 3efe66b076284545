//! Rows that cannot be understood: they are set aside when the database is opened, so that all others can be used.

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use serde_json::{Map, Value};

use crate::subscription;

/// What a subscription that was set aside is called.
pub(super) const SUBSCRIPTION: &str = "subscription";
/// Things set aside that are remembered.
const KEPT: u32 = 100;

/// Something that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetAside {
    /// When.
    pub(crate) at: String,
    /// Its table, or `database` for the whole file.
    pub(crate) what: String,
    /// What names it in its table; of the database, the damaged file.
    pub(crate) name: String,
    /// What is wrong with it.
    pub(crate) why: String,
}

impl SetAside {
    /// What has become of it, for people.
    pub(crate) fn text(&self, back: bool) -> String {
        let Self { what, name, why, .. } = self;
        let why = why.trim_end_matches('.');
        match what.as_str() {
            "database" => why.to_owned() + ".",
            _ if back => {
                format!("What the state says of the {what} “{name}” was damaged ({why}), and is mended.")
            }
            SUBSCRIPTION => format!(
                "What the state says of the subscription “{name}” was damaged ({why}), and is set aside. Subscribe to it \
                 again: its data is still there."
            ),
            _ => format!("What the state says of the {what} “{name}” was damaged ({why}), and is set aside."),
        }
    }
}

type Check = fn(&Row<'_>) -> Result<(), String>;

/// The tables, the column that names a row to people, and what a row must be.
const TABLES: [(&str, &str, Check); 7] = [
    (SUBSCRIPTION, "id", |row| subscription::check(row)),
    ("seen_release", "id", |row| {
        text(row, "id")?;
        number(row, "sequence")?;
        let manifest = text(row, "manifest")?;
        let digest: Result<livepc_format::Digest, _> = manifest.parse();
        digest.map(drop).map_err(|error| error.to_string())
    }),
    ("former_release", "id", |row| {
        text(row, "id")?;
        number(row, "sequence")?;
        let release: Result<livepc_format::Release, _> = serde_json::from_str(&text(row, "data")?);
        release.map(drop).map_err(|error| error.to_string())
    }),
    ("source", "url", |row| {
        let url = text(row, "url")?;
        url::Url::parse(&url).map_err(|error| error.to_string())?;
        text(row, "title")?;
        ["etag", "last_modified", "checked", "problem", "moved_from"]
            .iter()
            .try_for_each(|name| maybe(row, name))
    }),
    ("job", "job", |row| {
        number(row, "active")?;
        let job: Result<livepc_protocol::Job, _> = serde_json::from_str(&text(row, "data")?);
        job.map(drop).map_err(|error| error.to_string())
    }),
    ("setting", "name", |row| {
        text(row, "name")?;
        text(row, "value").map(drop)
    }),
    ("login", "server", |row| {
        ["server", "user", "place"]
            .iter()
            .try_for_each(|name| text(row, name).map(drop))
    }),
];

fn text(row: &Row<'_>, name: &str) -> Result<String, String> {
    row.get(name).map_err(|error| error.to_string())
}

fn number(row: &Row<'_>, name: &str) -> Result<u64, String> {
    row.get(name).map_err(|error| error.to_string())
}

fn maybe(row: &Row<'_>, name: &str) -> Result<(), String> {
    let value: rusqlite::Result<Option<String>> = row.get(name);
    value.map(drop).map_err(|error| error.to_string())
}

/// Sets aside what cannot be understood; gives that.
pub(super) fn run(connection: &mut Connection) -> rusqlite::Result<Vec<SetAside>> {
    let mut all = Vec::new();
    for (table, key, check) in TABLES {
        let mut bad: Vec<(i64, String, String, Value)> = Vec::new();
        {
            let mut statement = connection.prepare(&format!("SELECT rowid AS number, * FROM {table}"))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let Err(why) = check(row) {
                    let name = row.get_ref(key).map_or(Value::Null, json);
                    let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
                    bad.push((row.get("number")?, name, why, whole(row)));
                }
            }
        }
        for (number, name, why, mut data) in bad {
            let transaction = connection.transaction()?;
            if table == SUBSCRIPTION
                && let Value::Object(data) = &mut data
            {
                data.insert("seen".into(), seen(&transaction, &name)?);
            }
            let at = note(&transaction, table, &name, &why, &data.to_string())?;
            transaction.execute(&format!("DELETE FROM {table} WHERE rowid = ?1"), [number])?;
            transaction.commit()?;
            all.push(SetAside {
                at,
                what: table.into(),
                name,
                why,
            });
        }
    }
    // Too many to look at each: what is no JSON is no entry, and comes again with its source.
    connection.execute(
        "DELETE FROM entry WHERE typeof(data) <> 'text' OR NOT json_valid(data)",
        [],
    )?;
    Ok(all)
}

/// Remembers that something was set aside; gives when.
pub(super) fn note(
    connection: &Connection,
    what: &str,
    name: &str,
    why: &str,
    data: &str,
) -> rusqlite::Result<String> {
    let at = Timestamp::now().to_string();
    connection.execute(
        "INSERT INTO set_aside (at, what, name, why, data) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![at, what, name, why, data],
    )?;
    let old = "DELETE FROM set_aside WHERE number <= (SELECT MAX(number) FROM set_aside) - ?1";
    connection.execute(old, [KEPT])?;
    Ok(at)
}

/// What was set aside, newest first.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<SetAside>> {
    // Who only reads may see the state of an earlier version.
    if !connection
        .prepare("SELECT 1 FROM sqlite_schema WHERE name = 'set_aside'")?
        .exists([])?
    {
        return Ok(Vec::new());
    }
    let mut statement =
        connection.prepare("SELECT at, what, name, why FROM set_aside ORDER BY number DESC")?;
    let rows = statement.query_map([], |row| {
        Ok(SetAside {
            at: row.get(0)?,
            what: row.get(1)?,
            name: row.get(2)?,
            why: row.get(3)?,
        })
    })?;
    rows.collect()
}

fn seen(connection: &Connection, id: &str) -> rusqlite::Result<Value> {
    let mut statement = connection.prepare("SELECT * FROM seen_release WHERE id = ?1")?;
    let rows = statement.query_map([id], |row| Ok(whole(row)))?;
    rows.collect::<rusqlite::Result<Vec<_>>>().map(Value::from)
}

/// All of a row, as it can be written down.
fn whole(row: &Row<'_>) -> Value {
    let names = row.as_ref().column_names();
    let values = names.iter().enumerate();
    let values = values.map(|(at, name)| ((*name).to_owned(), row.get_ref(at).map_or(Value::Null, json)));
    Value::Object(values.collect::<Map<_, _>>())
}

fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into(),
    }
}
