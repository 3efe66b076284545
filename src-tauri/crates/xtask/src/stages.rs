//! The stages of `cargo xtask test`: their order, their times, and the table at the end.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

use crate::packages::Consent;
use crate::test;
use crate::workspace::Workspace;

/// One step of the whole test, in the order in which they run.
///
/// Fast refusals come first; what follows shares its artefacts: clippy and the Windows check
/// need no code generated, `build` generates it once for everything that `unit` and `e2e` run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// Install the system packages that are missing.
    Packages,
    /// Rust formatting.
    Fmt,
    /// The UI: types, tests, the build that the desktop shell embeds, and its accessibility.
    Ui,
    /// Lints of the whole workspace, warnings being errors.
    Clippy,
    /// Build the sample guest's two releases.
    Guest,
    /// Compile every binary and every test.
    Build,
    /// The crates' own tests, and the freshness of the UI's types. With --long, soaks and kills by the thousand.
    Unit,
    /// The end-to-end suites, on the built binaries. With --long, more and longer of what is left to chance.
    E2e,
    /// Type-check for Windows; with --long also run the engine crates' tests under Wine.
    Windows,
    /// With --long: feed the parsers and what is made of manifests with chance, a minute each.
    Fuzz,
    /// Licences, sources and bans of the dependencies; advisories where their database is in reach.
    Deny,
}

impl Stage {
    /// What the command line calls it.
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it does, as its help says.
    fn summary(self) -> String {
        self.to_possible_value()
            .and_then(|value| value.get_help().map(ToString::to_string))
            .unwrap_or_default()
    }

    fn run(self, workspace: &Workspace, consent: Consent, long: bool) -> Result<()> {
        match self {
            Self::Packages => test::packages(workspace, consent, long),
            Self::Fmt => test::fmt(workspace),
            Self::Ui => test::ui(workspace),
            Self::Clippy => test::clippy(workspace),
            Self::Guest => test::guest(workspace),
            Self::Build => test::build(workspace),
            Self::Unit => test::unit(workspace, long),
            Self::E2e => test::end_to_end(workspace, long),
            Self::Windows => test::windows(workspace, long),
            Self::Fuzz => test::fuzz(workspace, long),
            Self::Deny => test::deny(workspace),
        }
    }
}

/// Prints every stage with what it does.
pub(crate) fn print_list() {
    for stage in Stage::value_variants() {
        println!("{:9} {}", stage.name(), stage.summary());
    }
}

/// Runs the stages in `only`, or all of them if it is empty, and stops at the first failure.
///
/// # Errors
/// What the failed stage says, with the stage's name before it.
pub(crate) fn run(workspace: &Workspace, consent: Consent, long: bool, only: &[Stage]) -> Result<()> {
    let start = Instant::now();
    let mut done: Vec<(Stage, Duration)> = Vec::new();
    let mut failure = None;
    let selected = || {
        Stage::value_variants()
            .iter()
            .copied()
            .filter(|stage| only.is_empty() || only.contains(stage))
    };
    for stage in selected() {
        println!("\n=== {} · {}", stage.name(), stage.summary());
        let began = Instant::now();
        let result = stage.run(workspace, consent, long);
        done.push((stage, began.elapsed()));
        println!("=== {} took {}", stage.name(), clock(began.elapsed()));
        if let Err(error) = result {
            failure = Some(error.context(format!("stage `{}` failed", stage.name())));
            break;
        }
    }
    println!();
    for (index, stage) in selected().enumerate() {
        let (word, time) = match done.get(index) {
            None => ("not run", String::new()),
            Some((_, time)) if failure.is_some() && index + 1 == done.len() => ("FAILED", clock(*time)),
            Some((_, time)) => ("ok", clock(*time)),
        };
        println!("{:9} {word:8} {time:>9}", stage.name());
    }
    println!("{:9} {:8} {:>9}", "total", "", clock(start.elapsed()));
    failure.map_or(Ok(()), Err)
}

/// Minutes and seconds, as `3 m 07 s`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds / 60 {
        0 => format!("{seconds} s"),
        minutes => format!("{minutes} m {:02} s", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_minutes_and_seconds() {
        assert_eq!(clock(Duration::from_millis(400)), "0 s");
        assert_eq!(
            clock(Duration::from_millis(59_600)),
            "1 m 00 s",
            "rounding carries over"
        );
        assert_eq!(clock(Duration::from_secs(187)), "3 m 07 s");
    }

    #[test]
    fn every_stage_says_what_it_does() {
        for stage in Stage::value_variants() {
            assert!(!stage.summary().is_empty(), "{stage:?} has no line in --list");
        }
    }
}
