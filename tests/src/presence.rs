//! Which pages of a published disk a home has: from the publisher's index and the home's chunk store.

use std::path::Path;
use std::process::Command;

use livepc_format::index::{DiskRoot, ObjectRef, Shard};
use livepc_format::limits::{PAGE, SHARD_PAGES};
use livepc_format::manifest::{Content, Region};
use livepc_format::{Manifest, PackId, paths};
use livepc_protocol::Home;
use livepc_store::Reader;

use crate::forge::Site;

/// A partition of the newest release's first disk, and where its pages lie.
#[derive(Debug)]
pub struct Partition {
    /// The region: its place in the disk's list.
    pub region: u32,
    shards: Vec<(u64, Shard)>,
}

impl Partition {
    /// The partition that begins at byte `offset`.
    #[must_use]
    pub fn at(site: &Site, offset: u64) -> Self {
        let head = site.head();
        let release = head.newest("stable").expect("a release");
        let manifest = Manifest::open(
            &site.read(&paths::manifest(&release.manifest)),
            site.keys().livepc(),
            release,
        )
        .expect("the manifest is sound");
        let Content::Published { regions, index, .. } = &manifest.disks[0].content else {
            panic!("the first disk is published");
        };
        let read = |object: &ObjectRef| site.read(&paths::object(&object.digest));
        let root = DiskRoot::decode(&read(index), index).expect("the disk root is sound");
        let region = regions
            .iter()
            .position(|region: &Region| region.offset() == offset)
            .expect("a region begins there") as u32;
        let shards = root.shards.iter().filter(|shard| shard.region == region);
        let shards = shards
            .map(|shard| {
                let read = Shard::decode(&read(&shard.object), &shard.object).expect("the shard is sound");
                (u64::from(shard.number) * SHARD_PAGES, read)
            })
            .collect();
        Self { region, shards }
    }

    /// Where a page lies; nowhere if it is zero.
    fn place(&self, page: u64) -> Option<(PackId, u32)> {
        let (base, shard) = self.shards.iter().rfind(|(base, _)| *base <= page)?;
        let in_shard = u32::try_from(page - base).ok()?;
        let extent = shard
            .from_page(in_shard)
            .first()
            .filter(|extent| extent.page <= in_shard)?;
        let pack = shard.packs[extent.pack as usize];
        Some((pack, extent.first_page + in_shard - extent.page))
    }

    /// How many of these pages are not in the home's store, and how many of them are not zero at all.
    #[must_use]
    pub fn absent(&self, home: &Home, pages: &[u64]) -> (usize, usize) {
        let reader = Reader::open(home.store()).expect("the store opens");
        let places: Vec<_> = pages.iter().filter_map(|page| self.place(*page)).collect();
        let absent = places.iter().filter(|(pack, page)| !reader.has(*pack, *page, 1));
        (absent.count(), places.len())
    }
}

/// The pages of a file on the ext4 partition that begins at byte `offset` of a raw disk, counted from there.
#[must_use]
pub fn pages_of_file(disk: &Path, offset: u64, file: &str) -> Vec<u64> {
    let out = Command::new("debugfs")
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .args(["-R", &format!("blocks {file}")])
        .arg(format!("{}?offset={offset}", disk.display()))
        .output()
        .expect("debugfs runs");
    let text = String::from_utf8_lossy(&out.stdout);
    // The sample guest's blocks are pages.
    const { assert!(PAGE == 4096) };
    let blocks: Vec<u64> = text
        .split_whitespace()
        .filter_map(|block| block.parse().ok())
        .collect();
    assert!(
        !blocks.is_empty(),
        "debugfs does not know {file}: {text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    blocks
}
