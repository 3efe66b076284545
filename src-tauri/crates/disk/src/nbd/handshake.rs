//! The negotiation at the start of a connection (fixed newstyle): which export, and how replies look.

use std::{io, sync::Arc};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    Exports,
    options::{self, BadOption},
    wire::{self, info, option, reply, transmission},
};
use crate::block::BlockDevice;

/// The longest payload of an option that is read, in bytes: room for an export name and some queries of the same length.
const MAX_OPTION: u32 = 32 << 10;

/// What client and server agreed on.
pub(super) struct Session {
    pub(super) device: Arc<dyn BlockDevice>,
    /// Whether the client understands structured replies; reads must then be answered with them.
    pub(super) structured: bool,
    /// Whether the client asked for `base:allocation`.
    pub(super) allocation: bool,
}

/// How a negotiation ended that did not fail.
pub(super) enum Outcome {
    /// The transmission phase begins.
    Transmission(Session),
    /// The client wanted no more.
    Aborted,
}

/// Negotiates with a client.
///
/// # Errors
/// If the connection fails, or the client sends what the protocol forbids; it is then to be closed.
pub(super) async fn negotiate<R, W>(reader: &mut R, writer: &mut W, exports: &Exports) -> io::Result<Outcome>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut greeting = BytesMut::with_capacity(18);
    greeting.put_u64(wire::NBD_MAGIC);
    greeting.put_u64(wire::OPTION_MAGIC);
    greeting.put_u16(wire::FLAG_FIXED_NEWSTYLE | wire::FLAG_NO_ZEROES);
    writer.write_all(&greeting).await?;

    let accepted = reader.read_u32().await?;
    let known = u32::from(wire::FLAG_FIXED_NEWSTYLE | wire::FLAG_NO_ZEROES);
    if accepted & !known != 0 {
        return Err(violation(
            "the client accepted handshake flags that were not offered",
        ));
    }
    let mut negotiation = Negotiation {
        exports,
        no_zeroes: accepted & u32::from(wire::FLAG_NO_ZEROES) != 0,
        structured: false,
        context_of: None,
        out: BytesMut::new(),
    };
    let mut payload = Vec::new();
    loop {
        if reader.read_u64().await? != wire::OPTION_MAGIC {
            return Err(violation("an option began with the wrong magic number"));
        }
        let kind = reader.read_u32().await?;
        let len = reader.read_u32().await?;
        if len > MAX_OPTION {
            return Err(violation("an option was longer than any valid one"));
        }
        payload.resize(len as usize, 0);
        reader.read_exact(&mut payload).await?;

        let next = negotiation.answer(kind, &payload);
        writer.write_all(&negotiation.out.split()).await?;
        match next? {
            Next::Option => {}
            Next::End(outcome) => return Ok(outcome),
        }
    }
}

/// What follows an option.
enum Next {
    Option,
    End(Outcome),
}

/// The state between options.
struct Negotiation<'a> {
    exports: &'a Exports,
    no_zeroes: bool,
    structured: bool,
    /// The export for which the client chose `base:allocation`: the choice counts for no other.
    context_of: Option<String>,
    /// Replies to be sent.
    out: BytesMut,
}

impl Negotiation<'_> {
    fn answer(&mut self, kind: u32, payload: &[u8]) -> io::Result<Next> {
        match kind {
            option::EXPORT_NAME => return self.export_name(payload),
            option::INFO | option::GO => return Ok(self.select(kind, payload)),
            option::ABORT => {
                self.reply(kind, reply::ACK, &[]);
                return Ok(Next::End(Outcome::Aborted));
            }
            option::LIST => self.list(payload),
            option::STRUCTURED_REPLY if payload.is_empty() => {
                self.structured = true;
                self.reply(kind, reply::ACK, &[]);
            }
            option::STRUCTURED_REPLY => self.refuse(kind, reply::ERR_INVALID, "this option takes no data"),
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => self.contexts(kind, payload),
            option::START_TLS if payload.is_empty() => {
                self.refuse(
                    kind,
                    reply::ERR_POLICY,
                    "TLS is not offered: this server is reached on this computer only",
                );
            }
            option::START_TLS => self.refuse(kind, reply::ERR_INVALID, "this option takes no data"),
            _ => self.refuse(kind, reply::ERR_UNSUP, "unknown option"),
        }
        Ok(Next::Option)
    }

    /// `EXPORT_NAME`: the old way to begin, whose only refusal is to hang up.
    fn export_name(&mut self, payload: &[u8]) -> io::Result<Next> {
        let name = options::export_name(payload).map_err(|_| violation("the export name is malformed"))?;
        let Some(device) = self.exports.device(name) else {
            return Err(violation("the client asked for an export that does not exist"));
        };
        self.out.put_u64(device.size());
        self.out.put_u16(self.transmission_flags());
        if !self.no_zeroes {
            self.out.put_bytes(0, 124);
        }
        Ok(Next::End(Outcome::Transmission(self.session(name, device))))
    }

    /// `INFO` and `GO`: describe an export, and with `GO` begin.
    fn select(&mut self, kind: u32, payload: &[u8]) -> Next {
        let selection = match options::selection(payload) {
            Ok(selection) => selection,
            Err(bad) => return self.refuse_bad(kind, bad),
        };
        let Some(device) = self.exports.device(selection.name) else {
            self.refuse(kind, reply::ERR_UNKNOWN, "no export has that name");
            return Next::Option;
        };
        let mut export = BytesMut::with_capacity(12);
        export.put_u16(info::EXPORT);
        export.put_u64(device.size());
        export.put_u16(self.transmission_flags());
        self.reply(kind, reply::INFO, &export);
        if selection.wanted.contains(&info::NAME) {
            let name = [&info::NAME.to_be_bytes(), selection.name.as_bytes()].concat();
            self.reply(kind, reply::INFO, &name);
        }
        if selection.wanted.contains(&info::BLOCK_SIZE) {
            let mut sizes = BytesMut::with_capacity(14);
            sizes.put_u16(info::BLOCK_SIZE);
            sizes.put_u32(1);
            sizes.put_u32(4096);
            sizes.put_u32(wire::MAX_PAYLOAD);
            self.reply(kind, reply::INFO, &sizes);
        }
        self.reply(kind, reply::ACK, &[]);
        if kind == option::INFO {
            return Next::Option;
        }
        Next::End(Outcome::Transmission(self.session(selection.name, device)))
    }

    fn list(&mut self, payload: &[u8]) {
        if !payload.is_empty() {
            return self.refuse(option::LIST, reply::ERR_INVALID, "this option takes no data");
        }
        for name in self.exports.listed() {
            // Names are at most 4096 bytes: `Exports` accepts no longer ones.
            let entry = [&(name.len() as u32).to_be_bytes(), name.as_bytes()].concat();
            self.reply(option::LIST, reply::SERVER, &entry);
        }
        self.reply(option::LIST, reply::ACK, &[]);
    }

    /// `LIST_META_CONTEXT` and `SET_META_CONTEXT`: there is `base:allocation`, and nothing else.
    fn contexts(&mut self, kind: u32, payload: &[u8]) {
        let set = kind == option::SET_META_CONTEXT;
        if set {
            self.context_of = None;
        }
        if !self.structured {
            return self.refuse(
                kind,
                reply::ERR_INVALID,
                "structured replies must be negotiated first",
            );
        }
        let query = match options::context_query(payload) {
            Ok(query) => query,
            Err(bad) => {
                self.refuse_bad(kind, bad);
                return;
            }
        };
        if self.exports.device(query.name).is_none() {
            return self.refuse(kind, reply::ERR_UNKNOWN, "no export has that name");
        }
        let asked = query.queries.contains(&wire::BASE_ALLOCATION);
        let listed = !set && (query.queries.is_empty() || query.queries.contains(&"base:"));
        if asked || listed {
            let id = if set { wire::BASE_ALLOCATION_ID } else { 0 };
            let context = [&id.to_be_bytes(), wire::BASE_ALLOCATION.as_bytes()].concat();
            self.reply(kind, reply::META_CONTEXT, &context);
            if set {
                self.context_of = Some(query.name.to_owned());
            }
        }
        self.reply(kind, reply::ACK, &[]);
    }

    fn session(&self, name: &str, device: &Arc<dyn BlockDevice>) -> Session {
        Session {
            device: Arc::clone(device),
            structured: self.structured,
            allocation: self.context_of.as_deref() == Some(name),
        }
    }

    fn transmission_flags(&self) -> u16 {
        let always = transmission::HAS_FLAGS
            | transmission::READ_ONLY
            | transmission::SEND_FLUSH
            | transmission::CAN_MULTI_CONN
            | transmission::SEND_CACHE;
        // Only a structured reply could be fragmented.
        if self.structured {
            always | transmission::SEND_DF
        } else {
            always
        }
    }

    fn reply(&mut self, kind: u32, reply: u32, data: &[u8]) {
        self.out.put_u64(wire::OPTION_REPLY_MAGIC);
        self.out.put_u32(kind);
        self.out.put_u32(reply);
        // Replies hold at most a name of 4096 bytes and a few numbers.
        self.out.put_u32(data.len() as u32);
        self.out.put_slice(data);
    }

    fn refuse(&mut self, kind: u32, reason: u32, message: &str) {
        self.reply(kind, reason, message.as_bytes());
    }

    fn refuse_bad(&mut self, kind: u32, bad: BadOption) -> Next {
        match bad {
            BadOption::Malformed => self.refuse(kind, reply::ERR_INVALID, "the option's data is malformed"),
            BadOption::TooLong => self.refuse(kind, reply::ERR_TOO_BIG, "a name is longer than 4096 bytes"),
        }
        Next::Option
    }
}

/// The error of a client that breaks the protocol in a way that no reply can answer.
pub(super) fn violation(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
