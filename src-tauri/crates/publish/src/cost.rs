//! What subscribers will fetch: the bytes that the head tells of a release.
//!
//! A chunk or an object of the index is fetched by who does not have it already. So for each of them it is noted who
//! uses it: the disks of the new release, and the kept releases.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use livepc_format::Digest;
use livepc_format::head::FetchBytes;
use livepc_format::index::{ChunkTable, ObjectRef};

use crate::destination::{Destination, read_named};
use crate::error::{Context as _, PublishError, Result};
use crate::known::Packs;
use crate::opened::{Kept, Opened};
use crate::pack::Packed;
use crate::progress::{Counter, Phase, Progress};
use crate::sort::Sorter;

/// How many of the kept releases the head tells the way from, the newest ones. It says so for each release that it
/// lists, and it has to stay small; whoever comes from further back is told the cost of all.
const FROM: usize = 16;

/// Who uses something: a disk of the new release, or a kept release.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User(usize);

impl User {
    /// A disk of the new release.
    pub(crate) fn disk(disk: usize) -> Self {
        Self(disk)
    }
}

/// A set of users.
type Users = Vec<u64>;

/// What the new release and the kept ones use.
pub(crate) struct Cost {
    disks: usize,
    /// The sequences of the kept releases that count: the newest [`FROM`].
    kept: Vec<u64>,
    objects: HashMap<Digest, u32>,
    /// By tag: an object's stored bytes, and who uses it.
    users: Vec<(u64, Users)>,
    /// Number of the pack, first page there, pages, tag of the shard that says so: 4 bytes each.
    extents: Sorter<16>,
    /// By number: whether the new release uses the pack.
    used: Vec<bool>,
}

/// The bytes of a release.
pub(crate) struct Costs {
    /// For the head.
    pub(crate) fetch: FetchBytes,
    /// Stored bytes of the chunks that each disk uses.
    pub(crate) disks: Vec<u64>,
}

impl Cost {
    /// For a release with so many published disks, after the `kept` ones, newest first.
    pub(crate) fn new(disks: usize, kept: &[Kept<'_>], scratch: &Path) -> Self {
        Self {
            disks,
            kept: kept.iter().take(FROM).map(|kept| kept.release.sequence).collect(),
            objects: HashMap::new(),
            users: Vec::new(),
            extents: Sorter::new(scratch),
            used: Vec::new(),
        }
    }

    /// Notes that `user` uses an object of the index. Gives the object's tag if it was not known before: if it is a shard,
    /// its extents are to be noted then.
    pub(crate) fn object(&mut self, object: &ObjectRef, user: User) -> Option<u32> {
        let fresh = self.users.len() as u32;
        let tag = *self.objects.entry(object.digest).or_insert(fresh);
        if tag == fresh {
            let words = (self.disks + self.kept.len()).div_ceil(64);
            self.users.push((object.stored, vec![0; words]));
        }
        let (_, users) = &mut self.users[tag as usize];
        users[user.0 / 64] |= 1 << (user.0 % 64);
        (tag == fresh).then_some(tag)
    }

    /// Notes an extent of the shard `tag` of the new release.
    pub(crate) fn extent(&mut self, tag: u32, pack: u32, first: u32, pages: u32) -> Result<()> {
        if self.used.len() <= pack as usize {
            self.used.resize(pack as usize + 1, false);
        }
        self.used[pack as usize] = true;
        self.note(tag, pack, first, pages)
    }

    fn note(&mut self, tag: u32, pack: u32, first: u32, pages: u32) -> Result<()> {
        let mut record = [0; 16];
        for (place, number) in record.chunks_exact_mut(4).zip([pack, first, pages, tag]) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        self.extents
            .push(record)
            .context(|| "sorting the extents in the folder for temporary files".to_owned())
    }

    /// The numbers of the packs that the new release uses.
    pub(crate) fn used(&self) -> impl Iterator<Item = u32> {
        let used = self.used.iter().enumerate();
        used.filter(|(_, used)| **used).map(|(number, _)| number as u32)
    }

    /// Notes what the kept releases use of it. The new release must have been noted before.
    pub(crate) fn add_kept(&mut self, opened: &Opened<'_>, kept: &[Kept<'_>], packs: &Packs) -> Result<()> {
        for (place, kept) in kept.iter().take(FROM).enumerate() {
            let user = User(self.disks + place);
            self.object(&kept.manifest.packs, user);
            for root in kept.roots() {
                self.object(root, user);
                for shard in opened.disk_root(root)?.shards {
                    if let Some(tag) = self.object(&shard.object, user) {
                        self.add_shard(opened, &shard.object, tag, packs)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add_shard(&mut self, opened: &Opened<'_>, object: &ObjectRef, tag: u32, packs: &Packs) -> Result<()> {
        let shard = opened.shard(object)?;
        let numbers: Vec<Option<u32>> = shard
            .packs
            .iter()
            .map(|id| {
                packs
                    .number(id)
                    .filter(|n| self.used.get(*n as usize) == Some(&true))
            })
            .collect();
        for extent in &shard.extents {
            if let Some(number) = numbers[extent.pack as usize] {
                self.note(tag, number, extent.first_page, extent.len)?;
            }
        }
        Ok(())
    }

    /// Adds it all up.
    pub(crate) fn reckon(
        self,
        dest: &dyn Destination,
        packs: &Packs,
        packed: &Packed,
        progress: &dyn Progress,
    ) -> Result<Costs> {
        let mut counter = Counter::new(progress, Phase::Reckon, self.used().count() as u64);
        let mut sums = Sums::new(self.disks, self.kept.len());
        for (stored, users) in &self.users {
            sums.add(*stored, users);
        }
        let what = || "reading the sorted extents back".to_owned();
        let extents = self.extents.finish();
        let mut pack: Option<PackUsers> = None;
        for record in extents.iter().context(what)? {
            let record = record.context(what)?;
            let [number, first, pages, tag] =
                std::array::from_fn(|i| u32::from_be_bytes(std::array::from_fn(|j| record[4 * i + j])));
            if pack.as_ref().is_none_or(|pack| pack.number != number) {
                if let Some(done) = pack.take() {
                    done.add_to(&mut sums);
                    counter.add(1)?;
                }
                let words = sums.words();
                pack = Some(PackUsers::open(dest, packs, packed, number, words)?);
            }
            if let Some(pack) = &mut pack {
                pack.add(first, pages, &self.users[tag as usize].1);
            }
        }
        if let Some(done) = pack {
            done.add_to(&mut sums);
            counter.add(1)?;
        }
        Ok(sums.into_costs(&self.kept))
    }
}

/// Who uses the chunks of one pack.
struct PackUsers {
    number: u32,
    table: ChunkTable,
    table_bytes: u64,
    words: usize,
    chunks: Vec<u64>,
}

impl PackUsers {
    fn open(
        dest: &dyn Destination,
        packs: &Packs,
        packed: &Packed,
        number: u32,
        words: usize,
    ) -> Result<Self> {
        let id = packs.get(number).id;
        let bytes = match packed.table(number)? {
            Some(bytes) => bytes,
            None => read_named(dest, &livepc_format::paths::object(&id.0), ChunkTable::MAX_BYTES)?,
        };
        let table = ChunkTable::open(&bytes, id).map_err(PublishError::from)?;
        Ok(Self {
            number,
            chunks: vec![0; table.chunks().len() * words],
            table,
            table_bytes: bytes.len() as u64,
            words,
        })
    }

    fn add(&mut self, first: u32, pages: u32, users: &Users) {
        let start = self
            .table
            .chunks()
            .partition_point(|chunk| chunk.end_page() <= first);
        let end = start + self.table.covering(first, pages).len();
        for chunk in self.chunks[start * self.words..end * self.words].chunks_exact_mut(self.words) {
            for (all, more) in chunk.iter_mut().zip(users) {
                *all |= more;
            }
        }
    }

    fn add_to(&self, sums: &mut Sums) {
        let mut of_table = vec![0; self.words];
        for (chunk, users) in self
            .table
            .chunks()
            .iter()
            .zip(self.chunks.chunks_exact(self.words))
        {
            sums.add_chunk(u64::from(chunk.entry.stored), users);
            for (all, more) in of_table.iter_mut().zip(users) {
                *all |= more;
            }
        }
        sums.add(self.table_bytes, &of_table);
    }
}

/// Bytes that the new release uses: together, by disk, and those that a kept release uses too.
struct Sums {
    all: u64,
    disks: Vec<u64>,
    shared: Vec<u64>,
}

impl Sums {
    fn new(disks: usize, kept: usize) -> Self {
        Self {
            all: 0,
            disks: vec![0; disks],
            shared: vec![0; kept],
        }
    }

    fn words(&self) -> usize {
        (self.disks.len() + self.shared.len()).div_ceil(64)
    }

    /// Adds something that the users fetch.
    fn add(&mut self, bytes: u64, users: &[u64]) {
        if !(0..self.disks.len()).any(|disk| has(users, disk)) {
            return;
        }
        self.all += bytes;
        for (kept, sum) in self.shared.iter_mut().enumerate() {
            if has(users, self.disks.len() + kept) {
                *sum += bytes;
            }
        }
    }

    /// Adds a chunk, which counts for the disks too.
    fn add_chunk(&mut self, bytes: u64, users: &[u64]) {
        self.add(bytes, users);
        for (disk, sum) in self.disks.iter_mut().enumerate() {
            if has(users, disk) {
                *sum += bytes;
            }
        }
    }

    fn into_costs(self, kept: &[u64]) -> Costs {
        let from: BTreeMap<u64, u64> = kept
            .iter()
            .zip(&self.shared)
            .map(|(sequence, shared)| (*sequence, self.all - shared))
            .collect();
        Costs {
            fetch: FetchBytes {
                new: self.all,
                boot_ready: self.all,
                from,
            },
            disks: self.disks,
        }
    }
}

fn has(users: &[u64], user: usize) -> bool {
    users[user / 64] >> (user % 64) & 1 == 1
}
