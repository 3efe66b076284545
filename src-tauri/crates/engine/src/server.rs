//! The listening end of a local socket, for the agent and for runners.
//!
//! Every request gets its answer: what was asked for, or why not. Work that panics is a refusal, and so is work that does
//! not come to its end in time, and what this version does not understand. None of them ends the connection.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use livepc_panics::{fenced, spawn};
use livepc_protocol::{
    Answer, Call, Code, Line, Listener, Message, PROTOCOL, Problem, REVISION, Request, Snapshot, Stream,
    read_message, write_message,
};
use tokio::io::{BufReader, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::locked::lock;

/// How long a client may take until it greets.
const HELLO: Duration = Duration::from_secs(30);
/// The pause before it is looked again whether there is room for a connection.
const NEXT_TRY: Duration = Duration::from_secs(1);
/// How often it is logged at the most that there is none.
const LOGGED_AGAIN: Duration = Duration::from_secs(60);
/// How long a client that has left may take for what is still said to it.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Who answers.
pub(crate) trait Answers: Send + Sync + 'static {
    /// Answers one request. The future is dropped when the asker withdraws or is gone, or when it takes too long.
    fn answer(self: Arc<Self>, request: Request) -> impl Future<Output = Result<Answer, Problem>> + Send;

    /// False if whoever comes is to look for another one.
    fn is_in_place(&self) -> bool {
        true
    }

    /// The snapshots that watchers get, if there are any.
    fn snapshots(&self) -> Option<watch::Receiver<Snapshot>> {
        None
    }
}

/// Counts the clients for whose sake the process should not end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guests(Arc<AtomicUsize>, Arc<tokio::sync::Notify>);

impl Guests {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits until the count has changed.
    pub(crate) async fn changed(&self) {
        self.1.notified().await;
    }

    fn enter(&self) -> Guest {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.notify_waiters();
        Guest(self.clone())
    }
}

struct Guest(Guests);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
        self.0.1.notify_waiters();
    }
}

/// Serves connections for ever.
pub(crate) async fn serve<A: Answers>(listener: &Listener, answers: &Arc<A>, guests: &Guests) {
    let mut door = Door::default();
    loop {
        match door.accept(listener).await {
            Ok(stream) if !answers.is_in_place() => drop(stream),
            Ok(stream) => {
                // A guest from here on, until it says that it is none: nobody is turned out who was let in.
                let connection = connection(stream, answers.clone(), guests.enter());
                drop(spawn("A connection", connection));
            }
            Err(error) => {
                if door.is_news() {
                    tracing::warn!(%error, "a connection could not be accepted");
                }
                tokio::time::sleep(NEXT_TRY).await;
            }
        }
    }
}

/// Lets connections in, and turns away who comes when the system gives no more files: that is told, instead of keeping them
/// waiting for ever.
#[derive(Default)]
struct Door {
    told: Option<Instant>,
}

impl Door {
    /// The next connection that there is room for.
    async fn accept(&mut self, listener: &Listener) -> std::io::Result<Stream> {
        loop {
            let error = match listener.accept().await {
                Err(error) if Listener::is_full(&error) => error,
                accepted => return accepted,
            };
            if !listener.make_room().await {
                listener.keep_room().await;
                return Err(error);
            }
            if self.is_news() {
                tracing::warn!(%error, "who connects is turned away");
            }
            // Not for long: there may be room again by now.
            let next = timeout(NEXT_TRY, listener.accept()).await;
            if let Ok(Ok(stream)) = next {
                let _ = timeout(LAST_WORDS, turn_away(stream, &error)).await;
            }
            listener.keep_room().await;
        }
    }

    /// True if it has not been logged a short while ago.
    fn is_news(&mut self) -> bool {
        let is_news = self.told.is_none_or(|told| told.elapsed() > LOGGED_AGAIN);
        if is_news {
            self.told = Some(Instant::now());
        }
        is_news
    }
}

/// Greets a client, and refuses what it asks first.
async fn turn_away(stream: Stream, error: &std::io::Error) {
    let (read, write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    let Some((mut write, _)) = greet(&mut read, write).await else {
        return;
    };
    if let Some(Line::Message(Call::Ask { call, .. })) = read_message::<Call>(&mut read).await {
        let problem = Problem {
            code: Code::Busy,
            ..Problem::io("LivePC's background process cannot serve anybody else now", error)
        };
        let hint = "Close programs of LivePC that are not needed, or allow it more open files (“ulimit -n”), then try again.";
        let problem = Problem {
            hint: hint.into(),
            ..problem
        };
        let _ = write_message(&mut write, &Message::Refused { call, problem }).await;
    }
}

/// The work for the calls of a connection; it ends with the connection.
type Calls = Arc<Mutex<HashMap<u64, AbortOnDropHandle<()>>>>;

async fn connection<A: Answers>(stream: Stream, answers: Arc<A>, guest: Guest) {
    let (read, write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    let Some((write, keep)) = greet(&mut read, write).await else {
        return;
    };
    let guest = keep.then_some(guest);
    let (send, outgoing) = mpsc::channel::<Message>(64);
    let writer = AbortOnDropHandle::new(tokio::spawn(write_all(write, outgoing)));
    let calls: Calls = Arc::default();
    let mut watcher = None;
    while let Some(line) = read_message::<Call>(&mut read).await {
        match line {
            Line::Message(Call::Hello { .. }) => {}
            Line::Message(Call::Withdraw { call }) => drop(lock(&calls).remove(&call)),
            Line::Message(Call::Ask {
                call,
                request: Request::Watch,
            }) => {
                if let (Some(snapshots), None) = (answers.snapshots(), &watcher) {
                    let watching = tokio::spawn(watch_for(snapshots, send.clone()));
                    watcher = Some(AbortOnDropHandle::new(watching));
                }
                let answer = Answer::Done;
                let _ = send.send(Message::Answer { call, answer }).await;
            }
            Line::Message(Call::Ask { call, request }) => {
                let (answers, send, done) = (answers.clone(), send.clone(), calls.clone());
                // Registered before the task can end and look for itself.
                let mut calls = lock(&calls);
                let task = tokio::spawn(async move {
                    let message = match answered(answers, request).await {
                        Ok(answer) => Message::Answer { call, answer },
                        Err(problem) => Message::Refused { call, problem },
                    };
                    let _ = send.send(message).await;
                    // Last: who is no longer known is aborted.
                    lock(&done).remove(&call);
                });
                calls.insert(call, AbortOnDropHandle::new(task));
            }
            // A newer client asks for what only a newer LivePC has.
            Line::Lost(Some(call), problem) => {
                tracing::warn!(call, "a request was not understood: {problem}");
                let problem = too_new(problem);
                let _ = send.send(Message::Refused { call, problem }).await;
            }
            Line::Lost(None, problem) => tracing::warn!("passed over: {problem}"),
        }
    }
    lock(&calls).clear();
    drop(watcher);
    drop(send);
    let _ = timeout(LAST_WORDS, writer).await;
    drop(guest);
}

/// Exchanges greetings. Gives nothing if the client does not speak this protocol.
async fn greet(
    read: &mut BufReader<ReadHalf<Stream>>,
    mut write: WriteHalf<Stream>,
) -> Option<(WriteHalf<Stream>, bool)> {
    let greeting = timeout(HELLO, read_message::<Call>(read)).await.ok()??;
    let hello = Message::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").into(),
        revision: REVISION,
    };
    write_message(&mut write, &hello).await.ok()?;
    match greeting {
        Line::Message(Call::Hello {
            protocol: PROTOCOL,
            client,
            keep,
            revision,
        }) => {
            tracing::debug!(client, revision, "connected");
            Some((write, keep))
        }
        other => {
            tracing::warn!(?other, "a client of another kind has come");
            None
        }
    }
}

async fn write_all(mut write: WriteHalf<Stream>, mut outgoing: mpsc::Receiver<Message>) {
    while let Some(message) = outgoing.recv().await {
        if write_message(&mut write, &message).await.is_err() {
            break;
        }
    }
}

/// Answers a request, whatever happens on the way.
async fn answered<A: Answers>(answers: Arc<A>, request: Request) -> Result<Answer, Problem> {
    let (limit, verb, late) = (request.limit(), request.verb(), request.late());
    match timeout(limit, fenced(&verb, answers.answer(request))).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(panicked)) => {
            tracing::error!("{panicked}");
            Err(Problem::of_panic(panicked))
        }
        Err(_) => {
            tracing::warn!(verb, "given up: {late}");
            Err(late)
        }
    }
}

fn too_new(problem: Problem) -> Problem {
    if problem.code != Code::UpdateLivepc {
        return problem;
    }
    Problem::new(
        Code::UpdateLivepc,
        format!(
            "An older LivePC, {}, still runs, and does not know what was asked.",
            env!("CARGO_PKG_VERSION")
        ),
        "Stop its machines and close its window: the next command starts the newer one.",
    )
}

async fn watch_for(mut snapshots: watch::Receiver<Snapshot>, send: mpsc::Sender<Message>) {
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        if send.send(Message::Snapshot { snapshot }).await.is_err() || snapshots.changed().await.is_err() {
            return;
        }
    }
}

/// The refusal of a request that this process does not answer.
pub(crate) fn misplaced() -> Problem {
    Problem::new(Code::Usage, "This request is for another process of LivePC.", "")
}

#[cfg(test)]
mod tests {
    use livepc_protocol::{Client, Home, MAX_MESSAGE, ProcessLock, Stream, Whereabouts, line_of, write_line};
    use tempfile::TempDir;

    use super::*;

    /// Does to requests what a real part of LivePC may do to them.
    struct Sick;

    impl Answers for Sick {
        async fn answer(self: Arc<Self>, request: Request) -> Result<Answer, Problem> {
            match request {
                Request::SourceList { .. } => panic!("a mistake at once"),
                Request::SourceRefresh => {
                    tokio::task::yield_now().await;
                    panic!("a mistake later")
                }
                // Nothing comes of it, ever.
                Request::Logins { .. } => std::future::pending().await,
                Request::ConfigGet { name } => Ok(Answer::Setting {
                    value: "x".repeat(MAX_MESSAGE as usize),
                    name,
                }),
                _ => Ok(Answer::Done),
            }
        }

        fn snapshots(&self) -> Option<watch::Receiver<Snapshot>> {
            panic!("a mistake in the connection itself")
        }
    }

    struct Serving {
        whereabouts: Whereabouts,
        guests: Guests,
        _serving: AbortOnDropHandle<()>,
        _lock: Arc<ProcessLock>,
        _folder: TempDir,
    }

    fn serving() -> Serving {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home")).unwrap();
        let lock = ProcessLock::try_take(&home.agent_lock()).unwrap();
        let lock = Arc::new(lock.expect("it is free"));
        let listener = Listener::of_agent(&home, &lock).unwrap();
        let guests = Guests::default();
        let counted = guests.clone();
        let serving = tokio::spawn(async move { serve(&listener, &Arc::new(Sick), &counted).await });
        Serving {
            whereabouts: home.agent_whereabouts(),
            guests,
            _serving: AbortOnDropHandle::new(serving),
            _lock: lock,
            _folder: folder,
        }
    }

    #[tokio::test]
    async fn work_that_panics_is_a_refusal_that_says_where_and_the_connection_goes_on() {
        let serving = serving();
        let client = Client::connect(&serving.whereabouts, "test", true).await.unwrap();
        for (request, said) in [
            (Request::source_list(), "a mistake at once"),
            (Request::SourceRefresh, "a mistake later"),
        ] {
            let problem = client.call(request).await.unwrap_err();
            assert_eq!(problem.code, Code::Failed);
            assert!(problem.message.contains(said), "{problem}");
            assert!(problem.message.contains("server.rs:"), "{problem}");
        }
        assert_eq!(client.call(Request::Snapshot).await, Ok(Answer::Done));
    }

    /// It is the connection's own: it ends, its client learns that, and others are served.
    #[tokio::test]
    async fn a_connection_that_panics_lets_its_client_go() {
        let serving = serving();
        let client = Client::connect(&serving.whereabouts, "test", true).await.unwrap();
        assert_eq!(serving.guests.count(), 1);
        assert_eq!(client.watch().await.unwrap_err().code, Code::AgentGone);
        client.closed().await;
        let other = Client::connect(&serving.whereabouts, "test", false)
            .await
            .unwrap();
        assert_eq!(other.call(Request::Snapshot).await, Ok(Answer::Done));
        assert_eq!(serving.guests.count(), 0, "nobody is kept waiting for it");
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_to_an_end_is_given_up_and_named() {
        let begun = tokio::time::Instant::now();
        let late = answered(Arc::new(Sick), Request::logins()).await.unwrap_err();
        assert_eq!(
            begun.elapsed(),
            std::time::Duration::from_secs(30),
            "a clock that runs ahead hides a limit that is none"
        );
        assert_eq!(late.code, Code::Busy);
        assert!(late.message.contains("“logins”"), "{late}");
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_told_and_the_connection_goes_on() {
        let serving = serving();
        let client = Client::connect(&serving.whereabouts, "test", true).await.unwrap();
        let get = Request::ConfigGet { name: "a".into() };
        let problem = client.call(get).await.unwrap_err();
        assert!(problem.message.contains("MB"), "{problem}");
        assert_eq!(client.call(Request::Snapshot).await, Ok(Answer::Done));
    }

    async fn hello(serving: &Serving) -> (BufReader<ReadHalf<Stream>>, WriteHalf<Stream>) {
        let (read, mut write) = tokio::io::split(serving.whereabouts.connect().await.unwrap());
        let mut read = BufReader::new(read);
        let hello = Call::Hello {
            protocol: PROTOCOL,
            client: "test".into(),
            keep: false,
            revision: REVISION,
        };
        write_line(&mut write, &line_of(&hello).unwrap()).await.unwrap();
        let greeted = read_message::<Message>(&mut read).await;
        assert!(
            matches!(greeted, Some(Line::Message(Message::Hello { .. }))),
            "{greeted:?}"
        );
        (read, write)
    }

    #[tokio::test]
    async fn what_a_newer_client_asks_is_refused_by_its_number_and_the_rest_answered() {
        let serving = serving();
        let (mut read, mut write) = hello(&serving).await;
        let lines: [&[u8]; 5] = [
            b"{\"type\":\"of-tomorrow\",\"call\":3}\n",
            b"no JSON\n",
            b"{\"type\":\"ask\",\"call\":5,\"request\":{\"verb\":\"of-tomorrow\",\"a\":[1]}}\n",
            b"{\"type\":\"later\"}\n",
            b"{\"type\":\"ask\",\"call\":6,\"request\":{\"verb\":\"list\",\"of\":\"tomorrow\"},\"x\":1}\n",
        ];
        for line in lines {
            write_line(&mut write, line).await.unwrap();
        }
        for number in [3, 5] {
            let Some(Line::Message(Message::Refused { call, problem })) = read_message(&mut read).await
            else {
                panic!("{number} must be refused");
            };
            assert_eq!((call, problem.code), (number, Code::UpdateLivepc), "{problem}");
        }
        let answer = Answer::Done;
        assert_eq!(
            read_message(&mut read).await,
            Some(Line::Message(Message::Answer { call: 6, answer }))
        );
    }

    #[tokio::test]
    async fn a_request_that_is_too_long_is_refused_by_its_number() {
        let serving = serving();
        let (mut read, mut write) = hello(&serving).await;
        let mut line = b"{\"type\":\"ask\",\"call\":9,\"request\":{\"verb\":\"search\",\"text\":\"".to_vec();
        line.resize(MAX_MESSAGE as usize + 1000, b'x');
        line.extend(b"\"}}\n");
        write_line(&mut write, &line).await.unwrap();
        let refused = read_message::<Message>(&mut read).await;
        assert!(
            matches!(&refused, Some(Line::Message(Message::Refused { call: 9, problem })) if problem.code == Code::Failed),
            "{refused:?}"
        );
    }
}
