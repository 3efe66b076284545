//! One connection: the negotiation, then requests, served concurrently and answered in any order.

use std::{io, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Exports,
    answer::{self, Answer},
    handshake::{self, Outcome, Session, violation},
    request,
    wire::{self, Request, command},
};

/// How long a client may take to negotiate.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
/// The most bytes that the answers of one connection hold at a time.
const MEMORY: u32 = 64 << 20;
/// The bytes to read from the connection at a time: room for many request headers.
const INBOX: usize = 8 << 10;
/// The least a request counts for, in bytes, so that there are at most 64 of them at a time.
const LEAST_SHARE: u32 = MEMORY / 64;

/// Serves a client until it leaves or `stop` is cancelled. Nothing of the connection is left when this returns.
///
/// # Errors
/// If the connection fails, or the client breaks the protocol.
pub(super) async fn serve<R, W>(
    mut reader: R,
    mut writer: W,
    exports: &Exports,
    stop: &CancellationToken,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let negotiation = timeout(
        HANDSHAKE_LIMIT,
        handshake::negotiate(&mut reader, &mut writer, exports),
    );
    let session = match stop.run_until_cancelled(negotiation).await {
        None => return Ok(()),
        Some(Err(_)) => return Err(violation("the client took too long to negotiate")),
        Some(Ok(outcome)) => match outcome? {
            Outcome::Transmission(session) => session,
            Outcome::Aborted => return Ok(()),
        },
    };

    let structured = session.structured;
    let mut requests = JoinSet::new();
    let (answers, outgoing) = mpsc::channel((MEMORY / LEAST_SHARE) as usize);
    let transmission = async {
        let received = receive(&mut reader, Arc::new(session), &mut requests, answers);
        // A client that hangs up fails the first, one that does not take its answers any more the second. After a
        // proper goodbye the second writes what is still due and ends.
        tokio::try_join!(received, answer::send(outgoing, &mut writer, structured))
    };
    let ended = stop.run_until_cancelled(transmission).await;
    requests.shutdown().await;
    ended.map_or(Ok(()), |ended| ended.map(drop))
}

/// Reads requests and starts to serve them, until the client says goodbye and all of them are answered.
async fn receive<R: AsyncRead + Unpin>(
    reader: &mut R,
    session: Arc<Session>,
    requests: &mut JoinSet<()>,
    answers: mpsc::Sender<Answer>,
) -> io::Result<()> {
    let memory = Arc::new(Semaphore::new(MEMORY as usize));
    let mut inbox = BytesMut::new();
    loop {
        let request = next(reader, &mut inbox, requests).await?;
        match request.command {
            command::DISCONNECT => break,
            command::WRITE => skip(reader, &mut inbox, request.len).await?,
            _ => {}
        }
        let share = request.len.clamp(LEAST_SHARE, wire::MAX_PAYLOAD);
        // The semaphore is never closed.
        let share = Arc::clone(&memory)
            .acquire_many_owned(share)
            .await
            .map_err(io::Error::other)?;
        let (session, answers) = (Arc::clone(&session), answers.clone());
        requests.spawn(async move {
            let body = request::serve(&session, request).await;
            // Nobody takes the answer only when the connection is ending.
            let _ = answers
                .send(Answer {
                    cookie: request.cookie,
                    body,
                    share,
                })
                .await;
        });
    }
    while let Some(served) = requests.join_next().await {
        served.map_err(io::Error::other)?;
    }
    Ok(())
}

/// Waits for the next request.
async fn next<R: AsyncRead + Unpin>(
    reader: &mut R,
    inbox: &mut BytesMut,
    requests: &mut JoinSet<()>,
) -> io::Result<Request> {
    loop {
        if let Some(header) = inbox.first_chunk() {
            let request = Request::parse(header);
            inbox.advance(Request::LEN);
            return request.ok_or_else(|| violation("a request began with the wrong magic number"));
        }
        inbox.reserve(INBOX);
        tokio::select! {
            read = reader.read_buf(inbox) => if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            },
            // A request whose task died is never answered: better to hang up than to let the client wait for ever.
            Some(served) = requests.join_next() => served.map_err(io::Error::other)?,
        }
    }
}

/// Reads over the payload of a write, which will be refused.
async fn skip<R: AsyncRead + Unpin>(reader: &mut R, inbox: &mut BytesMut, len: u32) -> io::Result<()> {
    if len > wire::MAX_PAYLOAD {
        return Err(violation("the payload of a write was longer than 32 MiB"));
    }
    let mut left = len as usize;
    loop {
        let skipped = left.min(inbox.len());
        inbox.advance(skipped);
        left -= skipped;
        if left == 0 {
            return Ok(());
        }
        inbox.reserve(INBOX);
        if reader.read_buf(inbox).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_hung_up_on() {
        let (client, server) = tokio::io::duplex(1024);
        let (reader, writer) = tokio::io::split(server);
        let before = tokio::time::Instant::now();
        let served = serve(reader, writer, &Exports::new(), &CancellationToken::new()).await;
        assert!(served.is_err(), "silence is no valid negotiation");
        assert_eq!(before.elapsed(), HANDSHAKE_LIMIT);
        drop(client);
    }
}
