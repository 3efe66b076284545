//! Any sequence of wants, withdrawals, answers and failures keeps the schedule sound, and everybody gets an answer.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use url::Url;

use super::super::plan::{GAP, LARGEST};
use super::*;

/// What may happen in a life of requests.
#[derive(Clone, Debug)]
enum Step {
    Want(u8, Vec<u32>, u8, u8),
    Withdraw(usize),
    Pause(bool),
    Wait(u64),
    End(usize, usize, u8),
    Bad(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, prop::collection::vec(0..40_u32, 1..12), 0..3_u8, 1..4_u8)
            .prop_map(|(pack, chunks, priority, bases)| Step::Want(pack, chunks, priority, bases)),
        1 => (0..20_usize).prop_map(Step::Withdraw),
        1 => any::<bool>().prop_map(Step::Pause),
        2 => (0..5000_u64).prop_map(Step::Wait),
        4 => (0..9_usize, 0..9_usize, 0..5_u8).prop_map(|(which, came, how)| Step::End(which, came, how)),
        1 => (0..9_usize).prop_map(Step::Bad),
    ]
}

impl Bench {
    /// Starts what can be started; checks each plan.
    fn start_all(&mut self, running: &mut HashMap<RequestId, Plan>) {
        while let Some(plan) = self.next() {
            let span = plan.items.last().unwrap().end() - plan.items[0].offset();
            assert!(plan.whole || plan.items.len() == 1 || span <= LARGEST, "bounded");
            for pair in plan.items.windows(2) {
                assert_eq!(pair[0].pack, pair[1].pack, "one file");
                assert!(pair[0].end() <= pair[1].offset(), "in order, none over another");
                assert!(
                    plan.whole || pair[1].offset() - pair[0].end() < GAP,
                    "no large gap"
                );
            }
            let under_way: HashSet<_> = running
                .values()
                .flat_map(|plan| &plan.items)
                .map(|w| (w.pack, w.offset()))
                .collect();
            assert!(
                plan.items
                    .iter()
                    .all(|w| !under_way.contains(&(w.pack, w.offset()))),
                "under way once"
            );
            running.insert(plan.id, plan);
            assert!(running.len() <= tuning().total);
        }
        for base in &self.schedule.bases {
            assert!(base.running <= tuning().connections);
        }
        for (wanted, item) in &self.schedule.items {
            for priority in Priority::ALL {
                let is_queued = self.schedule.queued[priority as usize].contains(wanted);
                let should = item.state == State::Queued && item.priority == priority;
                assert_eq!(is_queued, should, "queues and items say the same");
            }
            assert!(
                item.state != State::Queued || !item.tickets.is_empty(),
                "queued for somebody"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_everything_is_settled(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new(3);
        bench.schedule.bases[2].has_ranges(false, bench.now);
        let all = bench.bases.clone();
        let mut running: HashMap<RequestId, Plan> = HashMap::new();
        let (mut open, mut settled) = (HashSet::new(), 0);
        for step in steps {
            bench.start_all(&mut running);
            match step {
                Step::Want(number, wanted, priority, bases) => {
                    bench.bases = all[..usize::from(bases)].to_vec();
                    let priority = Priority::ALL[usize::from(priority)];
                    open.insert(bench.want(number, &chunks(wanted), priority));
                }
                Step::Withdraw(which) => {
                    let ticket = open.iter().copied().nth(which);
                    if let Some(ticket) = ticket {
                        open.remove(&ticket);
                        bench.schedule.withdraw(ticket);
                    }
                }
                Step::Pause(paused) => bench.schedule.pause(paused),
                Step::Wait(ms) => bench.now += Duration::from_millis(ms),
                Step::End(which, came, how) => {
                    let id = running.keys().copied().nth(which);
                    if let Some(plan) = id.and_then(|id| running.remove(&id)) {
                        let url = Url::parse("http://a.example/x").unwrap();
                        let came = came.min(plan.items.len());
                        let error = match how {
                            0 => Some(network()),
                            1 => Some(TransferError::not_found(&url)),
                            _ => None,
                        };
                        bench.ended(&plan, Ended { error, ..super::ended(came) });
                        for wanted in &plan.items[..came] {
                            bench.schedule.landed(wanted);
                        }
                    }
                }
                Step::Bad(which) => {
                    let id = running.keys().copied().nth(which);
                    if let Some(plan) = id.and_then(|id| running.remove(&id)) {
                        bench.ended(&plan, done(&plan));
                        let what = "wrong".to_owned();
                        let error = TransferError::Digest { url: "x".to_owned(), what };
                        for wanted in &plan.items {
                            bench.schedule.bad(wanted, plan.base, None, error.clone(), bench.now);
                        }
                    }
                }
            }
            for (ticket, _) in bench.settled() {
                settled += usize::from(open.remove(&ticket));
            }
        }
        // From here on all servers do what they should.
        bench.schedule.pause(false);
        for _ in 0..2000 {
            bench.start_all(&mut running);
            for (_, plan) in running.drain() {
                bench.land(&plan);
            }
            for (ticket, _) in bench.settled() {
                settled += usize::from(open.remove(&ticket));
            }
            if bench.schedule.items.is_empty() {
                break;
            }
            bench.now += Duration::from_secs(5);
        }
        prop_assert!(open.is_empty(), "{} tickets wait for ever, {settled} were settled", open.len());
        prop_assert!(bench.schedule.items.is_empty(), "chunks are left behind");
        prop_assert!(bench.schedule.tickets.is_empty() && !bench.schedule.is_busy());
    }
}
