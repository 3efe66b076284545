//! A small publication on a test origin, a sink in memory, and clients with short pauses.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::origin::{Entry, Origin as Server};
use livepc_format::index::{Chunk, ChunkTable};
use livepc_format::{PackId, compress_chunk, paths};
use livepc_transfer::{ChunkSink, Client, Config, Fetcher, Limits, Origin, Proxy, VerifiedChunk};
use tempfile::TempDir;
use url::Url;

/// Pages of a chunk of 16 KiB.
pub(crate) const SMALL: usize = 4;
/// Pages of a chunk of 256 KiB.
pub(crate) const LARGE: usize = 64;

/// A pack: what it should become, and its name.
pub(crate) struct Pack {
    pub(crate) id: PackId,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) pages: Vec<Vec<u8>>,
    pub(crate) stored: Vec<u8>,
}

impl Pack {
    /// Chunks of noise, which no compressor makes smaller: what is stored is as long as the pages, and some bytes.
    pub(crate) fn of_noise(seed: u64, chunks: usize, pages: usize) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut noise = || {
            let mut bytes = Vec::with_capacity(pages * 4096);
            while bytes.len() < pages * 4096 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.extend(state.to_le_bytes());
            }
            bytes
        };
        let pages: Vec<Vec<u8>> = (0..chunks).map(|_| noise()).collect();
        let (mut stored, mut entries) = (Vec::new(), Vec::new());
        for pages in &pages {
            let (mut bytes, entry) = compress_chunk(pages, 1).unwrap();
            stored.append(&mut bytes);
            entries.push(entry);
        }
        let (table, _) = ChunkTable::build(&entries).unwrap();
        Self {
            id: table.id(),
            chunks: table.chunks().to_vec(),
            pages,
            stored,
        }
    }

    /// The pack's path on a server.
    pub(crate) fn path(&self) -> String {
        paths::pack(&self.id)
    }

    pub(crate) fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder.join("packs")).unwrap();
        std::fs::write(folder.join(self.path()), &self.stored).unwrap();
    }
}

/// A folder with packs, and a server for it.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) server: Server,
    pub(crate) packs: Vec<Pack>,
}

impl Site {
    /// Packs, given as (chunks, pages in each).
    pub(crate) fn new(packs: &[(usize, usize)]) -> Self {
        let packs = packs.iter().zip(1..);
        let packs: Vec<Pack> = packs
            .map(|((chunks, pages), seed)| Pack::of_noise(seed, *chunks, *pages))
            .collect();
        Self::with(packs)
    }

    pub(crate) fn with(packs: Vec<Pack>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for pack in &packs {
            pack.write(folder.path());
        }
        let server = Server::start(folder.path()).unwrap();
        Self {
            folder,
            server,
            packs,
        }
    }

    pub(crate) fn url(&self) -> Url {
        Url::parse(&self.server.url()).unwrap()
    }

    pub(crate) fn origin(&self) -> Arc<Origin> {
        Arc::new(Origin::new([self.url()]))
    }

    /// The requests for a pack so far.
    pub(crate) fn requests(&self, pack: &Pack) -> Vec<Entry> {
        self.server.log().of(&pack.path())
    }
}

/// The ranges that were asked for.
pub(crate) fn ranges(requests: &[Entry]) -> Vec<Option<(u64, u64)>> {
    requests.iter().map(|entry| entry.range).collect()
}

/// Keeps chunks in memory.
#[derive(Default)]
pub(crate) struct Memory {
    kept: Mutex<HashMap<(PackId, u32), Vec<u8>>>,
    fails: Mutex<Option<io::ErrorKind>>,
}

impl Memory {
    /// Fails from now on.
    pub(crate) fn fail(&self, kind: io::ErrorKind) {
        *self.fails.lock().unwrap() = Some(kind);
    }

    /// How many chunks it has of a pack; each must have the right bytes.
    pub(crate) fn count(&self, pack: &Pack) -> usize {
        let kept = self.kept.lock().unwrap();
        let mut count = 0;
        for (chunk, pages) in pack.chunks.iter().zip(&pack.pages) {
            if let Some(found) = kept.get(&(pack.id, chunk.first_page)) {
                assert!(
                    found == pages,
                    "the chunk at page {} has other pages",
                    chunk.first_page
                );
                count += 1;
            }
        }
        count
    }
}

impl ChunkSink for Memory {
    fn has(&self, pack: &PackId, chunk: &Chunk) -> bool {
        self.kept.lock().unwrap().contains_key(&(*pack, chunk.first_page))
    }

    fn put(&self, chunks: Vec<VerifiedChunk>) -> io::Result<()> {
        if let Some(kind) = *self.fails.lock().unwrap() {
            return Err(kind.into());
        }
        let mut kept = self.kept.lock().unwrap();
        for VerifiedChunk { pack, chunk, pages } in chunks {
            kept.insert((pack, chunk.first_page), pages);
        }
        Ok(())
    }
}

/// Short pauses, and no proxy.
pub(crate) fn config() -> Config {
    Config {
        backoff: Duration::from_millis(4),
        proxy: Proxy::Direct,
        ..Config::default()
    }
}

pub(crate) fn client() -> Client {
    Client::new(config()).unwrap()
}

/// A fetcher that gives up after three failures, and its sink.
pub(crate) fn fetcher() -> (Fetcher, Arc<Memory>) {
    let sink = Arc::new(Memory::default());
    (fetcher_into(&sink, config()), sink)
}

pub(crate) fn fetcher_into(sink: &Arc<Memory>, config: Config) -> Fetcher {
    let limits = Limits {
        attempts: 3,
        ..Limits::default()
    };
    fetcher_with(sink, config, limits)
}

pub(crate) fn fetcher_with(sink: &Arc<Memory>, config: Config, limits: Limits) -> Fetcher {
    let sink: Arc<dyn ChunkSink> = Arc::<Memory>::clone(sink);
    Fetcher::new(Client::new(config).unwrap(), sink, limits)
}
