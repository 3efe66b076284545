//! What each stage of `cargo xtask test` does.
//!
//! Every cargo call selects the whole workspace with the same features: another selection could
//! unify other features and compile the dependencies once more.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages::{Consent, Purpose};
use crate::process::run;
use crate::targets::TestTargets;
use crate::workspace::Workspace;
use crate::{bindings, deny, fuzz, node, packages, tools, windows, wine};

/// What the desktop suite drives the app with, which the WebDriver of the system's webview alone cannot start.
const TAURI_DRIVER: (&str, &str) = ("tauri-driver", "2.1.0");

/// Looks for what people install themselves, then installs what else the other stages need.
pub(crate) fn packages(workspace: &Workspace, consent: Consent, long: bool) -> Result<()> {
    node::check()?;
    let mut purposes = vec![
        Purpose::Build,
        Purpose::Machines,
        Purpose::Guest,
        Purpose::Tests,
        Purpose::Windows,
    ];
    if long {
        purposes.push(Purpose::Wine);
    }
    packages::ensure(workspace, &purposes, consent)
}

/// Checks the formatting of all Rust code.
pub(crate) fn fmt(workspace: &Workspace) -> Result<()> {
    run(workspace.cargo().args(["fmt", "--all", "--check"]))
}

/// Checks and tests the UI, builds it, and looks at the result in a browser for accessibility.
pub(crate) fn ui(workspace: &Workspace) -> Result<()> {
    ui_scripts(workspace, &["check", "test", "build", "axe"])
}

/// Builds the UI, which the desktop shell embeds.
pub(crate) fn ui_bundle(workspace: &Workspace) -> Result<()> {
    ui_scripts(workspace, &["build"])
}

/// Runs scripts of `ui/package.json`, with what they depend on installed.
fn ui_scripts(workspace: &Workspace, names: &[&str]) -> Result<()> {
    let folder = workspace.root.join("ui");
    install_node_modules(&folder)?;
    for name in names {
        run(npm(&folder).args(["run", name]))?;
    }
    Ok(())
}

/// `npm ci`, unless what it would install is there.
fn install_node_modules(folder: &Path) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let changed = fs::metadata(&lock)
        .with_context(|| format!("{} is missing", lock.display()))?
        .modified()?;
    let installed = fs::metadata(folder.join("node_modules/.package-lock.json"));
    if installed.is_ok_and(|installed| installed.modified().is_ok_and(|time| time >= changed)) {
        println!("node_modules is up to date");
        return Ok(());
    }
    run(npm(folder).args(["ci", "--no-audit", "--no-fund", "--prefer-offline"]))
}

/// `npm` in a folder.
fn npm(folder: &Path) -> Command {
    let mut command = node::npm();
    command.current_dir(folder);
    command
}

/// Lints everything; warnings are errors.
pub(crate) fn clippy(workspace: &Workspace) -> Result<()> {
    run(workspace
        .cargo()
        .args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Builds the sample guest's two releases; its script keeps what has not changed.
pub(crate) fn guest(workspace: &Workspace) -> Result<()> {
    run(Command::new("bash")
        .current_dir(&workspace.root)
        .arg("tests/guest/build.sh")
        .arg(workspace.guest()))
}

/// Compiles every binary and every test in one go.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    run(workspace
        .cargo()
        .args(["build", "--workspace", "--bins", "--tests"]))
}

/// What makes soaks and kills go on for longer.
fn long_runs(long: bool) -> Option<(&'static str, &'static str)> {
    long.then_some(("LIVEPC_TEST_LONG", "1"))
}

/// Runs the crates' own tests and documentation examples.
pub(crate) fn unit(workspace: &Workspace, long: bool) -> Result<()> {
    let targets = TestTargets::of(workspace)?;
    let mut tests = workspace.cargo();
    tests.args(["test", "--workspace", "--lib", "--bins", "--no-fail-fast"]);
    for name in &targets.integration {
        tests.args(["--test", name]);
    }
    // Among them are the export tests of ts-rs, which write where they are told.
    let types = tempfile::tempdir()?;
    run(tests
        .env("LIVEPC_TEST_GUEST", workspace.guest())
        .env("TS_RS_EXPORT_DIR", types.path())
        .envs(long_runs(long)))?;
    bindings::compare(workspace, types.path())?;
    run(workspace.cargo().args(["test", "--workspace", "--doc"]))
}

/// Runs the end-to-end suites, one after the other, on the built binaries.
pub(crate) fn end_to_end(workspace: &Workspace, long: bool) -> Result<()> {
    let (cli, desktop) = (workspace.binary("livepc"), workspace.binary("livepc-desktop"));
    for binary in [&cli, &desktop] {
        if !binary.is_file() {
            bail!("{} is missing: run the `build` stage first", binary.display());
        }
    }
    let guest = workspace.guest();
    if !guest.join("guest-1.raw").is_file() {
        bail!("{} holds no guest: run the `guest` stage first", guest.display());
    }
    let suites = TestTargets::of(workspace)?.end_to_end;
    if suites.is_empty() {
        bail!("the `livepc-tests` crate has no suite");
    }
    let driver = tools::ensure(workspace, TAURI_DRIVER.0, TAURI_DRIVER.1)?;
    for suite in suites {
        run(workspace
            .cargo()
            .env("LIVEPC_TAURI_DRIVER", &driver)
            .env("LIVEPC_BIN", &cli)
            .env("LIVEPC_DESKTOP_BIN", &desktop)
            .env("LIVEPC_TEST_GUEST", &guest)
            .envs(long_runs(long))
            .args(["test", "--workspace", "--test", &suite]))?;
    }
    Ok(())
}

/// Type-checks for Windows; `long` adds the tests under Wine.
pub(crate) fn windows(workspace: &Workspace, long: bool) -> Result<()> {
    windows::check(workspace)?;
    if long { wine::test(workspace) } else { Ok(()) }
}

/// Fuzzes, if `long` says so.
pub(crate) fn fuzz(workspace: &Workspace, long: bool) -> Result<()> {
    if long { fuzz::run(workspace) } else { Ok(()) }
}

/// Checks the dependencies' licences, sources and advisories.
pub(crate) fn deny(workspace: &Workspace) -> Result<()> {
    deny::check(workspace)
}
