//! `cargo xtask check-windows`: the whole workspace, type-checked for Windows from another system.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::packages::{self, Consent, Purpose};
use crate::process;
use crate::test;
use crate::wine;
use crate::workspace::Workspace;

/// The target that a C compiler from Debian can build for.
pub(crate) const TARGET: &str = "x86_64-pc-windows-gnu";

/// Where Debian's `rustc-web` and `cargo-web` lie, beside whatever rustup installed.
const DEBIAN_BIN: &str = "/usr/bin";

/// The sources that Debian's `rust-web-src` brings, from which the standard library is built.
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// Installs what is missing and checks; `long` runs the tests under Wine as well.
///
/// # Errors
/// When packages are missing, a crate does not compile for Windows, or too few tests pass there.
pub(crate) fn run(workspace: &Workspace, consent: Consent, long: bool) -> Result<()> {
    let mut purposes = vec![Purpose::Windows];
    if long {
        purposes.extend([Purpose::Build, Purpose::Wine]);
    }
    packages::ensure(workspace, &purposes, consent)?;
    check(workspace)?;
    if long { wine::test(workspace) } else { Ok(()) }
}

/// Type-checks every crate for Windows.
///
/// # Errors
/// When there is no compiler for Windows, or a crate does not compile.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    // The desktop shell embeds it, whatever the target.
    if !workspace.root.join("ui/dist/index.html").is_file() {
        test::ui_bundle(workspace)?;
    }
    process::run(cargo(workspace, "check")?.arg("--workspace"))
}

/// `cargo <verb>` for Windows, with its own build output.
///
/// The standard library comes from rustup where `rustup target add` has put it, and is otherwise
/// compiled from Debian's sources with Debian's compiler, which needs no other download.
///
/// # Errors
/// When neither is there.
pub(crate) fn cargo(workspace: &Workspace, verb: &str) -> Result<Command> {
    let mut command = if has_std()? {
        let mut command = Command::new("cargo");
        command.arg(verb);
        command
    } else if Path::new(DEBIAN_STD).is_file() {
        let mut command = Command::new(format!("{DEBIAN_BIN}/cargo"));
        // Whatever points to the other toolchain, which `cargo run` has put into the environment.
        for name in ["CARGO", "LD_LIBRARY_PATH", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(name);
        }
        // Building the standard library is unstable; this is what allows it on a stable compiler.
        command
            .env("PATH", format!("{DEBIAN_BIN}:/bin"))
            .env("RUSTC_BOOTSTRAP", "1");
        command.args([verb, "-Zbuild-std"]);
        command
    } else {
        bail!(
            "no standard library for Windows: run `rustup target add {TARGET}`, or install Debian's rustc-web, \
             cargo-web and rust-web-src"
        );
    };
    command
        .current_dir(&workspace.root)
        .env("CARGO_TARGET_DIR", workspace.cache.join("xcheck"))
        .args(["--target", TARGET]);
    Ok(command)
}

/// Whether the toolchain in use has a standard library for Windows.
///
/// # Errors
/// When `rustc` cannot be asked.
pub(crate) fn has_std() -> Result<bool> {
    let folder =
        process::output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    Ok(Path::new(folder.trim()).is_dir())
}
