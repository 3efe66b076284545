//! A client that can also do what no client should.

use std::{sync::Arc, time::Duration};

use bytes::BufMut;
use livepc_disk::{
    block::BlockDevice,
    nbd::{Address, Exports, Listen, Server},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub(crate) const READ: u16 = 0;
pub(crate) const WRITE: u16 = 1;
pub(crate) const DISCONNECT: u16 = 2;
pub(crate) const FLUSH: u16 = 3;
pub(crate) const TRIM: u16 = 4;
pub(crate) const CACHE: u16 = 5;
pub(crate) const WRITE_ZEROES: u16 = 6;
pub(crate) const BLOCK_STATUS: u16 = 7;
pub(crate) const DF: u16 = 4;
pub(crate) const REQ_ONE: u16 = 8;

pub(crate) const ACK: u32 = 1;
pub(crate) const ERR_UNSUP: u32 = 0x8000_0001;
pub(crate) const ERR_POLICY: u32 = 0x8000_0002;
pub(crate) const ERR_INVALID: u32 = 0x8000_0003;
pub(crate) const ERR_UNKNOWN: u32 = 0x8000_0006;
pub(crate) const ERR_TOO_BIG: u32 = 0x8000_0009;

/// Longer than anything in these tests takes; a hang must fail and not hang them.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Serves `device` as the default export on a loopback port.
pub(crate) async fn serve(device: Arc<dyn BlockDevice>) -> Server {
    Server::start(&Listen::Loopback, Exports::single(device))
        .await
        .unwrap()
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    structured: bool,
    cookie: u64,
}

/// The answer to a request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) cookie: u64,
    pub(crate) error: u32,
    /// (offset, bytes) of data chunks; zeros of holes included. A simple reply has offset 0.
    pub(crate) data: Vec<(u64, Vec<u8>)>,
    /// How many of the chunks were holes.
    pub(crate) holes: usize,
    /// (length, flags)
    pub(crate) status: Vec<(u32, u32)>,
}

impl Client {
    /// Connects and reads the greeting, but chooses nothing yet.
    pub(crate) async fn connect(server: &Server) -> Self {
        #[allow(irrefutable_let_patterns, reason = "outside Unix there is only TCP")]
        let Address::Tcp(address) = server.address() else {
            panic!("these tests use TCP")
        };
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(
            &greeting, b"NBDMAGICIHAVEOPT\0\x03",
            "fixed newstyle, and no zeroes offered"
        );
        stream.write_u32(3).await.unwrap();
        Self {
            stream,
            structured: false,
            cookie: 0,
        }
    }

    /// Connects to the default export with structured replies and `base:allocation`.
    pub(crate) async fn structured(server: &Server) -> Self {
        let mut client = Self::connect(server).await;
        assert_eq!(client.option(8, &[]).await.last().unwrap().0, ACK);
        client.structured = true;
        let contexts = client.option(10, &contexts("", &["base:allocation"])).await;
        assert_eq!(contexts.len(), 2, "the context and an ACK: {contexts:?}");
        assert_eq!(client.option(7, &selection("", &[])).await.last().unwrap().0, ACK);
        client
    }

    /// Connects to the default export with simple replies.
    pub(crate) async fn simple(server: &Server) -> Self {
        let mut client = Self::connect(server).await;
        assert_eq!(client.option(7, &selection("", &[])).await.last().unwrap().0, ACK);
        client
    }

    /// Sends an option; its replies as (type, data), the last being an ACK or an error.
    pub(crate) async fn option(&mut self, kind: u32, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let mut out = Vec::new();
        out.put_slice(b"IHAVEOPT");
        out.put_u32(kind);
        out.put_u32(data.len() as u32);
        out.put_slice(data);
        self.stream.write_all(&out).await.unwrap();
        let mut replies = Vec::new();
        loop {
            assert_eq!(
                self.stream.read_u64().await.unwrap(),
                0x3_e889_0455_65a9,
                "option reply magic"
            );
            assert_eq!(
                self.stream.read_u32().await.unwrap(),
                kind,
                "the reply names its option"
            );
            let reply = self.stream.read_u32().await.unwrap();
            let mut data = vec![0; self.stream.read_u32().await.unwrap() as usize];
            self.stream.read_exact(&mut data).await.unwrap();
            replies.push((reply, data));
            if reply == ACK || reply >= 0x8000_0000 {
                return replies;
            }
        }
    }

    /// Sends a request without waiting; gives its cookie.
    pub(crate) async fn send(&mut self, command: u16, flags: u16, offset: u64, len: u32) -> u64 {
        self.cookie += 1;
        let mut out = Vec::new();
        out.put_u32(0x2560_9513);
        out.put_u16(flags);
        out.put_u16(command);
        out.put_u64(self.cookie);
        out.put_u64(offset);
        out.put_u32(len);
        self.stream.write_all(&out).await.unwrap();
        self.cookie
    }

    /// Waits for the next answer; `len` is what a simple read gives.
    pub(crate) async fn receive(&mut self, len: u32) -> Answer {
        timeout(PATIENCE, self.receive_patiently(len))
            .await
            .expect("an answer in time")
    }

    async fn receive_patiently(&mut self, len: u32) -> Answer {
        let mut answer = Answer::default();
        if !self.structured {
            assert_eq!(
                self.stream.read_u32().await.unwrap(),
                0x6744_6698,
                "simple reply magic"
            );
            answer.error = self.stream.read_u32().await.unwrap();
            answer.cookie = self.stream.read_u64().await.unwrap();
            if answer.error == 0 {
                answer.data.push((0, self.bytes(len).await));
            }
            return answer;
        }
        loop {
            assert_eq!(
                self.stream.read_u32().await.unwrap(),
                0x668e_33ef,
                "structured reply magic"
            );
            let done = self.stream.read_u16().await.unwrap() & 1 != 0;
            let kind = self.stream.read_u16().await.unwrap();
            answer.cookie = self.stream.read_u64().await.unwrap();
            let len = self.stream.read_u32().await.unwrap();
            match kind {
                0 => assert_eq!(len, 0),
                1 => {
                    let offset = self.stream.read_u64().await.unwrap();
                    let data = self.bytes(len - 8).await;
                    answer.data.push((offset, data));
                }
                2 => {
                    let offset = self.stream.read_u64().await.unwrap();
                    answer
                        .data
                        .push((offset, vec![0; self.stream.read_u32().await.unwrap() as usize]));
                    answer.holes += 1;
                }
                5 => {
                    assert_eq!(
                        self.stream.read_u32().await.unwrap(),
                        1,
                        "the context that was negotiated"
                    );
                    for _ in 0..(len - 4) / 8 {
                        let run = self.stream.read_u32().await.unwrap();
                        answer.status.push((run, self.stream.read_u32().await.unwrap()));
                    }
                }
                0x8001 => {
                    answer.error = self.stream.read_u32().await.unwrap();
                    let message = self.stream.read_u16().await.unwrap();
                    assert_eq!(u32::from(message) + 6, len, "the message fills the chunk");
                    self.bytes(message.into()).await;
                }
                _ => panic!("chunk type {kind}"),
            }
            if done {
                return answer;
            }
        }
    }

    async fn bytes(&mut self, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&mut self, command: u16, flags: u16, offset: u64, len: u32) -> Answer {
        let cookie = self.send(command, flags, offset, len).await;
        let expected = if command == READ { len } else { 0 };
        let answer = self.receive(expected).await;
        assert_eq!(answer.cookie, cookie);
        answer
    }

    /// Reads, and puts the chunks together: they must cover the range once.
    pub(crate) async fn read(&mut self, offset: u64, len: u32) -> Vec<u8> {
        let mut answer = self.ask(READ, 0, offset, len).await;
        assert_eq!(answer.error, 0, "reading {len} bytes at {offset}");
        answer.data.sort_by_key(|(at, _)| *at);
        let mut whole = Vec::new();
        for (at, data) in answer.data {
            if self.structured {
                assert_eq!(at, offset + whole.len() as u64, "chunks follow each other");
            }
            whole.extend(data);
        }
        assert_eq!(whole.len(), len as usize);
        whole
    }

    /// Waits until the server hangs up.
    pub(crate) async fn hung_up(mut self) {
        let mut rest = Vec::new();
        // A reset is a way of hanging up, too.
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest))
            .await
            .expect("the server hangs up");
    }
}

/// The data of `INFO` and `GO`.
pub(crate) fn selection(name: &str, wanted: &[u16]) -> Vec<u8> {
    let mut data = Vec::new();
    data.put_u32(name.len() as u32);
    data.put_slice(name.as_bytes());
    data.put_u16(wanted.len() as u16);
    for kind in wanted {
        data.put_u16(*kind);
    }
    data
}

/// The data of `SET_META_CONTEXT` and `LIST_META_CONTEXT`.
pub(crate) fn contexts(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = Vec::new();
    data.put_u32(name.len() as u32);
    data.put_slice(name.as_bytes());
    data.put_u32(queries.len() as u32);
    for query in queries {
        data.put_u32(query.len() as u32);
        data.put_slice(query.as_bytes());
    }
    data
}
