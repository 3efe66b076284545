//! Looking whether what is here is still what was published.

use std::ops::Range;
use std::sync::PoisonError;

use livepc_format::Digest;
use livepc_format::index::ChunkTable;
use livepc_format::limits::OBJECT_BYTES;

use crate::error::{Result, StoreError};
use crate::layout::PAGE_LEN;
use crate::pack_file::{Found, PackFile};
use crate::release_key::ReleaseKey;
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
    /// True if the pack's file was damaged as a whole and moved aside, so that nobody knows what was here.
    pub lost: bool,
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

    /// The objects that a release needs and whose files here are damaged.
    ///
    /// # Errors
    /// What the system says.
    pub fn damaged_objects(&self, release: &ReleaseKey) -> Result<Vec<Digest>> {
        let (_, objects) = self.database.needs(release)?;
        let mut damaged = Vec::new();
        for digest in objects {
            if self.reader.has_object(&digest) && self.reader.object(&digest, OBJECT_BYTES)?.is_none() {
                damaged.push(digest);
            }
        }
        Ok(damaged)
    }

    /// [`Store::verify`] of a pack that nobody writes to meanwhile.
    pub(crate) fn repair(
        &self,
        access: &mut Access<'_>,
        table: &ChunkTable,
        repair: bool,
    ) -> Result<VerifyReport> {
        let (mut report, pack) = (VerifyReport::default(), table.id());
        let path = self.folder.pack(pack);
        let failed = |error| StoreError::io("read", &path, error);
        report.lost = matches!(PackFile::open(&path, pack).map_err(failed)?, Found::Damaged);
        if report.lost {
            access.reopen();
            self.reader.close(pack);
        }
        // Moves a file aside that is no pack's.
        access.existing()?;
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
