//! An agent of the first version, as much of it as an app sees: something needs it until this is dropped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use livepc_protocol::{
    Answer, Call, Code, Home, Line, Listener, Message, PROTOCOL, Problem, ProcessLock, Request, Snapshot,
    Stream, read_message, write_message,
};
use tokio::io::BufReader;
use tokio::runtime::Runtime;

/// What it says that it is.
pub const VERSION: &str = "0.0.9";

/// The agent; it ends when this is dropped.
pub struct OlderAgent {
    guests: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl fmt::Debug for OlderAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OlderAgent")
            .field("guests", &self.guests())
            .finish()
    }
}

impl OlderAgent {
    /// Serves a home that has no agent.
    #[must_use]
    pub fn serve(home: &Home) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let lock = ProcessLock::try_take(&home.agent_lock());
        let lock = Arc::new(lock.expect("the lock's file").expect("no agent yet"));
        let listener = {
            let _inside = runtime.enter();
            Listener::of_agent(home, &lock).expect("it listens")
        };
        let guests = Arc::new(AtomicUsize::new(0));
        let counted = guests.clone();
        runtime.spawn(async move {
            let _lock = lock;
            while let Ok(stream) = listener.accept().await {
                tokio::spawn(answer_all(stream, counted.clone()));
            }
        });
        Self {
            guests,
            _runtime: runtime,
        }
    }

    /// How many are connected now that keep it from ending.
    #[must_use]
    pub fn guests(&self) -> usize {
        self.guests.load(Ordering::SeqCst)
    }
}

struct Guest(Arc<AtomicUsize>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer_all(stream: Stream, guests: Arc<AtomicUsize>) -> Option<()> {
    let (read, mut write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    let Line::Message(Call::Hello { keep, .. }) = read_message(&mut read).await? else {
        return None;
    };
    let _guest = keep.then(|| {
        guests.fetch_add(1, Ordering::SeqCst);
        Guest(guests)
    });
    let hello = Message::Hello {
        protocol: PROTOCOL,
        version: VERSION.into(),
        revision: 0,
    };
    write_message(&mut write, &hello).await.ok()?;
    loop {
        let Line::Message(Call::Ask { call, request }) = read_message(&mut read).await? else {
            continue;
        };
        let watches = request == Request::Watch;
        let message = match answer_to(&request) {
            Ok(answer) => Message::Answer { call, answer },
            Err(problem) => Message::Refused { call, problem },
        };
        write_message(&mut write, &message).await.ok()?;
        if watches {
            let snapshot = Snapshot::default();
            write_message(&mut write, &Message::Snapshot { snapshot })
                .await
                .ok()?;
        }
    }
}

fn answer_to(request: &Request) -> Result<Answer, Problem> {
    match request {
        Request::Watch => Ok(Answer::Done),
        Request::Snapshot => Ok(Answer::Snapshot {
            snapshot: Snapshot::default(),
        }),
        Request::Search { .. } => Ok(Answer::Library {
            entries: Vec::new(),
            total: 0,
            sources: Vec::new(),
            next: None,
        }),
        _ => Err(Problem::new(Code::Busy, "The agent serves a machine.", "")),
    }
}
