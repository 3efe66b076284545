//! The list of all packs that a release uses.

use super::wire::{Reader, Writer};
use super::{ObjectRef, pack};
use crate::error::Result;
use crate::limits::{OBJECT_BYTES, PACK_PAGES, PACK_STORED};
use crate::{Digest, PackId};

const WHAT: &str = "a pack list";
const LETTERS: &[u8; 4] = b"LPPL";
/// Sources that a pack may name.
const SOURCES: usize = PACK_PAGES as usize;

/// A pack that a release uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackRef {
    /// Its id: the digest and the file name of its chunk table.
    pub id: PackId,
    /// Bytes of its file.
    pub stored: u64,
    /// Pages in it.
    pub pages: u32,
    /// SHA-256 of its page list, the file that publishers read.
    pub page_list: Digest,
    /// Where its pages lie in packs of earlier releases, so that a repacked pack can be made by copying.
    pub sources: Vec<PackSource>,
}

/// A run of pages that an older pack has too. What is copied is checked by the chunks' content digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackSource {
    /// The older pack.
    pub pack: PackId,
    /// The first page there.
    pub first_page: u32,
    /// The first page here.
    pub to_page: u32,
    /// Pages.
    pub len: u32,
}

/// The packs of a release, by rising id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackList {
    /// The packs.
    pub packs: Vec<PackRef>,
}

impl PackList {
    /// The stored bytes of the list, and their name.
    pub fn encode(&self) -> Result<(Vec<u8>, ObjectRef)> {
        let mut writer = Writer::new(LETTERS);
        writer.uint(self.packs.len() as u64);
        for pack in &self.packs {
            writer.digest(&pack.id.0);
            writer.uint(pack.stored);
            writer.uint(u64::from(pack.pages));
            writer.digest(&pack.page_list);
            writer.uint(pack.sources.len() as u64);
            for source in &pack.sources {
                writer.digest(&source.pack.0);
                writer.uint(u64::from(source.first_page));
                writer.uint(u64::from(source.to_page));
                writer.uint(u64::from(source.len));
            }
        }
        let body = writer.finish();
        // Nothing is published that readers would refuse.
        Self::parse(&body)?;
        pack(WHAT, &body)
    }

    /// Reads the stored bytes of the list `object`.
    pub fn decode(stored: &[u8], object: &ObjectRef) -> Result<Self> {
        Self::parse(&object.unpack(WHAT, stored)?)
    }

    fn parse(body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(WHAT, LETTERS, body)?;
        let count = reader.count((OBJECT_BYTES / 67) as usize, 67)?;
        let mut packs: Vec<PackRef> = Vec::with_capacity(count);
        for _ in 0..count {
            let id = reader.pack_id()?;
            if packs.last().is_some_and(|last| last.id >= id) {
                return Err(reader.malformed("its packs are not in order"));
            }
            let stored = reader.uint_to(PACK_STORED)?;
            let pages = reader.u32_to(PACK_PAGES)?;
            if stored == 0 || pages == 0 {
                return Err(reader.malformed("a pack is empty"));
            }
            let page_list = reader.digest()?;
            let count = reader.count(SOURCES, 35)?;
            let sources = (0..count)
                .map(|_| source(&mut reader, pages))
                .collect::<Result<Vec<_>>>()?;
            packs.push(PackRef {
                id,
                stored,
                pages,
                page_list,
                sources,
            });
        }
        reader.end()?;
        Ok(Self { packs })
    }

    /// The pack with this id.
    #[must_use]
    pub fn get(&self, id: &PackId) -> Option<&PackRef> {
        let place = self.packs.binary_search_by_key(id, |pack| pack.id).ok()?;
        Some(&self.packs[place])
    }
}

fn source(reader: &mut Reader<'_>, pages: u32) -> Result<PackSource> {
    let source = PackSource {
        pack: reader.pack_id()?,
        first_page: reader.u32_to(PACK_PAGES)?,
        to_page: reader.u32_to(PACK_PAGES)?,
        len: reader.u32_to(PACK_PAGES)?,
    };
    if source.len == 0 || source.first_page + source.len > PACK_PAGES || source.to_page + source.len > pages {
        return Err(reader.malformed("a source lies outside its pack"));
    }
    Ok(source)
}
