//! The numbers of the NBD protocol, as its `doc/proto.md` names them. All are big-endian on the wire.

use bytes::Buf;

pub(super) const NBD_MAGIC: u64 = 0x4e42_444d_4147_4943;
pub(super) const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
pub(super) const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
pub(super) const REQUEST_MAGIC: u32 = 0x2560_9513;
pub(super) const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
pub(super) const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

/// Handshake flags; the client echoes those it accepts.
pub(super) const FLAG_FIXED_NEWSTYLE: u16 = 1 << 0;
pub(super) const FLAG_NO_ZEROES: u16 = 1 << 1;

/// Option types.
pub(super) mod option {
    pub(in crate::nbd) const EXPORT_NAME: u32 = 1;
    pub(in crate::nbd) const ABORT: u32 = 2;
    pub(in crate::nbd) const LIST: u32 = 3;
    pub(in crate::nbd) const START_TLS: u32 = 5;
    pub(in crate::nbd) const INFO: u32 = 6;
    pub(in crate::nbd) const GO: u32 = 7;
    pub(in crate::nbd) const STRUCTURED_REPLY: u32 = 8;
    pub(in crate::nbd) const LIST_META_CONTEXT: u32 = 9;
    pub(in crate::nbd) const SET_META_CONTEXT: u32 = 10;
}

/// Option reply types.
pub(super) mod reply {
    pub(in crate::nbd) const ACK: u32 = 1;
    pub(in crate::nbd) const SERVER: u32 = 2;
    pub(in crate::nbd) const INFO: u32 = 3;
    pub(in crate::nbd) const META_CONTEXT: u32 = 4;
    pub(in crate::nbd) const ERR_UNSUP: u32 = 0x8000_0001;
    pub(in crate::nbd) const ERR_POLICY: u32 = 0x8000_0002;
    pub(in crate::nbd) const ERR_INVALID: u32 = 0x8000_0003;
    pub(in crate::nbd) const ERR_UNKNOWN: u32 = 0x8000_0006;
    pub(in crate::nbd) const ERR_TOO_BIG: u32 = 0x8000_0009;
}

/// Information types of `INFO` and `GO`.
pub(super) mod info {
    pub(in crate::nbd) const EXPORT: u16 = 0;
    pub(in crate::nbd) const NAME: u16 = 1;
    pub(in crate::nbd) const BLOCK_SIZE: u16 = 3;
}

/// Transmission flags: what an export can do.
pub(super) mod transmission {
    pub(in crate::nbd) const HAS_FLAGS: u16 = 1 << 0;
    pub(in crate::nbd) const READ_ONLY: u16 = 1 << 1;
    pub(in crate::nbd) const SEND_FLUSH: u16 = 1 << 2;
    pub(in crate::nbd) const SEND_DF: u16 = 1 << 7;
    pub(in crate::nbd) const CAN_MULTI_CONN: u16 = 1 << 8;
    pub(in crate::nbd) const SEND_CACHE: u16 = 1 << 10;
}

/// Command types.
pub(super) mod command {
    pub(in crate::nbd) const READ: u16 = 0;
    pub(in crate::nbd) const WRITE: u16 = 1;
    pub(in crate::nbd) const DISCONNECT: u16 = 2;
    pub(in crate::nbd) const FLUSH: u16 = 3;
    pub(in crate::nbd) const TRIM: u16 = 4;
    pub(in crate::nbd) const CACHE: u16 = 5;
    pub(in crate::nbd) const WRITE_ZEROES: u16 = 6;
    pub(in crate::nbd) const BLOCK_STATUS: u16 = 7;
}

/// Command flags.
pub(super) mod command_flag {
    /// Do not fragment: one data chunk, or an error.
    pub(in crate::nbd) const DF: u16 = 1 << 2;
    /// One extent is enough.
    pub(in crate::nbd) const REQ_ONE: u16 = 1 << 3;
}

/// Structured reply flag: the last chunk of a reply.
pub(super) const CHUNK_DONE: u16 = 1 << 0;

/// Structured reply chunk types.
pub(super) mod chunk {
    pub(in crate::nbd) const NONE: u16 = 0;
    pub(in crate::nbd) const OFFSET_DATA: u16 = 1;
    pub(in crate::nbd) const OFFSET_HOLE: u16 = 2;
    pub(in crate::nbd) const BLOCK_STATUS: u16 = 5;
    pub(in crate::nbd) const ERROR: u16 = 0x8001;
}

/// The states of `base:allocation`.
pub(super) const STATE_HOLE: u32 = 1 << 0;
pub(super) const STATE_ZERO: u32 = 1 << 1;

/// The only metadata context there is: where an export has holes.
pub(super) const BASE_ALLOCATION: &str = "base:allocation";
/// Its number on every connection.
pub(super) const BASE_ALLOCATION_ID: u32 = 1;

/// The longest name of an export or context in bytes, by the protocol.
pub(super) const MAX_NAME: usize = 4096;
/// The largest payload in bytes, in either direction; by the protocol what a client may rely on.
pub(super) const MAX_PAYLOAD: u32 = 32 << 20;

/// An error number of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum ErrorNumber {
    NotPermitted = 1,
    Io = 5,
    Invalid = 22,
    Overflow = 75,
}

/// A request of the transmission phase, without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) flags: u16,
    pub(super) command: u16,
    /// Chosen by the client, repeated in the reply.
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) len: u32,
}

impl Request {
    /// The length of a request header in bytes.
    pub(super) const LEN: usize = 28;

    /// Reads a header; `None` if the magic is wrong, after which nothing in the stream can be trusted.
    pub(super) fn parse(header: &[u8; Self::LEN]) -> Option<Self> {
        let mut header = header.as_slice();
        (header.get_u32() == REQUEST_MAGIC).then(|| Self {
            flags: header.get_u16(),
            command: header.get_u16(),
            cookie: header.get_u64(),
            offset: header.get_u64(),
            len: header.get_u32(),
        })
    }
}
