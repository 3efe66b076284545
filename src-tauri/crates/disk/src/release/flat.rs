//! A release's disk as a plain file that has its pages in common with the chunk store, on file systems that can do that.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use livepc_format::limits::{PAGE, SHARD_PAGES};
use livepc_format::manifest::Region;

use super::{ReleaseDisk, Span};
use crate::block::{BlockDevice as _, ReadError};

/// Bytes of regions that may lie so that their pages are no blocks of a file: the ends of a disk.
const COPIED: u64 = 16 << 20;

/// What a disk as a file took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// Bytes that the file has in common with the store.
    pub shared: u64,
    /// Bytes that had to be copied.
    pub copied: u64,
}

impl ReleaseDisk {
    /// Makes `file`, which is empty, what the disk is, without copying its pages: the file system lets both have them. What
    /// is zero becomes holes. `None` if it cannot: the file system has no such thing, the disk's partitions begin within a
    /// block, or not all of the disk is here; the file is then to be removed.
    ///
    /// # Errors
    /// What the system says.
    pub async fn share_with(&self, file: Arc<File>) -> Result<Option<Shared>, ReadError> {
        let unaligned = self.layout.regions.iter().filter(|region| !is_aligned(region));
        if unaligned.map(Region::len).sum::<u64>() > COPIED {
            return Ok(None);
        }
        let (mut all, mut probed) = (Shared::default(), false);
        for (number, region) in self.layout.regions.iter().enumerate() {
            for first in (0..region.pages()).step_by(SHARD_PAGES as usize) {
                let end = region.pages().min(first + SHARD_PAGES);
                let spans = self.index.spans(number as u32, first, end).await?;
                let spans: Vec<Span> = spans.into_iter().filter(|span| span.place.is_some()).collect();
                let Some(one) = spans.first() else { continue };
                if !probed {
                    let (reader, file, place) = (self.reader.clone(), Arc::clone(&file), one.place);
                    let can = move || place.is_some_and(|(pack, _)| reader.can_share(pack, &file));
                    if !blocking(can).await? {
                        return Ok(None);
                    }
                    probed = true;
                }
                if is_aligned(region) {
                    match self.share_spans(region, spans, &file).await? {
                        Some(bytes) => all.shared += bytes,
                        None => return Ok(None),
                    }
                } else {
                    all.copied += self.copy_spans(region, spans, &file).await?;
                }
            }
        }
        let (last, size) = (Arc::clone(&file), self.layout.size);
        // The last page of a region may reach behind its end.
        blocking(move || last.set_len(size)).await??;
        Ok(Some(all))
    }

    /// `None` if a page is not here.
    async fn share_spans(
        &self,
        region: &Region,
        spans: Vec<Span>,
        file: &Arc<File>,
    ) -> Result<Option<u64>, ReadError> {
        let (reader, file, offset) = (self.reader.clone(), Arc::clone(file), region.offset());
        let share = move || {
            let mut bytes = 0;
            for span in &spans {
                let Some((pack, first, pages)) = span.stored() else {
                    continue;
                };
                match reader.share(pack, first, pages, &file, offset + span.page * PAGE) {
                    Ok(true) => bytes += u64::from(pages) * PAGE,
                    Ok(false) => return Ok(None),
                    Err(error) => return Err(ReadError::Io(io::Error::other(error))),
                }
            }
            Ok(Some(bytes))
        };
        blocking(share).await?
    }

    async fn copy_spans(
        &self,
        region: &Region,
        spans: Vec<Span>,
        file: &Arc<File>,
    ) -> Result<u64, ReadError> {
        let mut copied = 0;
        for span in spans {
            let begin = region.offset() + span.page * PAGE;
            let end = (begin + u64::from(span.pages) * PAGE).min(region.offset() + region.len());
            // A region that is copied is small.
            let bytes = self.read_at(begin, (end - begin) as u32).await?;
            copied += bytes.len() as u64;
            let file = Arc::clone(file);
            let write = move || {
                (&*file).seek(SeekFrom::Start(begin))?;
                (&*file).write_all(&bytes)
            };
            blocking(write).await??;
        }
        Ok(copied)
    }
}

/// True if the pages of a region are blocks of a file with the disk. A last page that is none is one all the same: what
/// follows it is written later.
fn is_aligned(region: &Region) -> bool {
    region.offset().is_multiple_of(PAGE)
}

/// Does what may block where it holds nothing up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ReadError> {
    let done = livepc_panics::blocking("Reading the store", work).await;
    done.map_err(|error| ReadError::Io(error.into()))
}
