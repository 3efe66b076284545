//! Whatever is done to a store, it agrees with a simple model of it.

use std::collections::BTreeMap;

use livepc_store::{ReadOutcome, Reader, Store};
use proptest::prelude::*;

use crate::support::Pack;

const LENGTHS: [u32; 9] = [1, 64, 7, 64, 30, 64, 2, 64, 11];

#[derive(Clone, Debug)]
enum Step {
    /// Chunks, each by its pack and its place in it.
    Write(Vec<(usize, usize)>),
    Drop {
        pack: usize,
        first: u32,
        count: u32,
    },
    Read {
        pack: usize,
        first: u32,
        count: u32,
    },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pages: u32 = LENGTHS.iter().sum();
    let pack = 0..3_usize;
    let range = (pack.clone(), 0..pages + 20, 0..90_u32);
    let step = prop_oneof![
        4 => prop::collection::vec((pack, 0..LENGTHS.len()), 1..6).prop_map(Step::Write),
        2 => range.clone().prop_map(|(pack, first, count)| Step::Drop { pack, first, count }),
        6 => range.prop_map(|(pack, first, count)| Step::Read { pack, first, count }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_its_model(steps in steps()) {
        let packs: Vec<Pack> = (0..3).map(|seed| Pack::new(seed, &LENGTHS)).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut store = Some(Store::open(folder.path()).unwrap());
        let other = Reader::open(folder.path()).unwrap();
        let mut model: BTreeMap<(usize, u32), ()> = BTreeMap::new();
        for step in steps {
            let open = store.as_ref().unwrap();
            match step {
                Step::Write(chunks) => {
                    for &(pack, number) in &chunks {
                        let chunk = packs[pack].table.chunks()[number];
                        model.extend((chunk.first_page..chunk.end_page()).map(|page| ((pack, page), ())));
                    }
                    let chunks = chunks.iter().map(|&(pack, number)| packs[pack].chunk(number)).collect();
                    open.write_chunks(chunks).unwrap();
                }
                Step::Drop { pack, first, count } => {
                    open.drop_pages(packs[pack].id, first, count).unwrap();
                    model.retain(|&(p, page), ()| p != pack || !(first..first + count).contains(&page));
                }
                Step::Read { pack, first, count } => {
                    let here = |page: &u32| model.contains_key(&(pack, *page));
                    let missing = (first..first + count).find(|page| !here(page));
                    let expected = missing.map_or(ReadOutcome::Complete, |page| ReadOutcome::Missing { page });
                    prop_assert_eq!(packs[pack].read(&open.reader(), first, count), expected);
                    let runs: Vec<u32> =
                        open.reader().missing(packs[pack].id, first, count).into_iter().flatten().collect();
                    let expected: Vec<u32> = (first..first + count).filter(|page| !here(page)).collect();
                    prop_assert_eq!(runs, expected);
                    // Another process may not have noticed that pages were dropped, but it reads nothing wrong.
                    let outcome = packs[pack].read(&other, first, count);
                    prop_assert!(missing.is_some() || outcome == ReadOutcome::Complete);
                }
                Step::Reopen => {
                    store = None;
                    store = Some(store.unwrap_or_else(|| Store::open(folder.path()).unwrap()));
                }
            }
        }
        for (i, pack) in packs.iter().enumerate() {
            let store = store.as_ref().unwrap();
            let count = model.keys().filter(|(pack, _)| *pack == i).count();
            prop_assert_eq!(store.reader().count(pack.id) as usize, count);
            prop_assert!(store.verify(&pack.table, false).unwrap().damaged.is_empty());
        }
    }
}
