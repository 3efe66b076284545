//! Tests of what is claimed to be here after power cuts and failing disks.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use livepc_format::{Digest, PackId};
use proptest::prelude::*;
use proptest::test_runner::TestRng;

use crate::layout::{PAGE_LEN, PAGES_AT, header};
use crate::medium::{Disk, Medium};
use crate::{NewChunk, ReadOutcome, Reader, Store, StoreError};

/// What was done to a pack file.
enum Step {
    Write { offset: u64, bytes: Vec<u8> },
    Sync,
}

/// Writes, and remembers in which order.
#[derive(Default)]
struct Recorder(Mutex<Vec<Step>>);

impl Medium for Recorder {
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.lock().unwrap().push(Step::Write {
            offset,
            bytes: bytes.to_vec(),
        });
        Disk.write_all_at(file, bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.0.lock().unwrap().push(Step::Sync);
        Disk.sync_data(file)
    }
}

/// A disk that fails once, after so many steps.
struct Failing {
    left: AtomicI64,
    kind: io::ErrorKind,
}

impl Failing {
    fn step(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            Err(self.kind.into())
        } else {
            Ok(())
        }
    }
}

impl Medium for Failing {
    fn write_all_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.step() {
            // A part of it got through.
            Disk.write_all_at(file, &bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        Disk.write_all_at(file, bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.step()?;
        Disk.sync_data(file)
    }
}

fn pack() -> PackId {
    PackId(Digest::of(b"the pack"))
}

/// The chunks of the pack lie one after the other, each with this many pages.
const CHUNKS: [u32; 10] = [64, 1, 17, 64, 3, 40, 64, 64, 2, 30];

fn chunk(number: usize) -> NewChunk {
    let first_page = 4000 + CHUNKS[..number].iter().sum::<u32>();
    let mut pages = vec![0; CHUNKS[number] as usize * PAGE_LEN];
    for (i, byte) in pages.iter_mut().enumerate() {
        *byte = (i / PAGE_LEN * 7 + number * 31 + i % 251) as u8;
    }
    NewChunk {
        pack: pack(),
        first_page,
        content_digest: Digest::of(&pages),
        pages,
    }
}

/// Whether the chunk is claimed to be here; fails if a claim is false.
fn claimed(reader: &Reader, number: usize) -> Result<bool, TestCaseError> {
    let chunk = chunk(number);
    if !reader.has(pack(), chunk.first_page, CHUNKS[number]) {
        return Ok(false);
    }
    let mut bytes = vec![0; chunk.pages.len()];
    let outcome = reader.read(pack(), chunk.first_page, &mut bytes).unwrap();
    prop_assert_eq!(
        outcome,
        ReadOutcome::Complete,
        "chunk {} is claimed but damaged",
        number
    );
    prop_assert!(
        bytes == chunk.pages,
        "chunk {} is claimed but has other bytes",
        number
    );
    Ok(true)
}

/// Makes the file that a power cut after `steps` may leave: what was synced is there, of the rest each sector may be.
fn put_after_power_cut(folder: &Path, steps: &[Step], rng: &mut TestRng) {
    let path = crate::folder::Folder::new(folder).pack(pack());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    Disk.write_all_at(&file, &header(pack()), 0).unwrap();
    let mut len = PAGES_AT;
    file.set_len(len).unwrap();
    let synced = steps
        .iter()
        .rposition(|step| matches!(step, Step::Sync))
        .unwrap_or(0);
    for (i, step) in steps.iter().enumerate() {
        let Step::Write { offset, bytes } = step else {
            continue;
        };
        if i < synced {
            Disk.write_all_at(&file, bytes, *offset).unwrap();
            len = len.max(offset + bytes.len() as u64);
            continue;
        }
        for (at, sector) in (*offset..).step_by(512).zip(bytes.chunks(512)) {
            if rng.random_bool(0.5) {
                Disk.write_all_at(&file, sector, at).unwrap();
                len = len.max(at + sector.len() as u64);
            } else if rng.random_bool(0.1) && len < at + 512 {
                // The file has grown, its content has not arrived.
                len = at + 512;
                file.set_len(len).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn after_a_power_cut_every_claim_is_true(
        batches in prop::collection::vec(prop::collection::vec(0..CHUNKS.len(), 1..5), 1..6),
        dropped in prop::collection::vec(0..CHUNKS.len(), 0..3),
        mut rng in prop::arbitrary::any::<[u8; 16]>().prop_perturb(|_, rng| rng),
    ) {
        let recorder = Arc::new(Recorder::default());
        let original = tempfile::tempdir().unwrap();
        let store = Store::open_on(original.path(), Arc::clone(&recorder) as Arc<dyn Medium>).unwrap();
        let (last, batches) = batches.split_last().unwrap();
        for batch in batches {
            store.write_chunks(batch.iter().map(|&number| chunk(number)).collect()).unwrap();
        }
        for &number in &dropped {
            store.drop_pages(pack(), chunk(number).first_page, CHUNKS[number]).unwrap();
        }
        store.write_chunks(last.iter().map(|&number| chunk(number)).collect()).unwrap();
        for &number in last {
            prop_assert!(claimed(&store.reader(), number)?, "what was just written is here");
        }

        let steps = recorder.0.lock().unwrap();
        let copy = tempfile::tempdir().unwrap();
        Store::open(copy.path()).unwrap();
        for cut in 0..=steps.len() {
            put_after_power_cut(copy.path(), &steps[..cut], &mut rng);
            let reader = Reader::open(copy.path()).unwrap();
            for number in 0..CHUNKS.len() {
                claimed(&reader, number)?;
            }
            // And the store can be used: all is fetched that is missing.
            if cut.is_multiple_of(9) {
                let store = Store::open(copy.path()).unwrap();
                store.write_chunks((0..CHUNKS.len()).map(chunk).collect()).unwrap();
                for number in 0..CHUNKS.len() {
                    prop_assert!(claimed(&store.reader(), number)?, "chunk {} was written again", number);
                }
            }
        }
    }

    #[test]
    fn a_file_damaged_at_random_is_never_believed(
        damage in prop::collection::vec((0..400_000_usize, 1..9000_usize, any::<u8>()), 1..6),
        cut in prop::option::of(0..400_000_usize),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut chunk = chunk(0);
        chunk.first_page = 0;
        {
            let store = Store::open(folder.path()).unwrap();
            store.write_chunks(vec![chunk.clone()]).unwrap();
        }
        let path = crate::folder::Folder::new(folder.path()).pack(pack());
        let mut file = fs::read(&path).unwrap();
        for (at, len, xor) in damage {
            let end = (at + len).min(file.len());
            for byte in &mut file[at.min(end)..end] {
                *byte ^= xor;
            }
        }
        file.truncate(cut.unwrap_or(file.len()));
        fs::write(&path, file).unwrap();

        let store = Store::open(folder.path()).unwrap();
        for page in 0..CHUNKS[0] {
            let mut bytes = [0; PAGE_LEN];
            match store.reader().read(pack(), page, &mut bytes).unwrap() {
                ReadOutcome::Complete => {
                    prop_assert_eq!(&bytes[..], &chunk.pages[page as usize * PAGE_LEN..][..PAGE_LEN]);
                }
                ReadOutcome::Missing { .. } => {}
                ReadOutcome::Damaged { page, .. } => store.drop_pages(pack(), page, 1).unwrap(),
            }
        }
        store.write_chunks(vec![chunk.clone()]).unwrap();
        let mut bytes = vec![0; chunk.pages.len()];
        prop_assert_eq!(store.reader().read(pack(), 0, &mut bytes).unwrap(), ReadOutcome::Complete);
        prop_assert!(bytes == chunk.pages, "what was damaged and dropped can be written again");
    }
}

#[test]
fn a_batch_that_fails_anywhere_is_taken_back_and_can_be_repeated() {
    // Two chunks: pages and CRCs of each, a sync, and the bits of each.
    for fails_at in 0..7 {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
            let folder = tempfile::tempdir().unwrap();
            let medium = Failing {
                left: AtomicI64::new(fails_at),
                kind,
            };
            let store = Store::open_on(folder.path(), Arc::new(medium)).unwrap();
            let error = store.write_chunks(vec![chunk(0), chunk(3)]).unwrap_err();
            assert_eq!(
                error.is_disk_full(),
                kind == io::ErrorKind::StorageFull,
                "{error}"
            );
            let other = Reader::open(folder.path()).unwrap();
            for number in [0, 3] {
                let claimed = claimed(&other, number).unwrap();
                assert!(
                    !claimed || fails_at >= 5,
                    "step {fails_at} failed, and chunk {number} is claimed"
                );
            }
            store.write_chunks(vec![chunk(0), chunk(3)]).unwrap();
            for number in [0, 3] {
                assert!(
                    claimed(&other, number).unwrap(),
                    "after a repetition chunk {number} is here"
                );
            }
        }
    }
}

#[test]
fn a_pack_that_fails_does_not_take_back_another() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, second) = (chunk(0), chunk(0));
    first.pack = PackId(Digest::from_bytes([0; 32]));
    let (pack, first_page) = (first.pack, first.first_page);
    // Pages, CRCs, sync and bits of the first pack; then the second one's first step.
    let medium = Failing {
        left: AtomicI64::new(4),
        kind: io::ErrorKind::StorageFull,
    };
    let store = Store::open_on(folder.path(), Arc::new(medium)).unwrap();
    let error = store.write_chunks(vec![second, first]).unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert!(
        store.reader().has(pack, first_page, CHUNKS[0]),
        "the first pack was durable"
    );
    assert!(
        !claimed(&store.reader(), 0).unwrap(),
        "the second one is not here"
    );
}
