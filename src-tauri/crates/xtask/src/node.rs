//! Node and npm, which build the UI: they are looked for before anything is installed, since Debian's own are too old.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process;

/// The oldest Node that the UI's tools run on, as `ui/package.json` and the README say.
const OLDEST: (u32, u32) = (20, 19);

/// Makes sure that both are there.
///
/// # Errors
/// What is missing or too old, and where to get it.
pub(crate) fn check() -> Result<()> {
    let needed = || {
        let (major, minor) = OLDEST;
        format!("the UI needs Node {major}.{minor} or newer with npm: get it from https://nodejs.org")
    };
    let found = process::output(Command::new("node").arg("--version")).with_context(needed)?;
    ensure!(
        is_new_enough(&found),
        "{}; there is only Node {}",
        needed(),
        found.trim()
    );
    process::output(npm().arg("--version")).with_context(needed)?;
    Ok(())
}

/// The `npm` command.
pub(crate) fn npm() -> Command {
    // On Windows npm is a script, which only its full name finds.
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

/// Whether a version as Node prints it, `v20.19.1`, will do.
fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim().trim_start_matches('v').split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_node_is_refused() {
        for good in ["v20.19.0\n", "v20.20.1", "v22.1.0", "v100.0.0"] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["v18.19.0\n", "v20.9.0", "v20", "", "unknown"] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }
}
