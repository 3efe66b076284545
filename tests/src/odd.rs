//! A web server that says exactly what a test lets it say, byte for byte: for all that is legal and that no library would send.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The path and the query, with `/` at its beginning.
    pub path: String,
    /// The first and one past the last byte that were asked for, if a range was.
    pub range: Option<(usize, usize)>,
    /// The names, in small letters, and values of its headers.
    pub headers: Vec<(String, String)>,
    /// How many requests came before it.
    pub before: usize,
    /// Bytes of the answer that were sent.
    pub sent: u64,
}

impl Asked {
    /// A header's value; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// What is sent, and what happens to the connection then.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Everything, from the status line on.
    pub bytes: Vec<u8>,
    /// The connection is closed.
    pub close: bool,
}

impl Reply {
    /// A status such as `206 Partial Content`, headers such as `ETag: "1"`, and a body of which the length is said.
    #[must_use]
    pub fn new(status: &str, headers: &[&str], body: &[u8]) -> Self {
        let length = format!("Content-Length: {}", body.len());
        Self::raw(
            &format!("HTTP/1.1 {status}"),
            &[headers, &[&length]].concat(),
            body,
        )
    }

    /// The same, without a word about the length: it ends with the connection.
    #[must_use]
    pub fn unbounded(status: &str, headers: &[&str], body: &[u8]) -> Self {
        Self::raw(&format!("HTTP/1.1 {status}"), headers, body).closing()
    }

    /// The same, in chunks.
    #[must_use]
    pub fn chunked(status: &str, headers: &[&str], body: &[u8]) -> Self {
        let mut chunks = Vec::new();
        for chunk in body.chunks(10_007) {
            chunks.extend(format!("{:X};name=\"value\"\r\n", chunk.len()).into_bytes());
            chunks.extend(chunk);
            chunks.extend(b"\r\n");
        }
        chunks.extend(b"0\r\nX-Trailer: 1\r\n\r\n");
        Self::raw(
            &format!("HTTP/1.1 {status}"),
            &[headers, &["Transfer-Encoding: chunked"]].concat(),
            &chunks,
        )
    }

    /// The first line, headers, and what comes behind them.
    #[must_use]
    pub fn raw(first: &str, headers: &[&str], body: &[u8]) -> Self {
        let mut bytes = format!("{first}\r\n").into_bytes();
        for header in headers {
            bytes.extend(format!("{header}\r\n").into_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(body);
        Self { bytes, close: false }
    }

    /// Closes the connection behind it.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    /// Sends only so many bytes of it, and closes the connection.
    #[must_use]
    pub fn cut(mut self, bytes: usize) -> Self {
        self.bytes.truncate(bytes);
        self.closing()
    }
}

/// What a server does with a request.
pub type Answers = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// Reads a file for a path that was asked for, without its query.
#[must_use]
pub fn file(root: &std::path::Path, path: &str) -> Option<Vec<u8>> {
    let path = path.split('?').next().unwrap_or_default();
    std::fs::read(root.join(path.trim_start_matches('/'))).ok()
}

/// A running server on loopback; it ends when it is dropped.
pub struct Odd {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Odd {
    /// Answers every request by `answers`.
    ///
    /// # Errors
    /// If no socket can be had.
    pub fn start(answers: Answers) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let log = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&log), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (answers, log) = (Arc::clone(&answers), Arc::clone(&shared));
                std::thread::spawn(move || {
                    // A client that goes away is what some tests are about.
                    let _ = serve(stream, &answers, &log);
                });
            }
        });
        Ok(Self {
            address,
            log,
            stop,
            thread: Some(thread),
        })
    }

    /// Serves the files under `root`; `answers` gets the content of the one that was asked for. What is not there is 404.
    ///
    /// # Errors
    /// If no socket can be had.
    pub fn serve(
        root: impl Into<PathBuf>,
        answers: impl Fn(&Asked, &[u8]) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let root = root.into();
        Self::start(Arc::new(move |asked| match file(&root, &asked.path) {
            Some(content) => answers(asked, &content),
            None => Reply::new("404 Not Found", &[], b""),
        }))
    }

    /// Where it is: `http://127.0.0.1:PORT/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Where it is, for who connects by other means.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests so far for paths that contain `path`.
    #[must_use]
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let log = lock(&self.log);
        log.iter()
            .filter(|asked| asked.path.contains(path))
            .cloned()
            .collect()
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // A connection lets it look.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, answers: &Answers, log: &Mutex<Vec<Asked>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut waiting = Vec::new();
    while let Some(mut asked) = next(&mut stream, &mut waiting)? {
        let at = {
            let mut log = lock(log);
            asked.before = log.len();
            log.push(asked.clone());
            asked.before
        };
        let reply = answers(&asked);
        for part in reply.bytes.chunks(64 * 1024) {
            stream.write_all(part)?;
            lock(log)[at].sent += part.len() as u64;
        }
        if reply.close {
            stream.shutdown(Shutdown::Write)?;
            // Closing with something unread would reset what was sent.
            let mut rest = [0; 1024];
            while stream.read(&mut rest)? > 0 {}
            return Ok(());
        }
    }
    Ok(())
}

/// Reads a request, which has no body.
fn next(stream: &mut TcpStream, waiting: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    let end = loop {
        if let Some(end) = waiting.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut block = [0; 4096];
        match stream.read(&mut block)? {
            0 => return Ok(None),
            read => waiting.extend(&block[..read]),
        }
    };
    let head: Vec<u8> = waiting.drain(..end + 4).collect();
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1));
    let path = path.unwrap_or("/").to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<(String, String)> = headers
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let range = headers.iter().find(|(name, _)| name == "range");
    let range = range.and_then(|(_, value)| {
        let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse::<usize>().ok()? + 1))
    });
    Ok(Some(Asked {
        path,
        range,
        headers,
        before: 0,
        sent: 0,
    }))
}

fn lock(log: &Mutex<Vec<Asked>>) -> MutexGuard<'_, Vec<Asked>> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
