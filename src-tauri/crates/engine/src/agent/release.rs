//! A release whose metadata is here: its manifest and boot map, and on demand its index.
//!
//! Chunks are always taken as a pack's own table has them, never on a boot map's word alone: all LivePCs share the store,
//! and a table is told by the pack's id, a boot map only by the publisher who signed it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use livepc_format::head::Release;
use livepc_format::index::{BootMap, Chunk, ChunkTable, DiskRoot, ObjectRef, PackList, Shard};
use livepc_format::manifest::{Content, Region};
use livepc_format::{Digest, Manifest, PackId, limits, paths};
use livepc_protocol::{Code, IndexObject, OpenedRelease, Problem};
use livepc_store::ReleaseKey;
use livepc_transfer::{Origin, Size};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use super::core::Core;
use crate::locked::lock;
use crate::problems::{of_format, of_listed, of_store};
use crate::subscription::{self, Subscription};

/// The pauses before an object that is late is asked for again: somebody may wait for it.
pub(super) const LATE: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// How long a release without its boot map is used before that is asked for again.
const WITHOUT_BOOT_MAP: Duration = Duration::from_secs(60);
/// Stored bytes of a start that are fetched in the order of the disk before later ones: what a line of 20 Mbit/s brings in a
/// second.
const WAVE: u64 = 2 << 20;
/// Index objects that are fetched at the same time.
const FETCHES: usize = 8;

/// A release that can be read and fetched.
pub(crate) struct Opened {
    pub(super) id: String,
    pub(super) key: ReleaseKey,
    pub(super) origin: Arc<Origin>,
    pub(super) release: Release,
    pub(super) manifest: Manifest,
    pub(super) boot_map: Option<Arc<BootMap>>,
    since: Instant,
    tables: Mutex<HashMap<PackId, Arc<ChunkTable>>>,
    plan: OnceCell<Arc<Plan>>,
}

/// Some chunks of one pack.
pub(super) type OfPack = (PackId, Vec<Chunk>);

/// All chunks that a release uses.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By pack, in the order in which the disks first use them.
    pub(super) packs: Vec<OfPack>,
    /// Stored bytes of the index objects.
    pub(super) index_bytes: u64,
}

impl Core {
    /// Opens a release: fetches its manifest and boot map if they are not here.
    pub(super) async fn open_release(
        self: &Arc<Self>,
        subscription: &Subscription,
        sequence: Option<u64>,
    ) -> Result<Arc<Opened>, Problem> {
        let release = subscription.release(sequence)?.clone();
        let key = subscription.key(release.sequence);
        let known = || {
            let opened = lock(&self.releases).get(&key)?.clone();
            // A boot map may come later than its release.
            let here = self.reader.has_object(&release.manifest);
            (here && opened.is(&release, subscription)).then_some(opened)
        };
        if let Some(opened) = known() {
            return Ok(opened);
        }
        let _turn = self.openings.of(&key).lock_owned().await;
        if let Some(opened) = known() {
            return Ok(opened);
        }
        let origin = Arc::new(subscription.origin());
        let store_key = ReleaseKey::new(key.clone()).map_err(|e| of_store(&e))?;
        // Said before it is fetched, so that pruning does not take it as soon as it is here.
        let first = [release.manifest];
        let (to_keep, none) = (store_key.clone(), []);
        self.with_store(move |store| store.keep_also(&to_keep, &none, &first))
            .await?;
        let bytes = match self.local_object(&release.manifest, limits::MANIFEST_BYTES)? {
            Some(bytes) => bytes,
            None => {
                let path = paths::manifest(&release.manifest);
                self.fetch_object(
                    &origin,
                    &path,
                    release.manifest,
                    crate::published::size_of_manifest(&release),
                    &LATE,
                )
                .await?
            }
        };
        let manifest = Manifest::open(&bytes, subscription.livepc, &release).map_err(|e| of_format(&e))?;
        let boot_map = match &release.boot_map {
            Some(object) => self.boot_map(&origin, object, &manifest).await?,
            None => None,
        };
        let opened = Arc::new(Opened {
            id: subscription.id.clone(),
            key: store_key,
            origin,
            release,
            manifest,
            boot_map,
            since: Instant::now(),
            tables: Mutex::default(),
            plan: OnceCell::new(),
        });
        if self.index_is_here(&opened)? {
            opened.plan(self).await?;
        } else {
            self.keep(&opened, None).await?;
        }
        let guest_os = opened.manifest.machine.guest_os.name();
        subscription::describe(&self.database, &subscription.id, guest_os)?;
        lock(&self.releases).insert(key, opened.clone());
        Ok(opened)
    }

    /// A release's boot map. A start does without one that cannot be had: it only makes it faster.
    async fn boot_map(
        &self,
        origin: &Origin,
        object: &ObjectRef,
        manifest: &Manifest,
    ) -> Result<Option<Arc<BootMap>>, Problem> {
        // Nobody waits for it.
        let size = Size::exactly(object.stored);
        let bytes = match self.sized_object(origin, object.digest, size, &[]).await {
            Ok(bytes) => bytes,
            Err(problem) if problem.code == Code::Trust => return Err(problem),
            Err(problem) => {
                tracing::warn!("the boot map cannot be had: {}", problem.message);
                return Ok(None);
            }
        };
        let map = BootMap::decode(&bytes, object).map_err(|e| of_format(&e))?;
        map.check_fits(&manifest.disks).map_err(|e| of_format(&e))?;
        Ok(Some(Arc::new(map)))
    }

    /// The release with this key in the store: runners and servers name it so.
    pub(super) async fn release_by_key(self: &Arc<Self>, key: &str) -> Result<Arc<Opened>, Problem> {
        if let Some(opened) = lock(&self.releases).get(key) {
            return Ok(opened.clone());
        }
        for subscription in subscription::all(&self.database)? {
            for release in subscription.releases() {
                if subscription.key(release.sequence) == key {
                    return self.open_release(&subscription, Some(release.sequence)).await;
                }
            }
        }
        Err(crate::problems::not_found(
            "There is no such release any more.",
            "Stop its machine.",
        ))
    }

    /// An object of the index, if it is in the store.
    pub(super) fn local_object(&self, digest: &Digest, max: u64) -> Result<Option<Vec<u8>>, Problem> {
        self.reader.object(digest, max).map_err(|e| of_store(&e))
    }

    /// An object of the index, from the store or, into the store, from the publisher.
    pub(super) async fn object(&self, origin: &Origin, object: &ObjectRef) -> Result<Vec<u8>, Problem> {
        self.sized_object(origin, object.digest, Size::exactly(object.stored), &LATE)
            .await
    }

    /// As [`object`](Self::object); one that is late is asked for again after these pauses.
    async fn sized_object(
        &self,
        origin: &Origin,
        digest: Digest,
        size: Size,
        lates: &[Duration],
    ) -> Result<Vec<u8>, Problem> {
        if let Some(bytes) = self.local_object(&digest, size.limit)? {
            return Ok(bytes);
        }
        // Many reads may wait for the same one.
        let _turn = self.fetches.of(&digest.to_string()).lock_owned().await;
        match self.local_object(&digest, size.limit)? {
            Some(bytes) => Ok(bytes),
            None => {
                self.fetch_object(origin, &paths::object(&digest), digest, size, lates)
                    .await
            }
        }
    }

    /// Fetches an object of the index into the store. One that is late is asked for again after these pauses.
    pub(super) async fn fetch_object(
        &self,
        origin: &Origin,
        path: &str,
        digest: Digest,
        size: Size,
        lates: &[Duration],
    ) -> Result<Vec<u8>, Problem> {
        let mut lates = lates.iter();
        let bytes = loop {
            let problem = match self.client.verified(origin, path, &digest, size).await {
                Ok(bytes) => break bytes,
                Err(error) => of_listed(&error),
            };
            match lates.next().filter(|_| problem.is_late) {
                Some(pause) => tokio::time::sleep(*pause).await,
                // It has been waited for here.
                None => {
                    return Err(Problem {
                        is_late: false,
                        ..problem
                    });
                }
            }
        };
        let kept = bytes.clone();
        self.with_store(move |store| store.put_object(&digest, &kept))
            .await?;
        self.writes.fetch_add(1, Ordering::SeqCst);
        Ok(bytes.to_vec())
    }

    /// Tells the store what a release needs, as far as it is known.
    async fn keep(&self, opened: &Opened, plan: Option<&(Vec<PackId>, Vec<Digest>)>) -> Result<(), Problem> {
        let mut packs: Vec<PackId> = opened
            .boot_map
            .as_ref()
            .map(|map| map.packs.clone())
            .unwrap_or_default();
        let mut objects = vec![opened.release.manifest];
        objects.extend(opened.release.boot_map.map(|object| object.digest));
        objects.extend(packs.iter().map(|pack| pack.0));
        if let Some((more_packs, more_objects)) = plan {
            packs.extend(more_packs);
            objects.extend(more_objects);
        }
        let (key, all) = (opened.key.clone(), plan.is_some());
        let kept = self.with_store(move |store| {
            if all {
                store.keep(&key, &packs, &objects)
            } else {
                store.keep_also(&key, &packs, &objects)
            }
        });
        kept.await?;
        // Whose it is what is here may be another now.
        self.writes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Opened {
    /// True if this is the release as the subscription's head has it now. One that was opened without its boot map is
    /// opened again after a while.
    fn is(&self, release: &Release, subscription: &Subscription) -> bool {
        let whole =
            release.boot_map.is_none() || self.boot_map.is_some() || self.since.elapsed() < WITHOUT_BOOT_MAP;
        whole && self.release == *release && *self.origin == subscription.origin()
    }

    /// What changed in it, as text of several lines that can be shown anywhere.
    pub(super) fn changelog(&self) -> String {
        livepc_format::text::block(&self.manifest.changelog, limits::CHANGELOG_BYTES)
    }

    /// What runners need to know.
    pub(super) fn describe(&self, complete: bool) -> OpenedRelease {
        OpenedRelease {
            id: self.id.clone(),
            key: self.key.as_str().to_owned(),
            release: self.release.sequence,
            manifest: self.release.manifest.to_string(),
            boot_map: self
                .release
                .boot_map
                .filter(|_| self.boot_map.is_some())
                .map(|object| IndexObject {
                    digest: object.digest.to_string(),
                    stored: object.stored,
                    size: object.size,
                }),
            complete,
        }
    }

    /// The chunk table of a pack, from here or from the publisher.
    pub(super) async fn table(&self, core: &Core, pack: PackId) -> Result<Arc<ChunkTable>, Problem> {
        if let Some(table) = lock(&self.tables).get(&pack) {
            return Ok(table.clone());
        }
        let size = Size::at_most(ChunkTable::MAX_BYTES);
        let bytes = core.sized_object(&self.origin, pack.0, size, &LATE).await?;
        let table = Arc::new(ChunkTable::open(&bytes, pack).map_err(|e| of_format(&e))?);
        lock(&self.tables).insert(pack, table.clone());
        Ok(table)
    }

    /// The chunks that a start reads, in the order in which it reads them first.
    pub(super) async fn boot_chunks(self: &Arc<Self>, core: &Arc<Core>) -> Result<Vec<OfPack>, Problem> {
        let Some(map) = self.boot_map.clone() else {
            return Ok(Vec::new());
        };
        self.tables_of(core, &map.packs).await?;
        let mut chosen = Chosen::in_waves();
        for extent in &map.extents {
            let pack = map.packs[extent.pack as usize];
            let table = self.table(core, pack).await?;
            chosen.add(pack, table.covering(extent.first_page, extent.len));
        }
        Ok(chosen.finish())
    }

    /// All chunks that the release uses; reads the whole index once.
    pub(super) async fn plan(self: &Arc<Self>, core: &Arc<Core>) -> Result<Arc<Plan>, Problem> {
        self.plan.get_or_try_init(|| self.make_plan(core)).await.cloned()
    }

    /// The plan, if it was made.
    pub(super) fn known_plan(&self) -> Option<&Arc<Plan>> {
        self.plan.get()
    }

    async fn make_plan(self: &Arc<Self>, core: &Arc<Core>) -> Result<Arc<Plan>, Problem> {
        let list_bytes = core.object(&self.origin, &self.manifest.packs).await?;
        let list = PackList::decode(&list_bytes, &self.manifest.packs).map_err(|e| of_format(&e))?;
        let mut objects = vec![self.manifest.packs];
        let mut shard_objects = Vec::new();
        for disk in &self.manifest.disks {
            let Content::Published { index, regions, .. } = &disk.content else {
                continue;
            };
            let root = self.disk_root(core, index, regions).await?;
            objects.push(*index);
            shard_objects.extend(root.shards.iter().map(|shard| shard.object));
        }
        objects.extend(&shard_objects);
        let packs: Vec<PackId> = list.packs.iter().map(|pack| pack.id).collect();
        let mut digests: Vec<Digest> = objects.iter().map(|object| object.digest).collect();
        digests.extend(packs.iter().map(|pack| pack.0));
        // Said before anything is fetched, so that pruning never takes what is on its way.
        core.keep(self, Some(&(packs.clone(), digests))).await?;
        self.tables_of(core, &packs).await?;
        let mut chosen = Chosen::default();
        for object in &shard_objects {
            let shard = self.shard(core, object).await?;
            for extent in &shard.extents {
                let pack = shard.packs[extent.pack as usize];
                let table = self.table(core, pack).await?;
                chosen.add(pack, table.covering(extent.first_page, extent.len));
            }
        }
        let tables: u64 = {
            let tables = lock(&self.tables);
            packs
                .iter()
                .filter_map(|pack| tables.get(pack))
                .map(|t| 9 + 72 * t.chunks().len() as u64)
                .sum()
        };
        let index_bytes = objects.iter().map(|object| object.stored).sum::<u64>() + tables;
        Ok(Arc::new(Plan {
            packs: chosen.finish(),
            index_bytes,
        }))
    }

    /// The shards of a disk with these regions, from here or from the publisher.
    pub(super) async fn disk_root(
        &self,
        core: &Core,
        index: &ObjectRef,
        regions: &[Region],
    ) -> Result<DiskRoot, Problem> {
        let bytes = core.object(&self.origin, index).await?;
        DiskRoot::decode(&bytes, index)
            .and_then(|root| root.check_fits(regions).map(|()| root))
            .map_err(|e| of_format(&e))
    }

    /// A shard, from here or from the publisher.
    pub(super) async fn shard(&self, core: &Core, object: &ObjectRef) -> Result<Shard, Problem> {
        let bytes = core.object(&self.origin, object).await?;
        Shard::decode(&bytes, object).map_err(|e| of_format(&e))
    }

    /// Fetches the tables of several packs, some at a time.
    async fn tables_of(self: &Arc<Self>, core: &Arc<Core>, packs: &[PackId]) -> Result<(), Problem> {
        let mut waiting = packs.iter().copied();
        let mut fetches = JoinSet::new();
        loop {
            while fetches.len() < FETCHES
                && let Some(pack) = waiting.next()
            {
                let (opened, core) = (self.clone(), core.clone());
                let fetch = async move { opened.table(&core, pack).await.map(drop) };
                fetches.spawn(livepc_panics::fenced("Fetching", fetch));
            }
            match fetches.join_next().await {
                Some(Ok(done)) => done.map_err(Problem::of_panic)??,
                Some(Err(error)) => {
                    return Err(Problem::new(Code::Failed, error.to_string(), "Try again."));
                }
                None => return Ok(()),
            }
        }
    }
}

/// Chunks that were chosen once each: in waves, in the order of their choice; of each wave by pack and place.
#[derive(Default)]
pub(super) struct Chosen {
    done: Vec<OfPack>,
    /// Stored bytes after which a wave is full; none if there is only one.
    full: Option<u64>,
    stored: u64,
    order: Vec<PackId>,
    chunks: HashMap<PackId, BTreeMap<u32, Chunk>>,
    seen: HashSet<(PackId, u32)>,
}

impl Chosen {
    /// For chunks that are needed in about this order: what lies together is asked for together, but nothing is put off
    /// for long because it lies far behind.
    pub(super) fn in_waves() -> Self {
        Self {
            full: Some(WAVE),
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, pack: PackId, chunks: &[Chunk]) {
        for chunk in chunks {
            if self.seen.insert((pack, chunk.first_page)) {
                let of_pack = self.chunks.entry(pack).or_insert_with(|| {
                    self.order.push(pack);
                    BTreeMap::new()
                });
                of_pack.insert(chunk.first_page, *chunk);
                self.stored += u64::from(chunk.entry.stored);
            }
        }
        if self.full.is_some_and(|full| self.stored >= full) {
            self.end_wave();
        }
    }

    fn end_wave(&mut self) {
        self.stored = 0;
        for pack in self.order.drain(..) {
            if let Some(chunks) = self.chunks.remove(&pack) {
                self.done.push((pack, chunks.into_values().collect()));
            }
        }
    }

    pub(super) fn finish(mut self) -> Vec<OfPack> {
        self.end_wave();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livepc_format::index::ChunkEntry;

    fn chunk(number: u32) -> Chunk {
        let digest = Digest::of(&number.to_le_bytes());
        Chunk {
            first_page: number * 64,
            offset: u64::from(number) << 19,
            entry: ChunkEntry {
                stored: 1 << 19,
                pages: 64,
                stored_digest: digest,
                content_digest: digest,
            },
        }
    }

    fn chosen(mut chosen: Chosen, order: &[(u8, u32)]) -> Vec<(u8, Vec<u32>)> {
        for (pack, number) in order {
            chosen.add(PackId(Digest::from_bytes([*pack; 32])), &[chunk(*number)]);
        }
        let packs = chosen.finish().into_iter();
        packs
            .map(|(pack, chunks)| {
                let numbers = chunks.iter().map(|chunk| chunk.first_page / 64);
                (pack.0.as_bytes()[0], numbers.collect())
            })
            .collect()
    }

    #[test]
    fn a_start_is_fetched_in_its_order_and_within_a_wave_in_that_of_the_disk() {
        let order = [(1, 9), (2, 0), (1, 3), (2, 0), (1, 4), (1, 0), (2, 7), (1, 9)];
        let all = chosen(Chosen::default(), &order);
        assert_eq!(all, [(1, vec![0, 3, 4, 9]), (2, vec![0, 7])], "by pack");
        const { assert!(WAVE == 4 << 19) };
        let waves = chosen(Chosen::in_waves(), &order);
        assert_eq!(
            waves,
            [(1, vec![3, 4, 9]), (2, vec![0]), (1, vec![0]), (2, vec![7])],
            "the first four chunks, then the others"
        );
    }
}
