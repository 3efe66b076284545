//! What is answered to a request, and how it looks on the wire.

use std::{collections::VecDeque, io, io::IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, mpsc},
};

use super::wire::{self, ErrorNumber, chunk};
use crate::block::{Piece, Run, RunKind};

/// The shortest zero run that is sent as a hole, in bytes: for less, the chunk costs more than the zeros.
const MIN_HOLE: u32 = 4096;
/// The most answers that are written together.
const BATCH: usize = 16;
/// The most buffers given to one system call.
const MAX_SLICES: usize = 64;
/// What zeros are sent from where no hole can be.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The answer to one request.
pub(super) struct Answer {
    pub(super) cookie: u64,
    pub(super) body: Body,
    /// The request's share of the connection's memory; given back when the answer has been written.
    pub(super) share: OwnedSemaphorePermit,
}

/// What an answer says.
#[derive(Debug)]
pub(super) enum Body {
    /// Done; there is nothing to tell.
    Done,
    /// Refused or failed, with words for a log.
    Error(ErrorNumber, String),
    /// The bytes from `offset` on. `whole`: the client forbade fragments.
    Data {
        offset: u64,
        pieces: Vec<Piece>,
        whole: bool,
    },
    /// The runs of `base:allocation`.
    Status(Vec<Run>),
}

/// Writes answers until all senders are gone.
///
/// # Errors
/// If the connection fails.
pub(super) async fn send<W>(
    mut answers: mpsc::Receiver<Answer>,
    writer: &mut W,
    structured: bool,
) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut batch = Vec::with_capacity(BATCH);
    let mut shares = Vec::with_capacity(BATCH);
    let mut out = Outbox::default();
    while answers.recv_many(&mut batch, BATCH).await > 0 {
        for Answer { cookie, body, share } in batch.drain(..) {
            if structured {
                out.structured(cookie, body);
            } else {
                out.simple(cookie, body);
            }
            shares.push(share);
        }
        out.write(writer).await?;
        shares.clear();
    }
    writer.flush().await
}

/// Encoded answers. Data is kept by reference and goes to the socket from where the device put it.
#[derive(Default)]
struct Outbox {
    /// Headers that are not in the queue yet; those that follow each other become one buffer.
    heads: BytesMut,
    queue: VecDeque<Bytes>,
}

impl Outbox {
    fn simple(&mut self, cookie: u64, body: Body) {
        let (error, pieces) = match body {
            Body::Done => (0, Vec::new()),
            Body::Error(number, _) => (number as u32, Vec::new()),
            Body::Data { pieces, .. } => (0, pieces),
            // Contexts need structured replies, so no request was let through that leads here.
            Body::Status(_) => (ErrorNumber::Invalid as u32, Vec::new()),
        };
        self.heads.put_u32(wire::SIMPLE_REPLY_MAGIC);
        self.heads.put_u32(error);
        self.heads.put_u64(cookie);
        self.pieces(pieces);
    }

    fn structured(&mut self, cookie: u64, body: Body) {
        match body {
            Body::Done => self.chunk(cookie, true, chunk::NONE, 0),
            Body::Error(number, mut message) => {
                message.truncate(message.floor_char_boundary(wire::MAX_NAME));
                // The message has just been cut to fit.
                self.chunk(cookie, true, chunk::ERROR, 6 + message.len() as u32);
                self.heads.put_u32(number as u32);
                self.heads.put_u16(message.len() as u16);
                self.heads.put_slice(message.as_bytes());
            }
            Body::Data {
                offset,
                pieces,
                whole,
            } => self.data(cookie, offset, pieces, whole),
            Body::Status(runs) => {
                // Their number is bounded where they are gathered.
                self.chunk(cookie, true, chunk::BLOCK_STATUS, 4 + 8 * runs.len() as u32);
                self.heads.put_u32(wire::BASE_ALLOCATION_ID);
                for run in runs {
                    // A run lies within the request, whose length has 32 bits.
                    self.heads.put_u32(run.len as u32);
                    self.heads.put_u32(match run.kind {
                        RunKind::Data => 0,
                        RunKind::Zero => wire::STATE_HOLE | wire::STATE_ZERO,
                    });
                }
            }
        }
    }

    /// Writes pieces as data chunks and holes.
    fn data(&mut self, cookie: u64, mut offset: u64, mut pieces: Vec<Piece>, whole: bool) {
        pieces.retain(|piece| !piece.is_empty());
        if pieces.is_empty() {
            return self.chunk(cookie, true, chunk::NONE, 0);
        }
        let is_hole = |piece: &Piece| !whole && matches!(piece, Piece::Zero(len) if *len >= MIN_HOLE);
        let mut pieces = pieces.into_iter().peekable();
        let mut group = Vec::new();
        while let Some(first) = pieces.next() {
            if is_hole(&first) {
                let len = first.len();
                self.chunk(cookie, pieces.peek().is_none(), chunk::OFFSET_HOLE, 12);
                self.heads.put_u64(offset);
                self.heads.put_u32(len as u32);
                offset += len;
                continue;
            }
            group.push(first);
            while let Some(next) = pieces.next_if(|piece| !is_hole(piece)) {
                group.push(next);
            }
            let len: u64 = group.iter().map(Piece::len).sum();
            // The pieces together are as long as the request, which is at most 32 MiB.
            self.chunk(
                cookie,
                pieces.peek().is_none(),
                chunk::OFFSET_DATA,
                8 + len as u32,
            );
            self.heads.put_u64(offset);
            self.pieces(group.drain(..));
            offset += len;
        }
    }

    fn chunk(&mut self, cookie: u64, done: bool, kind: u16, len: u32) {
        self.heads.put_u32(wire::STRUCTURED_REPLY_MAGIC);
        self.heads.put_u16(if done { wire::CHUNK_DONE } else { 0 });
        self.heads.put_u16(kind);
        self.heads.put_u64(cookie);
        self.heads.put_u32(len);
    }

    fn pieces(&mut self, pieces: impl IntoIterator<Item = Piece>) {
        for piece in pieces {
            self.queue_heads();
            match piece {
                Piece::Data(data) => self.queue.push_back(data),
                Piece::Zero(len) => {
                    let mut left = len as usize;
                    while left > 0 {
                        let part = left.min(ZEROS.len());
                        self.queue.push_back(Bytes::from_static(&ZEROS[..part]));
                        left -= part;
                    }
                }
            }
        }
    }

    fn queue_heads(&mut self) {
        if !self.heads.is_empty() {
            self.queue.push_back(self.heads.split().freeze());
        }
    }

    /// Writes everything.
    async fn write<W: AsyncWrite + Unpin>(&mut self, writer: &mut W) -> io::Result<()> {
        self.queue_heads();
        // An empty buffer at the front would look like a connection that takes no more.
        self.queue.retain(|buffer| !buffer.is_empty());
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (slice, buffer) in slices.iter_mut().zip(&self.queue) {
                *slice = IoSlice::new(buffer);
                count += 1;
            }
            let written = writer.write_vectored(&slices[..count]).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.advance(written);
        }
        Ok(())
    }

    /// Drops the first `written` bytes of the queue.
    fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.queue.front_mut() {
            if written < front.len() {
                return front.advance(written);
            }
            written -= front.len();
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn encoded(structured: bool, body: Body) -> Vec<u8> {
        let mut out = Outbox::default();
        if structured {
            out.structured(7, body);
        } else {
            out.simple(7, body);
        }
        let mut bytes = Vec::new();
        out.write(&mut bytes).await.unwrap();
        bytes
    }

    fn pieces() -> Vec<Piece> {
        vec![
            Piece::Data(Bytes::from_static(b"one")),
            Piece::Zero(2),
            Piece::Data(Bytes::from_static(b"two")),
            Piece::Zero(MIN_HOLE),
        ]
    }

    #[tokio::test]
    async fn a_long_zero_run_becomes_a_hole_and_a_short_one_stays_data() {
        let bytes = encoded(
            true,
            Body::Data {
                offset: 100,
                pieces: pieces(),
                whole: false,
            },
        )
        .await;
        let mut rest = bytes.as_slice();
        assert_eq!(rest.get_u32(), wire::STRUCTURED_REPLY_MAGIC);
        assert_eq!(
            (rest.get_u16(), rest.get_u16()),
            (0, chunk::OFFSET_DATA),
            "more follows"
        );
        assert_eq!((rest.get_u64(), rest.get_u32(), rest.get_u64()), (7, 16, 100));
        assert_eq!(&rest[..8], b"one\0\0two");
        rest.advance(8);
        assert_eq!(rest.get_u32(), wire::STRUCTURED_REPLY_MAGIC);
        assert_eq!(
            (rest.get_u16(), rest.get_u16()),
            (wire::CHUNK_DONE, chunk::OFFSET_HOLE)
        );
        assert_eq!((rest.get_u64(), rest.get_u32()), (7, 12));
        assert_eq!((rest.get_u64(), rest.get_u32()), (108, MIN_HOLE));
        assert!(rest.is_empty(), "{} bytes too many", rest.len());
    }

    #[tokio::test]
    async fn a_client_that_forbids_fragments_gets_one_chunk() {
        let bytes = encoded(
            true,
            Body::Data {
                offset: 0,
                pieces: pieces(),
                whole: true,
            },
        )
        .await;
        assert_eq!(bytes.len(), 28 + 8 + MIN_HOLE as usize);
        assert_eq!(bytes[4..8], [0, 1, 0, 1], "done, and data");
    }

    #[tokio::test]
    async fn a_simple_answer_is_a_header_and_the_bytes() {
        let bytes = encoded(
            false,
            Body::Data {
                offset: 0,
                pieces: pieces(),
                whole: false,
            },
        )
        .await;
        assert_eq!(bytes.len(), 16 + 8 + MIN_HOLE as usize);
        assert_eq!(&bytes[16..24], b"one\0\0two");
    }

    #[tokio::test]
    async fn a_message_is_cut_to_what_the_protocol_allows() {
        let bytes = encoded(true, Body::Error(ErrorNumber::Io, "ä".repeat(9000))).await;
        assert_eq!(bytes.len(), 20 + 6 + wire::MAX_NAME);
    }

    #[tokio::test]
    async fn zeros_of_any_length_are_written_whole() {
        let zeros = vec![Piece::Zero(300_001)];
        let bytes = encoded(
            false,
            Body::Data {
                offset: 0,
                pieces: zeros,
                whole: true,
            },
        )
        .await;
        assert_eq!(bytes.len(), 16 + 300_001);
        assert!(bytes[16..].iter().all(|byte| *byte == 0));
    }
}
