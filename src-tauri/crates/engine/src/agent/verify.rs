//! Checking what is in the store against the packs' own tables, and fetching again what is not as it was published.
//!
//! What is found damaged is noted with its job before it is removed, so that a job that goes on after the agent was killed
//! still knows what it has to fetch.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use livepc_format::index::Chunk;
use livepc_format::limits::{OBJECT_BYTES, PAGE};
use livepc_format::shown;
use livepc_format::{PackId, paths};
use livepc_protocol::{Code, Damage, Job, JobPhase, Problem};
use livepc_transfer::{Priority, Size};
use rusqlite::params;

use super::core::Core;
use super::jobs::Active;
use super::release::{LATE, Opened};
use crate::problems::of_format;
use crate::subscription::{self, Subscription};

/// The chunks that some releases use, by pack and first page.
type Used = BTreeMap<PackId, BTreeMap<u32, Chunk>>;

impl Core {
    /// Hashes every chunk of a subscription's releases that is here. Damaged ones are removed, and fetched again if the job
    /// says so.
    pub(super) async fn verify(self: &Arc<Self>, active: &Arc<Active>) -> Result<(), Problem> {
        let job = active.show();
        let subscription = subscription::find(&self.database, &job.id)?;
        let (openings, used) = self.openings_here(&subscription).await?;
        // What was checked already is not checked again because the network failed.
        if job.phase == JobPhase::Checking {
            if job.repair {
                self.take_over(&job, &used)?;
            }
            self.check(active, &openings, &used).await?;
        }
        if job.repair {
            self.repair(active, &openings).await?;
        }
        let damage = self.damage(job.job)?;
        active.update(|job| job.damage = Some(damage));
        if damage.repaired_chunks < damage.chunks {
            return Err(Problem::new(
                Code::Failed,
                format!(
                    "{} damaged chunks ({}) were found and removed.",
                    damage.chunks,
                    shown::size(damage.bytes)
                ),
                format!(
                    "“livepc verify {} --repair” fetches them again. Have the disk checked.",
                    job.id
                ),
            ));
        }
        Ok(())
    }

    /// The releases of a subscription that are here in part, and the chunks that they use.
    async fn openings_here(
        self: &Arc<Self>,
        subscription: &Subscription,
    ) -> Result<(Vec<Arc<Opened>>, Used), Problem> {
        let (mut openings, mut used) = (Vec::new(), Used::new());
        for release in subscription.releases() {
            if !self.reader.has_object(&release.manifest) {
                continue;
            }
            let opened = self.open_release(subscription, Some(release.sequence)).await?;
            for boot in opened.boot_map.iter().flat_map(|map| &map.chunks) {
                let pack = opened.boot_map.as_ref().map(|map| map.packs[boot.pack as usize]);
                let chunks = pack.map(|pack| used.entry(pack).or_default());
                chunks.map(|chunks| chunks.insert(boot.chunk.first_page, boot.chunk));
            }
            if opened.known_plan().is_some() || self.index_is_here(&opened)? {
                for (pack, chunks) in &opened.plan(self).await?.packs {
                    let chunks = chunks.iter().map(|chunk| (chunk.first_page, *chunk));
                    used.entry(*pack).or_default().extend(chunks);
                }
            }
            openings.push(opened);
        }
        Ok((openings, used))
    }

    /// Notes what earlier checks have removed, as long as it is not here again and a release uses it.
    fn take_over(&self, job: &Job, used: &Used) -> Result<(), Problem> {
        let sql = "SELECT pack, first_page, pages FROM damaged_chunk JOIN job USING (job)
             WHERE repaired = 0 AND job <> ?1 AND json_extract(data, '$.id') = ?2";
        let rows: Vec<(String, u32, u32)> = self.database.all(sql, params![job.job, job.id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        let mut missing = Vec::new();
        for (name, first_page, pages) in rows {
            let pack = PackId(name.parse().map_err(|e| of_format(&e))?);
            let is_used = used
                .get(&pack)
                .is_some_and(|chunks| chunks.contains_key(&first_page));
            if is_used && !self.reader.has(pack, first_page, pages) {
                missing.push((pack, first_page..first_page.saturating_add(pages)));
            }
        }
        self.note_damage(job.job, &missing)
    }

    fn note_damage(&self, job: u64, damaged: &[(PackId, Range<u32>)]) -> Result<(), Problem> {
        self.database.change(|t| {
            let add =
                "INSERT OR IGNORE INTO damaged_chunk (job, pack, first_page, pages) VALUES (?1, ?2, ?3, ?4)";
            let mut add = t.prepare_cached(add)?;
            for (pack, pages) in damaged {
                add.execute(params![
                    job,
                    pack.to_string(),
                    pages.start,
                    pages.end - pages.start
                ])?;
            }
            Ok(())
        })
    }

    /// Checks the packs, and removes what is damaged.
    async fn check(
        self: &Arc<Self>,
        active: &Arc<Active>,
        openings: &[Arc<Opened>],
        used: &Used,
    ) -> Result<(), Problem> {
        let number = active.show().job;
        let here = used.iter().filter(|(pack, _)| self.store.local_bytes(**pack) > 0);
        let here: Vec<_> = here.collect();
        let pages = |pack: &PackId| u64::from(self.reader.count(*pack));
        let total: u64 = here.iter().map(|(pack, _)| pages(pack) * PAGE).sum();
        active.update(|job| (job.bytes_done, job.bytes_total) = (0, total));
        for (pack, chunks) in here {
            // All releases of a subscription have the same publisher.
            let Some(opened) = openings.first() else { break };
            let (pack, table) = (*pack, opened.table(self, *pack).await?);
            let report = self.with_store(move |store| store.verify(&table, false)).await?;
            let mut damaged = report.damaged;
            if report.lost {
                // What was here is not known: whatever the releases use of it is missed.
                damaged.extend(chunks.values().map(|chunk| chunk.first_page..chunk.end_page()));
            }
            active.update(|job| job.bytes_done += report.bytes);
            if damaged.is_empty() {
                continue;
            }
            let noted: Vec<_> = damaged.iter().map(|pages| (pack, pages.clone())).collect();
            self.note_damage(number, &noted)?;
            self.with_store(move |store| {
                for pages in damaged {
                    tracing::warn!(%pack, ?pages, "a damaged chunk is removed");
                    store.drop_pages(pack, pages.start, pages.end - pages.start)?;
                }
                Ok(())
            })
            .await?;
            self.writes.fetch_add(1, Ordering::SeqCst);
            let damage = self.damage(number)?;
            active.update(|job| job.damage = Some(damage));
        }
        let damage = self.damage(number)?;
        active.update(|job| job.damage = Some(damage));
        Ok(())
    }

    /// Fetches again what a check has removed, and damaged objects of the index.
    async fn repair(self: &Arc<Self>, active: &Arc<Active>, openings: &[Arc<Opened>]) -> Result<(), Problem> {
        let number = active.show().job;
        self.set_phase(active, JobPhase::Complete);
        let missing = "SELECT pack, first_page FROM damaged_chunk WHERE job = ?1 AND repaired = 0";
        let rows: Vec<(String, u32)> = self
            .database
            .all(missing, [number], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut by_pack: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (pack, first_page) in rows {
            by_pack.entry(pack).or_default().push(first_page);
        }
        for (name, first_pages) in by_pack {
            let Some(opened) = openings.first() else { break };
            let pack = PackId(name.parse().map_err(|e| of_format(&e))?);
            let table = opened.table(self, pack).await?;
            let chunks = first_pages
                .iter()
                .filter_map(|first| table.covering(*first, 1).first().copied());
            let chunks = [(pack, chunks.collect())];
            self.reuse(&chunks).await?;
            self.fetch_all(opened, &chunks, Priority::Fill).await?;
            self.with_store(move |store| store.flush(&[pack])).await?;
            let repaired = "UPDATE damaged_chunk SET repaired = 1 WHERE job = ?1 AND pack = ?2";
            self.database.run(repaired, params![number, name])?;
            let damage = self.damage(number)?;
            active.update(|job| job.damage = Some(damage));
        }
        for opened in openings {
            let key = opened.key.clone();
            let damaged = self.with_store(move |store| store.damaged_objects(&key)).await?;
            for digest in damaged {
                let (path, size) = if digest == opened.release.manifest {
                    let size = crate::published::size_of_manifest(&opened.release);
                    (paths::manifest(&digest), size)
                } else {
                    (paths::object(&digest), Size::at_most(OBJECT_BYTES))
                };
                self.fetch_object(&opened.origin, &path, digest, size, &LATE)
                    .await?;
            }
        }
        Ok(())
    }

    /// What a job has found damaged.
    fn damage(&self, job: u64) -> Result<Damage, Problem> {
        let sql = "SELECT count(*), coalesce(sum(pages), 0), coalesce(sum(repaired), 0),
             coalesce(sum(pages * repaired), 0) FROM damaged_chunk WHERE job = ?1";
        let found = self.database.one(sql, [job], |row| {
            Ok(Damage {
                chunks: row.get(0)?,
                bytes: row.get::<_, u64>(1)? * PAGE,
                repaired_chunks: row.get(2)?,
                repaired_bytes: row.get::<_, u64>(3)? * PAGE,
            })
        })?;
        Ok(found.unwrap_or_default())
    }
}
