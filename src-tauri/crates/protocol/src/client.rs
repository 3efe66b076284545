//! A client's end of the connection: many calls at once, and snapshots as they come.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::message::{Call, Line, Message, PROTOCOL, REVISION, line_of, read_message, write_line};
use crate::peer::Peer;
use crate::{
    Answer, Code, Desktop, Home, Launcher, Problem, ProcessLock, Request, Snapshot, Stream, Whereabouts,
};

/// How long an agent that holds its lock may take until it listens.
const AGENT_START: Duration = Duration::from_secs(20);
/// How long one may take that this client has started: it brings the state up to date, and looks at what is here.
const AGENT_READY: Duration = Duration::from_secs(5 * 60);
/// How long the other side may take until it greets.
const HELLO: Duration = Duration::from_secs(20);
/// How long an older agent may take to end that nobody needs, and how often it is asked: what has just left it may still count.
const OLD_ENDS: Duration = Duration::from_secs(5);
const OLD_ASKED: u32 = 5;
/// How many agents are started that end, or turn this client away, before it has been greeted.
const STARTS: u32 = 2;
/// The pause before looking again at what cannot be awaited.
const AGAIN: Duration = Duration::from_millis(20);

/// A connection to the agent or to a runner. Clones share it, and it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    peer: Peer,
    calls: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Mutex<Waiting>,
    next: AtomicU64,
    snapshots: watch::Receiver<Option<Snapshot>>,
    /// Ends the connection when it is dropped.
    _open: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    closed: bool,
    answers: HashMap<u64, oneshot::Sender<Result<Answer, Problem>>>,
}

impl Client {
    /// Connects to the home's agent; starts one if there is none. `name` is for the agent's log.
    ///
    /// An agent of an older LivePC that nobody needs is ended, and one of this version started. One that is needed, as by
    /// a machine that runs, stays, and does what it knows: see [`Client::peer`].
    ///
    /// # Errors
    /// Why there is none, and what keeps one from starting.
    pub async fn connect_or_start(home: &Home, launcher: &Launcher, name: &str) -> Result<Self, Problem> {
        let agent = home.agent_whereabouts();
        let mut until = Instant::now() + AGENT_START;
        let mut may_replace = true;
        let mut starts = 0;
        loop {
            match timeout_at(until, Self::connect(&agent, name, true)).await {
                Ok(Ok(client)) if may_replace && client.peer().is_older() => {
                    may_replace = false;
                    let version = client.peer().version.clone();
                    drop(client);
                    let ended = Self::end_if_idle(&agent).await;
                    tracing::info!(version, ended, "an older LivePC runs");
                    until = Instant::now() + AGENT_START;
                    continue;
                }
                Ok(Ok(client)) => return Ok(client),
                Ok(Err(problem)) if problem.code != Code::AgentGone => return Err(problem),
                Ok(Err(_)) if Instant::now() < until => {}
                _ => return Err(silent(home)),
            }
            if !home.is_there() {
                return Err(home.gone());
            }
            if ProcessLock::is_held(&home.agent_lock())? {
                // An agent is about to listen, or one is about to end; neither can be awaited.
                sleep(AGAIN).await;
                continue;
            }
            // Of a crowd that finds none, one starts it: each would copy the program, and all but one in vain.
            let turn = ProcessLock::try_take(&home.start_lock());
            let doing = || format!("The agent cannot be started with {}", home.start_lock().display());
            let Some(turn) = turn.map_err(|e| Problem::io(&doing(), &e))? else {
                sleep(AGAIN).await;
                continue;
            };
            if ProcessLock::is_held(&home.agent_lock())? {
                continue;
            }
            if starts == STARTS {
                return Err(silent(home));
            }
            starts += 1;
            let (starts_in, launcher) = (home.clone(), launcher.clone());
            let starting = livepc_panics::blocking("Starting the agent", move || {
                let started = launcher.start(&starts_in, &["agent"], None);
                drop(turn);
                started
            });
            let started = timeout(AGENT_READY, starting).await.map_err(|_| silent(home))?;
            started.map_err(Problem::of_panic)??;
            // What went before was not its fault.
            until = Instant::now() + AGENT_START;
        }
    }

    /// Ends the agent that listens there, if nobody needs it; true if it has ended.
    async fn end_if_idle(agent: &Whereabouts) -> bool {
        let ending = async {
            for _ in 0..OLD_ASKED {
                let Ok(client) = Self::connect(agent, "a newer LivePC", false).await else {
                    return true;
                };
                match client.call(Request::AgentStop).await {
                    Ok(_) => {
                        client.closed().await;
                        return true;
                    }
                    Err(problem) if problem.code == Code::AgentGone => return true,
                    Err(_) => tokio::time::sleep(2 * AGAIN).await,
                }
            }
            false
        };
        timeout(OLD_ENDS, ending).await.unwrap_or(false)
    }

    /// Connects to an agent or a runner that is there. An agent does not end while a client is connected that said `keep`.
    ///
    /// # Errors
    /// [`Code::AgentGone`] if there is none, [`Code::Busy`] if it does not greet, [`Code::UpdateLivepc`] if it is of another
    /// kind.
    pub async fn connect(to: &Whereabouts, name: &str, keep: bool) -> Result<Self, Problem> {
        timeout(HELLO, Self::greet(to, name, keep)).await.unwrap_or_else(|_| {
            Err(Problem::new(
                Code::Busy,
                format!(
                    "LivePC's background process is there, but has not greeted within {} seconds.",
                    HELLO.as_secs()
                ),
                "It may be stopped or stuck: ending its process helps, and the next command starts a new one.",
            ))
        })
    }

    async fn greet(to: &Whereabouts, name: &str, keep: bool) -> Result<Self, Problem> {
        let gone = |_| gone();
        let stream: Stream = to.connect().await.map_err(gone)?;
        let (read, mut write) = tokio::io::split(stream);
        let mut read = BufReader::new(read);
        let hello = Call::Hello {
            protocol: PROTOCOL,
            client: name.to_owned(),
            keep,
            revision: REVISION,
        };
        write_line(&mut write, &line_of(&hello)?).await.map_err(gone)?;
        let peer = match read_message(&mut read).await {
            Some(Line::Message(Message::Hello {
                protocol: PROTOCOL,
                version,
                revision,
            })) => Peer { version, revision },
            Some(Line::Message(Message::Hello { version, .. })) => return Err(another(Some(&version))),
            Some(_) => return Err(another(None)),
            None => return Err(self::gone()),
        };
        let (calls, mut outgoing) = mpsc::unbounded_channel::<Vec<u8>>();
        let (newest, snapshots) = watch::channel(None);
        let (open, mut ended) = oneshot::channel();
        let shared = Arc::new(Shared {
            peer,
            calls,
            waiting: Mutex::default(),
            next: AtomicU64::new(1),
            snapshots,
            _open: open,
        });
        tokio::spawn(async move {
            while let Some(line) = outgoing.recv().await {
                if write_line(&mut write, &line).await.is_err() {
                    break;
                }
            }
        });
        let weak = Arc::downgrade(&shared);
        tokio::spawn(async move {
            // However this task ends, nobody waits any longer.
            let _close = Close(weak.clone());
            loop {
                let line = tokio::select! {
                    _ = &mut ended => break,
                    line = read_message::<Message>(&mut read) => line,
                };
                let (Some(line), Some(shared)) = (line, weak.upgrade()) else {
                    break;
                };
                match line {
                    Line::Message(Message::Answer { call, answer }) => shared.answer(call, Ok(answer)),
                    Line::Message(Message::Refused { call, problem }) => shared.answer(call, Err(problem)),
                    Line::Message(Message::Snapshot { snapshot }) => drop(newest.send(Some(snapshot))),
                    Line::Message(Message::Hello { .. }) => {}
                    Line::Lost(Some(call), problem) => shared.answer(call, Err(problem)),
                    Line::Lost(None, problem) => tracing::warn!("passed over: {problem}"),
                }
            }
        });
        Ok(Self { shared })
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.shared.peer
    }

    /// Asks, and waits for the answer, as long as such an answer may take. Dropping the future withdraws the request.
    ///
    /// Of an answer that comes in pages this gives one; [`Client::all`] gives all.
    pub async fn call(&self, mut request: Request) -> Result<Answer, Problem> {
        self.peer().check_knows(&request)?;
        if let Request::Start { desktop, .. } = &mut request {
            desktop.get_or_insert_with(Desktop::of_this_process);
        }
        let call = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let ask = Call::Ask { call, request };
        let line = line_of(&ask)?;
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.shared.waiting();
            if waiting.closed {
                return Err(gone());
            }
            waiting.answers.insert(call, sender);
        }
        let withdraw = Withdraw {
            shared: &self.shared,
            call,
        };
        if self.shared.calls.send(line).is_err() {
            return Err(gone());
        }
        let Call::Ask { request, .. } = &ask else {
            return Err(gone());
        };
        let answer = match timeout(request.limit_of_asker(), answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(request.unanswered("LivePC's background process")),
        };
        drop(withdraw);
        answer
    }

    /// Asks, and gives all pages of the answer as one.
    pub async fn all(&self, request: Request) -> Result<Answer, Problem> {
        let mut page = self.call(request.clone()).await?;
        let mut behind = request.page_behind(&page);
        let mut all: Option<Answer> = None;
        loop {
            let whole = match all.take() {
                None => page,
                Some(mut whole) => {
                    whole.add_page(page);
                    whole
                }
            };
            let Some(request) = behind else { return Ok(whole) };
            all = Some(whole);
            page = self.call(request.clone()).await?;
            behind = request.page_behind(&page);
        }
    }

    /// Asks for snapshots; the receiver always holds the newest, as long as there is the connection.
    pub async fn watch(&self) -> Result<watch::Receiver<Option<Snapshot>>, Problem> {
        self.call(Request::Watch).await?;
        Ok(self.shared.snapshots.clone())
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) {
        let mut snapshots = self.shared.snapshots.clone();
        while snapshots.changed().await.is_ok() {}
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, call: u64, answer: Result<Answer, Problem>) {
        let sender = self.waiting().answers.remove(&call);
        if let Some(sender) = sender {
            // Who asked may be gone.
            let _ = sender.send(answer);
        }
    }

    fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        for (_, sender) in waiting.answers.drain() {
            let _ = sender.send(Err(gone()));
        }
    }
}

/// Tells everybody who waits when there will be no answer any more.
struct Close(Weak<Shared>);

impl Drop for Close {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.close();
        }
    }
}

/// Tells the other side when a caller stops waiting.
struct Withdraw<'a> {
    shared: &'a Shared,
    call: u64,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        if self.shared.waiting().answers.remove(&self.call).is_some()
            && let Ok(line) = line_of(&Call::Withdraw { call: self.call })
        {
            let _ = self.shared.calls.send(line);
        }
    }
}

fn silent(home: &Home) -> Problem {
    let whom = home.agent_whereabouts().of_whom();
    let whom = whom.map_or_else(
        || "“livepc agent”".into(),
        |whom| format!("“livepc agent” ({whom})"),
    );
    Problem::new(
        Code::Failed,
        "LivePC's agent does not answer.",
        format!("Its log is in {}. Ending {whom} helps.", home.logs().display()),
    )
}

fn another(version: Option<&str>) -> Problem {
    let other = version.map_or_else(
        || "Another version of LivePC".to_owned(),
        |v| format!("LivePC {v}"),
    );
    Problem::new(
        Code::UpdateLivepc,
        format!("{other} is running, and this one does not understand it."),
        "Close its window and stop its machines, then try again.",
    )
}

fn gone() -> Problem {
    Problem::new(
        Code::AgentGone,
        "LivePC's agent has ended.",
        "Try again: a new one is started.",
    )
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A program that says that it is an agent, and ends.
    #[tokio::test]
    async fn agents_that_end_before_they_greet_are_not_started_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home")).unwrap();
        let (program, starts) = (folder.path().join("livepc"), folder.path().join("starts"));
        let script = format!(
            "#!/bin/sh\necho >> {}\necho {}\n",
            starts.display(),
            Launcher::READY
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let launcher = Launcher::new(program).unwrap();
        let connecting = Client::connect_or_start(&home, &launcher, "test");
        let connected = timeout(2 * AGENT_START, connecting).await;
        let problem = connected.expect("it ends").unwrap_err();
        assert!(problem.message.contains("does not answer"), "{problem}");
        assert_eq!(
            std::fs::read_to_string(&starts).unwrap().lines().count(),
            STARTS as usize
        );
    }

    /// What is started in it would make a new home.
    #[tokio::test]
    async fn no_agent_is_started_in_a_home_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home")).unwrap();
        let launcher = Launcher::new(std::env::current_exe().unwrap()).unwrap();
        std::fs::remove_dir_all(home.root()).unwrap();
        let problem = Client::connect_or_start(&home, &launcher, "test")
            .await
            .unwrap_err();
        assert_eq!(problem, home.gone());
        assert!(!home.root().exists());
    }
}
