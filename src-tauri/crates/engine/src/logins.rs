//! Who is known to which server. The state database says which user; the password is elsewhere, in a [`Place`] that is made
//! for passwords.

mod place;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use livepc_protocol::{Code, LoginInfo, Problem};
use livepc_transfer::{Found, Login, NoLogins, server};
use rusqlite::params;
use tokio::sync::watch;
use tokio::time::Instant;
use url::Url;

use self::place::{Name, Place};
use crate::database::Database;
use crate::locked::lock;

/// How long a request waits for a keyring, which may be asking a person for a password of its own.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long who signs in or out waits for it.
const AT_HAND: Duration = Duration::from_secs(120);
/// One that did not give a password is not asked again for so long: it may ask a person each time.
const AGAIN: Duration = Duration::from_secs(60);

/// Who is known to one server.
#[derive(Debug)]
struct Known {
    name: Name,
    place: Place,
    password: watch::Sender<Password>,
}

/// A password, which is read when it is first needed.
#[derive(Clone)]
enum Password {
    Unread,
    BeingRead,
    Here(String),
    Missing { since: Instant, why: String },
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Logins {
    file: PathBuf,
    known: Mutex<BTreeMap<String, Arc<Known>>>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

impl Logins {
    /// Those that the database knows; `file` is for passwords that no keyring keeps.
    pub(crate) fn read(database: &Database, file: PathBuf) -> Result<Self, Problem> {
        let rows = database.all("SELECT server, user, place FROM login", [], |row| {
            let name = Name {
                server: row.get(0)?,
                user: row.get(1)?,
            };
            let place = Place::of(&row.get::<_, String>(2)?);
            Ok((name.server.clone(), Known::new(name, place, Password::Unread)))
        })?;
        Ok(Self {
            file,
            known: Mutex::new(rows.into_iter().collect()),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// Keeps a login that its server has accepted, in the place of an earlier one.
    pub(crate) async fn keep(&self, database: &Database, server: &str, login: Login) -> Result<(), Problem> {
        let _turn = self.changing.lock().await;
        let before = lock(&self.known).get(server).cloned();
        let name = Name {
            server: server.to_owned(),
            user: login.user,
        };
        let (to, password, file) = (name.clone(), login.password.clone(), self.file.clone());
        let place = at_hand(move || Place::keep(&to, &password, &file)).await?;
        let sql = "INSERT INTO login VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET user = ?2, place = ?3";
        database.run(sql, params![name.server, name.user, place.as_str()])?;
        let now = Known::new(name, place, Password::Here(login.password));
        lock(&self.known).insert(server.to_owned(), now.clone());
        if let Some(before) = before.filter(|before| before.place != now.place || before.name != now.name) {
            let file = self.file.clone();
            let forgotten = at_hand(move || before.place.forget(&before.name, &file)).await;
            if let Err(problem) = forgotten {
                tracing::warn!("a password of before is still kept: {problem}");
            }
        }
        Ok(())
    }

    /// Forgets who is known to a server; false if nobody is.
    pub(crate) async fn forget(&self, database: &Database, server: &str) -> Result<bool, Problem> {
        let _turn = self.changing.lock().await;
        let Some(known) = lock(&self.known).get(server).cloned() else {
            return Ok(false);
        };
        let file = self.file.clone();
        at_hand(move || known.place.forget(&known.name, &file)).await?;
        database.run("DELETE FROM login WHERE server = ?1", [server])?;
        lock(&self.known).remove(server);
        Ok(true)
    }

    /// All of them, by server.
    pub(crate) fn list(&self) -> Vec<LoginInfo> {
        let known = lock(&self.known);
        let info = |known: &Arc<Known>| LoginInfo {
            server: known.name.server.clone(),
            user: known.name.user.clone(),
            file: (known.place == Place::File).then(|| self.file.display().to_string()),
        };
        known.values().map(info).collect()
    }
}

impl Known {
    fn new(name: Name, place: Place, password: Password) -> Arc<Self> {
        Arc::new(Self {
            name,
            place,
            password: watch::Sender::new(password),
        })
    }

    /// The login; why not, if the password cannot be had.
    async fn login(self: Arc<Self>, file: &Path) -> Result<Option<Login>, String> {
        let mut password = self.password.subscribe();
        self.read_if_needed(file);
        let is_read = |password: &Password| matches!(password, Password::Here(_) | Password::Missing { .. });
        let read = tokio::time::timeout(PATIENCE, password.wait_for(is_read)).await;
        match read.map(|read| read.map(|password| password.clone())) {
            Ok(Ok(Password::Here(password))) => Ok(Some(Login {
                user: self.name.user.clone(),
                password,
            })),
            Ok(Ok(Password::Missing { why, .. })) => Err(why),
            _ => Err("the keyring does not answer; it may be asking for its own password".to_owned()),
        }
    }

    /// Reads the password, if nobody does and nobody has, in the background: who asked may not wait for its end.
    fn read_if_needed(self: &Arc<Self>, file: &Path) {
        let begun = self.password.send_if_modified(|password| {
            let needed = match password {
                Password::Unread => true,
                Password::Missing { since, .. } => since.elapsed() > AGAIN,
                Password::BeingRead | Password::Here(_) => false,
            };
            if needed {
                *password = Password::BeingRead;
            }
            needed
        });
        if begun {
            let (known, file) = (self.clone(), file.to_owned());
            tokio::task::spawn_blocking(move || {
                let read =
                    livepc_panics::caught("Reading a password", || known.place.read(&known.name, &file));
                known
                    .password
                    .send_replace(match read.map_err(|e| e.to_string()).flatten() {
                        Ok(password) => Password::Here(password),
                        Err(why) => {
                            tracing::warn!(server = known.name.server, "no password: {why}");
                            let since = Instant::now();
                            Password::Missing { since, why }
                        }
                    });
            });
        }
    }
}

impl livepc_transfer::Logins for Logins {
    fn of<'a>(&'a self, url: &'a Url) -> Found<'a> {
        let known = server(url).and_then(|server| lock(&self.known).get(&server).cloned());
        match known {
            Some(known) => Box::pin(known.login(&self.file)),
            None => NoLogins.of(url),
        }
    }
}

/// Works on a keyring for somebody who is there to answer what it asks.
async fn at_hand<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let failed =
        |why: String| Problem::new(Code::Failed, format!("The keyring failed: {why}."), "Try again.");
    match tokio::time::timeout(AT_HAND, livepc_panics::blocking("The keyring", work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(panicked)) => Err(Problem::of_panic(panicked)),
        Err(_) => Err(failed("it does not answer".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// To read this user's password panics, while it is so.
    const MISTAKEN: &str = "mistaken";
    static IT_FAILS: AtomicBool = AtomicBool::new(true);

    pub(super) fn fail(user: &str) {
        assert!(
            user != MISTAKEN || !IT_FAILS.load(Ordering::SeqCst),
            "a mistake of ours"
        );
    }

    fn known(folder: &tempfile::TempDir) -> (Arc<Known>, PathBuf) {
        let file = folder.path().join("passwords.json");
        let name = Name {
            server: "https://example.org".into(),
            user: MISTAKEN.into(),
        };
        std::fs::write(&file, r#"{"https://example.org": "secret"}"#).unwrap();
        (Known::new(name, Place::File, Password::Unread), file)
    }

    /// Nobody waits for a password that does not come, and it is read again later.
    #[tokio::test(start_paused = true)]
    async fn a_reading_that_panics_is_told_and_another_follows() {
        let folder = tempfile::tempdir().unwrap();
        let (known, file) = known(&folder);
        for _ in 0..2 {
            let why = known.clone().login(&file).await.unwrap_err();
            assert!(
                why.contains("a mistake of ours") && why.contains("logins.rs:"),
                "{why}"
            );
        }
        IT_FAILS.store(false, Ordering::SeqCst);
        tokio::time::advance(AGAIN + Duration::from_secs(1)).await;
        let login = known.clone().login(&file).await.unwrap().unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.as_str()),
            (MISTAKEN, "secret")
        );
    }

    #[tokio::test]
    async fn who_signs_in_is_told_of_a_panic_and_can_try_again() {
        let failed = at_hand(|| -> Result<(), Problem> { panic!("a mistake of ours") }).await;
        let problem = failed.unwrap_err();
        assert!(
            problem.message.contains("a mistake of ours") && problem.message.contains("logins.rs:"),
            "{problem}"
        );
        assert_eq!(at_hand(|| Ok(5)).await.unwrap(), 5);
    }
}
