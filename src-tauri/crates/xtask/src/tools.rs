//! Tools that cargo installs: taken from PATH or from the cache, and built into the cache once.

use std::path::PathBuf;

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// Where `name` from crates.io is; it is built first if it is nowhere.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn ensure(workspace: &Workspace, name: &str, version: &str) -> Result<PathBuf> {
    if process::is_on_path(name) {
        return Ok(PathBuf::from(name));
    }
    let folder = workspace.cache.join("tools");
    let tool = folder
        .join("bin")
        .join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !tool.is_file() {
        println!(
            "{name} is not installed: building it into {} (once)",
            folder.display()
        );
        // Without optimisation: it runs for seconds, and compiles several times faster. Without our
        // target folder: cargo then builds in a temporary one, which it removes.
        process::run(
            workspace
                .cargo()
                .args([
                    "install",
                    name,
                    "--version",
                    version,
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
