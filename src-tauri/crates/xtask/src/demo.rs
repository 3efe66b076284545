//! `cargo xtask demo`: the whole product on this computer, from an empty machine to a running guest.

use std::process::Command;

use anyhow::Result;

use crate::packages::{self, Consent, Purpose};
use crate::workspace::Workspace;
use crate::{node, process, test};

/// What the demo compiles and runs with.
const NEEDS: [Purpose; 3] = [Purpose::Build, Purpose::Machines, Purpose::Guest];
/// What it needs without a window.
const NEEDS_HEADLESS: [Purpose; 2] = [Purpose::Machines, Purpose::Guest];

/// Prepares the machine and shows the product; `headless`, or without a display, through the command line alone.
///
/// # Errors
/// When packages are missing and not to be installed, or a step fails.
pub(crate) fn run(workspace: &Workspace, consent: Consent, headless: bool) -> Result<()> {
    let headless = headless || !has_display();
    if !headless {
        node::check()?;
    }
    packages::ensure(
        workspace,
        if headless { &NEEDS_HEADLESS } else { &NEEDS },
        consent,
    )?;
    let mut build = workspace.cargo();
    build.args(["build", "--bin", "livepc", "--bin", "livepc-demo"]);
    if !headless {
        test::ui_bundle(workspace)?;
        build.args(["--bin", "livepc-desktop", "--package", "livepc-desktop"]);
    }
    process::run(build.args(["--package", "livepc-cli", "--package", "livepc-tests"]))?;
    test::guest(workspace)?;
    let mut demo = Command::new(workspace.binary("livepc-demo"));
    demo.env("LIVEPC_BIN", workspace.binary("livepc"))
        .env("LIVEPC_DESKTOP_BIN", workspace.binary("livepc-desktop"))
        .env("LIVEPC_TEST_GUEST", workspace.guest());
    if headless {
        demo.arg("--headless");
    }
    become_command(&mut demo)
}

/// Goes on as another program, so that Ctrl-C reaches it alone and is over when it has ended.
#[cfg(unix)]
fn become_command(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let line = process::command_line(command);
    Err(anyhow::Error::from(command.exec()).context(format!("`{line}` could not be started")))
}

/// A program cannot become another one on Windows.
#[cfg(windows)]
fn become_command(command: &mut Command) -> Result<()> {
    process::run(command)
}

fn has_display() -> bool {
    cfg!(any(windows, target_os = "macos"))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()))
}
