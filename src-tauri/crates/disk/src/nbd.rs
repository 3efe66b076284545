//! Block devices over NBD, the protocol that QEMU attaches disks with.
//!
//! A server offers [`Exports`] at one [`Address`]. It speaks the fixed newstyle negotiation, simple and structured replies
//! (zero runs travel as holes) and the `base:allocation` context. All exports are read-only, and any number of
//! connections may share one. The requests of a connection are served concurrently: one that waits for the network holds
//! up no other.
//!
//! Clients are not trusted: what they send is bounded before memory is taken for it, who does not finish the negotiation
//! within 30 s is hung up on, and at most 32 clients are served at a time, each with at most 64 requests and 64 MiB of
//! answers under way.

mod answer;
mod connection;
mod exports;
mod handshake;
mod listen;
mod options;
mod request;
mod server;
#[cfg(unix)]
mod unix_socket;
mod wire;

pub use exports::{ExportError, Exports, Visibility};
pub use listen::{Address, Listen, ListenError};
pub use server::Server;
