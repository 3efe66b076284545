//! The desktop session that a client is part of. The agent may have been started in another one, or in none, as over SSH or
//! by a timer; a machine's window belongs to where somebody asked for it.

use std::collections::BTreeMap;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The variables by which programs find a session's display and its helpers. No other is ever taken from a client.
const VARIABLES: [&str; 4] = [
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "DBUS_SESSION_BUS_ADDRESS",
];

/// How programs find a desktop session; empty if there is none. On Windows and macOS there is nothing to find.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desktop(BTreeMap<String, String>);

impl Desktop {
    /// The one that this process is part of.
    #[must_use]
    pub fn of_this_process() -> Self {
        let set = VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        Self(set.collect())
    }

    /// Makes a program part of it; without a display it stays part of the session of this process.
    pub(crate) fn enter(&self, command: &mut Command) {
        if !["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| self.0.contains_key(*name))
        {
            return;
        }
        for name in VARIABLES {
            match self.0.get(name) {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn desktop(variables: &[(&str, &str)]) -> Desktop {
        let owned = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        Desktop(owned.collect())
    }

    #[test]
    fn a_program_is_part_of_one_session_and_takes_nothing_else_from_a_client() {
        let mut command = Command::new("x");
        desktop(&[("DISPLAY", ":7"), ("LD_PRELOAD", "evil.so")]).enter(&mut command);
        let set: BTreeMap<_, _> = command.get_envs().collect();
        assert_eq!(set.get(OsStr::new("DISPLAY")), Some(&Some(OsStr::new(":7"))));
        assert_eq!(
            set.get(OsStr::new("WAYLAND_DISPLAY")),
            Some(&None),
            "that of another session"
        );
        assert!(!set.contains_key(OsStr::new("LD_PRELOAD")));
    }

    #[test]
    fn without_a_display_nothing_changes() {
        let mut command = Command::new("x");
        desktop(&[("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x")]).enter(&mut command);
        assert_eq!(command.get_envs().count(), 0);
    }
}
