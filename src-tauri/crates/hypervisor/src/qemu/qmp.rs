//! A client of QEMU's monitor protocol: one JSON document a line, answers matched to commands by id, events between them.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use livepc_panics::{Panicked, fenced};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use crate::os::Connection;

/// Bytes of a line at the most. The longest answer to what we ask has a few hundred.
const LINE: usize = 1 << 20;
/// Before what has failed to take in a message goes on: it may fail again.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum QmpError {
    /// The connection has ended, and QEMU with it.
    #[error("QEMU has closed its monitor")]
    Closed,
    /// QEMU refused the command.
    #[error("{0}")]
    Refused(String),
    /// The other end does not speak the protocol.
    #[error("its monitor does not speak QMP: {0}")]
    Malformed(String),
    /// The connection failed.
    #[error("its monitor cannot be reached: {0}")]
    Io(#[from] io::Error),
}

/// What QEMU tells unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// `BLOCK_IO_ERROR`.
    pub(super) name: String,
    /// What belongs to it.
    pub(super) data: Value,
}

/// A connection to a monitor; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Qmp(Arc<Shared>);

struct Shared {
    writer: tokio::sync::Mutex<WriteHalf<Box<dyn Connection>>>,
    pending: Mutex<Pending>,
    next: AtomicU64,
}

#[derive(Default)]
struct Pending {
    closed: bool,
    waiting: HashMap<u64, oneshot::Sender<Result<Value, QmpError>>>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    id: Option<u64>,
    #[serde(rename = "return")]
    result: Option<Value>,
    error: Option<Refusal>,
    event: Option<String>,
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
struct Refusal {
    desc: String,
}

impl Qmp {
    /// Greets QEMU and begins to read: events go to `events`, which must be drained, or answers wait behind them.
    pub(super) async fn connect(
        connection: Box<dyn Connection>,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, QmpError> {
        let (reader, writer) = tokio::io::split(connection);
        let mut reader = BufReader::new(reader);
        let greeting = read_message(&mut reader).await?.ok_or(QmpError::Closed)?;
        if greeting.greeting.is_none() {
            return Err(QmpError::Malformed("it does not greet".into()));
        }
        let qmp = Self(Arc::new(Shared {
            writer: tokio::sync::Mutex::new(writer),
            pending: Mutex::default(),
            next: AtomicU64::new(1),
        }));
        let shared = Arc::clone(&qmp.0);
        tokio::spawn(async move {
            loop {
                let read = fenced("Reading from QEMU", read_all(&mut reader, &shared, &events));
                match read.await {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "the connection to QEMU's monitor has failed");
                        break;
                    }
                    // The message is lost, and may have been anybody's answer; without a monitor the machine would be too.
                    Err(panicked) => {
                        tracing::error!("{panicked}");
                        shared.lose(&panicked);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            // However it ended: nobody waits any longer.
            shared.close();
        });
        qmp.execute("qmp_capabilities", Value::Null).await?;
        Ok(qmp)
    }

    /// Has a command executed, and waits for its result, however long that takes.
    pub(super) async fn execute(&self, command: &'static str, arguments: Value) -> Result<Value, QmpError> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({ "execute": command, "id": id });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        let (sender, answer) = oneshot::channel();
        {
            let mut pending = self.0.pending();
            if pending.closed {
                return Err(QmpError::Closed);
            }
            pending.waiting.insert(id, sender);
        }
        let line = format!("{message}\n");
        // In a task of its own: a caller that stops waiting must not leave half a line.
        let shared = Arc::clone(&self.0);
        let written = tokio::spawn(async move {
            let mut writer = shared.writer.lock().await;
            writer.write_all(line.as_bytes()).await?;
            writer.flush().await
        });
        match written.await {
            Ok(Ok(())) => answer.await.unwrap_or(Err(QmpError::Closed)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Err(QmpError::Closed),
            Ok(Err(error)) => Err(QmpError::Io(error)),
            Err(_) => Err(QmpError::Closed),
        }
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everybody who waits learns that the answer may be lost, and why.
    fn lose(&self, panicked: &Panicked) {
        for (_, sender) in self.pending().waiting.drain() {
            // Nobody may wait for it any more.
            let _ = sender.send(Err(QmpError::Io(panicked.clone().into())));
        }
    }

    /// Everybody who waits learns that there will be no answer.
    fn close(&self) {
        let mut pending = self.pending();
        pending.closed = true;
        pending.waiting.clear();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Qmp").finish_non_exhaustive()
    }
}

async fn read_all(
    reader: &mut (impl AsyncBufRead + Unpin),
    shared: &Shared,
    events: &mpsc::Sender<Event>,
) -> Result<(), QmpError> {
    while let Some(message) = read_message(reader).await? {
        #[cfg(test)]
        assert!(
            message.event.as_deref() != Some(tests::MISTAKE),
            "a mistake of ours"
        );
        if let Some(name) = message.event {
            // Nobody may be left to hear it while answers are still wanted.
            let _ = events
                .send(Event {
                    name,
                    data: message.data,
                })
                .await;
        } else if let Some(id) = message.id {
            let waiting = shared.pending().waiting.remove(&id);
            if let Some(sender) = waiting {
                let answer = match message.error {
                    Some(refusal) => Err(QmpError::Refused(refusal.desc)),
                    None => Ok(message.result.unwrap_or_default()),
                };
                // Nobody may wait for it any more.
                let _ = sender.send(answer);
            }
        }
    }
    Ok(())
}

/// The next message; `None` at the end of the connection.
async fn read_message(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Message>, QmpError> {
    let Some(line) = read_line(reader).await? else {
        return Ok(None);
    };
    serde_json::from_slice(&line)
        .map(Some)
        .map_err(|error| QmpError::Malformed(error.to_string()))
}

/// The next line without its end; `None` at the end of the connection, even in the middle of a line.
async fn read_line(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Vec<u8>>, QmpError> {
    let mut line = Vec::new();
    loop {
        let bytes = match reader.fill_buf().await {
            Ok(bytes) => bytes,
            // What a Windows pipe and a reset socket say at the end.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        let (taken, complete) = match bytes.iter().position(|&byte| byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (bytes.len(), false),
        };
        if line.len() + taken > LINE {
            return Err(QmpError::Malformed(format!("a line is longer than {LINE} bytes")));
        }
        line.extend_from_slice(&bytes[..taken]);
        reader.consume(taken);
        if complete {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::*;

    /// An event that cannot be taken in.
    pub(super) const MISTAKE: &str = "MISTAKE";

    const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": []}}"#;

    struct FakeQemu(BufReader<DuplexStream>);

    impl FakeQemu {
        async fn say(&mut self, text: &str) {
            self.0.write_all(text.as_bytes()).await.unwrap();
            self.0.write_all(b"\r\n").await.unwrap();
        }

        async fn hear(&mut self) -> Value {
            serde_json::from_slice(&read_line(&mut self.0).await.unwrap().expect("a line")).unwrap()
        }

        async fn answer(&mut self, result: &str) {
            let id = self.hear().await["id"].clone();
            self.say(&format!(r#"{{"return": {result}, "id": {id}}}"#)).await;
        }
    }

    async fn connected() -> (Qmp, mpsc::Receiver<Event>, FakeQemu) {
        let (ours, theirs) = duplex(64);
        let (sender, events) = mpsc::channel(8);
        let mut qemu = FakeQemu(BufReader::new(theirs));
        let serve = async {
            qemu.say(GREETING).await;
            qemu.answer("{}").await;
        };
        let (qmp, ()) = tokio::join!(Qmp::connect(Box::new(ours), sender), serve);
        (qmp.unwrap(), events, qemu)
    }

    #[tokio::test]
    async fn answers_find_their_commands_and_events_their_channel() {
        let (qmp, mut events, mut qemu) = connected().await;
        let serve = async {
            let (first, second) = (qemu.hear().await, qemu.hear().await);
            assert_ne!(first["id"], second["id"], "each command has its own id");
            qemu.say(r#"{"timestamp": {}, "event": "STOP"}"#).await;
            for command in [second, first] {
                qemu.say(
                    &format!(
                        r#"{{"return": "{}", "id": {}}}"#,
                        command["execute"], command["id"]
                    )
                    .replace("\"\"", "\""),
                )
                .await;
            }
        };
        let (one, two, ()) = tokio::join!(
            qmp.execute("one", Value::Null),
            qmp.execute("two", json!({"a": 1})),
            serve
        );
        assert_eq!(one.unwrap(), "one", "answers came in the other order");
        assert_eq!(two.unwrap(), "two");
        assert_eq!(
            events.recv().await,
            Some(Event {
                name: "STOP".into(),
                data: Value::Null
            })
        );
    }

    /// The machine runs, and must still be stopped by it.
    #[tokio::test]
    async fn a_message_that_panics_is_told_to_who_waits_and_the_next_are_heard() {
        let (qmp, mut events, mut qemu) = connected().await;
        for _ in 0..3 {
            let serve = async {
                qemu.hear().await;
                qemu.say(r#"{"event": "MISTAKE"}"#).await;
            };
            let both = async { tokio::join!(qmp.execute("x", Value::Null), serve) };
            let both = tokio::time::timeout(Duration::from_secs(30), both).await;
            let (failed, ()) = both.expect("nobody is kept waiting");
            let told = failed.unwrap_err().to_string();
            assert!(
                told.contains("a mistake of ours") && told.contains("qmp.rs:"),
                "{told}"
            );
        }
        qemu.say(r#"{"event": "STOP"}"#).await;
        let (done, ()) = tokio::join!(qmp.execute("x", Value::Null), qemu.answer("1"));
        assert_eq!(done.unwrap(), 1);
        assert_eq!(
            events.recv().await.map(|event| event.name).as_deref(),
            Some("STOP")
        );
    }

    #[tokio::test]
    async fn a_refusal_and_the_end_are_errors() {
        let (qmp, mut events, mut qemu) = connected().await;
        let serve = async {
            let id = qemu.hear().await["id"].clone();
            qemu.say(&format!(
                r#"{{"error": {{"class": "GenericError", "desc": "no"}}, "id": {id}}}"#
            ))
            .await;
        };
        let (refused, ()) = tokio::join!(qmp.execute("x", Value::Null), serve);
        assert!(matches!(refused, Err(QmpError::Refused(why)) if why == "no"));

        let gone = async {
            qemu.hear().await;
            drop(qemu);
        };
        let (closed, ()) = tokio::join!(qmp.execute("x", Value::Null), gone);
        assert!(
            matches!(closed, Err(QmpError::Closed)),
            "it waited when the connection ended: {closed:?}"
        );
        assert_eq!(events.recv().await, None, "the events end with the connection");
        assert!(
            matches!(qmp.execute("x", Value::Null).await, Err(QmpError::Closed)),
            "and so does all later"
        );
    }

    #[tokio::test]
    async fn a_line_without_end_is_not_collected() {
        let (mut theirs, ours) = duplex(1 << 16);
        let (sender, _events) = mpsc::channel(8);
        let flood = tokio::spawn(async move {
            let block = [b'x'; 1 << 16];
            let mut sent = 0;
            while theirs.write_all(&block).await.is_ok() {
                sent += block.len();
            }
            sent
        });
        let error = Qmp::connect(Box::new(ours), sender).await.unwrap_err();
        assert!(matches!(error, QmpError::Malformed(_)), "{error}");
        assert!(
            flood.await.unwrap() < 2 * LINE,
            "the connection is closed at the limit"
        );
    }

    #[tokio::test]
    async fn what_does_not_greet_is_not_qemu() {
        for line in ["HTTP/1.1 200 OK\n", "{\"event\": \"STOP\"}\n", "[]\n"] {
            let (mut theirs, ours) = duplex(1 << 10);
            let (sender, _events) = mpsc::channel(8);
            theirs.write_all(line.as_bytes()).await.unwrap();
            let error = Qmp::connect(Box::new(ours), sender).await.unwrap_err();
            assert!(matches!(error, QmpError::Malformed(_)), "{line}: {error}");
            let mut heard = Vec::new();
            theirs.read_to_end(&mut heard).await.unwrap();
            assert!(heard.is_empty(), "nothing is sent to a stranger");
        }
    }
}
