//! A client's end of the connection: many calls at once, and snapshots as they come.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::sync::{mpsc, oneshot, watch};

use crate::message::{Call, Message, PROTOCOL, read_message, write_message};
use crate::{
    Answer, Code, Desktop, Home, Launcher, Problem, ProcessLock, Request, Snapshot, Stream, connect,
};

/// How long an agent that holds its lock may take until it listens.
const AGENT_START: Duration = Duration::from_secs(20);

/// A connection to the agent or to a runner. Clones share it, and it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    calls: mpsc::UnboundedSender<Call>,
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
    pub async fn connect_or_start(home: &Home, launcher: &Launcher, name: &str) -> Result<Self, Problem> {
        let socket = home.agent_socket()?;
        let until = tokio::time::Instant::now() + AGENT_START;
        loop {
            match tokio::time::timeout_at(until, Self::connect(&socket, name, true)).await {
                Ok(Ok(client)) => return Ok(client),
                Ok(Err(problem)) if problem.code != Code::AgentGone => return Err(problem),
                Ok(Err(_)) if tokio::time::Instant::now() < until => {}
                _ => return Err(silent(home)),
            }
            if ProcessLock::is_held(&home.agent_lock())? {
                // Another client's agent is about to listen, or one is about to end; neither can be awaited.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            let (home, launcher) = (home.clone(), launcher.clone());
            tokio::task::spawn_blocking(move || launcher.start(&home, &["agent"], None))
                .await
                .map_err(|e| Problem::new(Code::Failed, e.to_string(), "Try again."))??;
        }
    }

    /// Connects to the socket of an agent or a runner that is there. An agent does not end while a client is connected
    /// that said `keep`.
    pub async fn connect(socket: &Path, name: &str, keep: bool) -> Result<Self, Problem> {
        let gone = |_| gone();
        let stream: Stream = connect(socket).await.map_err(gone)?;
        let (read, mut write) = tokio::io::split(stream);
        let mut read = BufReader::new(read);
        let hello = Call::Hello {
            protocol: PROTOCOL,
            client: name.to_owned(),
            keep,
        };
        write_message(&mut write, &hello).await.map_err(gone)?;
        match read_message(&mut read).await? {
            Some(Message::Hello {
                protocol: PROTOCOL, ..
            }) => {}
            Some(_) => {
                return Err(Problem::new(
                    Code::UpdateLivepc,
                    "Another version of LivePC is running.",
                    "Close its window and stop its machines, then try again.",
                ));
            }
            None => return Err(self::gone()),
        }
        let (calls, mut outgoing) = mpsc::unbounded_channel::<Call>();
        let (newest, snapshots) = watch::channel(None);
        let (open, mut ended) = oneshot::channel();
        let shared = Arc::new(Shared {
            calls,
            waiting: Mutex::default(),
            next: AtomicU64::new(1),
            snapshots,
            _open: open,
        });
        tokio::spawn(async move {
            while let Some(call) = outgoing.recv().await {
                if write_message(&mut write, &call).await.is_err() {
                    break;
                }
            }
        });
        let weak = Arc::downgrade(&shared);
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    _ = &mut ended => break,
                    message = read_message::<Message>(&mut read) => message,
                };
                let Ok(Some(message)) = message else { break };
                let Some(shared) = weak.upgrade() else { break };
                match message {
                    Message::Answer { call, answer } => shared.answer(call, Ok(answer)),
                    Message::Refused { call, problem } => shared.answer(call, Err(problem)),
                    Message::Snapshot { snapshot } => drop(newest.send(Some(snapshot))),
                    Message::Hello { .. } => {}
                }
            }
            if let Some(shared) = weak.upgrade() {
                shared.close();
            }
        });
        Ok(Self { shared })
    }

    /// Asks, and waits for the answer. Dropping the future withdraws the request.
    pub async fn call(&self, mut request: Request) -> Result<Answer, Problem> {
        if let Request::Start { desktop, .. } = &mut request {
            desktop.get_or_insert_with(Desktop::of_this_process);
        }
        let call = self.shared.next.fetch_add(1, Ordering::Relaxed);
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
        if self.shared.calls.send(Call::Ask { call, request }).is_err() {
            return Err(gone());
        }
        let answer = answer.await.unwrap_or_else(|_| Err(gone()));
        drop(withdraw);
        answer
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

/// Tells the other side when a caller stops waiting.
struct Withdraw<'a> {
    shared: &'a Shared,
    call: u64,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        if self.shared.waiting().answers.remove(&self.call).is_some() {
            let _ = self.shared.calls.send(Call::Withdraw { call: self.call });
        }
    }
}

fn silent(home: &Home) -> Problem {
    Problem::new(
        Code::Failed,
        "LivePC's agent does not answer.",
        format!(
            "Its log is in {}. Ending the process “livepc agent” helps.",
            home.logs().display()
        ),
    )
}

fn gone() -> Problem {
    Problem::new(
        Code::AgentGone,
        "LivePC's agent has ended.",
        "Try again: a new one is started.",
    )
}
