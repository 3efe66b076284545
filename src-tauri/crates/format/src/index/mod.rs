//! The index: small binary objects that say which page of a disk lies where.
//!
//! Each object is a file `index/<sha256>`, named by the digest of its stored bytes. All but chunk tables are one zstd
//! frame around a body that begins with four letters and a version byte; chunk tables are stored plain, since digests
//! do not compress, and so a pack's id, the digest of its table, is the table's file name too. Integers are LEB128
//! varints unless a width is given; fixed widths are little-endian.

mod boot_map;
mod disk_root;
mod pack_list;
mod pages;
mod shard;
mod table;
mod wire;

pub use boot_map::{BootChunk, BootExtent, BootMap};
pub use disk_root::{DiskRoot, ShardRef};
pub use pack_list::{PackList, PackRef, PackSource};
pub use pages::{PageDigest, decode_pages, encode_pages};
pub use shard::{Extent, Shard};
pub use table::{Chunk, ChunkEntry, ChunkTable};

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::error::{FormatError, Result};
use crate::limits::OBJECT_BYTES;

/// The name and size of an object of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// SHA-256 of the stored bytes.
    pub digest: Digest,
    /// Stored bytes.
    pub stored: u64,
    /// Bytes after decompression.
    pub size: u64,
}

impl ObjectRef {
    pub(crate) fn check(&self, what: &'static str) -> Result<()> {
        FormatError::check_size(what, self.stored.max(self.size), OBJECT_BYTES)
    }

    /// Decompresses the object's stored bytes, after their length and digest were checked.
    fn unpack(&self, what: &'static str, stored: &[u8]) -> Result<Vec<u8>> {
        self.check(what)?;
        if stored.len() as u64 != self.stored {
            return Err(FormatError::malformed(
                what,
                format!("{} bytes instead of {}", stored.len(), self.stored),
            ));
        }
        self.digest.check(what, stored)?;
        let size = usize::try_from(self.size).map_err(|_| FormatError::malformed(what, "its size"))?;
        let body =
            zstd::bulk::decompress(stored, size).map_err(|e| FormatError::malformed(what, e.to_string()))?;
        if body.len() != size {
            return Err(FormatError::malformed(
                what,
                format!("{} bytes instead of {size}", body.len()),
            ));
        }
        Ok(body)
    }
}

/// Compresses the body of an object; gives its stored bytes and its name.
fn pack(what: &'static str, body: &[u8]) -> Result<(Vec<u8>, ObjectRef)> {
    let stored = zstd::bulk::compress(body, 19).map_err(|e| FormatError::malformed(what, e.to_string()))?;
    let object = ObjectRef {
        digest: Digest::of(&stored),
        stored: stored.len() as u64,
        size: body.len() as u64,
    };
    object.check(what)?;
    Ok((stored, object))
}
