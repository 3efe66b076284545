//! What a publisher puts on a web server, and how it is checked: types and parsing, without any I/O.
//!
//! A LivePC is published as files. `head.json` is signed and lists its *releases*; each names a *manifest* by digest,
//! which describes the machine and its disks; a disk's *index* says in which *pack* each *page* (4 KiB) lies, and a
//! pack's *chunk table* how up to 64 pages are stored together as a *chunk*. `feed.xml` tells people and feed readers
//! about the releases; nothing in it is trusted. `FORMAT.md`, beside this crate's sources, is the specification.
//!
//! Trust runs root key → [`keys::Keys`] → [`head::Head`] → [`manifest::Manifest`] → [`index`] → chunk: each step is
//! opened with what the step before says of it, so nothing can be used unchecked:
//!
//! ```
//! use livepc_format::{Head, Keys, SecretKey};
//!
//! # fn main() -> Result<(), livepc_format::FormatError> {
//! let (root, signing) = (SecretKey::generate()?, SecretKey::generate()?);
//! let keys = Keys::new(root.public_key()?, "net-lab", signing.public_key()?, jiff::Timestamp::now());
//! let head = Head {
//!     version: 1,
//!     requires: vec![],
//!     livepc: keys.livepc(),
//!     epoch: keys.epoch(),
//!     revision: 1,
//!     issued: jiff::Timestamp::now(),
//!     expires: None,
//!     mirrors: vec![],
//!     releases: vec![],
//! };
//! let published = head.seal(&signing)?;
//! assert_eq!(Head::open(&published, &keys)?, head);
//! assert!(Head::open(&head.seal(&root)?, &keys).is_err(), "the root key signs keys, not heads");
//! # Ok(())
//! # }
//! ```

mod chunk;
mod digest;
mod document;
mod error;
pub mod feed;
mod file_system;
pub mod head;
mod html;
pub mod index;
pub mod keys;
pub mod limits;
pub mod machine;
pub mod manifest;
pub mod paths;
pub mod shown;
mod signed;
pub mod text;

pub use chunk::{compress_chunk, decompress_chunk};
pub use digest::{Digest, LivePcId, PackId};
pub use error::{FormatError, Instead, Result};
pub use file_system::FileSystem;
pub use head::{Head, Release};
pub use html::is_page;
pub use keys::Keys;
pub use manifest::Manifest;
pub use signed::{Envelope, Fingerprint, PublicKey, SecretKey};
