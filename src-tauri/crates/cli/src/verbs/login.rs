//! `login` and `logout`, and signing in when a server asks for it.

use std::io::Write as _;

use livepc_protocol::{Answer, Client, Code, LoginInfo, Problem, Request, Secret};
use serde_json::json;

use crate::args::login::{Login, Logout};
use crate::output::{line, typed};
use crate::session::{Session, unexpected};

/// How often somebody may mistype a password.
const TRIES: u32 = 3;

pub(crate) async fn login(session: &Session<'_>, login: Login) -> Result<(), Problem> {
    let client = session.client().await?;
    let Some(url) = login.url else {
        let logins = logins(client.all(Request::logins()).await?)?;
        show(session, &logins);
        return Ok(());
    };
    let user = match login.user {
        Some(user) => user,
        None => ask_user(session, &url).await?,
    };
    let password = if login.password_stdin {
        reading(line).await?
    } else {
        ask_password(session, &url).await?
    };
    show(session, &sign_in(&client, url, user, password).await?);
    Ok(())
}

pub(crate) async fn logout(session: &Session<'_>, Logout { url }: Logout) -> Result<(), Problem> {
    let logins = logins(session.ask(Request::Logout { url }).await?)?;
    let said = || "Signed out.".to_owned();
    session.output.result(&json!({"logins": logins}), said);
    Ok(())
}

/// Calls the agent. If a server asks who one is, and somebody can be asked, this asks and calls again.
pub(crate) async fn call(
    session: &Session<'_>,
    client: &Client,
    request: Request,
) -> Result<Answer, Problem> {
    for _ in 0..TRIES {
        let problem = match client.all(request.clone()).await {
            Err(problem) if problem.code == Code::Login && session.output.can_ask() => problem,
            answer => return answer,
        };
        let Some(url) = problem.sign_in.clone() else {
            return Err(problem);
        };
        session.output.note(&problem.message);
        let user = ask_user(session, &url).await?;
        let password = ask_password(session, &url).await?;
        match sign_in(client, url, user, password).await {
            Err(problem) if problem.code == Code::Login => session.output.note(&problem.message),
            done => drop(done?),
        }
    }
    client.all(request).await
}

async fn sign_in(
    client: &Client,
    url: String,
    user: String,
    password: String,
) -> Result<Vec<LoginInfo>, Problem> {
    let password = Secret(password);
    logins(client.all(Request::Login { url, user, password }).await?)
}

fn logins(answer: Answer) -> Result<Vec<LoginInfo>, Problem> {
    match answer {
        Answer::Logins { logins, .. } => Ok(logins),
        _ => Err(unexpected()),
    }
}

fn show(session: &Session<'_>, logins: &[LoginInfo]) {
    session.output.result(&json!({"logins": logins}), || {
        let line = |login: &LoginInfo| {
            let place = match &login.file {
                Some(file) => format!("there is no keyring here, so the password is in {file}"),
                None => "the password is in the keyring".to_owned(),
            };
            format!("{}  {}  ({place})", login.server, login.user)
        };
        if logins.is_empty() {
            return "You are signed in nowhere.".to_owned();
        }
        logins.iter().map(line).collect::<Vec<_>>().join("\n")
    });
}

async fn ask_user(session: &Session<'_>, url: &str) -> Result<String, Problem> {
    let url = livepc_format::text::line(url, 200);
    ask(session, move || {
        write!(std::io::stderr(), "User for {url}: ")?;
        line()
    })
    .await
}

async fn ask_password(session: &Session<'_>, url: &str) -> Result<String, Problem> {
    let url = livepc_format::text::line(url, 200);
    ask(session, move || {
        rpassword::prompt_password(format!("Password for {url}: "))
    })
    .await
}

async fn ask(
    session: &Session<'_>,
    question: impl FnOnce() -> std::io::Result<String> + Send + 'static,
) -> Result<String, Problem> {
    if !session.output.can_ask() {
        return Err(Problem::new(
            Code::Usage,
            "A user and a password are needed, and nobody can be asked.",
            "Add --user NAME --password-stdin, and give the password on the standard input.",
        ));
    }
    reading(question).await
}

async fn reading(read: impl FnOnce() -> std::io::Result<String> + Send + 'static) -> Result<String, Problem> {
    let read = typed(read).await;
    read.map_err(|e| Problem::io("The user or the password cannot be read", &e))
}
