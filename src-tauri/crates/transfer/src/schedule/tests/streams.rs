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
