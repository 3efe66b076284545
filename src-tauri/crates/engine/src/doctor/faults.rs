//! What LivePC has done wrong itself: panics that were caught, and counted.

use livepc_format::shown;
use livepc_protocol::Home;

use super::{Check, Finding};

pub(super) const CHECK: Check = Check("faults", "faults");

pub(super) fn look(home: &Home) -> Vec<Finding> {
    let faults = crate::faults::lately(home, jiff::Timestamp::now());
    let Some(last) = faults.last() else {
        return Vec::new();
    };
    vec![Finding::limited(
        CHECK,
        format!(
            "{} of LivePC's own mistakes in the last 30 days; the last one in {} at {}: {}",
            faults.len(),
            last.process,
            last.place,
            last.said
        ),
        format!("Please report it, with the log in {}.", shown::path(&home.logs())),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Health;
    use crate::faults::{Fault, note};

    #[test]
    fn mistakes_are_counted_and_the_last_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        assert_eq!(look(&home), []);
        for process in ["agent", "runner-lab"] {
            let fault = Fault {
                at: jiff::Timestamp::now(),
                process: process.into(),
                place: "a.rs:1:2".into(),
                said: "a mistake".into(),
            };
            note(&home, &fault).unwrap();
        }
        let found = look(&home).remove(0);
        assert_eq!(found.health, Health::Limited);
        for words in ["2 of", "runner-lab", "a.rs:1:2", "a mistake"] {
            assert!(found.found.contains(words), "{found:?}");
        }
        assert!(found.hint.contains("logs"), "{found:?}");
    }
}
