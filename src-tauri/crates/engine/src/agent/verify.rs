//! Checking what is in the store against the packs' own tables.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use livepc_protocol::{Code, Problem};

use super::core::Core;
use super::jobs::Active;
use crate::subscription;

impl Core {
    /// Hashes every chunk of a subscription's releases that is here; damaged ones are dropped, to be fetched again.
    pub(super) async fn verify(self: &Arc<Self>, active: &Arc<Active>) -> Result<(), Problem> {
        let job = active.show();
        let subscription = subscription::find(&self.database, &job.id)?;
        let mut packs = BTreeSet::new();
        let mut openings = Vec::new();
        for release in &subscription.head.releases {
            if !self.reader.has_object(&release.manifest) {
                continue;
            }
            let opened = self.open_release(&subscription, Some(release.sequence)).await?;
            if let Some(map) = &opened.boot_map {
                packs.extend(map.packs.iter().copied());
            }
            if self.index_is_here(&opened)? {
                packs.extend(opened.plan(self).await?.packs.iter().map(|(pack, _)| *pack));
            }
            openings.push(opened);
        }
        let packs: Vec<_> = packs
            .into_iter()
            .filter(|pack| self.reader.count(*pack) > 0)
            .collect();
        let total: u64 = packs
            .iter()
            .map(|pack| u64::from(self.reader.count(*pack)) * 4096)
            .sum();
        active.update(|job| (job.bytes_done, job.bytes_total) = (0, total));
        let (mut damaged, mut lost) = (0_u64, 0_u64);
        for pack in packs {
            let Some(opened) = openings.first() else { break };
            let table = opened.table(self, pack).await?;
            let report = self.with_store(move |store| store.verify(&table, true)).await?;
            damaged += report.damaged.len() as u64;
            lost += report
                .damaged
                .iter()
                .map(|pages| u64::from(pages.end - pages.start) * 4096)
                .sum::<u64>();
            active.update(|job| job.bytes_done += report.bytes);
            if !report.damaged.is_empty() {
                self.writes.fetch_add(1, Ordering::SeqCst);
            }
        }
        if damaged > 0 {
            return Err(Problem::new(
                Code::Failed,
                format!("{damaged} damaged chunks ({lost} bytes) were found and removed."),
                format!(
                    "“livepc download {} --until complete” fetches them again. Have the disk checked.",
                    job.id
                ),
            ));
        }
        Ok(())
    }
}
