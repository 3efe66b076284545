mod answers;
mod lives;
mod streams;

use livepc_format::Digest;

use super::plan::{LARGEST, QUICK, SMALLEST};
use super::*;

const STORED: u32 = 64 * 1024;

fn tuning() -> Tuning {
    Tuning {
        connections: 6,
        total: 16,
        attempts: 3,
        backoff: Duration::from_millis(250),
    }
}

fn pack(number: u8) -> PackId {
    PackId(Digest::from_bytes([number; 32]))
}

/// The chunk with this number, in a pack of chunks of 64 KiB each.
fn chunk(number: u32) -> Chunk {
    Chunk {
        first_page: number * 64,
        offset: u64::from(number) * u64::from(STORED),
        entry: ChunkEntry {
            stored: STORED,
            pages: 64,
            stored_digest: Digest::of(&number.to_le_bytes()),
            content_digest: Digest::of(&number.to_be_bytes()),
        },
    }
}

fn chunks(numbers: impl IntoIterator<Item = u32>) -> Vec<Chunk> {
    numbers.into_iter().map(chunk).collect()
}

fn numbers(plan: &Plan) -> Vec<u32> {
    plan.items
        .iter()
        .map(|wanted| wanted.chunk.first_page / 64)
        .collect()
}

fn network() -> TransferError {
    TransferError::network(&Url::parse("http://a.example/").unwrap(), "gone")
}

fn ended(delivered: usize) -> Ended {
    Ended {
        delivered,
        kept: 0,
        partial: None,
        doubt: None,
        error: None,
    }
}

fn done(plan: &Plan) -> Ended {
    ended(plan.items.len())
}

fn broken(delivered: usize, error: TransferError) -> Ended {
    Ended {
        error: Some(error),
        ..ended(delivered)
    }
}

struct Bench {
    schedule: Schedule,
    now: Instant,
    ticket: TicketId,
    bases: Vec<BaseId>,
}

impl Bench {
    /// A schedule that knows servers with ranges.
    fn new(servers: usize) -> Self {
        let mut schedule = Schedule::new(tuning());
        let url = |n| Url::parse(&format!("http://{n}.example/")).unwrap();
        let bases: Vec<BaseId> = (0..servers).map(|n| schedule.base(&url(n))).collect();
        for base in &mut schedule.bases {
            base.ranges = Some(true);
        }
        Self {
            schedule,
            now: Instant::now(),
            ticket: 0,
            bases,
        }
    }

    fn want(&mut self, number: u8, chunks: &[Chunk], priority: Priority) -> TicketId {
        self.ticket += 1;
        self.schedule
            .want(self.ticket, &self.bases, pack(number), chunks, priority, |_| {
                false
            });
        self.ticket
    }

    fn next(&mut self) -> Option<Plan> {
        self.schedule.next(self.now)
    }

    /// Answers every request with wrong bytes; gives what was asked: the server, whether past caches, whether the whole pack.
    fn always_wrong(&mut self) -> Vec<(BaseId, bool, bool)> {
        let mut asked = Vec::new();
        while let Some(plan) = self.next() {
            asked.push((plan.base, plan.fresh, plan.whole));
            self.ended(&plan, done(&plan));
            let doubt = (plan.fresh && !plan.whole).then_some(Doubt::Cut);
            let error = TransferError::Digest {
                url: "http://0.example/x".to_owned(),
                what: "wrong".to_owned(),
            };
            self.schedule
                .bad(&plan.items[0], plan.base, doubt, error, self.now);
        }
        asked
    }

    fn ended(&mut self, plan: &Plan, ended: Ended) {
        self.schedule.ended(plan.id, ended, self.now);
    }

    /// All chunks of the plan come and are kept.
    fn land(&mut self, plan: &Plan) {
        self.ended(plan, done(plan));
        for wanted in &plan.items {
            self.schedule.landed(wanted);
        }
    }

    fn settled(&mut self) -> Vec<(TicketId, Result<Fetched, TransferError>)> {
        self.schedule.take_settled()
    }
}

#[test]
fn neighbours_are_one_request_and_far_ones_another() {
    let mut bench = Bench::new(1);
    // 0 and 1 touch; behind 1 there are 16 KiB that nobody wants; 3 and 5 have 64 KiB between them.
    let mut wanted = chunks([0, 1, 3, 5]);
    wanted[2].offset -= u64::from(STORED) - 16 * 1024;
    bench.want(1, &wanted, Priority::BootMap);
    let first = bench.next().unwrap();
    assert_eq!(numbers(&first), [0, 1, 3], "one range over a small gap");
    assert_eq!(
        numbers(&bench.next().unwrap()),
        [5],
        "another one behind a larger gap"
    );
}

#[test]
fn a_start_is_fetched_in_the_order_of_asking() {
    let mut bench = Bench::new(1);
    for number in [7, 3, 5] {
        bench.want(number, &chunks([9, 2]), Priority::BootMap);
    }
    let plans = std::iter::from_fn(|| bench.next());
    let order: Vec<_> = plans
        .map(|plan| (plan.items[0].pack, numbers(&plan)[0]))
        .collect();
    let of = |number| [(pack(number), 2), (pack(number), 9)];
    assert_eq!(order, [of(7), of(3), of(5)].concat()[..order.len()]);
    assert!(order.len() > 2, "{order:?}");
}

#[test]
fn a_fill_is_bounded_until_the_server_proves_fast() {
    let mut bench = Bench::new(1);
    bench.want(1, &chunks(0..200), Priority::Fill);
    let first = bench.next().unwrap();
    assert_eq!(
        numbers(&first).len() as u64 * u64::from(STORED),
        SMALLEST,
        "nothing is known of the server"
    );
    bench.schedule.note(first.id, 20 << 20, bench.now);
    bench.land(&first);
    let second = bench.next().unwrap();
    let size = second.items.len() as u64 * u64::from(STORED);
    assert!(
        size > SMALLEST && size <= LARGEST,
        "a fast one is asked for more: {size}"
    );
}

#[test]
fn a_chunk_is_under_way_once_and_all_who_want_it_get_it() {
    let mut bench = Bench::new(1);
    let first = bench.want(1, &chunks([0]), Priority::Fill);
    let plan = bench.next().unwrap();
    let second = bench.want(1, &chunks([0]), Priority::Demand);
    assert!(bench.next().is_none(), "it is under way already");
    assert!(plan.urgent.load(Ordering::Relaxed), "but it has become urgent");
    assert!(
        bench.schedule.preempt(bench.now).is_empty(),
        "and is not cancelled for itself"
    );
    bench.land(&plan);
    let settled: Vec<TicketId> = bench.settled().into_iter().map(|(ticket, _)| ticket).collect();
    assert_eq!(settled, [first, second]);
}

#[test]
fn demand_comes_first_and_holds_up_the_rest() {
    let mut bench = Bench::new(1);
    bench.want(1, &chunks(0..100), Priority::Fill);
    let fill = bench.next().unwrap();
    bench.want(2, &chunks([50]), Priority::Demand);
    assert_eq!(
        bench.schedule.preempt(bench.now),
        [fill.id],
        "a fill that has hardly begun is in the way"
    );
    assert!(
        bench.schedule.preempt(bench.now).is_empty(),
        "it is cancelled once"
    );
    let demand = bench.next().unwrap();
    assert_eq!(demand.items[0].pack, pack(2));
    bench.ended(&fill, ended(1));
    assert!(bench.next().is_none(), "no fill while a machine waits");
    bench.land(&demand);
    assert_eq!(
        numbers(&bench.next().unwrap())[0],
        1,
        "then it goes on behind what came"
    );
    assert!(
        bench.next().is_none(),
        "with one small request, as another demand is likely"
    );
}

#[test]
fn a_fill_beside_demands_is_short_in_time() {
    let mut bench = Bench::new(1);
    bench.want(2, &chunks([0]), Priority::Demand);
    let demand = bench.next().unwrap();
    bench.schedule.note(demand.id, 12 << 20, bench.now);
    bench.land(&demand);
    bench.now += Duration::from_secs(2);
    bench.want(1, &chunks(0..200), Priority::Fill);
    let fill = bench.next().unwrap();
    let size = fill.items.len() as u64 * u64::from(STORED);
    let rate = bench.schedule.bases[0].rate.per_second(bench.now);
    assert!(
        size > QUICK && size <= rate / 20,
        "{size} bytes at {rate} bytes a second"
    );
    assert!(bench.next().is_none(), "and nothing waits behind it");
}

#[test]
fn a_fill_that_is_nearly_there_is_not_thrown_away() {
    let mut bench = Bench::new(1);
    bench.want(1, &chunks(0..100), Priority::Fill);
    let fill = bench.next().unwrap();
    bench.schedule.note(fill.id, SMALLEST - 1000, bench.now);
    bench.want(2, &chunks([50]), Priority::Demand);
    assert!(bench.schedule.preempt(bench.now).is_empty());
}

#[test]
fn a_demand_takes_along_what_lies_between_and_no_more() {
    let mut bench = Bench::new(1);
    // 5 is short: it lies in a small gap.
    let mut all = chunks(0..20);
    all[5].entry.stored = 16 * 1024;
    for chunk in &mut all[6..] {
        chunk.offset -= u64::from(STORED) - 16 * 1024;
    }
    bench.want(1, &all, Priority::Fill);
    bench.want(1, &[all[4], all[6]], Priority::Demand);
    assert_eq!(
        numbers(&bench.next().unwrap()),
        [4, 5, 6],
        "5 costs nothing, 7 would cost time"
    );
}

#[test]
fn a_demand_at_a_failing_server_does_not_stop_other_fills() {
    let mut bench = Bench::new(2);
    let all = std::mem::take(&mut bench.bases);
    bench.bases = vec![all[0]];
    bench.want(1, &chunks([0]), Priority::Demand);
    let demand = bench.next().unwrap();
    bench.ended(&demand, broken(0, network()));
    bench.bases = vec![all[1]];
    bench.want(2, &chunks([0]), Priority::Fill);
    assert_eq!(
        bench.next().unwrap().base,
        all[1],
        "its server can use the link meanwhile"
    );
}

#[test]
fn withdrawn_chunks_are_not_asked_for() {
    let mut bench = Bench::new(1);
    let gone = bench.want(1, &chunks([0, 1]), Priority::Fill);
    let stays = bench.want(1, &chunks([1]), Priority::Fill);
    bench.schedule.withdraw(gone);
    let plan = bench.next().unwrap();
    assert_eq!(numbers(&plan), [1], "somebody else still wants the second");
    bench.schedule.withdraw(stays);
    bench.ended(&plan, broken(0, network()));
    bench.now += Duration::from_secs(10);
    assert!(
        bench.next().is_none(),
        "what broke off is not asked again for nobody"
    );
    assert!(bench.schedule.items.is_empty(), "nothing is left behind");
}

#[test]
fn a_withdrawn_demand_leaves_a_fill_a_fill() {
    let mut bench = Bench::new(1);
    bench.want(1, &chunks([0]), Priority::Fill);
    let demand = bench.want(1, &chunks([0]), Priority::Demand);
    bench.schedule.withdraw(demand);
    bench.schedule.pause(true);
    assert!(
        bench.next().is_none(),
        "nobody waits for it any longer, and fills are paused"
    );
    bench.schedule.pause(false);
    assert!(bench.next().is_some());
}

#[test]
fn pause_holds_back_all_but_demand() {
    let mut bench = Bench::new(1);
    bench.schedule.pause(true);
    bench.want(1, &chunks([0]), Priority::Fill);
    bench.want(1, &chunks([10]), Priority::BootMap);
    bench.want(1, &chunks([20]), Priority::Demand);
    assert_eq!(numbers(&bench.next().unwrap()), [20]);
    assert!(bench.next().is_none());
}

#[test]
fn failures_pause_a_server_and_end_downloads_but_no_demand() {
    let mut bench = Bench::new(1);
    let fill = bench.want(1, &chunks([0]), Priority::Fill);
    let demand = bench.want(1, &chunks([10]), Priority::Demand);
    for attempt in 1..=tuning().attempts {
        let plan = bench.next().unwrap();
        assert!(
            bench.next().is_none(),
            "one request at a time for a server in trouble, or a fill while one waits"
        );
        bench.ended(&plan, broken(0, network()));
        assert!(bench.next().is_none(), "it is left alone for a while");
        let wake = bench
            .schedule
            .wake(bench.now)
            .expect("and asked again at a known time");
        assert!(wake > bench.now);
        bench.now = wake;
        if attempt < tuning().attempts {
            assert!(bench.settled().is_empty(), "not given up after {attempt}");
        }
    }
    let settled = bench.settled();
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0].0, fill);
    assert!(
        settled[0].1.as_ref().is_err_and(TransferError::is_network),
        "it says what happened"
    );
    let plan = bench.next().expect("the demand goes on");
    bench.land(&plan);
    assert!(matches!(bench.settled().as_slice(), [(ticket, Ok(_))] if *ticket == demand));
}

#[test]
fn a_server_that_failed_is_tried_again_more_and_more_seldom_and_by_no_machine() {
    let mut bench = Bench::new(2);
    let (first, second) = (bench.bases[0], bench.bases[1]);
    let begun = bench.now;
    let mut tried = Vec::new();
    for step in 0..360 {
        bench.now = begun + Duration::from_secs(10 * step);
        let demand = bench.want(1, &chunks([step as u32]), Priority::Demand);
        let plan = bench.next().expect("the machine's request");
        assert!(
            step == 0 || plan.base == second,
            "a machine is not made to try it"
        );
        if plan.base == first {
            bench.ended(&plan, broken(0, network()));
            bench.schedule.withdraw(demand);
        } else {
            bench.land(&plan);
        }
        bench.now += Duration::from_secs(8);
        let fill = bench.want(2, &chunks([step as u32]), Priority::Fill);
        let plan = bench.next().expect("the fill's request");
        if plan.base == first {
            tried.push(step * 10);
            bench.ended(&plan, broken(0, network()));
            bench.schedule.withdraw(fill);
        } else {
            bench.land(&plan);
        }
        bench.settled();
    }
    assert_eq!(tried.len(), 5, "in an hour, at {tried:?} s");
    bench.schedule.bases[first].succeeded();
    bench.want(1, &chunks([1000]), Priority::Demand);
    assert_eq!(
        bench.next().unwrap().base,
        first,
        "one that is back is preferred again"
    );
}

#[test]
fn requests_side_by_side_fail_as_one() {
    let mut bench = Bench::new(1);
    bench.want(1, &chunks((0..10).map(|n| n * 10)), Priority::BootMap);
    let plans: Vec<Plan> = std::iter::from_fn(|| bench.next()).collect();
    assert!(plans.len() > tuning().attempts as usize, "{}", plans.len());
    bench.now += Duration::from_millis(10);
    for plan in &plans {
        bench.ended(plan, broken(0, network()));
    }
    assert!(bench.settled().is_empty(), "one cut of the line is one failure");
}

#[test]
fn a_broken_body_goes_on_where_it_ended() {
    let mut bench = Bench::new(1);
    bench.want(1, &chunks([0, 1]), Priority::Fill);
    let plan = bench.next().unwrap();
    let partial = Partial {
        bytes: vec![1; 1000].as_slice().into(),
    };
    let ended = Ended {
        partial: Some(partial),
        ..broken(1, network())
    };
    bench.ended(&plan, ended);
    let plan = bench.next().expect("at once: there is progress");
    assert_eq!(numbers(&plan), [1], "the first one came");
    assert_eq!(
        plan.partial.unwrap().bytes.len(),
        1000,
        "and the beginning of the second"
    );
}

#[test]
fn wrong_bytes_are_asked_elsewhere_then_past_caches_then_reported() {
    let mut bench = Bench::new(2);
    let ticket = bench.want(1, &chunks([0]), Priority::Demand);
    let asked = bench.always_wrong();
    let (a, b) = (bench.bases[0], bench.bases[1]);
    let (part, whole) = (false, true);
    let rounds = [
        (a, false, part),
        (b, false, part),
        (a, true, part),
        (a, true, whole),
        (b, true, part),
        (b, true, whole),
    ];
    assert_eq!(asked, rounds);
    assert!(matches!(bench.settled().as_slice(), [(id, Err(error))] if *id == ticket && error.is_digest()));

    // Their whole packs are no better: what is wrong next is not asked for like that again.
    bench.want(2, &chunks([0]), Priority::Demand);
    let asked = bench.always_wrong();
    assert_eq!(
        asked,
        [
            (a, false, part),
            (b, false, part),
            (a, true, part),
            (b, true, part)
        ]
    );
    assert!(matches!(bench.settled().as_slice(), [(_, Err(error))] if error.is_digest()));
}

#[test]
fn a_pack_that_is_not_there_is_asked_for_elsewhere() {
    let mut bench = Bench::new(2);
    bench.want(1, &chunks([0, 100]), Priority::Fill);
    let url = Url::parse("http://0.example/x").unwrap();
    let plan = bench.next().unwrap();
    bench.ended(&plan, broken(0, TransferError::not_found(&url)));
    let (first, second) = (bench.next().unwrap(), bench.next().unwrap());
    assert_eq!(
        (first.base, second.base),
        (bench.bases[1], bench.bases[1]),
        "none of its chunks is asked there again"
    );
    bench.ended(&first, broken(0, TransferError::not_found(&url)));
    bench.ended(&second, broken(0, TransferError::not_found(&url)));
    let mut again = Vec::new();
    while let Some(plan) = bench.next() {
        again.push((plan.base, plan.fresh));
        bench.ended(&plan, broken(0, TransferError::not_found(&url)));
    }
    assert!(
        !again.is_empty() && again.iter().all(|(_, fresh)| *fresh),
        "once more, past caches that remember that it was not there: {again:?}"
    );
    assert!(again.len() <= 4, "{again:?}");
    assert!(matches!(bench.settled().as_slice(), [(_, Err(error))] if error.is_not_found()));
    assert!(bench.schedule.items.is_empty(), "nothing is left behind");
}

#[test]
fn without_ranges_a_pack_is_read_once() {
    let mut bench = Bench::new(1);
    bench.schedule.bases[0].ranges = None;
    bench.want(1, &chunks([0, 50, 100]), Priority::Fill);
    let plan = bench.next().unwrap();
    assert_eq!(numbers(&plan), [0]);
    assert!(bench.next().is_none(), "first it must show what it can");
    let all = bench
        .schedule
        .answered(plan.id, None, bench.now)
        .expect("it is the first");
    assert_eq!(all.len(), 3, "everything that is wanted of the pack is taken");
    bench.want(1, &chunks([150]), Priority::Fill);
    assert!(bench.next().is_none(), "the pack is not read twice at a time");
    bench.want(2, &chunks([0, 50]), Priority::Demand);
    let other = bench.next().unwrap();
    assert!(
        other.whole && other.items.len() == 2,
        "the next pack is read whole at once"
    );
}

#[test]
fn a_full_disk_ends_all_downloads() {
    let mut bench = Bench::new(1);
    bench.want(1, &chunks([0]), Priority::Fill);
    bench.want(2, &chunks([0]), Priority::BootMap);
    let plan = bench.next().unwrap();
    bench.ended(&plan, done(&plan));
    let full = TransferError::sink(&std::io::ErrorKind::StorageFull.into());
    bench.schedule.not_kept(&plan.items, &full);
    assert_eq!(bench.settled().len(), 2, "the other one would fill it as well");
}

#[test]
fn conflicting_claims_do_not_share_a_request() {
    let mut bench = Bench::new(1);
    let mut other = chunk(0);
    other.entry.stored_digest = Digest::of(b"another claim");
    bench.want(1, &[chunk(0)], Priority::Fill);
    bench.want(1, &[other], Priority::Fill);
    assert_eq!(bench.next().unwrap().items.len(), 1);
    assert_eq!(
        bench.next().unwrap().items.len(),
        1,
        "both are asked for, each by its own digest"
    );
}

#[test]
fn a_server_that_asked_who_one_is_is_asked_again_after_signing_in() {
    let mut bench = Bench::new(2);
    let wanted = [chunk(0)];
    bench.want(1, &wanted, Priority::Demand);
    let first = bench.next().unwrap();
    let url = Url::parse("http://localhost/").unwrap();
    let asks = TransferError::login(&url, &url, crate::LoginNeeded::Unknown);
    bench.ended(&first, broken(0, asks));
    let second = bench.next().unwrap();
    assert_ne!(second.base, first.base, "the mirror");
    bench.ended(&second, broken(0, network()));
    bench.schedule.signed_in();
    assert_eq!(bench.next().map(|plan| plan.base), Some(first.base));
}
