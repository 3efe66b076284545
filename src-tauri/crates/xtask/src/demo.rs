//! `cargo xtask demo`: the whole product on this computer, from an empty machine to a running guest.

use anyhow::{Result, bail};

use crate::packages::{self, Consent, Purpose};
use crate::test;
use crate::workspace::Workspace;

/// What the demo compiles and runs with.
const NEEDS: [Purpose; 3] = [Purpose::Build, Purpose::Machines, Purpose::Guest];

/// Prepares the machine and shows the product; `headless` does so through the CLI alone.
///
/// # Errors
/// When packages are missing and not to be installed, or a step fails.
pub(crate) fn run(workspace: &Workspace, consent: Consent, headless: bool) -> Result<()> {
    packages::ensure(workspace, &NEEDS, consent)?;
    test::guest(workspace)?;
    let _ = headless;
    bail!("the demo is not there yet");
}
