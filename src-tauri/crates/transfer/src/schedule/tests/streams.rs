//! Servers that get many requests at once.

use super::*;

/// However many requests there are: a machine waits for what a server has sent of them together.
#[test]
fn many_fills_leave_a_demand_no_more_than_a_twentieth_of_a_second() {
    const RATE: u64 = 20_000_000;
    let mut schedule = Schedule::new(Tuning {
        connections: 16,
        total: 24,
        ..tuning()
    });
    let base = schedule.base(&Url::parse("http://a.example/").unwrap());
    schedule.bases[base].ranges = Some(true);
    let mut now = Instant::now();
    for (ticket, number) in (1..=4).enumerate() {
        schedule.want(
            ticket as u64,
            &[base],
            pack(number),
            &chunks(0..1500),
            Priority::Fill,
            |_| false,
        );
    }
    let mut running: Vec<(Plan, u64)> = Vec::new();
    // Each connection gets a part of what would make a full line with twenty of them.
    for _ in 0..250 {
        running.extend(std::iter::from_fn(|| schedule.next(now)).map(|plan| (plan, 0)));
        schedule.look(now);
        now += Duration::from_millis(100);
        for (plan, got) in &mut running {
            let size = plan.items.last().unwrap().end() - plan.items[0].offset();
            *got = size.min(*got + RATE / 200);
            schedule.note(plan.id, *got, now);
            if *got == size {
                schedule.ended(plan.id, done(plan), now);
                plan.items.iter().for_each(|wanted| schedule.landed(wanted));
            }
        }
        running.retain(|(plan, got)| *got < plan.items.last().unwrap().end() - plan.items[0].offset());
    }
    assert!(running.len() >= 12, "{} requests", running.len());
    schedule.want(9, &[base], pack(9), &[chunk(0)], Priority::Demand, |_| false);
    let cancelled = schedule.preempt(now);
    let rate = schedule.bases[base].rate.per_second(now);
    let left = running.iter().filter(|(plan, _)| !cancelled.contains(&plan.id));
    let left: u64 = left
        .map(|(plan, got)| plan.items.last().unwrap().end() - plan.items[0].offset() - got)
        .sum();
    assert!(
        left <= rate / 20,
        "{left} bytes are before it at {rate} bytes a second"
    );
    assert!(!cancelled.is_empty());
}

/// What many servers allow one address; whoever is too many is turned away at once.
#[test]
fn a_server_that_allows_few_at_once_is_asked_for_few() {
    for (allowed, demand) in (1..=4).flat_map(|allowed| [(allowed, false), (allowed, true)]) {
        let mut bench = Bench::new(1);
        bench.schedule.bases[0].ranges = None;
        for number in 1..=8 {
            bench.want(number, &chunks(0..100), Priority::Fill);
        }
        if demand {
            bench.want(9, &chunks((0..40).map(|n| n * 10)), Priority::Demand);
        }
        let mut running: Vec<(Plan, u64)> = Vec::new();
        let mut refused = 0;
        for step in 0.. {
            assert!(step < 5000, "{allowed}: it stands still");
            while let Some(plan) = bench.next() {
                if running.len() < allowed {
                    bench.schedule.answered(plan.id, Some(span(&plan)), bench.now);
                    running.push((plan, 0));
                } else {
                    refused += 1;
                    bench.ended(&plan, broken(0, network()));
                }
            }
            if running.is_empty() && bench.schedule.wake(bench.now).is_none() {
                break;
            }
            bench.now += Duration::from_millis(50);
            bench.schedule.look(bench.now);
            for (plan, got) in std::mem::take(&mut running) {
                let got = span_bytes(&plan).min(got + 100_000);
                bench.schedule.note(plan.id, got, bench.now);
                if got == span_bytes(&plan) {
                    bench.land(&plan);
                } else {
                    running.push((plan, got));
                }
            }
        }
        let settled = bench.settled();
        let failed: Vec<_> = settled
            .iter()
            .filter_map(|(_, result)| result.as_ref().err())
            .collect();
        assert_eq!(
            (settled.len(), failed.len()),
            (8 + usize::from(demand), 0),
            "{allowed}: {failed:?}"
        );
        assert!(refused <= 40, "{allowed}: {refused} were turned away");
    }
}

fn span(plan: &Plan) -> Span {
    Span {
        first: plan.items[0].offset(),
        end: plan.items.last().unwrap().end(),
    }
}

fn span_bytes(plan: &Plan) -> u64 {
    let Span { first, end } = span(plan);
    end - first
}
