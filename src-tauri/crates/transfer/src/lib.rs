//! Verified bytes from web servers: documents, and chunks of packs.
//!
//! [`Client`] gets whole files: documents that change, with conditional requests ([`Client::document`]), and immutable
//! ones that are named by their digest, from whichever mirror has them ([`Client::verified`]). [`Fetcher`] gets chunks
//! into a [`ChunkSink`]: it sorts and coalesces them into ranges, lets what a running machine waits for overtake
//! everything else, checks each chunk as soon as it is there, and copes with servers that fail.
//!
//! A folder on this computer (`file://`) is asked in the same way as a server.

mod answer;
mod backoff;
mod body;
mod cap;
mod client;
mod coding;
mod document;
mod driver;
mod error;
mod fetcher;
mod framing;
mod landing;
mod login;
mod origin;
mod pace;
mod proxy;
mod range;
mod rate;
mod schedule;
mod sink;
mod trouble;
mod wanted;

pub use client::{Client, Config};
pub use document::{Asking, Document, Size, Validators};
pub use error::{LoginNeeded, Result, TransferError, shown};
pub use fetcher::{Fetched, Fetcher, Limits, Priority, Totals};
pub use login::{Found, Login, Logins, NoLogins, is_private, login_in, server, without_login};
pub use origin::Origin;
pub use proxy::Proxy;
pub use sink::{ChunkSink, VerifiedChunk};
