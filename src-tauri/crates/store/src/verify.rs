//! Looking whether what is here is still what was published.

use std::ops::Range;
use std::sync::PoisonError;

use livepc_format::Digest;
use livepc_format::index::ChunkTable;

use crate::error::{Result, StoreError};
use crate::layout::PAGE_LEN;
use crate::pack_file::{Found, PackFile};
use crate::store::Store;
use crate::writers::Access;

/// What was found in a pack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Chunks that are here and were checked.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The pages of those that are not what was published, by chunk.
    pub damaged: Vec<Range<u32>>,
}

impl Store {
    /// Hashes all chunks of a pack that are here and compares them with the pack's table. With `repair`, damaged ones
    /// are dropped, to be fetched again.
    ///
    /// # Errors
    /// What the system says.
    pub fn verify(&self, table: &ChunkTable, repair: bool) -> Result<VerifyReport> {
        let _writing = self.pruning.read().unwrap_or_else(PoisonError::into_inner);
        self.writers
            .with(table.id(), |access| self.repair(access, table, repair))
    }

    /// [`Store::verify`] of a pack that nobody writes to meanwhile.
    pub(crate) fn repair(
        &self,
        access: &mut Access<'_>,
        table: &ChunkTable,
        repair: bool,
    ) -> Result<VerifyReport> {
        let (mut report, pack) = (VerifyReport::default(), table.id());
        // Moves a file aside that is no pack's.
        access.existing()?;
        let path = self.folder.pack(pack);
        let failed = |error| StoreError::io("read", &path, error);
        let Found::Pack(file) = PackFile::open(&path, pack).map_err(failed)? else {
            return Ok(report);
        };
        let mut bytes = Vec::new();
        for chunk in table.chunks() {
            let pages = chunk.first_page..chunk.end_page();
            if !file.has(pages.clone()) {
                continue;
            }
            bytes.resize(chunk.entry.pages as usize * PAGE_LEN, 0);
            report.chunks += 1;
            report.bytes += bytes.len() as u64;
            let damaged = file.read(pages.start, &mut bytes).map_err(failed)?;
            if damaged.is_some() || Digest::of(&bytes) != chunk.entry.content_digest {
                report.damaged.push(pages);
            }
        }
        if repair && !report.damaged.is_empty() {
            for pages in &report.damaged {
                tracing::warn!(%pack, ?pages, "a chunk is damaged; it is fetched again");
                if let Some(writer) = access.existing()? {
                    writer.clear(pages.clone())?;
                }
                self.database.drop_contents(pack, pages.start, pages.end)?;
            }
            self.reader.close(pack);
        }
        Ok(report)
    }
}
