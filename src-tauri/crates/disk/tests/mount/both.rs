//! The two exports of one disk, read at random while its pages arrive, beside what was published.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use livepc_disk::block::BlockDevice;

use crate::backend::Bench;
use crate::client::{Client, serve};
use crate::published::{Data, PAGE, Published};
use crate::support::*;

/// Three regions, the second of which begins within a page of the disk, and the last of which ends within one of its own.
const SECTORS: [u64; 3] = [63, 20_000, 12_345];
const READS: u64 = 300;

fn published() -> Published {
    let data = |region, page, pages, pack, gap| Data {
        region,
        page,
        pages,
        pack,
        gap,
    };
    Published::new(
        &SECTORS,
        &[
            data(0, 0, 8, 0, 0),
            data(1, 3, 700, 0, 5),
            data(1, 900, 1_000, 1, 0),
            data(1, 2_300, 200, 0, 77),
            data(2, 10, 1, 2, 0),
            data(2, 12, 900, 1, 3),
            data(2, 1_500, 44, 2, 1),
        ],
    )
}

/// A range of the disk: mostly small ones, as guests read, and some that reach over regions.
fn range(random: &mut Random, size: u64) -> (u64, u32) {
    let most = if random.next().is_multiple_of(8) {
        3 << 20
    } else {
        20 * PAGE as u64
    };
    let at = random.next() % size;
    let len = (1 + random.next() % most).min(size - at);
    (at, len as u32)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_exports_give_what_was_published_while_it_arrives() {
    let bench = Bench::new(published(), None);
    let size = bench.disk.size();
    let whole = Arc::new(bench.published().expected(0, size as usize));
    let work = work();
    let server = serve(Arc::clone(&bench.disk) as Arc<dyn BlockDevice>).await;
    let mount = mount(&work.path().join("disks"), Arc::clone(&bench.disk) as _).await;
    let file = mount.folder().join("disk-flat.vmdk");

    let over_nbd = |seed| {
        let (whole, connecting) = (Arc::clone(&whole), Client::structured(&server));
        async move {
            let mut client = connecting.await;
            let mut random = Random(seed);
            for _ in 0..READS {
                let (at, len) = range(&mut random, size);
                let read = client.read(at, len).await;
                let end = at as usize + len as usize;
                assert!(read == whole[at as usize..end], "NBD: {len} bytes at {at}");
            }
        }
    };
    let over_fuse = |seed| {
        let (whole, file) = (Arc::clone(&whole), file.clone());
        blocking(move || {
            let file = File::open(file).unwrap();
            let mut random = Random(seed);
            for _ in 0..READS {
                let (at, len) = range(&mut random, size);
                let mut read = vec![0; len as usize];
                file.read_exact_at(&mut read, at).unwrap();
                let end = at as usize + len as usize;
                assert!(read == whole[at as usize..end], "FUSE: {len} bytes at {at}");
            }
        })
    };
    // The same ranges over both at the same time, and others.
    tokio::join!(over_nbd(7), over_fuse(7), over_nbd(8), over_fuse(9));
    assert!(
        !bench.backend.take_asked().is_empty(),
        "nothing was here before it was read"
    );
    mount.unmount().await.unwrap();
    server.shutdown().await;
}
