//! The chunk store: where a subscriber's computer keeps what it has fetched, for all LivePCs and releases together.
//!
//! # Overview
//!
//! A store is a folder. For each pack there is a *local pack file* with the pages that are here, uncompressed and at
//! places that follow from their page numbers, so a read is one `pread`. Packs never change, so every release is a view of
//! the same files: an update writes what is new, and going back costs nothing.
//!
//! One process, the agent, has the [`Store`] and writes; any number of processes have [`Reader`]s. What a reader says is
//! here *is* here: pages are durable before the bits that claim them are set, and every page that is read is checked
//! against its CRC32C. All of it may be lost without harm: what is missing or damaged is fetched again.
//!
//! ```
//! use livepc_format::{Digest, PackId};
//! use livepc_store::{NewChunk, ReadOutcome, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let store = Store::open(folder.path())?;
//! let pack = PackId(Digest::of(b"its chunk table"));
//! let pages = vec![7; 2 * 4096];
//! store.write_chunks(vec![NewChunk { pack, first_page: 10, content_digest: Digest::of(&pages), pages }])?;
//!
//! let mut page = [0; 4096];
//! assert_eq!(store.reader().read(pack, 11, &mut page)?, ReadOutcome::Complete);
//! assert_eq!(page, [7; 4096]);
//! assert_eq!(store.reader().missing(pack, 0, 20), [0..10, 12..20]);
//! # Ok(())
//! # }
//! ```
//!
//! # The folder
//!
//! ```text
//! store.json                 the version of this layout; a newer one is refused
//! store.lock                 held by the process that writes
//! store.db                   which release needs what; content digests. Never on the way of a read
//! packs/<2 hex>/<id>.pages   local pack files (see the module `layout` for their form)
//! objects/<2 hex>/<digest>   objects of the index
//! leases/, leases.lock       one file per release in use, locked by the processes that use it
//! ```
//!
//! All calls block on the file system; asynchronous callers use `spawn_blocking`.

mod database;
mod error;
#[cfg(test)]
mod faults;
mod folder;
mod layout;
mod lease;
mod medium;
mod moving;
mod objects;
mod open_packs;
mod os;
mod pack_file;
mod pack_writer;
mod presence;
mod prune;
mod reader;
mod release_key;
mod slots;
mod store;
mod sync;
mod usage;
mod verify;
mod writers;

pub use error::{Result, StoreError};
pub use lease::Lease;
pub use moving::remove_store;
pub use prune::PruneReport;
pub use reader::{ReadOutcome, Reader};
pub use release_key::ReleaseKey;
pub use store::{NewChunk, Store};
pub use usage::{Share, Usage};
pub use verify::VerifyReport;
