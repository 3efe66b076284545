//! Who is known to which server. The state database says which user; the password is elsewhere, in a [`Place`] that is made
//! for passwords.

mod place;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use livepc_protocol::{Code, LoginInfo, Problem};
use livepc_transfer::{Login, NoLogins, server};
use rusqlite::params;
use url::Url;

use self::place::{Name, Place};
use crate::database::Database;
use crate::locked::lock;

/// A keyring that did not give a password is not asked again for so long: it may ask a person each time.
const AGAIN: Duration = Duration::from_secs(60);

/// Who is known to one server.
#[derive(Debug)]
struct Known {
    user: String,
    place: Place,
    /// Read when it is first needed, by one at a time.
    found: tokio::sync::Mutex<Found>,
}

/// What was found where the password should be.
#[derive(Default)]
struct Found {
    password: Option<String>,
    failed: Option<Instant>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.password.is_some() {
            "Found(…)"
        } else {
            "Found"
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Logins {
    file: PathBuf,
    known: Mutex<BTreeMap<String, Arc<Known>>>,
}

impl Logins {
    /// Those that the database knows; `file` is for passwords that no keyring keeps.
    pub(crate) fn read(database: &Database, file: PathBuf) -> Result<Self, Problem> {
        let rows = database.all("SELECT server, user, place FROM login", [], |row| {
            let known = Known {
                user: row.get(1)?,
                place: Place::of(&row.get::<_, String>(2)?),
                found: tokio::sync::Mutex::default(),
            };
            Ok((row.get(0)?, Arc::new(known)))
        })?;
        Ok(Self {
            file,
            known: Mutex::new(rows.into_iter().collect()),
        })
    }

    /// Keeps a login that its server has accepted, in the place of an earlier one.
    pub(crate) async fn keep(&self, database: &Database, server: &str, login: Login) -> Result<(), Problem> {
        self.forget(database, server).await?;
        let Login { user, password } = login;
        let name = Name {
            server: server.to_owned(),
            user: user.clone(),
        };
        let (file, secret) = (self.file.clone(), password.clone());
        let place = blocking(move || Place::keep(&name, &secret, &file)).await?;
        database.run(
            "INSERT INTO login VALUES (?1, ?2, ?3)",
            params![server, user, place.as_str()],
        )?;
        let found = Found {
            password: Some(password),
            failed: None,
        };
        let known = Known {
            user,
            place,
            found: tokio::sync::Mutex::new(found),
        };
        lock(&self.known).insert(server.to_owned(), Arc::new(known));
        Ok(())
    }

    /// Forgets who is known to a server; false if nobody is.
    pub(crate) async fn forget(&self, database: &Database, server: &str) -> Result<bool, Problem> {
        let Some(known) = lock(&self.known).get(server).cloned() else {
            return Ok(false);
        };
        let (name, place, file) = (known.name(server), known.place, self.file.clone());
        blocking(move || place.forget(&name, &file)).await?;
        database.run("DELETE FROM login WHERE server = ?1", [server])?;
        lock(&self.known).remove(server);
        Ok(true)
    }

    /// All of them, by server.
    pub(crate) fn list(&self) -> Vec<LoginInfo> {
        let known = lock(&self.known);
        let info = |(server, known): (&String, &Arc<Known>)| LoginInfo {
            server: server.clone(),
            user: known.user.clone(),
            file: (known.place == Place::File).then(|| self.file.display().to_string()),
        };
        known.iter().map(info).collect()
    }

    async fn login(&self, server: &str) -> Option<Login> {
        let known = lock(&self.known).get(server).cloned()?;
        let mut found = known.found.lock().await;
        if found.password.is_none() && found.failed.is_none_or(|at| at.elapsed() > AGAIN) {
            let (name, place, file) = (known.name(server), known.place, self.file.clone());
            match blocking(move || place.read(&name, &file)).await {
                Ok(password) => found.password = Some(password),
                Err(problem) => {
                    tracing::warn!("{problem}");
                    found.failed = Some(Instant::now());
                }
            }
        }
        Some(Login {
            user: known.user.clone(),
            password: found.password.clone()?,
        })
    }
}

impl Known {
    fn name(&self, server: &str) -> Name {
        Name {
            server: server.to_owned(),
            user: self.user.clone(),
        }
    }
}

impl livepc_transfer::Logins for Logins {
    fn of<'a>(&'a self, url: &'a Url) -> Pin<Box<dyn Future<Output = Option<Login>> + Send + 'a>> {
        match server(url).filter(|server| lock(&self.known).contains_key(server)) {
            Some(server) => Box::pin(async move { self.login(&server).await }),
            None => NoLogins.of(url),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(Problem::new(
            Code::Failed,
            format!("The keyring failed: {error}."),
            "Try again.",
        ))
    })
}
