//! `cargo xtask bench`: LivePC beside what else could do the job, in one run, on the same input.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::packages::{self, Consent, Purpose};
use crate::process;
use crate::workspace::Workspace;

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Starts a Debian system over lines of 20, 100 and 1000 Mbit/s: seconds to its login prompt, bytes and requests, beside
    /// a local file, QEMU's http driver, nbdkit, and a download of everything.
    Stream,
    /// Waits for pages while the rest of a disk is fetched, beside the same on an idle line.
    Demand,
    /// Reads a disk of which all is here, over NBD and as a file, beside qemu-nbd and nbdkit.
    Reads,
}

impl Suite {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Prepares what the suite needs, compiles as for a release, and runs it with `args`. It takes root.
///
/// # Errors
/// When packages are missing and not to be installed, or a step fails.
pub(crate) fn run(workspace: &Workspace, consent: Consent, suite: Suite, args: &[String]) -> Result<()> {
    let needs = [Purpose::Machines, Purpose::Tests, Purpose::Bench];
    packages::ensure(workspace, &needs, consent)?;
    let system = match suite {
        Suite::Stream => Some(system(workspace)?),
        Suite::Demand | Suite::Reads => None,
    };
    process::run(workspace.cargo().args([
        "build",
        "--release",
        "--bin",
        "livepc",
        "--bin",
        "livepc-bench",
        "--package",
        "livepc-cli",
        "--package",
        "livepc-tests",
    ]))?;
    let program = |name: &str| workspace.target.join("release").join(name);
    process::run(
        Command::new(program("livepc-bench"))
            .arg(suite.name())
            .args(system)
            .args(args)
            .env("LIVEPC_BIN", program("livepc")),
    )
}

/// The image of a Debian system, built if it is not there.
fn system(workspace: &Workspace) -> Result<PathBuf> {
    let system = workspace.cache.join("bench/system.raw");
    process::run(
        Command::new("bash")
            .current_dir(&workspace.root)
            .arg("tests/guest/system.sh")
            .arg(&system),
    )?;
    Ok(system)
}
