//! What the dependencies may be: licences, sources and bans, by `cargo deny`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

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
    let tool = tool(workspace)?;
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

/// `cargo-deny` from PATH, or from the cache, built there first if need be.
fn tool(workspace: &Workspace) -> Result<PathBuf> {
    if process::is_on_path("cargo-deny") {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let folder = workspace.cache.join("tools");
    let tool = folder
        .join("bin")
        .join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    if !tool.is_file() {
        println!(
            "cargo-deny is not installed: building it into {} (once)",
            folder.display()
        );
        // Without optimisation: it runs for a second, and compiles several times faster. Without our
        // target folder: cargo then builds in a temporary one, which it removes.
        process::run(
            workspace
                .cargo()
                .args([
                    "install",
                    "cargo-deny",
                    "--version",
                    VERSION,
                    "--locked",
                    "--debug",
                    "--root",
                ])
                .arg(&folder)
                .env("CARGO_PROFILE_DEV_DEBUG", "0")
                .env_remove("CARGO_TARGET_DIR"),
        )?;
    }
    Ok(tool)
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
