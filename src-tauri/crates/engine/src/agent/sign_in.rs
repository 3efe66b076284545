//! Signing in to servers and out of them.

use std::sync::Arc;

use livepc_protocol::{Answer, Code, JobStatus, Problem, Request, Secret};
use livepc_transfer::{Login, is_private, server as server_of, without_login};
use url::Url;

use super::core::Core;
use crate::problems::{not_found, of_transfer};
use crate::published;
use crate::server::misplaced;

/// Characters of a user and of a password at the most.
const LONGEST: usize = 1000;

impl Core {
    pub(super) async fn answer_logins(self: &Arc<Self>, request: Request) -> Result<Answer, Problem> {
        match request {
            Request::Login { url, user, password } => {
                let Secret(password) = password;
                self.sign_in(&on_a_server(&url)?, Login { user, password })
                    .await?;
            }
            Request::Logout { url } => {
                let url = on_a_server(&url)?;
                let server = server_of(&url).unwrap_or_default();
                if !self.logins.forget(&self.database, &server).await? {
                    return Err(not_found(
                        format!("Nobody is signed in to {server}."),
                        "“livepc login --list” shows the servers.",
                    ));
                }
            }
            Request::Logins => {}
            _ => return Err(misplaced()),
        }
        let logins = self.logins.list();
        Ok(Answer::Logins { logins })
    }

    /// An address as a person gives it. A user and a password in it are signed in with, and belong to it no longer.
    pub(super) async fn address(self: &Arc<Self>, text: &str) -> Result<Url, Problem> {
        let given = published::address(text)?;
        let url = without_login(&given);
        if let Some(password) = given.password() {
            let decoded = |text: &str| {
                percent_encoding::percent_decode_str(text)
                    .decode_utf8_lossy()
                    .into_owned()
            };
            let login = Login {
                user: decoded(given.username()),
                password: decoded(password),
            };
            self.sign_in(&url, login).await?;
        }
        Ok(url)
    }

    /// Keeps the login if the server accepts it, and does again what failed without it.
    async fn sign_in(self: &Arc<Self>, url: &Url, login: Login) -> Result<(), Problem> {
        let usage = |message: String, hint: &str| Err(Problem::new(Code::Usage, message, hint));
        let server = server_of(url).unwrap_or_default();
        if !is_private(url) {
            return usage(
                format!("A password for {server} could be read on its way."),
                "Use an address that begins with https://; ask the publisher for one.",
            );
        }
        let fits = |text: &str| text.len() <= LONGEST && !text.chars().any(char::is_control);
        // RFC 7617: the first colon ends the user.
        if login.user.is_empty() || login.user.contains(':') || !fits(&login.user) || !fits(&login.password) {
            return usage(
                "The user or the password has characters that cannot be sent, or too many of them."
                    .to_owned(),
                "A user has no colon, and neither has line breaks.",
            );
        }
        self.client
            .check_login(url, &login)
            .await
            .map_err(|error| of_transfer(&error))?;
        self.logins.keep(&self.database, &server, login).await?;
        tracing::info!(server, "signed in");
        self.polling.woke();
        self.do_again_at(&server).await;
        Ok(())
    }

    /// Does again the newest job of each LivePC, if that failed because this server asked who one is.
    async fn do_again_at(self: &Arc<Self>, server: &str) {
        let mut seen = std::collections::HashSet::new();
        for job in self.ended_jobs().unwrap_or_default() {
            let asked = job
                .problem
                .as_ref()
                .and_then(|problem| problem.sign_in.as_deref());
            let asked = asked
                .and_then(|at| Url::parse(at).ok())
                .and_then(|at| server_of(&at));
            let failed = job.status == JobStatus::Failed && asked.as_deref() == Some(server);
            if seen.insert(job.id.clone()) && failed {
                // It says by itself what is wrong now.
                let _ = self.control_job(job.job, livepc_protocol::JobAction::Retry).await;
            }
        }
    }
}

fn on_a_server(text: &str) -> Result<Url, Problem> {
    let url = without_login(&published::address(text)?);
    if server_of(&url).is_none() {
        return Err(Problem::new(
            Code::Usage,
            "Files of this computer ask for no password.",
            "Give the address of a feed, or of its server.",
        ));
    }
    Ok(url)
}
