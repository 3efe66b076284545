//! How messages lie on the wire: one JSON object a line, at most [`MAX_MESSAGE`] bytes.
//!
//! The first line from each side is a greeting. Then a client's line is a [`Call`]; the other side's is a [`Message`].
//! Answers come in any order and carry the number of their call.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{Answer, Code, Problem, Request, Snapshot};

/// The version of the protocol; it changes only when old runners could not go on.
pub const PROTOCOL: u32 = 1;
/// Bytes of a line at the most.
pub const MAX_MESSAGE: u64 = 32 << 20;

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

/// Reads one message; `None` at the end of the stream.
pub async fn read_message<T: DeserializeOwned>(from: &mut impl Read) -> Result<Option<T>, Problem> {
    let mut line = Vec::new();
    let read = from.take(MAX_MESSAGE).read_until(b'\n', &mut line).await;
    match read {
        Ok(0) | Err(_) => return Ok(None),
        Ok(_) if line.last() != Some(&b'\n') => return Ok(None),
        Ok(_) => {}
    }
    serde_json::from_slice(&line).map(Some).map_err(|error| {
        Problem::new(
            Code::UpdateLivepc,
            format!("The other side says what this version does not understand: {error}."),
            "Close LivePC and its machines, then start the newer version.",
        )
    })
}

/// Writes one message.
pub async fn write_message<T: Serialize>(to: &mut impl Write, message: &T) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message).map_err(std::io::Error::other)?;
    line.push(b'\n');
    to.write_all(&line).await?;
    to.flush().await
}
