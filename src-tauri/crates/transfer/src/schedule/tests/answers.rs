//! Answers that are not what was asked for, and end early.

use super::*;

#[test]
fn what_a_longer_part_has_is_taken_along() {
    let mut bench = Bench::new(1);
    bench.schedule.bases[0].ranges = None;
    bench.want(1, &chunks([0, 10, 20, 30]), Priority::Fill);
    let plan = bench.next().unwrap();
    assert_eq!(numbers(&plan), [0]);
    let at = |number: u64| number * u64::from(STORED);
    let span = Span {
        first: at(0),
        end: at(21),
    };
    let taken = bench.schedule.answered(plan.id, Some(span), bench.now).unwrap();
    assert_eq!(
        taken.iter().map(Wanted::offset).collect::<Vec<_>>(),
        [at(0), at(10), at(20)],
        "30 is not in it"
    );
    bench.ended(&plan, ended(3));
    for wanted in &taken {
        bench.schedule.landed(wanted);
    }
    let other = bench.next().unwrap();
    assert_eq!(numbers(&other), [30], "and nothing of it is asked for twice");
    bench.land(&other);
    assert!(matches!(bench.settled().as_slice(), [(_, Ok(_))]));
}

#[test]
fn a_server_whose_ranges_are_of_no_use_is_asked_for_one_again_after_a_while() {
    let mut bench = Bench::new(1);
    bench.want(1, &chunks([0, 50]), Priority::Fill);
    let plan = bench.next().unwrap();
    let useless = Ended {
        doubt: Some(Doubt::Range),
        ..broken(0, network())
    };
    bench.ended(&plan, useless);
    bench.schedule.bases[0].has_ranges(true, bench.now);
    let whole = bench.next().expect("at once");
    assert!(
        whole.whole && whole.items.len() == 2,
        "whatever came meanwhile of what was on its way"
    );
    bench.land(&whole);
    bench.want(2, &chunks([0]), Priority::Fill);
    let whole = bench.next().unwrap();
    assert!(whole.whole, "that is remembered");
    bench.land(&whole);
    bench.now += Duration::from_secs(301);
    bench.want(3, &chunks([0, 50]), Priority::Fill);
    let plan = bench.next().unwrap();
    assert!(!plan.whole, "and not for ever");
    assert!(bench.next().is_none(), "by one request");
    let span = Span {
        first: 0,
        end: u64::from(STORED),
    };
    bench.schedule.answered(plan.id, Some(span), bench.now);
    assert!(bench.next().is_some_and(|plan| !plan.whole), "it has them now");
}

#[test]
fn a_server_in_trouble_that_never_sent_a_range_is_asked_for_all() {
    let mut bench = Bench::new(1);
    bench.schedule.bases[0].ranges = None;
    bench.want(1, &chunks([0, 50]), Priority::Fill);
    let mut asked = Vec::new();
    for _ in 0..3 {
        let plan = bench.next().unwrap();
        asked.push(plan.whole);
        bench.ended(&plan, broken(0, network()));
        bench.now += Duration::from_secs(20);
    }
    assert_eq!(asked, [false, false, true]);
}

#[test]
fn progress_is_no_failure_and_crumbs_are() {
    let mut bench = Bench::new(1);
    let ticket = bench.want(1, &chunks([0]), Priority::Fill);
    let of = |bytes: usize, kept: u64| Ended {
        kept,
        partial: Some(Partial {
            bytes: vec![1; bytes].as_slice().into(),
        }),
        ..broken(0, network())
    };
    for time in 1..20 {
        let plan = bench.next().expect("at once");
        let before = plan.partial.map_or(0, |partial| partial.bytes.len());
        assert_eq!(before, (time - 1) * LEAST as usize);
        bench
            .schedule
            .ended(plan.id, of(before + LEAST as usize, LEAST), bench.now);
    }
    assert!(bench.settled().is_empty());
    for _ in 0..tuning().attempts {
        let plan = bench.next().unwrap();
        let before = plan.partial.map_or(0, |partial| partial.bytes.len());
        bench.schedule.ended(plan.id, of(before + 1, 1), bench.now);
        assert!(bench.next().is_none(), "a pause");
        bench.now += Duration::from_secs(20);
    }
    assert!(matches!(bench.settled().as_slice(), [(id, Err(_))] if *id == ticket));
}

#[test]
fn a_server_that_breaks_off_is_asked_after_one_that_does_not() {
    let mut bench = Bench::new(2);
    bench.want(1, &chunks([0, 1]), Priority::Fill);
    let plan = bench.next().unwrap();
    assert_eq!(plan.base, bench.bases[0]);
    bench.ended(&plan, broken(1, network()));
    assert_eq!(bench.next().unwrap().base, bench.bases[1], "at once");
    bench.now += Duration::from_secs(61);
    bench.want(2, &chunks([0]), Priority::Fill);
    assert_eq!(
        bench.next().unwrap().base,
        bench.bases[0],
        "until that lies long back"
    );
}

#[test]
fn doubtful_bytes_are_asked_for_once_more_before_their_server_is_blamed() {
    let mut bench = Bench::new(1);
    let ticket = bench.want(1, &chunks([0]), Priority::Demand);
    let digest = || TransferError::Digest {
        url: "x".to_owned(),
        what: "wrong".to_owned(),
    };
    let mut asked = Vec::new();
    for doubt in [
        Doubt::Range,
        Doubt::Coding { plain: false },
        Doubt::Pieced,
        Doubt::Pieced,
        Doubt::Pieced,
    ] {
        let plan = bench.next().unwrap();
        asked.push((plan.whole, plan.plain, plan.fresh));
        bench.ended(&plan, done(&plan));
        bench
            .schedule
            .bad(&plan.items[0], plan.base, Some(doubt), digest(), bench.now);
    }
    let plan = bench.next().unwrap();
    asked.push((plan.whole, plan.plain, plan.fresh));
    bench.ended(&plan, done(&plan));
    bench
        .schedule
        .bad(&plan.items[0], plan.base, None, digest(), bench.now);
    assert_eq!(
        asked,
        [
            (false, false, false),
            (true, false, false),
            (true, true, false),
            (true, true, false),
            (true, true, false),
            (true, true, true)
        ]
    );
    assert!(matches!(bench.settled().as_slice(), [(id, Err(error))] if *id == ticket && error.is_digest()));
}

#[test]
fn what_is_there_of_several_chunks_stays() {
    let mut bench = Bench::new(1);
    bench.want(1, &chunks([0, 1]), Priority::BootMap);
    bench.want(1, &chunks([0, 1, 2, 3]), Priority::Fill);
    let part = |bytes: usize| Ended {
        kept: bytes as u64,
        partial: Some(Partial {
            bytes: vec![1; bytes].as_slice().into(),
        }),
        ..ended(0)
    };
    let one = bench.next().unwrap();
    let two = bench.next().unwrap();
    assert_eq!((numbers(&one), numbers(&two)), (vec![0, 1], vec![2, 3]));
    bench.ended(&one, part(2000));
    bench.ended(&two, part(3000));
    let one = bench.next().unwrap();
    let two = bench.next().unwrap();
    assert_eq!(
        (numbers(&one), numbers(&two)),
        (vec![0, 1], vec![2, 3]),
        "2 is begun by itself"
    );
    let there = |plan: &Plan| plan.partial.as_ref().map(|partial| partial.bytes.len());
    assert_eq!((there(&one), there(&two)), (Some(2000), Some(3000)));
}
