//! Any read gives the bytes of the source.

use std::sync::Arc;

use livepc_disk::{
    block::{BlockDevice, RunKind},
    raw_file::RawFile,
};
use proptest::prelude::*;

use crate::{client::*, device::*};

/// A range within the disk; its ends are often where something changes.
fn range() -> impl Strategy<Value = (u64, u32)> {
    let edges: Vec<u64> = HOLES
        .iter()
        .flat_map(|(at, len)| [*at, at + len])
        .chain([SIZE])
        .collect();
    let edge = (prop::sample::select(edges), 0..100u64).prop_map(|(edge, off)| edge.saturating_sub(off));
    let place = prop_oneof![0..SIZE, edge];
    (place.clone(), place).prop_map(|(a, b)| (a.min(b), a.abs_diff(b) as u32))
}

#[test]
fn any_read_gives_the_bytes_of_the_source() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let source = image();
    let file = sparse_file();
    let devices: [Arc<dyn BlockDevice>; 2] = [
        Arc::new(RawFile::open(file.path()).unwrap()),
        Arc::new(Memory::new(source.clone())),
    ];
    for device in devices {
        let server = runtime.block_on(serve(device.clone()));
        let simple = runtime.block_on(Client::simple(&server));
        let structured = runtime.block_on(Client::structured(&server));
        let clients = std::cell::RefCell::new([simple, structured]);
        proptest!(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() },
            |((offset, len) in range(), which in 0..2usize)| {
            let expected = &source[offset as usize..][..len as usize];
            let got = runtime.block_on(clients.borrow_mut()[which].read(offset, len));
            prop_assert!(got == expected, "client {which}: {len} bytes at {offset} differ");
            let direct = runtime.block_on(device.read_at(offset, len)).unwrap();
            prop_assert!(direct == expected, "read_at: {len} bytes at {offset} differ");
        });
        runtime.block_on(server.shutdown());
    }
}

#[test]
fn the_runs_of_a_file_cover_the_range_and_what_is_called_zero_is_zero() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let source = image();
    let file = sparse_file();
    let device = RawFile::open(file.path()).unwrap();
    proptest!(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() },
        |((offset, len) in range())| {
        let mut at = offset as usize;
        for run in runtime.block_on(device.runs(offset, len.into())).unwrap() {
            prop_assert!(run.len > 0);
            let bytes = &source[at..at + run.len as usize];
            prop_assert!(run.kind == RunKind::Data || bytes.iter().all(|byte| *byte == 0));
            at += run.len as usize;
        }
        prop_assert_eq!(at as u64, offset + u64::from(len));
    });
}
