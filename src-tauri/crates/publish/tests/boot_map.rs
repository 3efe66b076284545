//! Boot maps: what is published of a trace, read back.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod support;

use livepc_format::index::ChunkTable;
use livepc_format::{decompress_chunk, paths};
use livepc_publish::{BootTrace, PublishError, PublishOptions, TraceRead, add_boot_map};
use support::{MIB, PAGE, Publisher, Site, files, new_keys, noise, now, put_mbr};

fn read(region: u32, page: u64, pages: u32) -> TraceRead {
    TraceRead {
        disk: 0,
        region,
        page,
        pages,
    }
}

/// Three regions: the table, a partition from sector 2048 on, and zeros at the end of it.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; 12 * MIB];
    put_mbr(&mut disk, 2048, 9 * MIB as u32 / 512);
    disk[MIB..9 * MIB].copy_from_slice(&noise(1, 8 * MIB));
    disk
}

#[test]
fn a_boot_map_has_what_the_start_reads() {
    let disk = disk();
    let publisher = Publisher::new(&disk);
    publisher.publish().unwrap();
    let before = Site::open(publisher.site());
    let trace = BootTrace {
        reads: vec![
            read(0, 0, 1),
            read(1, 1000, 10),
            read(1, 500, 300),
            read(1, 1005, 10),  // Half of it was read.
            read(1, 2040, 200), // The disk is zero from page 2048 on.
            read(1, 2100, 2),
        ],
    };
    let added = add_boot_map(&publisher.dest, &publisher.keys, 1, &trace, now()).unwrap();
    assert!(added.changed);
    let site = Site::open(publisher.site());
    assert_eq!(site.head.revision, before.head.revision + 1);
    let release = site.release(1);
    assert_eq!(release.boot_map, Some(added.object));
    assert_eq!(release.bytes.boot_ready, added.boot_ready);
    assert_eq!(
        release.bytes.new,
        before.release(1).bytes.new + added.object.stored,
        "everybody fetches the boot map too"
    );
    assert!(added.boot_ready < release.bytes.new);
    site.check_bytes(1);

    let map = site.boot_map(1);
    let mut order = Vec::new();
    for extent in &map.extents {
        let id = map.packs[extent.pack as usize];
        let pack = site.file(&paths::pack(&id));
        let table = ChunkTable::open(&site.file(&paths::object(&id.0)), id).unwrap();
        for number in 0..extent.len {
            let page = extent.first_page + number;
            let of_pack = map.chunks.iter().filter(|boot| boot.pack == extent.pack);
            let chunk = of_pack
                .map(|boot| boot.chunk)
                .find(|chunk| (chunk.first_page..chunk.end_page()).contains(&page))
                .unwrap();
            assert!(table.chunks().contains(&chunk), "the chunk is the table's");
            let stored = &pack[chunk.offset as usize..chunk.end_offset() as usize];
            let pages = decompress_chunk(stored, &chunk.entry).unwrap();
            let at = (page - chunk.first_page) as usize * PAGE;
            let on_disk =
                (extent.page + u64::from(number)) as usize * PAGE + if extent.region == 0 { 0 } else { MIB };
            assert!(
                pages[at..at + PAGE] == disk[on_disk..on_disk + PAGE],
                "page {} of region {}",
                extent.page + u64::from(number),
                extent.region
            );
            order.push((extent.region, extent.page + u64::from(number)));
        }
    }
    let expected: Vec<(u32, u64)> = std::iter::once((0, 0))
        .chain((1000..1010).map(|page| (1, page)))
        .chain((500..800).map(|page| (1, page)))
        .chain((1010..1015).map(|page| (1, page)))
        .chain((2040..2048).map(|page| (1, page)))
        .collect();
    assert_eq!(
        order, expected,
        "each page once, in the order of the first reads, no zeros"
    );
    assert_eq!(added.pages, expected.len() as u64);
    assert_eq!(added.chunks, map.chunks.len() as u64);
    let chunks: u64 = map.chunks.iter().map(|c| u64::from(c.chunk.entry.stored)).sum();
    assert_eq!(added.boot_ready, chunks + added.object.stored);

    let kept = files(publisher.site());
    let again = add_boot_map(&publisher.dest, &publisher.keys, 1, &trace, now()).unwrap();
    assert!(
        !again.changed && files(publisher.site()) == kept,
        "the same again is nothing new"
    );

    let shorter = BootTrace {
        reads: vec![read(0, 0, 1)],
    };
    add_boot_map(&publisher.dest, &publisher.keys, 1, &shorter, now()).unwrap();
    Site::open(publisher.site()).check_bytes(1);
    let mut disk = disk;
    disk[2 * MIB] ^= 1;
    publisher.set_disk(&disk);
    publisher.publish().unwrap();
    add_boot_map(&publisher.dest, &publisher.keys, 2, &trace, now()).unwrap();
    let site = Site::open(publisher.site());
    site.check_bytes(1);
    site.check_bytes(2);
}

#[test]
fn a_release_with_the_same_disks_has_the_same_boot_map() {
    let publisher = Publisher::new(&disk());
    publisher.publish().unwrap();
    let trace = BootTrace {
        reads: vec![read(0, 0, 1), read(1, 1000, 10)],
    };
    let added = add_boot_map(&publisher.dest, &publisher.keys, 1, &trace, now()).unwrap();
    let label = |label: &str| PublishOptions {
        label: Some(label.into()),
        ..publisher.options()
    };
    let published = publisher.publish_with(&label("the same disk")).unwrap();
    assert_eq!((published.sequence, published.boot_map_of), (2, Some(1)));
    let site = Site::open(publisher.site());
    let release = site.release(2);
    assert_eq!(
        (release.boot_map, release.bytes.boot_ready),
        (Some(added.object), added.boot_ready)
    );
    site.check_bytes(2);

    // One that is lost is none.
    let object = publisher.site().join(paths::object(&added.object.digest));
    let bytes = std::fs::read(&object).unwrap();
    std::fs::remove_file(&object).unwrap();
    let published = publisher.publish_with(&label("without it")).unwrap();
    assert_eq!((published.sequence, published.boot_map_of), (3, None));
    std::fs::write(&object, bytes).unwrap();

    let mut disk = disk();
    disk[2 * MIB] ^= 1;
    publisher.set_disk(&disk);
    let published = publisher.publish_with(&label("another disk")).unwrap();
    assert_eq!(published.boot_map_of, None, "another disk is read elsewhere");
    let site = Site::open(publisher.site());
    assert_eq!(site.release(4).boot_map, None);
    site.check_bytes(4);
}

#[test]
fn a_trace_of_something_else_is_refused() {
    let publisher = Publisher::new(&disk());
    let add = |sequence, reads: Vec<TraceRead>| {
        let trace = BootTrace { reads };
        add_boot_map(&publisher.dest, &publisher.keys, sequence, &trace, now())
    };
    assert!(
        matches!(add(1, vec![]), Err(PublishError::NoRelease { .. })),
        "nothing is published yet"
    );
    publisher.publish().unwrap();
    let before = files(publisher.site());
    assert!(matches!(add(2, vec![]), Err(PublishError::NoRelease { .. })));
    for wrong in [
        read(3, 0, 1),
        read(0, 255, 2),
        read(1, u64::MAX, 1),
        read(1, 2304, 1),
        TraceRead {
            disk: 1,
            ..read(0, 0, 1)
        },
    ] {
        assert!(
            matches!(add(1, vec![wrong]), Err(PublishError::Trace(_))),
            "{wrong:?} does not fit the disk"
        );
    }
    let trace = BootTrace {
        reads: vec![read(0, 255, 1)],
    };
    let foreign = add_boot_map(&publisher.dest, &new_keys(), 1, &trace, now()).unwrap_err();
    assert!(foreign.is_trust(), "{foreign}");
    assert!(files(publisher.site()) == before, "not a byte changed");
    assert!(add(1, trace.reads).unwrap().changed, "a fitting one is published");
}
