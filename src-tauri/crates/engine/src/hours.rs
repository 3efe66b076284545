//! Hours of the day, as a person says them: `22:00-07:00`.

use jiff::civil::Time;

/// From a time of the day to another; over midnight if that is the earlier one. The end does not belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hours {
    from: Time,
    to: Time,
}

impl Hours {
    /// Reads `HH:MM-HH:MM`, two different times; `None` if it is something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let (from, to) = (time(from)?, time(to)?);
        (from != to).then_some(Self { from, to })
    }

    /// Whether a time lies within them.
    pub(crate) fn contain(self, time: Time) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&time)
        } else {
            time >= self.from || time < self.to
        }
    }
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |text: &str| {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i8>().ok()).flatten()
    };
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(hours: &str, time: &str) -> bool {
        let time = super::time(time).unwrap();
        Hours::parse(hours).unwrap().contain(time)
    }

    #[test]
    fn they_may_go_over_midnight() {
        assert!(within("22:00-07:00", "23:59") && within("22:00-07:00", "0:00"));
        assert!(within("22:00-07:00", "22:00") && !within("22:00-07:00", "07:00"));
        assert!(!within("22:00-07:00", "12:00"));
        assert!(within("9:30-17:00", "16:59") && !within("9:30-17:00", "17:00"));
        assert!(!within("9:30-17:00", "9:29"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "22:00",
            "22-07",
            "24:00-07:00",
            "22:60-07:00",
            "22:00-22:00",
            "22:00 to 07:00",
            "-1:00-07:00",
            "+1:00-07:00",
            "22:00-07:00-08:00",
            "222:00-07:00",
        ] {
            assert_eq!(Hours::parse(text), None, "{text}");
        }
    }
}
