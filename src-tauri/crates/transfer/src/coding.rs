//! What was done to a body on its way, and undoing it: whatever was asked for, servers compress, and say so or do not.
//!
//! Everything here is of constant size: what comes out is never longer than what its reader asks for.

use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _};
use tokio_util::io::{ReaderStream, StreamReader};
use zstd::stream::raw::{DParameter, Decoder, Operation as _};

use crate::framing::{self, Unframing};

/// What tells how a body begins.
pub(crate) const HEAD: usize = 32;
/// Bytes that are decompressed at once.
const BLOCK: usize = 64 * 1024;
/// How far back a zstd stream may refer, as a power of two: what that takes of memory.
const WINDOW: u32 = 24;
/// The beginning of a gzip member (RFC 1952, 2.3.1).
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
/// The beginning of a zstd frame, and so of every pack (RFC 8878, 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// One thing that was done to a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
    /// The frames of an upload to S3, which some servers store along with what they are around. Others store only the
    /// header.
    AwsChunked,
    /// One that is not known here. What came may be as it should nevertheless: digests tell.
    Other(String),
}

impl Coding {
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            // What is done by none of these is nothing.
            "" | "identity" | "none" | "binary" | "8bit" | "7bit" | "utf-8" | "utf8" => return None,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" | "zlib" => Self::Deflate,
            "br" => Self::Brotli,
            "zstd" => Self::Zstd,
            "aws-chunked" => Self::AwsChunked,
            other => Self::Other(other.to_owned()),
        })
    }

    /// True if byte ranges of a body on which this was done are none of the file.
    pub(crate) fn moves_bytes(&self) -> bool {
        matches!(self, Self::Gzip | Self::Deflate | Self::Brotli | Self::Zstd)
    }

    /// True if a body that begins like this looks as if it had been done.
    fn fits(&self, head: &[u8]) -> bool {
        match self {
            Self::Gzip => head.starts_with(&GZIP),
            // Their beginning is no sign of anything.
            Self::Deflate | Self::Brotli => {
                !head.is_empty() && !head.starts_with(&ZSTD) && !framing::begins(head)
            }
            Self::Zstd => head.starts_with(&ZSTD),
            Self::AwsChunked => framing::begins(head),
            Self::Other(_) => false,
        }
    }
}

/// What a server says that it did, in the order in which it did it.
pub(crate) fn said(headers: &HeaderMap) -> Vec<Coding> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let names: Vec<String> = values
        .flat_map(|value| {
            value
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    names.iter().filter_map(|name| Coding::named(name)).collect()
}

/// Bytes as they come, in pieces.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// What a body is, once what was done to it is undone.
pub(crate) struct Undone {
    pub(crate) pieces: Pieces,
    /// How it begins: [`HEAD`] bytes, or all.
    pub(crate) head: Bytes,
    /// False if nothing had to be done.
    pub(crate) changed: bool,
}

/// Undoes what a server says that it did, as far as the bytes look like it, and what it does not say although they do: no file
/// of ours begins as a gzip stream or an upload's frames do.
pub(crate) async fn undo(pieces: Pieces, said: &[Coding]) -> io::Result<Undone> {
    let (mut head, mut pieces) = peek(pieces).await?;
    let mut changed = false;
    let unsaid = [Coding::AwsChunked, Coding::Gzip];
    for coding in said.iter().rev().chain(&unsaid) {
        if coding.fits(&head) {
            (head, pieces) = peek(decoded(pieces, coding, &head)).await?;
            changed = true;
        }
    }
    Ok(Undone {
        pieces,
        head,
        changed,
    })
}

/// The beginning, which stays in front of what is left.
async fn peek(mut pieces: Pieces) -> io::Result<(Bytes, Pieces)> {
    let mut taken = Vec::new();
    let mut head = Vec::new();
    while head.len() < HEAD
        && let Some(piece) = pieces.try_next().await?
    {
        let part = piece.len().min(HEAD - head.len());
        head.extend_from_slice(&piece[..part]);
        taken.push(piece);
    }
    let front = stream::iter(taken.into_iter().map(Ok));
    Ok((head.into(), front.chain(pieces).boxed()))
}

fn decoded(pieces: Pieces, coding: &Coding, head: &[u8]) -> Pieces {
    match coding {
        Coding::Gzip => gunzip(pieces),
        // Both go under this name (RFC 9110, 8.4.1.2).
        Coding::Deflate if is_zlib(head) => read(ZlibDecoder::new(StreamReader::new(pieces))),
        Coding::Deflate => read(DeflateDecoder::new(StreamReader::new(pieces))),
        Coding::Brotli => read(BrotliDecoder::new(StreamReader::new(pieces))),
        Coding::Zstd => unzstd(pieces),
        Coding::AwsChunked => {
            let mut frames = Unframing::default();
            pieces
                .map(move |piece| piece.and_then(|piece| frames.feed(piece)))
                .map_ok(|held| stream::iter(held.into_iter().map(Ok)))
                .try_flatten()
                .boxed()
        }
        Coding::Other(_) => pieces,
    }
}

fn read(decoder: impl AsyncRead + Send + 'static) -> Pieces {
    ReaderStream::with_capacity(decoder, BLOCK).boxed()
}

/// Members, one behind another (RFC 1952, 2.2). What is behind them and begins as none is left: some pad with zeros.
fn gunzip(pieces: Pieces) -> Pieces {
    let step = async |mut decoder: GzipDecoder<_>| {
        loop {
            let mut block = BytesMut::with_capacity(BLOCK);
            if decoder.read_buf(&mut block).await? > 0 {
                return Ok(Some((block.freeze(), decoder)));
            }
            let mut rest: StreamReader<Pieces, Bytes> = decoder.into_inner();
            if rest.fill_buf().await?.first() != GZIP.first() {
                return Ok(None);
            }
            decoder = GzipDecoder::new(rest);
        }
    };
    stream::try_unfold(GzipDecoder::new(StreamReader::new(pieces)), step).boxed()
}

/// The library that chunks are compressed with has no reader that waits.
fn unzstd(pieces: Pieces) -> Pieces {
    struct State {
        pieces: Pieces,
        decoder: Option<Decoder<'static>>,
        left: Bytes,
    }
    let start = State {
        pieces,
        decoder: None,
        left: Bytes::new(),
    };
    let step = async |mut state: State| {
        let decoder = match &mut state.decoder {
            Some(decoder) => decoder,
            none => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW))?;
                none.insert(decoder)
            }
        };
        loop {
            let mut block = vec![0; BLOCK];
            let status = decoder.run_on_buffers(&state.left, &mut block)?;
            state.left.advance(status.bytes_read);
            if status.bytes_written > 0 {
                block.truncate(status.bytes_written);
                return Ok(Some((Bytes::from(block), state)));
            }
            if state.left.is_empty() {
                match state.pieces.try_next().await? {
                    Some(piece) => state.left = piece,
                    None => return Ok(None),
                }
            }
        }
    };
    stream::try_unfold(start, step).boxed()
}

/// The two bytes that a zlib stream begins with (RFC 1950, 2.2).
fn is_zlib(head: &[u8]) -> bool {
    let [method, flags] = [0, 1].map(|at| head.get(at).copied().unwrap_or_default());
    method & 0x0f == 8 && (u16::from(method) << 8 | u16::from(flags)).is_multiple_of(31)
}

/// All of a body that is here already, undone, if it has at most `limit` bytes then.
pub(crate) async fn undone(bytes: Bytes, said: &[Coding], limit: u64) -> io::Result<Option<Bytes>> {
    let pieces = stream::once(async move { Ok(bytes) }).boxed();
    let undone = undo(pieces, said).await?;
    let mut all = Vec::new();
    let reader = StreamReader::new(undone.pieces);
    reader.take(limit.saturating_add(1)).read_to_end(&mut all).await?;
    Ok((all.len() as u64 <= limit).then(|| all.into()))
}
