//! The listening end of a local socket, for the agent and for runners.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use livepc_protocol::{
    Answer, Call, Code, Listener, Message, PROTOCOL, Problem, Request, Snapshot, Stream, read_message,
    write_message,
};
use tokio::io::BufReader;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::locked::lock;

/// Who answers.
pub(crate) trait Answers: Send + Sync + 'static {
    /// Answers one request. The future is dropped when the asker withdraws or is gone.
    fn answer(self: Arc<Self>, request: Request) -> impl Future<Output = Result<Answer, Problem>> + Send;

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
pub(crate) async fn serve<A: Answers>(listener: Listener, answers: Arc<A>, guests: Guests) {
    loop {
        match listener.accept().await {
            Ok(stream) => drop(tokio::spawn(connection(stream, answers.clone(), guests.clone()))),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of descriptors, most likely: others must end before it can go on.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

type Calls = Arc<Mutex<HashMap<u64, AbortHandle>>>;

async fn connection<A: Answers>(stream: Stream, answers: Arc<A>, guests: Guests) {
    let (read, mut write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    let Ok(Some(Call::Hello {
        protocol,
        client,
        keep,
    })) = read_message::<Call>(&mut read).await
    else {
        return;
    };
    let hello = Message::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    if write_message(&mut write, &hello).await.is_err() || protocol != PROTOCOL {
        return;
    }
    tracing::debug!(client, "connected");
    let guest = keep.then(|| guests.enter());
    let (send, mut outgoing) = mpsc::channel::<Message>(64);
    let writer = tokio::spawn(async move {
        while let Some(message) = outgoing.recv().await {
            if write_message(&mut write, &message).await.is_err() {
                break;
            }
        }
    });
    let calls: Calls = Arc::default();
    let mut watcher: Option<AbortHandle> = None;
    while let Some(call) = next(&mut read, &send).await {
        match call {
            Call::Hello { .. } => {}
            Call::Withdraw { call } => {
                if let Some(handle) = lock(&calls).remove(&call) {
                    handle.abort();
                }
            }
            Call::Ask {
                call,
                request: Request::Watch,
            } => {
                if let (Some(snapshots), None) = (answers.snapshots(), &watcher) {
                    watcher = Some(tokio::spawn(watch_for(snapshots, send.clone())).abort_handle());
                }
                let _ = send
                    .send(Message::Answer {
                        call,
                        answer: Answer::Done,
                    })
                    .await;
            }
            Call::Ask { call, request } => {
                let (answers, send, done) = (answers.clone(), send.clone(), calls.clone());
                // Registered before the task can end and look for itself.
                let mut calls = lock(&calls);
                let task = tokio::spawn(async move {
                    let message = match answers.answer(request).await {
                        Ok(answer) => Message::Answer { call, answer },
                        Err(problem) => Message::Refused { call, problem },
                    };
                    lock(&done).remove(&call);
                    let _ = send.send(message).await;
                });
                calls.insert(call, task.abort_handle());
            }
        }
    }
    for (_, handle) in lock(&calls).drain() {
        handle.abort();
    }
    if let Some(handle) = watcher {
        handle.abort();
    }
    drop(send);
    let _ = writer.await;
    drop(guest);
}

async fn next(
    read: &mut BufReader<tokio::io::ReadHalf<Stream>>,
    send: &mpsc::Sender<Message>,
) -> Option<Call> {
    match read_message(read).await {
        Ok(call) => call,
        Err(problem) => {
            // What was asked is not known, so no call can be named.
            let _ = send.send(Message::Refused { call: 0, problem }).await;
            None
        }
    }
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
