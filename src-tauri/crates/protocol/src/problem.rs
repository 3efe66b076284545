//! Errors as they cross a process boundary: a code for programs, a message and a hint for people.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::wording;

/// What kind of problem it is. A code exists only where some consumer acts on it: the exit code of the command line
/// follows from it, and the app decides by it what to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
#[ts(export)]
pub enum Code {
    /// The request itself is wrong.
    Usage,
    /// There is no such LivePC, release, source or file.
    NotFound,
    /// A signature, key, digest or order is not what it must be.
    Trust,
    /// A server could not be reached or answered wrongly.
    Network,
    /// A server asks who one is, or does not accept what it was told.
    Login,
    /// There is no space left.
    DiskFull,
    /// The hypervisor is missing, broken or failed.
    Hypervisor,
    /// It was made for a later version of LivePC.
    UpdateLivepc,
    /// Something else holds what is needed.
    Busy,
    /// Somebody asked for it to stop.
    Cancelled,
    /// The agent ended before it answered; trying again starts a new one.
    AgentGone,
    /// Anything else, also what only a newer LivePC knows.
    #[serde(other)]
    Failed,
}

/// A problem, told to a person: what happened and why, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, TS, thiserror::Error)]
#[error("{message}")]
#[ts(export)]
pub struct Problem {
    /// For programs.
    pub code: Code,
    /// What happened, and why.
    pub message: String,
    /// What to do next.
    #[serde(default)]
    pub hint: String,
    /// The address that a server wants a user and a password for, if to sign in there is what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub sign_in: Option<String>,
    /// True if something on this computer is missing or in the way, so that no hypervisor has begun with the machine. Such
    /// a failure is no reason to go back to an earlier release.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[ts(skip)]
    pub of_this_computer: bool,
    /// What was asked for may be there in a moment: it is asked for again before anybody is told.
    #[serde(skip)]
    #[ts(skip)]
    pub is_late: bool,
}

impl Problem {
    /// A problem with what to do about it.
    pub fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: hint.into(),
            sign_in: None,
            of_this_computer: false,
            is_late: false,
        }
    }

    /// The same problem, of which no release is the cause.
    #[must_use]
    pub fn of_this_computer(mut self) -> Self {
        self.of_this_computer = true;
        self
    }

    /// A problem out of one text that says what happened and, behind its last semicolon, what to do. What stands in “quotes”
    /// is a name: a semicolon in it divides nothing.
    #[must_use]
    pub fn of_text(code: Code, text: &str) -> Self {
        let text = wording::without_numbers(text);
        let text = text.trim_end_matches('.');
        match wording::divide(text) {
            Some((message, hint)) => Self::new(code, wording::message(message), wording::hint(hint)),
            None => Self::new(code, wording::message(text), ""),
        }
    }

    /// A mistake of LivePC's own.
    #[must_use]
    #[allow(clippy::needless_pass_by_value)] // As `map_err` gives it.
    pub fn of_panic(panicked: livepc_panics::Panicked) -> Self {
        Self::new(
            Code::Failed,
            format!("{panicked}."),
            "This is a mistake of LivePC: please report it with what “livepc logs” shows. Trying again may help.",
        )
    }

    /// A failure of the operating system while `doing` something.
    #[must_use]
    pub fn io(doing: &str, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return Self::new(
                Code::DiskFull,
                format!("There is no space left ({doing})."),
                "Free some space, then try again: what is already here is kept.",
            );
        }
        // What the system says; that a file is longer than its reader takes is something else.
        if error.kind() == std::io::ErrorKind::FileTooLarge && error.raw_os_error().is_some() {
            return Self::new(
                Code::Failed,
                format!("The file system there takes no file that large ({doing})."),
                "Choose a place on another drive: FAT32 takes no file of 4 GiB or more, for example.",
            );
        }
        Self::new(
            Code::Failed,
            format!("{doing}: {}.", wording::without_numbers(&error.to_string())),
            "“livepc doctor” shows where the logs are.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_into_what_happened_and_what_to_do() {
        let problem = Problem::of_text(Code::Usage, "a; b is empty; name another file");
        assert_eq!(problem.message, "a; b is empty.", "it begins with a name");
        assert_eq!(problem.hint, "Name another file.");
        assert_eq!(Problem::of_text(Code::Usage, "it failed.").message, "It failed.");
    }

    #[cfg(unix)]
    #[test]
    fn a_drive_that_takes_no_large_files_is_told_from_a_file_that_is_too_long() {
        let of_drive = Problem::io("Cannot write a.raw", &std::io::Error::from_raw_os_error(27));
        assert!(of_drive.hint.contains("another drive"), "{of_drive}");
        let too_long = std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is longer than 5 bytes");
        let of_file = Problem::io("Cannot read a.toml", &too_long);
        assert!(of_file.message.contains("longer than 5 bytes"), "{of_file}");
    }

    #[test]
    fn a_name_with_a_semicolon_is_not_divided() {
        let problem = Problem::of_text(Code::Usage, "“a; b.raw” is empty");
        assert_eq!(
            (problem.message.as_str(), problem.hint.as_str()),
            ("“a; b.raw” is empty.", "")
        );
        let problem = Problem::of_text(Code::Usage, "there is no “a; b”; look at “c; d” first");
        assert_eq!(problem.message, "There is no “a; b”.");
        assert_eq!(problem.hint, "Look at “c; d” first.");
    }

    #[test]
    fn the_systems_number_is_not_told() {
        let missing = std::fs::read("/nowhere at all").unwrap_err();
        let problem = Problem::io("It cannot be read", &missing);
        assert!(!problem.message.contains("os error"), "{}", problem.message);
        assert!(
            problem.message.starts_with("It cannot be read: "),
            "{}",
            problem.message
        );
    }
}
