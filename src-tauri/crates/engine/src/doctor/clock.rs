//! The clock: what was signed or written in the future says that it is wrong.

use jiff::{SignedDuration, Timestamp};
use livepc_protocol::Home;

use super::{Check, Finding};
use crate::database::Database;
use crate::subscription;

pub(super) const CHECK: Check = Check("clock", "clock");

/// How far clocks of different computers may be apart.
const APART: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn look(home: &Home) -> Vec<Finding> {
    let mut seen = Vec::new();
    let written = std::fs::metadata(home.database()).and_then(|found| found.modified());
    if let Ok(written) = written.map(Timestamp::try_from)
        && let Ok(written) = written
    {
        seen.push((written, "LivePC's state was written".to_owned()));
    }
    // Where the state cannot be read, another check says so.
    let subscriptions = Database::open_to_read(&home.database())
        .and_then(|database| subscription::all(&database))
        .unwrap_or_default();
    for subscription in subscriptions {
        let title = livepc_format::text::line(&subscription.title, 80);
        seen.push((
            subscription.head.issued,
            format!("the releases of “{title}” were signed"),
        ));
        if let Some(checked) = subscription.checked {
            seen.push((checked, format!("the feed of “{title}” was read")));
        }
    }
    vec![judge(Timestamp::now(), seen)]
}

fn judge(now: Timestamp, seen: Vec<(Timestamp, String)>) -> Finding {
    let shown = |time: Timestamp| {
        time.to_zoned(jiff::tz::TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S %:z")
            .to_string()
    };
    let latest = seen.into_iter().max_by_key(|(time, _)| *time);
    match latest.filter(|(time, _)| time.duration_since(now) > APART) {
        Some((time, what)) => Finding::bad(
            CHECK,
            format!(
                "It is {} here, but {what} at {}, which is still to come.",
                shown(now),
                shown(time)
            ),
            "Set the date, the time and the time zone of this computer: certificates and signatures are judged by them.",
        ),
        None => Finding::good(CHECK, shown(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Health;

    #[test]
    fn what_is_still_to_come_says_that_the_clock_is_wrong() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let at = |text: &str| (text.parse().unwrap(), "it was signed".to_owned());
        let past = judge(now, vec![at("2026-11-22T09:00:00Z"), at("2026-11-22T10:05:00Z")]);
        assert_eq!(past.health, Health::Good, "clocks differ a little");
        let future = judge(now, vec![at("2026-11-22T09:00:00Z"), at("2026-11-23T09:00:00Z")]);
        assert_eq!(future.health, Health::Bad);
        assert!(future.found.contains("it was signed"), "{future:?}");
    }
}
