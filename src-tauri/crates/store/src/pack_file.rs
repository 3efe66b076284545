//! A local pack file that is open for reading.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use livepc_format::PackId;

use crate::layout::{CRC_LEN, HEADER_LEN, PAGE_LEN, PRESENCE_LEN, crc_at, header, page_at};
use crate::os;
use crate::presence::Presence;

/// Pages whose CRCs are read at once (4 MiB of pages).
const CRCS_AT_ONCE: usize = 1024;

/// An open local pack file, and the pages that were here when it was opened.
pub(crate) struct PackFile {
    file: File,
    pub(crate) presence: Presence,
}

/// What is at a pack's place.
pub(crate) enum Found {
    /// Its file.
    Pack(PackFile),
    /// Nothing.
    Nothing,
    /// A file that is not this pack's.
    Damaged,
}

impl PackFile {
    /// Opens the file of `pack` for reading.
    pub(crate) fn open(path: &Path, pack: PackId) -> io::Result<Found> {
        Self::check(livepc_durable::open(path), pack)
    }

    /// Opens the file of `pack` for reading and writing.
    pub(crate) fn open_to_write(path: &Path, pack: PackId) -> io::Result<Found> {
        Self::check(File::options().read(true).write(true).open(path), pack)
    }

    fn check(file: io::Result<File>, pack: PackId) -> io::Result<Found> {
        let file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let mut start = [0; HEADER_LEN + PRESENCE_LEN];
        let read = match os::read_at(&file, &mut start, 0) {
            Ok(read) => read,
            Err(error) if os::is_bad_medium(&error) => return Ok(Found::Damaged),
            Err(error) => return Err(error),
        };
        let Some((found, bits)) = start.split_first_chunk::<HEADER_LEN>() else {
            return Ok(Found::Damaged);
        };
        let Some(bits) = bits.first_chunk::<PRESENCE_LEN>() else {
            return Ok(Found::Damaged);
        };
        if read < start.len() || *found != header(pack) {
            return Ok(Found::Damaged);
        }
        Ok(Found::Pack(Self {
            file,
            presence: Presence::from_bytes(bits),
        }))
    }

    /// The file, and the pages that are here.
    pub(crate) fn into_parts(self) -> (File, Presence) {
        (self.file, self.presence)
    }

    /// Reads whole pages; gives the first one that is not what was once written, if there is one.
    pub(crate) fn read(&self, first_page: u32, buf: &mut [u8]) -> io::Result<Option<u32>> {
        match self.read_through(buf, page_at(first_page)) {
            Ok(()) => {}
            Err(error) if os::is_bad_medium(&error) => return self.find_bad(first_page, buf),
            Err(error) => return Err(error),
        }
        let mut crcs = [0; CRCS_AT_ONCE * CRC_LEN];
        let mut page = first_page;
        for part in buf.chunks(CRCS_AT_ONCE * PAGE_LEN) {
            let crcs = &mut crcs[..part.len() / PAGE_LEN * CRC_LEN];
            match self.read_through(crcs, crc_at(page)) {
                Ok(()) => {}
                Err(error) if os::is_bad_medium(&error) => return Ok(Some(page)),
                Err(error) => return Err(error),
            }
            if let Some(wrong) = first_wrong(part, crcs) {
                return Ok(Some(page + wrong));
            }
            page += CRCS_AT_ONCE as u32;
        }
        Ok(None)
    }

    /// Reads whole pages, at most [`CRCS_AT_ONCE`], if that can be done without waiting for the disk and nothing is wrong
    /// with them. False means neither.
    pub(crate) fn read_cached(&self, first_page: u32, buf: &mut [u8]) -> bool {
        let mut crcs = [0; CRCS_AT_ONCE * CRC_LEN];
        let Some(crcs) = crcs.get_mut(..buf.len() / PAGE_LEN * CRC_LEN) else {
            return false;
        };
        os::read_cached(&self.file, buf, page_at(first_page))
            && os::read_cached(&self.file, crcs, crc_at(first_page))
            && first_wrong(buf, crcs).is_none()
    }

    /// Lets `pages` pages of another file, from its byte `at` on, be those from `first_page` on: on the disk they are there
    /// once.
    pub(crate) fn share(&self, first_page: u32, pages: u32, with: &File, at: u64) -> io::Result<()> {
        let len = u64::from(pages) * PAGE_LEN as u64;
        os::share((&self.file, page_at(first_page)), (with, at), len)
    }

    /// True if the file system lets [`PackFile::share`] work with the file `with`, which is empty, and stays so.
    pub(crate) fn can_share(&self, with: &File) -> bool {
        os::share_all(&self.file, with)
            .and_then(|()| with.set_len(0))
            .is_ok()
    }

    /// Reads until `buf` is full. What lies behind the end of the file, where a crash has cut it, reads as zeros, and
    /// the CRC finds it.
    fn read_through(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let read = os::read_at(&self.file, buf, offset)?;
        buf[read..].fill(0);
        Ok(())
    }

    /// The first page that the disk cannot read back.
    fn find_bad(&self, first_page: u32, buf: &mut [u8]) -> io::Result<Option<u32>> {
        for (page, bytes) in (first_page..).zip(buf.chunks_mut(PAGE_LEN)) {
            match self.read_through(bytes, page_at(page)) {
                Ok(()) => {}
                Err(error) if os::is_bad_medium(&error) => return Ok(Some(page)),
                Err(error) => return Err(error),
            }
        }
        // It could be read after all, a page at a time; the caller has it fetched again, which does no harm.
        Ok(Some(first_page))
    }

    /// True if all `pages` were here when the file was opened.
    pub(crate) fn has(&self, pages: Range<u32>) -> bool {
        self.presence.all(pages)
    }
}

/// The place of the first of these pages that does not have the CRC that lies at its place in `crcs`.
fn first_wrong(pages: &[u8], crcs: &[u8]) -> Option<u32> {
    let (crcs, _) = crcs.as_chunks::<CRC_LEN>();
    let mut pages = pages.chunks_exact(PAGE_LEN).zip(crcs);
    let wrong = pages.position(|(bytes, crc)| crc32c::crc32c(bytes) != u32::from_le_bytes(*crc))?;
    Some(wrong as u32)
}
