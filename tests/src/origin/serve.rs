//! Connections, and bodies as they are sent: paced, logged, and failing where they are told to.

use std::convert::Infallible;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::answer::{self, Answer};
use super::faults::Fault;
use super::log::Entry;
use super::{Shared, bomb};

/// Bytes that are sent at once.
const FRAME: usize = 16 * 1024;

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // A client that goes away is what many tests are about.
            let _ = connection(stream, shared).await;
        });
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A second handle of the same socket, to reset it while hyper has the first.
    let stream = stream.into_std()?;
    let twin = Arc::new(TcpStream::from_std(stream.try_clone()?)?);
    let stream = TcpStream::from_std(stream)?;
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, twin) = (Arc::clone(&shared), Arc::clone(&twin));
        async move { Ok::<_, Infallible>(respond(&request, shared, twin).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

async fn respond(request: &Request<Incoming>, shared: Arc<Shared>, twin: Arc<TcpStream>) -> Response<Frames> {
    let started = Instant::now();
    let path = request.uri().path().to_owned();
    let fault = shared.faults.meet(&path);
    let mut answer = Answer::to(
        &shared.root,
        &path,
        request.headers(),
        fault != Some(Fault::NoRanges),
    );
    let mut content = Content::File;
    let mut has_length = true;
    match &fault {
        Some(Fault::Status { code, retry_after }) => {
            answer = Answer::empty(StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
            if let Some(seconds) = retry_after {
                answer.set(RETRY_AFTER, &seconds.to_string());
            }
        }
        Some(Fault::Asks { scheme }) if !request.headers().contains_key(AUTHORIZATION) => {
            answer = Answer::empty(StatusCode::UNAUTHORIZED);
            answer.set(WWW_AUTHENTICATE, scheme);
        }
        Some(Fault::Redirect { to }) => {
            answer = Answer::empty(StatusCode::FOUND);
            answer.set(LOCATION, &format!("{}{}", to.trim_end_matches('/'), path));
        }
        Some(Fault::Leads { code, to }) => {
            answer = Answer::empty(StatusCode::from_u16(*code).unwrap_or(StatusCode::FOUND));
            answer.set(LOCATION, to);
        }
        Some(Fault::Page) => {
            answer = Answer::empty(StatusCode::OK);
            answer.set(CONTENT_TYPE, "text/html");
            let page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome</body></html>";
            answer.part = (0, page.len() as u64);
            content = Content::Memory(page.to_vec());
        }
        Some(Fault::Nothing) => answer = Answer::empty(StatusCode::OK),
        Some(Fault::Type { value }) => answer.set(CONTENT_TYPE, value),
        Some(Fault::DatesOnly) => {
            answer.headers.remove(ETAG);
        }
        Some(Fault::GzipBomb { size }) => {
            answer = Answer::empty(StatusCode::OK);
            answer.set(CONTENT_ENCODING, "gzip");
            let bytes = bomb::zeros(*size);
            answer.part = (0, bytes.len() as u64);
            content = Content::Memory(bytes);
        }
        Some(Fault::WrongRange) if answer.status == StatusCode::PARTIAL_CONTENT => {
            let (first, end) = answer.part;
            answer.send_part(first + 1, (end + 1).min(answer.size));
        }
        Some(Fault::Extra { .. }) => has_length = false,
        Some(Fault::OtherTag) => answer.set(ETAG, &format!("\"{}\"", shared.faults.met())),
        _ => {}
    }
    let entry = shared.log.add(Entry {
        method: request.method().to_string(),
        path,
        range: answer::range(request.headers(), u64::MAX),
        headers: request.headers().clone(),
        status: answer.status.as_u16(),
        sent: 0,
        started,
        ended: None,
        complete: false,
    });
    shared.throttle.arrive().await;

    let length = answer.part.1 - answer.part.0;
    if has_length && answer.status != StatusCode::NOT_MODIFIED {
        answer.set(CONTENT_LENGTH, &length.to_string());
    }
    let (frames, receiver) = mpsc::channel(1);
    let (status, headers) = (answer.status, std::mem::take(&mut answer.headers));
    if request.method() == http::Method::HEAD {
        answer.part = (0, 0);
    }
    tokio::spawn(async move {
        let sending = Sending {
            shared: &shared,
            frames,
            entry,
            fault,
            twin: &twin,
        };
        let complete = sending.run(answer, content).await;
        shared.log.change(entry, |entry| {
            entry.ended = Some(Instant::now());
            entry.complete = complete;
        });
    });
    let mut response = Response::new(Frames(receiver));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

enum Content {
    File,
    Memory(Vec<u8>),
}

struct Sending<'a> {
    shared: &'a Shared,
    frames: mpsc::Sender<io::Result<Bytes>>,
    entry: (usize, Instant),
    fault: Option<Fault>,
    twin: &'a TcpStream,
}

impl Sending<'_> {
    /// Sends the body; true if all of it was taken.
    async fn run(mut self, mut answer: Answer, content: Content) -> bool {
        let (mut next, end) = answer.part;
        let mut sent = 0;
        while next < end {
            let mut size = (end - next).min(FRAME as u64);
            match self.fault {
                Some(Fault::Stall { after }) if sent >= after => {
                    self.frames.closed().await;
                    return false;
                }
                Some(Fault::Truncate { after }) if sent >= after => return self.abort().await,
                Some(Fault::Reset { after }) if sent >= after => {
                    let _ = self.twin.set_zero_linger();
                    return self.abort().await;
                }
                Some(Fault::Stall { after } | Fault::Truncate { after } | Fault::Reset { after }) => {
                    size = size.min(after - sent);
                }
                Some(Fault::Trickle { bytes_per_second }) => {
                    size = size.min(bytes_per_second.div_ceil(50).max(1));
                    let pause = Duration::from_secs_f64(size as f64 / bytes_per_second as f64);
                    tokio::time::sleep(pause).await;
                }
                _ => {}
            }
            let mut from = next;
            if let Some(Fault::Elsewhere { by }) = self.fault {
                // What is sent fits, and is of the file.
                from = (next + by) % (answer.size - size + 1);
            }
            let Ok(mut frame) = read(&mut answer, &content, from, size as usize) else {
                return self.abort().await;
            };
            if let Some(Fault::Flip { at }) = self.fault
                && (next..next + size).contains(&at)
            {
                frame[(at - next) as usize] ^= 0xff;
            }
            if !self.send(frame).await {
                return false;
            }
            next += size;
            sent += size;
        }
        if let Some(Fault::Extra { bytes }) = self.fault.take() {
            return self.send(vec![0x55; bytes as usize]).await;
        }
        true
    }

    async fn send(&self, frame: Vec<u8>) -> bool {
        let size = frame.len();
        self.shared.throttle.send(size).await;
        let taken = self.frames.send(Ok(frame.into())).await.is_ok();
        if taken {
            self.shared
                .log
                .change(self.entry, |entry| entry.sent += size as u64);
        }
        taken
    }

    /// Ends the connection before the end of the body.
    async fn abort(&self) -> bool {
        let error = io::Error::from(io::ErrorKind::ConnectionAborted);
        let _ = self.frames.send(Err(error)).await;
        false
    }
}

fn read(answer: &mut Answer, content: &Content, at: u64, size: usize) -> io::Result<Vec<u8>> {
    match (content, &mut answer.file) {
        (Content::Memory(bytes), _) => Ok(bytes[at as usize..at as usize + size].to_vec()),
        (Content::File, Some(file)) => {
            let mut frame = vec![0; size];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut frame)?;
            Ok(frame)
        }
        (Content::File, None) => Err(io::ErrorKind::NotFound.into()),
    }
}

/// A body that comes from a channel.
struct Frames(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_recv(context)
            .map(|frame| frame.map(|result| result.map(Frame::data)))
    }
}
