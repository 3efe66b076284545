//! Signing in to servers and out of them.

use std::collections::HashSet;
use std::sync::Arc;

use livepc_protocol::{Answer, Code, JobAction, JobStatus, Problem, Request, Secret};
use livepc_transfer::{Login, is_private, login_in, server as server_of, without_login};
use url::Url;

use super::core::Core;
use crate::problems::{not_found, of_transfer};
use crate::server::misplaced;
use crate::{pages, published, subscription};

/// Characters of a user and of a password at the most.
const LONGEST: usize = 1000;

impl Core {
    pub(super) async fn answer_logins(self: &Arc<Self>, request: Request) -> Result<Answer, Problem> {
        let mut page = None;
        match request {
            Request::Login { url, user, password } => {
                let Secret(password) = password;
                let url = on_a_server(&url)?;
                if !self.sign_in(&url, Login { user, password }).await? {
                    return Err(Problem::new(
                        Code::Usage,
                        format!(
                            "{} asks nobody who they are: what is at this address is for everybody.",
                            server_of(&url).unwrap_or_default()
                        ),
                        "Nothing need be signed in to. If only a part of the server asks, give the address of a feed there.",
                    ));
                }
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
            Request::Logins { after } => page = after,
            _ => return Err(misplaced()),
        }
        let (logins, next) = pages::behind(self.logins.list(), page.as_deref(), |login| &login.server)?;
        Ok(Answer::Logins { logins, next })
    }

    /// An address as a person gives it. A user and a password in it are signed in with, and belong to it no longer. A server that
    /// asks nobody who they are is not told them.
    pub(super) async fn address(self: &Arc<Self>, text: &str) -> Result<Url, Problem> {
        let given = published::address(text)?;
        let url = without_login(&given);
        if let Some(login) = login_in(&given) {
            let (core, url) = (self.clone(), url.clone());
            let signed_in = Self::to_its_end(async move { core.sign_in(&url, login).await }).await?;
            if !signed_in {
                tracing::info!("the address has a user and a password, which its server does not ask for");
            }
        }
        Ok(url)
    }

    /// Keeps the login if the server accepts it, and does again what failed without it. False if the server asks nobody.
    async fn sign_in(self: &Arc<Self>, url: &Url, login: Login) -> Result<bool, Problem> {
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
        let checked = self.client.check_login(url, &login).await;
        if !checked.map_err(|error| of_transfer(&error))? {
            return Ok(false);
        }
        self.logins.keep(&self.database, &server, login).await?;
        tracing::info!(server, "signed in");
        self.fetcher.signed_in();
        self.forgive(&server)?;
        self.do_again_at(&server).await;
        self.touch();
        Ok(true)
    }

    /// Whoever could not be asked because of this server is asked now.
    fn forgive(self: &Arc<Self>, server: &str) -> Result<(), Problem> {
        let mut ids = Vec::new();
        for subscription in subscription::all(&self.database)? {
            let problems = [&subscription.problem, &subscription.outcome];
            if problems
                .into_iter()
                .flatten()
                .any(|problem| is_about(problem, server))
            {
                subscription::forgive(&self.database, &subscription.id)?;
                ids.push(subscription.id);
            }
        }
        self.polling.hurry(ids);
        Ok(())
    }

    /// Does again what waits for this server, and the newest job of each LivePC if that failed for it.
    async fn do_again_at(self: &Arc<Self>, server: &str) {
        let mut seen = HashSet::new();
        let waiting = self.jobs.active().into_iter();
        let waiting = waiting.filter(|job| job.status == JobStatus::Waiting);
        let ended = self.jobs.ended().into_iter();
        let failed = ended.filter(|job| seen.insert(job.id.clone()) && job.status == JobStatus::Failed);
        for job in waiting.chain(failed.collect::<Vec<_>>()) {
            if job
                .problem
                .as_ref()
                .is_some_and(|problem| is_about(problem, server))
            {
                // It says by itself what is wrong now.
                let _ = self.control_job(job.job, JobAction::Retry).await;
            }
        }
    }
}

/// Whether it is this server that is to be signed in to.
fn is_about(problem: &Problem, server: &str) -> bool {
    let at = problem.sign_in.as_deref().and_then(|at| Url::parse(at).ok());
    at.and_then(|at| server_of(&at)).as_deref() == Some(server)
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
