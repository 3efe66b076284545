//! What the suites share: images, a publisher, and a reader that shares no code with the publisher but the format.

#![allow(dead_code, reason = "not every suite uses all of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use livepc_format::index::{BootMap, ChunkTable, DiskRoot, PackList, Shard};
use livepc_format::manifest::Content;
use livepc_format::{Digest, Head, Keys, Manifest, PackId, Release, SecretKey, decompress_chunk, paths};
use livepc_publish::{Folder, Project, PublishKeys, PublishOptions, Published, Result, Silent, publish};

pub(crate) const PAGE: usize = 4096;
pub(crate) const MIB: usize = 1 << 20;

/// Pseudo-random bytes that zstd halves or so: what a disk looks like. Equal for equal seeds (SplitMix64).
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(len + 16);
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        bytes.extend_from_slice(&z.to_le_bytes());
        bytes.extend_from_slice(b"livepc  ");
    }
    bytes.truncate(len);
    bytes
}

/// A project, its keys, and the folder that it is published to.
pub(crate) struct Publisher {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) keys: PublishKeys,
    pub(crate) project: Project,
    pub(crate) dest: Folder,
}

impl Publisher {
    /// A project whose system disk is `disk`.
    pub(crate) fn new(disk: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("disk.raw");
        fs::write(&image, disk).unwrap();
        let project = Project::init(&image, "Net Lab", &dir.path().join("project")).unwrap();
        let dest = Folder::new(dir.path().join("site"));
        let keys = new_keys();
        Self {
            dir,
            keys,
            project,
            dest,
        }
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.dir.path().join("disk.raw")
    }

    pub(crate) fn site(&self) -> &Path {
        self.dest.root()
    }

    pub(crate) fn set_disk(&self, disk: &[u8]) {
        fs::write(self.image(), disk).unwrap();
    }

    pub(crate) fn publish(&self) -> Result<Published> {
        self.publish_with(&self.options())
    }

    pub(crate) fn publish_with(&self, options: &PublishOptions) -> Result<Published> {
        publish(&self.project, &self.dest, &self.keys, options, &Silent)
    }

    pub(crate) fn options(&self) -> PublishOptions {
        let mut options = PublishOptions::new(now());
        options.scratch = Some(self.dir.path().to_owned());
        options
    }
}

pub(crate) fn new_keys() -> PublishKeys {
    let root = SecretKey::generate().unwrap();
    PublishKeys {
        root_public: root.public_key().unwrap(),
        root: Some(root),
        signing: SecretKey::generate().unwrap(),
        ledger: None,
    }
}

pub(crate) fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// A published folder, read as a subscriber reads it.
pub(crate) struct Site {
    root: PathBuf,
    pub(crate) keys: Keys,
    pub(crate) head: Head,
}

/// What a release consists of.
pub(crate) struct Parts {
    pub(crate) manifest: Manifest,
    /// The published disks.
    pub(crate) disks: Vec<Vec<u8>>,
    /// The chunks that it uses, with their stored bytes.
    pub(crate) chunks: BTreeMap<(PackId, u32), u64>,
    /// The objects of the index that it uses, with their stored bytes.
    pub(crate) objects: BTreeMap<Digest, u64>,
}

impl Site {
    pub(crate) fn open(root: &Path) -> Self {
        let keys = Keys::open(&fs::read(root.join(paths::KEYS)).unwrap()).unwrap();
        let head = Head::open(&fs::read(root.join(paths::HEAD)).unwrap(), &keys).unwrap();
        Self {
            root: root.to_owned(),
            keys,
            head,
        }
    }

    pub(crate) fn release(&self, sequence: u64) -> &Release {
        self.head.release(sequence).expect("the release is listed")
    }

    pub(crate) fn file(&self, path: &str) -> Vec<u8> {
        fs::read(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Reads a release's disks back, and checks everything on the way.
    pub(crate) fn read(&self, sequence: u64) -> Parts {
        let release = self.release(sequence);
        let bytes = self.file(&paths::manifest(&release.manifest));
        assert_eq!(bytes.len() as u64, release.manifest_bytes);
        let manifest = Manifest::open(&bytes, self.keys.livepc(), release).unwrap();
        let mut objects = BTreeMap::new();
        let mut object = |object: &livepc_format::index::ObjectRef| {
            objects.insert(object.digest, object.stored);
            self.file(&paths::object(&object.digest))
        };
        let list = PackList::decode(&object(&manifest.packs), &manifest.packs).unwrap();
        let mut packs = Packs::default();
        let mut disks = Vec::new();
        let mut chunks = BTreeMap::new();
        for disk in &manifest.disks {
            let Content::Published {
                regions,
                index,
                stored,
            } = &disk.content
            else {
                continue;
            };
            let mut image = vec![0; disk.size as usize];
            let mut of_disk = BTreeMap::new();
            for shard_ref in DiskRoot::decode(&object(index), index).unwrap().shards {
                let region = regions[shard_ref.region as usize];
                let shard = Shard::decode(&object(&shard_ref.object), &shard_ref.object).unwrap();
                for extent in &shard.extents {
                    let id = shard.packs[extent.pack as usize];
                    let listed = list.get(&id).expect("the pack is in the release's list");
                    let pack = packs.open(&self.root, id);
                    assert_eq!(pack.table.stored(), listed.stored);
                    let of_extent = pack.table.covering(extent.first_page, extent.len).to_vec();
                    of_disk.extend(
                        of_extent
                            .iter()
                            .map(|c| ((id, c.first_page), u64::from(c.entry.stored))),
                    );
                    for page in 0..extent.len {
                        let in_region =
                            (u64::from(shard_ref.number) * 262_144 + u64::from(extent.page + page)) * 4096;
                        let at = (region.offset() + in_region) as usize;
                        let len = PAGE.min((region.len() - in_region) as usize);
                        let bytes = pack.page(extent.first_page + page);
                        image[at..at + len].copy_from_slice(&bytes[..len]);
                        assert!(
                            bytes[len..].iter().all(|b| *b == 0),
                            "the last page is zero-padded"
                        );
                    }
                }
            }
            assert_eq!(
                of_disk.values().sum::<u64>(),
                *stored,
                "bytes stored for the disk"
            );
            chunks.extend(of_disk);
            disks.push(image);
        }
        let used: HashSet<PackId> = chunks.keys().map(|(id, _)| *id).collect();
        let listed: HashSet<PackId> = list.packs.iter().map(|pack| pack.id).collect();
        assert_eq!(
            used, listed,
            "the list has the packs that are used, and no others"
        );
        for id in used {
            objects.insert(id.0, self.file(&paths::object(&id.0)).len() as u64);
        }
        Parts {
            manifest,
            disks,
            chunks,
            objects,
        }
    }

    /// Checks the bytes that the head tells of a release against its parts and those of the releases before.
    pub(crate) fn check_bytes(&self, sequence: u64) {
        let release = self.release(sequence);
        let new = self.read(sequence);
        let map = release.boot_map.map_or(0, |map| map.stored);
        let sum = |old: Option<&Parts>| {
            let chunks = new
                .chunks
                .iter()
                .filter(|(key, _)| old.is_none_or(|old| !old.chunks.contains_key(key)));
            let objects = new
                .objects
                .iter()
                .filter(|(key, _)| old.is_none_or(|old| !old.objects.contains_key(key)));
            map + chunks.map(|(_, stored)| stored).sum::<u64>()
                + objects.map(|(_, stored)| stored).sum::<u64>()
        };
        assert_eq!(release.bytes.new, sum(None), "bytes for a new subscriber");
        for (from, bytes) in &release.bytes.from {
            assert_eq!(
                *bytes,
                sum(Some(&self.read(*from))),
                "bytes from release {from} to {sequence}"
            );
        }
        if release.boot_map.is_none() {
            assert_eq!(release.bytes.boot_ready, release.bytes.new);
        }
    }

    pub(crate) fn boot_map(&self, sequence: u64) -> BootMap {
        let object = self.release(sequence).boot_map.expect("there is a boot map");
        BootMap::decode(&self.file(&paths::object(&object.digest)), &object).unwrap()
    }
}

#[derive(Default)]
struct Packs(HashMap<PackId, Pack>);

struct Pack {
    bytes: Vec<u8>,
    table: ChunkTable,
    /// By first page of the chunk.
    pages: HashMap<u32, Vec<u8>>,
}

impl Packs {
    fn open(&mut self, root: &Path, id: PackId) -> &mut Pack {
        self.0.entry(id).or_insert_with(|| {
            let bytes = fs::read(root.join(paths::pack(&id))).unwrap();
            let table = fs::read(root.join(paths::object(&id.0))).unwrap();
            let table = ChunkTable::open(&table, id).unwrap();
            assert_eq!(
                bytes.len() as u64,
                table.stored(),
                "the pack has what its table says"
            );
            Pack {
                bytes,
                table,
                pages: HashMap::new(),
            }
        })
    }
}

impl Pack {
    fn page(&mut self, page: u32) -> Vec<u8> {
        let chunk = self.table.covering(page, 1)[0];
        let pages = self.pages.entry(chunk.first_page).or_insert_with(|| {
            let stored = &self.bytes[chunk.offset as usize..chunk.end_offset() as usize];
            decompress_chunk(stored, &chunk.entry).unwrap()
        });
        let at = (page - chunk.first_page) as usize * PAGE;
        pages[at..at + PAGE].to_vec()
    }
}

/// All files in a folder, by path, with their bytes.
pub(crate) fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .replace('\\', "/");
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// An MBR with one partition.
pub(crate) fn put_mbr(disk: &mut [u8], start: u32, sectors: u32) {
    disk[450] = 0x83;
    disk[454..458].copy_from_slice(&start.to_le_bytes());
    disk[458..462].copy_from_slice(&sectors.to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
}
