//! What every verb has: the home, the way to its agent, and a voice.

use std::path::Path;

use livepc_protocol::{Answer, Client, Code, Home, Launcher, Problem, Request};

use crate::output::Output;

/// What this client is called.
pub(crate) const CLIENT: &str = concat!("cli ", env!("CARGO_PKG_VERSION"));

pub(crate) struct Session<'a> {
    pub(crate) home: Home,
    pub(crate) output: &'a Output,
}

impl<'a> Session<'a> {
    pub(crate) fn open(home: Option<&Path>, output: &'a Output) -> Result<Self, Problem> {
        // A variable that is empty is as good as none; a name that somebody has typed is not.
        let unset = std::env::var_os("LIVEPC_HOME").is_some_and(|home| home.is_empty());
        let place = match home.filter(|home| !(unset && home.as_os_str().is_empty())) {
            Some(folder) => folder.to_owned(),
            None => Home::default_place()?,
        };
        let home = Home::open(&place)?;
        Ok(Self { home, output })
    }

    pub(crate) fn launcher(&self) -> Result<Launcher, Problem> {
        let program = std::env::current_exe()
            .map_err(|e| Problem::io("This program's own file cannot be found", &e))?;
        Launcher::new(program)
    }

    /// The home's agent, started if it does not run.
    pub(crate) async fn client(&self) -> Result<Client, Problem> {
        let client = Client::connect_or_start(&self.home, &self.launcher()?, CLIENT).await?;
        let peer = client.peer();
        if peer.is_older() {
            self.output.note(&format!(
                "LivePC {} still runs machines or downloads, and does this in place of the newer version until they end.",
                peer.version
            ));
        }
        self.output.detail(&format!(
            "Connected to the agent of {}.",
            self.home.root().display()
        ));
        self.tell_notice();
        Ok(client)
    }

    /// Tells once what the agent has had to mend.
    fn tell_notice(&self) {
        if !self.output.is_for_people() {
            return;
        }
        if let Some(text) = self.home.notice() {
            self.output.note(&text);
            self.home.forget_notice(&text);
        }
    }

    /// Asks the agent, for all pages of its answer.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, Problem> {
        self.client().await?.all(request).await
    }
}

/// The problem of a verb that Ctrl-C ended.
pub(crate) fn interrupted() -> Problem {
    Problem::new(
        Code::Cancelled,
        "Interrupted.",
        "The same command goes on where it was.",
    )
}

/// A path as the agent is told it, which has another working folder than this process.
///
/// # Errors
/// [`Code::Usage`] if it is not Unicode: agents, hypervisors and documents know no other names.
pub(crate) fn path_text(path: &Path) -> Result<String, Problem> {
    let absolute =
        std::path::absolute(path).map_err(|e| Problem::io("The path of a file cannot be used", &e))?;
    absolute.into_os_string().into_string().map_err(|path| {
        Problem::new(
            Code::Usage,
            format!("The name {} is not Unicode (UTF-8).", path.display()),
            "Choose a name of letters that every program can read.",
        )
    })
}

/// The problem of an answer that does not fit its request.
pub(crate) fn unexpected() -> Problem {
    Problem::new(
        Code::UpdateLivepc,
        "The agent answered something else than was asked.",
        "Two versions of LivePC may be mixed: run “livepc agent stop”, then try again.",
    )
}
