//! What the dependencies may be: licences, sources and bans, by `cargo deny`.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{process, tools};

/// The rules, relative to the top level.
const RULES: &str = ".cargo/deny.toml";

/// The version that the rules are written for.
const VERSION: &str = "0.20.2";

/// Where known vulnerabilities are published.
const ADVISORIES: &str = "https://github.com/rustsec/advisory-db";

/// Checks licences, sources and bans, and the advisories where their database is in reach.
///
/// # Errors
/// When a rule is broken, or `cargo deny` can neither be found nor built.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let tool = tools::ensure(workspace, "cargo-deny", VERSION)?;
    let mut checks = vec!["bans", "licenses", "sources"];
    if advisories_in_reach() {
        checks.insert(0, "advisories");
    } else {
        println!("Advisories are NOT checked: {ADVISORIES} is out of reach.");
    }
    process::run(
        Command::new(tool)
            .current_dir(&workspace.root)
            .args(["--config", RULES, "--workspace", "check"])
            .args(checks),
    )
}

/// Whether the advisory database answers.
fn advisories_in_reach() -> bool {
    Command::new("git")
        .args(["ls-remote", "--quiet", ADVISORIES, "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
