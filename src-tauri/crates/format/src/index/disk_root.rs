//! A disk root: which extent shards describe a disk.

use super::wire::{Reader, Writer};
use super::{ObjectRef, pack};
use crate::error::{FormatError, Result};
use crate::limits::{DISK_SIZE, OBJECT_BYTES, PAGE, REGIONS, SHARD_PAGES};
use crate::manifest::Region;

const WHAT: &str = "a disk root";
const LETTERS: &[u8; 4] = b"LPDR";
const SHARDS: usize = (DISK_SIZE / (PAGE * SHARD_PAGES)) as usize + REGIONS;

/// Where a shard belongs, and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardRef {
    /// The region: its place in the disk's list.
    pub region: u32,
    /// Which GiB of the region.
    pub number: u32,
    /// The shard.
    pub object: ObjectRef,
}

/// The shards of a disk, by region and number. What no shard describes is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskRoot {
    /// The shards.
    pub shards: Vec<ShardRef>,
}

impl DiskRoot {
    /// The stored bytes of the root, and their name.
    pub fn encode(&self) -> Result<(Vec<u8>, ObjectRef)> {
        let mut writer = Writer::new(LETTERS);
        writer.uint(self.shards.len() as u64);
        for shard in &self.shards {
            writer.uint(u64::from(shard.region));
            writer.uint(u64::from(shard.number));
            writer.digest(&shard.object.digest);
            writer.uint(shard.object.stored);
            writer.uint(shard.object.size);
        }
        let body = writer.finish();
        // Nothing is published that readers would refuse.
        Self::parse(&body)?;
        pack(WHAT, &body)
    }

    /// Reads the stored bytes of the root `object`.
    pub fn decode(stored: &[u8], object: &ObjectRef) -> Result<Self> {
        Self::parse(&object.unpack(WHAT, stored)?)
    }

    fn parse(body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(WHAT, LETTERS, body)?;
        let count = reader.count(SHARDS, 36)?;
        let mut shards: Vec<ShardRef> = Vec::with_capacity(count);
        for _ in 0..count {
            let region = reader.u32_to(REGIONS as u32 - 1)?;
            let number = reader.u32_to(SHARDS as u32)?;
            let object = ObjectRef {
                digest: reader.digest()?,
                stored: reader.uint_to(OBJECT_BYTES)?,
                size: reader.uint_to(OBJECT_BYTES)?,
            };
            if shards
                .last()
                .is_some_and(|last| (last.region, last.number) >= (region, number))
            {
                return Err(reader.malformed("its shards are not in order"));
            }
            shards.push(ShardRef {
                region,
                number,
                object,
            });
        }
        reader.end()?;
        Ok(Self { shards })
    }

    /// Checks that the disk, which has these `regions`, has a place for each shard.
    pub fn check_fits(&self, regions: &[Region]) -> Result<()> {
        let fits = |shard: &ShardRef| {
            regions
                .get(shard.region as usize)
                .is_some_and(|region| u64::from(shard.number) < region.pages().div_ceil(SHARD_PAGES))
        };
        if self.shards.iter().all(fits) {
            return Ok(());
        }
        Err(FormatError::malformed(
            WHAT,
            "it names a shard behind the end of its region",
        ))
    }

    /// The shard that describes the GiB `number` of `region`.
    #[must_use]
    pub fn shard(&self, region: u32, number: u32) -> Option<&ObjectRef> {
        let place = self
            .shards
            .binary_search_by_key(&(region, number), |s| (s.region, s.number))
            .ok()?;
        Some(&self.shards[place].object)
    }
}
