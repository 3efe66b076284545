//! Where fetched chunks go.

use std::io;

use livepc_format::PackId;
use livepc_format::index::Chunk;

/// A chunk whose bytes were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedChunk {
    /// The pack that it belongs to.
    pub pack: PackId,
    /// The chunk.
    pub chunk: Chunk,
    /// Its pages, decompressed: `chunk.entry.pages` × 4 KiB.
    pub pages: Vec<u8>,
}

/// What keeps chunks: the chunk store.
pub trait ChunkSink: Send + Sync + 'static {
    /// True if the chunk is kept already. It is asked for every wanted chunk, on an asynchronous thread: it must
    /// answer from memory or with a short read.
    fn has(&self, pack: &PackId, chunk: &Chunk) -> bool;

    /// Keeps the chunks; they are durable when it returns. Called on a blocking thread, by several at once.
    ///
    /// # Errors
    /// When none of them may be taken as kept. [`io::ErrorKind::StorageFull`] says that the disk is full.
    fn put(&self, chunks: Vec<VerifiedChunk>) -> io::Result<()>;
}
