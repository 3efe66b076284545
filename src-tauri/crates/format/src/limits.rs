//! Every bound that a reader checks before it allocates. A publisher that needs more needs a new major version.

/// Bytes in a page, the unit of reuse.
pub const PAGE: u64 = 4096;
/// Bytes in a sector, the unit in which regions are given.
pub const SECTOR: u64 = 512;
/// Pages in a chunk at the most (256 KiB).
pub const CHUNK_PAGES: u32 = 64;
/// Stored (compressed) bytes of a chunk at the most: what zstd makes of 256 KiB of noise, and some.
pub const CHUNK_STORED: u32 = 256 * 1024 + 8 * 1024;
/// Pages in a pack at the most.
pub const PACK_PAGES: u32 = 65_536;
/// Stored bytes of a pack at the most.
pub const PACK_STORED: u64 = 16 * 1024 * 1024;
/// Pages of a region that one extent shard describes (1 GiB).
pub const SHARD_PAGES: u64 = 262_144;
/// Bytes of a disk at the most (16 TiB).
pub const DISK_SIZE: u64 = 16 << 40;
/// Disks of a machine at the most.
pub const DISKS: usize = 8;
/// Regions of a disk at the most.
pub const REGIONS: usize = 1024;
/// Sequences and revisions are at most this, so that every JSON reader has them exactly.
pub const COUNT: u64 = (1 << 53) - 1;
/// Bytes that a document may name as a sum (1 PiB).
pub const TOTAL_BYTES: u64 = 1 << 50;
/// Releases that a head may list.
pub const RELEASES: usize = 10_000;
/// Mirrors that a head may name.
pub const MIRRORS: usize = 64;
/// Extents that a boot map may hold.
pub const BOOT_EXTENTS: usize = 1 << 20;
/// Pages that all extents of a boot map may have together (64 GiB).
pub const BOOT_PAGES: u64 = 1 << 24;

/// Bytes of `head.json` at the most.
pub const HEAD_BYTES: u64 = 8 << 20;
/// Bytes of `keys.json` at the most.
pub const KEYS_BYTES: u64 = 256 << 10;
/// Bytes of a manifest at the most.
pub const MANIFEST_BYTES: u64 = 1 << 20;
/// Bytes of a manifest's changelog at the most.
pub const CHANGELOG_BYTES: usize = 64 << 10;
/// Bytes of a licence's text at the most.
pub const LICENCE_BYTES: usize = 256 << 10;
/// Characters of the label of a user disk at the most.
pub const DISK_LABEL: usize = 16;
/// Bytes of a feed at the most.
pub const FEED_BYTES: u64 = 8 << 20;
/// Bytes of a catalog at the most.
pub const CATALOG_BYTES: u64 = 32 << 20;
/// Bytes of an object of the index at the most, as stored and after decompression.
pub const OBJECT_BYTES: u64 = 128 << 20;
/// Entries of a catalog at the most.
pub const CATALOG_ENTRIES: usize = 50_000;
