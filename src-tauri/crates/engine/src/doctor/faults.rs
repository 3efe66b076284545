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
