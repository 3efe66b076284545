//! When which publisher is asked next. Nothing here waits, asks or tells the time: it decides.
//!
//! Times are durations since the agent's start, by a clock that only goes forward. A computer that sleeps is noticed by
//! its wall clock ([`woke`]), since such clocks differ in whether they go on meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

/// Time between two checks of one publisher.
pub(super) const INTERVAL: Duration = Duration::from_secs(30 * 60);
/// The longest time between two checks, after many failures in a row.
pub(super) const MOST: Duration = Duration::from_secs(6 * 60 * 60);
/// The longest pause before looking at the clock again: so late is a wake from sleep noticed at the most.
pub(super) const TICK: Duration = Duration::from_secs(30);
/// A pause that took this much longer than it should was no pause: the computer slept.
const SLEPT: Duration = Duration::from_secs(60);
/// Within this time from the beginning of the hours for updates everybody is asked.
const SPREAD: Duration = Duration::from_secs(60);
/// After waking up, a computer needs a moment until it has its network again.
const SETTLE: Duration = Duration::from_secs(10);

/// The first pause after trouble that may pass by itself; it doubles with each further one.
const SOON: Duration = Duration::from_secs(60);
/// Failures in a row after which trouble is no longer taken for passing: half an hour of it.
const PASSING: u32 = 5;

/// How asking ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It worked.
    Well,
    /// The network or the server was in trouble, which may pass at any time.
    InTrouble,
    /// It was refused, or failed here.
    Badly,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// All sources of the Library.
    Library,
    /// The publisher of the subscription with this id.
    Subscription(String),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    due: Duration,
    /// Failures in a row.
    failures: u32,
    /// How many of them, the first ones, were trouble that may pass.
    passing: u32,
    /// True while it is asked.
    asked: bool,
    /// True if the computer slept meanwhile: the answer is worth little, or there will be none.
    overslept: bool,
}

impl Entry {
    /// Counts how asking ended.
    fn count(&mut self, how: Ended) {
        let failures = self.failures + 1;
        (self.failures, self.passing) = match how {
            Ended::Well => (0, 0),
            Ended::InTrouble if self.passing == self.failures && failures <= PASSING => (failures, failures),
            Ended::InTrouble | Ended::Badly => (failures, self.passing),
        };
    }

    /// The pause until the next check: short at first, while trouble may pass.
    fn pause(&self, random: u32) -> Duration {
        if self.failures > 0 && self.failures == self.passing {
            return spread(SOON * (1 << (self.passing - 1)), random);
        }
        pause(self.failures - self.passing, random)
    }
}

/// When whom to ask, and who is being asked.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: BTreeMap<Subject, Entry>,
    begun: bool,
}

impl Schedule {
    /// Takes note of who there is. At first all are due at once; who comes later was asked when it was subscribed to, and
    /// is due after an interval.
    pub(super) fn follow(&mut self, subjects: impl IntoIterator<Item = Subject>, now: Duration) {
        let first = if self.begun { now + INTERVAL } else { now };
        self.begun = true;
        let mut before = std::mem::take(&mut self.entries);
        for subject in subjects {
            let entry = before.remove(&subject).unwrap_or(Entry {
                due: first,
                failures: 0,
                passing: 0,
                asked: false,
                overslept: false,
            });
            self.entries.insert(subject, entry);
        }
    }

    /// Gives somebody who is due and not being asked already, the longest due first, and notes that it is asked now.
    pub(super) fn take(&mut self, now: Duration) -> Option<Subject> {
        let due = |(_, entry): &(&Subject, &mut Entry)| !entry.asked && entry.due <= now;
        let (subject, entry) = self
            .entries
            .iter_mut()
            .filter(due)
            .min_by_key(|(_, entry)| entry.due)?;
        entry.asked = true;
        Some(subject.clone())
    }

    /// Notes how asking ended. `random` spreads those who ask the same publisher.
    pub(super) fn ended(&mut self, subject: &Subject, how: Ended, now: Duration, random: u32) {
        if let Some(entry) = self.entries.get_mut(subject) {
            entry.asked = false;
            entry.count(how);
            entry.due = now + entry.pause(random);
            if std::mem::take(&mut entry.overslept) {
                entry.due = now + SETTLE;
            }
        }
    }

    /// Notes that nobody is being asked, whatever was said before: those who asked are gone, and have said nothing.
    pub(super) fn nobody_is_asked(&mut self, now: Duration) {
        for entry in self.entries.values_mut().filter(|entry| entry.asked) {
            entry.asked = false;
            entry.failures += 1;
            entry.due = now + pause(entry.failures, 0);
        }
    }

    /// Notes that a person asked, and how that ended: what failed before counts no longer.
    pub(super) fn person_asked(&mut self, subject: &Subject, how: Ended, now: Duration, random: u32) {
        if let Some(entry) = self.entries.get_mut(subject) {
            entry.count(Ended::Well);
            entry.count(how);
            entry.due = now + entry.pause(random);
        }
    }

    /// Makes everybody due, after the computer slept: much may have changed, the network too.
    pub(super) fn woke(&mut self, now: Duration) {
        for entry in self.entries.values_mut() {
            entry.count(Ended::Well);
            entry.due = entry.due.min(now + SETTLE);
            entry.overslept = entry.asked;
        }
    }

    /// Makes all LivePCs due within `SPREAD`, since what is new may be fetched from now on. `random` gives each its time, so
    /// that a publisher's subscribers do not all come at the full hour.
    pub(super) fn hours_began(&mut self, now: Duration, mut random: impl FnMut() -> u32) {
        for (subject, entry) in &mut self.entries {
            if matches!(subject, Subject::Subscription(_)) {
                entry.due = entry
                    .due
                    .min(now + SPREAD.mul_f64(f64::from(random()) / f64::from(u32::MAX)));
            }
        }
    }

    /// Makes somebody due now, whose publisher may answer otherwise than before.
    pub(super) fn hurry(&mut self, subject: &Subject, now: Duration) {
        if let Some(entry) = self.entries.get_mut(subject) {
            entry.failures = 0;
            entry.due = now;
            entry.overslept = entry.asked;
        }
    }

    /// How long nothing is to be done, but for what is being asked.
    pub(super) fn idle(&self, now: Duration) -> Duration {
        let waiting = self.entries.values().filter(|entry| !entry.asked);
        let next = waiting.map(|entry| entry.due.saturating_sub(now)).min();
        next.unwrap_or(TICK).min(TICK)
    }
}

/// The time until the next check after so many failures in a row: the interval, doubled with each failure after the first,
/// and up to a fifth more by chance.
fn pause(failures: u32, random: u32) -> Duration {
    let doubled = INTERVAL.saturating_mul(1 << failures.saturating_sub(1).min(16));
    spread(doubled.min(MOST), random)
}

/// A pause, and up to a fifth more by chance.
fn spread(pause: Duration, random: u32) -> Duration {
    pause + pause.mul_f64(f64::from(random) / f64::from(u32::MAX) / 5.0)
}

/// True if the computer slept in a pause of `pause` between these two times of its wall clock.
///
/// A clock that was set forward looks the same; then one check more is made.
pub(super) fn woke(before: Timestamp, after: Timestamp, pause: Duration) -> bool {
    // A clock that was set back makes this negative, and that is no sleep.
    let passed = Duration::try_from(after.duration_since(before)).unwrap_or_default();
    passed > pause + SLEPT
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn subject(id: &str) -> Subject {
        Subject::Subscription(id.to_owned())
    }

    fn following(ids: &[&str]) -> Schedule {
        let mut schedule = Schedule::default();
        schedule.follow(ids.iter().map(|id| subject(id)), Duration::ZERO);
        schedule
    }

    fn take_all(schedule: &mut Schedule, now: Duration) -> Vec<Subject> {
        std::iter::from_fn(|| schedule.take(now)).collect()
    }

    #[test]
    fn when_the_hours_begin_all_are_asked_one_after_the_other() {
        let mut schedule = Schedule::default();
        schedule.follow([Subject::Library, subject("a"), subject("b")], Duration::ZERO);
        while let Some(subject) = schedule.take(Duration::ZERO) {
            schedule.ended(&subject, Ended::Well, Duration::ZERO, 0);
        }
        let mut dice = [u32::MAX / 2, u32::MAX].into_iter();
        schedule.hours_began(Duration::from_secs(100), || dice.next().unwrap());
        assert_eq!(schedule.take(Duration::from_secs(129)), None);
        assert_eq!(schedule.take(Duration::from_secs(131)), Some(subject("a")));
        assert_eq!(schedule.take(Duration::from_secs(160)), Some(subject("b")));
        assert_eq!(
            schedule.take(Duration::from_secs(160)),
            None,
            "the Library as ever"
        );
    }

    #[test]
    fn who_is_hurried_is_asked_at_once_and_again_if_it_was_being_asked() {
        let mut schedule = Schedule::default();
        schedule.follow([subject("a")], Duration::ZERO);
        assert_eq!(schedule.take(Duration::ZERO), Some(subject("a")));
        schedule.hurry(&subject("a"), Duration::ZERO);
        schedule.ended(&subject("a"), Ended::Badly, Duration::ZERO, 0);
        assert_eq!(schedule.take(SETTLE), Some(subject("a")));
        schedule.ended(&subject("a"), Ended::Well, SETTLE, 0);
        schedule.hurry(&subject("a"), SETTLE);
        assert_eq!(schedule.take(SETTLE), Some(subject("a")));
    }

    #[test]
    fn everybody_is_asked_at_the_start_and_then_after_an_interval() {
        let mut schedule = following(&["a", "b"]);
        assert_eq!(
            take_all(&mut schedule, Duration::ZERO),
            [subject("a"), subject("b")]
        );
        for id in ["a", "b"] {
            schedule.ended(&subject(id), Ended::Well, Duration::ZERO, 0);
        }
        let early = INTERVAL - Duration::from_secs(1);
        assert_eq!(take_all(&mut schedule, early), []);
        assert_eq!(
            schedule.idle(early),
            Duration::from_secs(1),
            "no longer than that"
        );
        assert_eq!(take_all(&mut schedule, INTERVAL).len(), 2);
    }

    /// What was looked at a moment ago, to subscribe, need not be asked again at once.
    #[test]
    fn who_comes_later_is_due_after_an_interval_and_who_leaves_is_not_asked() {
        let mut schedule = following(&["a"]);
        assert!(schedule.take(Duration::ZERO).is_some());
        schedule.ended(&subject("a"), Ended::Well, Duration::ZERO, 0);
        schedule.follow([subject("b")], HOUR);
        assert_eq!(take_all(&mut schedule, HOUR), []);
        assert_eq!(take_all(&mut schedule, HOUR + INTERVAL), [subject("b")]);
        // An answer that comes after the end of a subscription is nobody's.
        schedule.ended(&subject("a"), Ended::Badly, HOUR, 0);
        assert_eq!(take_all(&mut schedule, 9 * HOUR), []);
    }

    #[test]
    fn a_publisher_that_does_not_answer_is_asked_once_and_holds_up_nobody() {
        let mut schedule = following(&["slow", "quick"]);
        assert_eq!(take_all(&mut schedule, Duration::ZERO).len(), 2);
        schedule.ended(&subject("quick"), Ended::Well, Duration::ZERO, 0);
        // “slow” has still not answered.
        assert_eq!(take_all(&mut schedule, HOUR), [subject("quick")]);
        schedule.woke(2 * HOUR);
        assert_eq!(take_all(&mut schedule, 3 * HOUR), [], "both are being asked");
        schedule.ended(&subject("slow"), Ended::Badly, 3 * HOUR, 0);
        assert_eq!(
            take_all(&mut schedule, 3 * HOUR + SETTLE),
            [subject("slow")],
            "its connection did not outlive the sleep"
        );
        schedule.ended(&subject("slow"), Ended::Badly, 4 * HOUR, 0);
        assert_eq!(take_all(&mut schedule, 4 * HOUR + SETTLE), [], "only once");
    }

    #[test]
    fn who_was_asked_by_somebody_who_died_is_asked_again() {
        let mut schedule = following(&["a", "b"]);
        assert_eq!(take_all(&mut schedule, Duration::ZERO).len(), 2);
        schedule.ended(&subject("b"), Ended::Well, Duration::ZERO, 0);
        schedule.nobody_is_asked(Duration::from_secs(60));
        assert_eq!(take_all(&mut schedule, INTERVAL), [subject("b")]);
        assert_eq!(
            take_all(&mut schedule, INTERVAL + Duration::from_secs(60)),
            [subject("a")]
        );
    }

    #[test]
    fn failures_make_the_pauses_longer_until_one_check_works() {
        let mut schedule = following(&["a"]);
        let mut now = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert_eq!(schedule.take(now), Some(subject("a")));
            schedule.ended(&subject("a"), Ended::Badly, now, 0);
            let before = now;
            while schedule.idle(now) > Duration::ZERO {
                now += schedule.idle(now);
            }
            pauses.push((now - before).as_secs() / 60);
        }
        assert_eq!(pauses, [30, 60, 120, 240, 360, 360], "minutes");
        assert!(schedule.take(now).is_some());
        schedule.ended(&subject("a"), Ended::Well, now, 0);
        assert_eq!(
            schedule.take(now + INTERVAL),
            Some(subject("a")),
            "it works again"
        );
    }

    #[test]
    fn trouble_that_may_pass_is_looked_after_soon_and_then_ever_less_often() {
        let mut schedule = following(&["a"]);
        let mut now = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert_eq!(schedule.take(now), Some(subject("a")));
            schedule.ended(&subject("a"), Ended::InTrouble, now, 0);
            let before = now;
            while schedule.idle(now) > Duration::ZERO {
                now += schedule.idle(now);
            }
            pauses.push((now - before).as_secs() / 60);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 60, 120, 240], "minutes");
        assert_eq!(schedule.take(now), Some(subject("a")));
        schedule.ended(&subject("a"), Ended::Well, now, 0);
        assert_eq!(
            take_all(&mut schedule, now + INTERVAL - SOON),
            [],
            "it works again"
        );
        schedule.person_asked(&subject("a"), Ended::InTrouble, now, 0);
        assert_eq!(take_all(&mut schedule, now + SOON), [subject("a")]);
        schedule.ended(&subject("a"), Ended::Badly, now, 0);
        schedule.ended(&subject("a"), Ended::InTrouble, now, 0);
        assert_eq!(
            take_all(&mut schedule, now + INTERVAL),
            [],
            "what is refused is no trouble"
        );
    }

    #[test]
    fn a_person_who_asks_ends_the_long_pauses() {
        let mut schedule = following(&["a"]);
        for _ in 0..9 {
            schedule.ended(&subject("a"), Ended::Badly, Duration::ZERO, 0);
        }
        assert_eq!(take_all(&mut schedule, 5 * HOUR), []);
        schedule.person_asked(&subject("a"), Ended::Badly, HOUR, 0);
        assert_eq!(take_all(&mut schedule, HOUR + INTERVAL), [subject("a")]);
        // While it is being asked, a person's check does not make a second one begin.
        schedule.person_asked(&subject("a"), Ended::Well, 2 * HOUR, 0);
        assert_eq!(take_all(&mut schedule, 9 * HOUR), []);
    }

    #[test]
    fn after_sleep_everybody_is_asked_as_soon_as_the_network_can_be_there() {
        let mut schedule = following(&["a", "b"]);
        for _ in 0..9 {
            schedule.ended(&subject("a"), Ended::Badly, Duration::ZERO, 0);
        }
        assert!(schedule.take(Duration::ZERO).is_some());
        schedule.ended(&subject("b"), Ended::Well, Duration::ZERO, 0);
        let now = Duration::from_secs(60);
        schedule.woke(now);
        assert_eq!(take_all(&mut schedule, now), []);
        assert_eq!(schedule.idle(now), SETTLE);
        assert_eq!(take_all(&mut schedule, now + SETTLE).len(), 2);
    }

    #[test]
    fn chance_adds_up_to_a_fifth_and_never_takes_away() {
        assert_eq!(pause(0, 0), INTERVAL);
        assert_eq!(pause(1, 0), INTERVAL);
        assert_eq!(pause(0, u32::MAX), INTERVAL + INTERVAL / 5);
        let middle = pause(0, u32::MAX / 2);
        assert!(
            middle > INTERVAL && middle < INTERVAL + INTERVAL / 5,
            "{middle:?}"
        );
        assert_eq!(pause(u32::MAX, 0), MOST, "no overflow");
    }

    #[test]
    fn sleep_is_told_by_the_wall_clock() {
        let before: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let after = |seconds: i64| before + jiff::SignedDuration::from_secs(seconds);
        assert!(!woke(before, after(30), TICK), "as long as it should be");
        assert!(!woke(before, after(75), TICK), "a computer that is busy");
        assert!(woke(before, after(8 * 3600), TICK));
        assert!(
            !woke(before, after(-3600), TICK),
            "the clock was set back, as in autumn"
        );
    }
}
