//! The memory that a publication takes. It has a test binary of its own: the peak is the process's.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use jiff::Timestamp;
use livepc_format::SecretKey;
use livepc_publish::{Folder, Project, PublishKeys, PublishOptions, Silent, publish};

const GIB: u64 = 1 << 30;
const DISK: u64 = 64 * GIB;
const DATA: u64 = 2 * GIB;
/// The data lies in stretches all over the disk.
const STRETCHES: u64 = 512;
const LIMIT: u64 = 512 << 20;

/// Fills pages with bytes of which zstd saves about a half.
fn fill(bytes: &mut [u8], seed: u64) {
    let mut state = seed;
    for page in bytes.chunks_exact_mut(4096) {
        let (first, second) = page.split_at_mut(2048);
        for word in first.chunks_exact_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word.copy_from_slice(&(z ^ (z >> 27)).to_le_bytes());
        }
        second.fill(b'a');
    }
}

fn peak_resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

#[test]
fn sixty_four_gibibytes_fit_in_half_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.raw");
    let file = File::create(&image).unwrap();
    file.set_len(DISK).unwrap();
    let mut mib = vec![0; 1 << 20];
    for stretch in 0..STRETCHES {
        for number in 0..(DATA / STRETCHES) >> 20 {
            fill(&mut mib, stretch * 1_000_003 + number * 7919 + 1);
            file.write_all_at(&mib, stretch * (DISK / STRETCHES) + (number << 20))
                .unwrap();
        }
    }
    drop(file);

    let project = Project::init(&image, "large", dir.path()).unwrap();
    let root = SecretKey::generate().unwrap();
    let keys = PublishKeys {
        root_public: root.public_key().unwrap(),
        root: Some(root),
        signing: SecretKey::generate().unwrap(),
        ledger: None,
    };
    let dest = Folder::new(dir.path().join("site"));
    let mut options = PublishOptions::new(Timestamp::now());
    options.scratch = Some(dir.path().to_owned());

    let start = Instant::now();
    let published = publish(&project, &dest, &keys, &options, &Silent).unwrap();
    let first = start.elapsed();
    assert_eq!(published.disk_bytes, DISK);
    assert_eq!(published.pages_new, DATA / 4096, "all of the data was published");
    let peak = peak_resident();
    eprintln!(
        "published {} packs, {} MiB, in {first:.1?}; peak resident memory {} MiB",
        published.packs,
        published.pack_bytes >> 20,
        peak >> 20
    );
    assert!(peak <= LIMIT, "{} MiB is more than may be", peak >> 20);

    // Again, with all pages known.
    let start = Instant::now();
    let again = publish(&project, &dest, &keys, &options, &Silent).unwrap();
    assert!(!again.changed && again.pages_known == DATA / 4096);
    let peak = peak_resident();
    eprintln!(
        "found it unchanged in {:.1?}; peak resident memory {} MiB",
        start.elapsed(),
        peak >> 20
    );
    assert!(peak <= LIMIT, "{} MiB is more than may be", peak >> 20);
}
