//! The writer is killed at any moment; what the store then claims is true, and it goes on.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use livepc_store::{Reader, ReleaseKey, Store, StoreError};

use crate::support::{Pack, child, child_folder};

const KILLS: u32 = 40;
const BATCH_DONE: &str = "batch done";

fn packs() -> Vec<Pack> {
    (0..6)
        .map(|seed| Pack::new(seed, &[64, 5, 64, 64, 17, 64, 1, 64]))
        .collect()
}

/// Waits until the child has written so many batches.
fn wait_for(output: &mut BufReader<ChildStdout>, batches: u32) {
    let mut line = String::new();
    let mut done = 0;
    while done < batches {
        line.clear();
        assert!(
            output.read_line(&mut line).unwrap() > 0,
            "the child ended by itself"
        );
        done += u32::from(line.contains(BATCH_DONE));
    }
}

#[test]
fn after_a_kill_at_any_moment_every_claim_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let packs = packs();
    let mut random = 88_172_645_463_325_252_u64;
    let mut made = false;
    for kill in 0..KILLS {
        let mut writer: Child = child("kill::child_writes_until_it_is_killed", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(writer.stdout.take().unwrap());
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        wait_for(&mut output, (random % 4) as u32);
        // No event tells when a write is half done: the moment is chosen by chance.
        std::thread::sleep(Duration::from_micros(random >> 8 & 0x3fff));
        writer.kill().unwrap();
        writer.wait().unwrap();

        if !made && matches!(Reader::open(folder.path()), Err(StoreError::NoStore(_))) {
            continue; // It had not made the store yet.
        }
        made = true;
        let store = Store::open(folder.path()).expect("the lock of a killed writer is free");
        for pack in &packs {
            let report = store.verify(&pack.table, false).unwrap();
            assert!(
                report.damaged.is_empty(),
                "kill {kill}: {report:?} is claimed and is not here"
            );
            assert_eq!(
                store.reader().count(pack.id),
                (report.bytes / 4096) as u32,
                "kill {kill}: the process set a chunk's bits in one write"
            );
        }
        for pack in &packs {
            store.adopt_chunks(pack.id, pack.table.chunks()).unwrap();
        }
        store.prune(false).unwrap();
    }
}

#[test]
#[ignore = "run as a child by the test above"]
fn child_writes_until_it_is_killed() {
    let Some(folder) = child_folder() else { return };
    let store = Store::open(&folder).unwrap();
    let packs = packs();
    let release: ReleaseKey = "a-1".parse().unwrap();
    let mut random = u64::from(std::process::id()) << 20 | 12_345;
    loop {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Half of the packs are kept at a time; the others come and go.
        let kept: Vec<_> = packs
            .iter()
            .skip((random % 4) as usize)
            .take(3)
            .map(|pack| pack.id)
            .collect();
        store.keep(&release, &kept, &[]).unwrap();
        let batch = (0..6)
            .map(|i| {
                let pick = (random >> (i * 8)) as usize;
                packs[pick % packs.len()].chunk(pick / 7 % 8)
            })
            .collect();
        store.write_chunks(batch).unwrap();
        if random.is_multiple_of(5) {
            store
                .drop_pages(packs[(random >> 9) as usize % 6].id, 0, 64)
                .unwrap();
        }
        writeln!(std::io::stdout(), "{BATCH_DONE}").unwrap();
    }
}
