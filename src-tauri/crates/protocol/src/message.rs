//! How messages lie on the wire: one JSON object a line, at most [`MAX_MESSAGE`] bytes.
//!
//! The first line from each side is a greeting. Then a client's line is a [`Call`]; the other side's is a [`Message`].
//! Answers come in any order and carry the number of their call.
//!
//! What one side does not understand, because the other is newer, harms nothing but itself: unknown fields and unknown
//! kinds of messages are ignored, an unknown request is refused, an unknown answer is a problem of its call, and so is a
//! line that is too long.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{Answer, Code, Problem, Request, Snapshot};

/// The version of the protocol; it changes only when old runners could not go on.
pub const PROTOCOL: u32 = 1;
/// Counts what was added to the protocol: [`Request::since`] says with which revision each request came. A side that does
/// not tell its revision is of revision 0.
pub const REVISION: u32 = 1;
/// Bytes of a line at the most.
pub const MAX_MESSAGE: u64 = 32 << 20;
/// Bytes that the parts of an answer may have together before the rest goes into a next page.
pub const PAGE_BYTES: usize = 4 << 20;
/// Bytes of a line that is too long in which its kind and number are looked for.
const HEAD: usize = 200;

/// A buffered reading half.
pub trait Read: AsyncBufRead + Unpin + Send {}
impl<T: AsyncBufRead + Unpin + Send> Read for T {}
/// A writing half.
pub trait Write: AsyncWrite + Unpin + Send {}
impl<T: AsyncWrite + Unpin + Send> Write for T {}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Call {
    /// Who it is; always first.
    Hello {
        /// The version of the protocol that it speaks.
        protocol: u32,
        /// What it is, for the log: `cli 0.1.0`.
        client: String,
        /// True if the agent should not end while this client is there.
        keep: bool,
        /// How much of the protocol it knows.
        #[serde(default)]
        revision: u32,
    },
    /// A request.
    Ask {
        /// Its number.
        call: u64,
        /// What is asked.
        request: Request,
    },
    /// It no longer waits for the answer to a call.
    Withdraw {
        /// The call's number.
        call: u64,
    },
}

/// What the agent or a runner sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant)]
pub enum Message {
    /// Who it is; always first.
    Hello {
        /// The version of the protocol that it speaks.
        protocol: u32,
        /// Its own version.
        version: String,
        /// How much of the protocol it knows.
        #[serde(default)]
        revision: u32,
    },
    /// An answer.
    Answer {
        /// The number of its call.
        call: u64,
        /// What was asked for.
        answer: Answer,
    },
    /// A refusal.
    Refused {
        /// The number of its call.
        call: u64,
        /// Why.
        problem: Problem,
    },
    /// Everything that a client shows, after a change.
    Snapshot {
        /// It.
        snapshot: Snapshot,
    },
}

/// A line that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<T> {
    /// A message.
    Message(T),
    /// One that cannot be used, and why; the number of the call that it belongs to, if it has one.
    Lost(Option<u64>, Problem),
}

/// What a message that is not understood may still tell.
#[derive(Deserialize)]
struct Envelope {
    call: Option<u64>,
}

/// Reads one line; `None` at the end of the stream. A line that is too long is passed over, and told of.
pub async fn read_message<T: DeserializeOwned>(from: &mut impl Read) -> Option<Line<T>> {
    let mut line = Vec::new();
    match (&mut *from).take(MAX_MESSAGE).read_until(b'\n', &mut line).await {
        Ok(0) | Err(_) => return None,
        Ok(_) if line.last() != Some(&b'\n') => {
            let more = pass_over(from).await?;
            let call = number_in(&line);
            return Some(Line::Lost(call, too_long(line.len() as u64 + more)));
        }
        Ok(_) => {}
    }
    let not_understood = match serde_json::from_slice(&line) {
        Ok(message) => return Some(Line::Message(message)),
        Err(error) => Problem::new(
            Code::UpdateLivepc,
            format!("The other side says what this version does not understand: {error}."),
            NEWER,
        ),
    };
    let call = serde_json::from_slice::<Envelope>(&line)
        .ok()
        .and_then(|envelope| envelope.call);
    Some(Line::Lost(call, not_understood))
}

/// What helps where two versions of LivePC do not understand each other.
const NEWER: &str = "Close LivePC's window and stop its machines, then start the newer version.";

/// Reads to the end of a line; gives its bytes, or nothing if the stream ends before.
async fn pass_over(from: &mut impl Read) -> Option<u64> {
    let mut passed = 0;
    loop {
        let buffer = from.fill_buf().await.ok().filter(|buffer| !buffer.is_empty())?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        from.consume(used);
        passed += used as u64;
        if end.is_some() {
            return Some(passed);
        }
    }
}

/// The number of the call in the beginning of a line that is too long to be read as JSON.
fn number_in(line: &[u8]) -> Option<u64> {
    let head = String::from_utf8_lossy(&line[..line.len().min(HEAD)]);
    let (_, rest) = head.split_once("\"call\":")?;
    let digits = rest.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit())?;
    digits[..end].parse().ok()
}

fn too_long(bytes: u64) -> Problem {
    Problem::new(
        Code::Failed,
        format!(
            "What was to be said has {} MB, and a message at most {} MB.",
            bytes.div_ceil(1_000_000),
            MAX_MESSAGE / 1_000_000
        ),
        "Ask for less at once, and please report it: this is a mistake of LivePC.",
    )
}

/// One message as a line.
///
/// # Errors
/// That it is too long.
pub fn line_of<T: Serialize>(message: &T) -> Result<Vec<u8>, Problem> {
    let mut line = serde_json::to_vec(message)
        .map_err(|error| Problem::new(Code::Failed, format!("A message cannot be written: {error}."), ""))?;
    line.push(b'\n');
    if line.len() as u64 > MAX_MESSAGE {
        return Err(too_long(line.len() as u64));
    }
    Ok(line)
}

/// Writes one message, or in the place of an answer that is too long that it is.
pub async fn write_message(to: &mut impl Write, message: &Message) -> std::io::Result<()> {
    let line = match (line_of(message), message) {
        (Ok(line), _) => line,
        (Err(problem), Message::Answer { call, .. } | Message::Refused { call, .. }) => {
            tracing::error!(call, "an answer was not sent: {problem}");
            let refused = Message::Refused { call: *call, problem };
            line_of(&refused).map_err(std::io::Error::other)?
        }
        (Err(problem), _) => {
            tracing::error!("a message was not sent: {problem}");
            return Ok(());
        }
    };
    write_line(to, &line).await
}

/// Writes a line.
pub async fn write_line(to: &mut impl Write, line: &[u8]) -> std::io::Result<()> {
    to.write_all(line).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(bytes: &[u8]) -> Vec<Line<Message>> {
        let mut from = tokio::io::BufReader::new(bytes);
        let mut lines = Vec::new();
        while let Some(line) = read_message(&mut from).await {
            lines.push(line);
        }
        lines
    }

    /// A newer side may say anything; what is behind it must still arrive.
    #[tokio::test]
    async fn what_is_not_understood_is_told_by_the_number_of_its_call_and_the_rest_goes_on() {
        let lines = read_all(
            b"{\"type\":\"answer\",\"call\":7,\"answer\":{\"answer\":\"of-tomorrow\",\"a\":1}}\n\
              {\"type\":\"of-tomorrow\",\"x\":[]}\n\
              no JSON\n\
              {\"type\":\"answer\",\"call\":8,\"later\":true,\"answer\":{\"answer\":\"done\"}}\n",
        )
        .await;
        assert!(matches!(&lines[0], Line::Lost(Some(7), p) if p.code == Code::UpdateLivepc));
        assert!(matches!(&lines[1], Line::Lost(None, _)));
        assert!(matches!(&lines[2], Line::Lost(None, _)));
        let answer = Answer::Done;
        assert_eq!(lines[3], Line::Message(Message::Answer { call: 8, answer }));
        assert_eq!(lines.len(), 4);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_told_by_its_number_and_passed_over() {
        let mut bytes = b"{\"type\":\"answer\",\"call\":7,\"answer\":\"".to_vec();
        bytes.resize(MAX_MESSAGE as usize + 5_000_000, b'x');
        bytes.extend(b"\"}\n{\"type\":\"answer\",\"call\":8,\"answer\":{\"answer\":\"done\"}}\n");
        let lines = read_all(&bytes).await;
        assert!(
            matches!(&lines[0], Line::Lost(Some(7), p) if p.message.contains("39 MB")),
            "{:?}",
            lines[0]
        );
        assert!(matches!(lines[1], Line::Message(Message::Answer { call: 8, .. })));
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_refused_in_its_place() {
        let answer = Answer::Setting {
            name: "x".repeat(MAX_MESSAGE as usize),
            value: String::new(),
        };
        let mut bytes = Vec::new();
        write_message(&mut bytes, &Message::Answer { call: 3, answer })
            .await
            .unwrap();
        let lines = read_all(&bytes).await;
        assert!(
            matches!(&lines[..], [Line::Message(Message::Refused { call: 3, .. })]),
            "{lines:?}"
        );
    }
}
