//! Packs made of nothing, and this program as a child of itself.

use std::path::Path;
use std::process::Command;

use livepc_format::index::{Chunk, ChunkTable};
use livepc_format::{PackId, compress_chunk};
use livepc_store::{NewChunk, ReadOutcome, Reader};

pub(crate) const PAGE: usize = 4096;
/// Where a child finds the folder that it is to work in.
const CHILD: &str = "LIVEPC_STORE_TEST_CHILD";

/// A pack whose every byte follows from a number.
pub(crate) struct Pack {
    pub(crate) id: PackId,
    pub(crate) table: ChunkTable,
    pub(crate) table_bytes: Vec<u8>,
    seed: u32,
}

impl Pack {
    /// A pack with one chunk of each of these lengths, in pages.
    pub(crate) fn new(seed: u32, lengths: &[u32]) -> Self {
        let mut first = 0;
        let entries: Vec<_> = lengths
            .iter()
            .map(|&len| {
                let pages = pages(seed, first, len);
                first += len;
                compress_chunk(&pages, 1).unwrap().1
            })
            .collect();
        let (table, table_bytes) = ChunkTable::build(&entries).unwrap();
        Self {
            id: table.id(),
            table,
            table_bytes,
            seed,
        }
    }

    pub(crate) fn pages(&self, first: u32, count: u32) -> Vec<u8> {
        pages(self.seed, first, count)
    }

    pub(crate) fn chunk(&self, number: usize) -> NewChunk {
        let Chunk {
            first_page, entry, ..
        } = self.table.chunks()[number];
        NewChunk {
            pack: self.id,
            first_page,
            content_digest: entry.content_digest,
            pages: self.pages(first_page, entry.pages),
        }
    }

    pub(crate) fn chunks(&self) -> Vec<NewChunk> {
        (0..self.table.chunks().len())
            .map(|number| self.chunk(number))
            .collect()
    }

    /// Reads these pages and checks them if they are here.
    #[track_caller]
    pub(crate) fn read(&self, reader: &Reader, first: u32, count: u32) -> ReadOutcome {
        let mut bytes = vec![0xaa; count as usize * PAGE];
        let outcome = reader.read(self.id, first, &mut bytes).unwrap();
        if outcome == ReadOutcome::Complete {
            assert!(
                bytes == self.pages(first, count),
                "pages {first}+{count} are read as other bytes"
            );
        }
        outcome
    }
}

/// Pages that differ from all others.
fn pages(seed: u32, first: u32, count: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count as usize * PAGE);
    for page in first..first + count {
        let mut state = (u64::from(seed) << 32 | u64::from(page)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for _ in 0..PAGE / 8 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Half of it, so that a compressor has something to do.
            bytes.extend_from_slice(&(state & 0x0f0f_0f0f_0f0f_0f0f).to_le_bytes());
        }
    }
    bytes
}

/// The arguments that make this program run just the one ignored test that is a child's work.
pub(crate) fn child_arguments(test: &str) -> [&str; 4] {
    [test, "--exact", "--ignored", "--nocapture"]
}

/// This program, to do a child's work in `folder`.
pub(crate) fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(child_arguments(test)).env(CHILD, folder);
    command
}

/// Says to a program that will start this one where its child works.
#[cfg(unix)]
pub(crate) fn name_child_folder<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    command.env(CHILD, folder)
}

/// The folder that this process was told to work in, if it is a child.
pub(crate) fn child_folder() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD).map(Into::into)
}
