//! The engine crates' tests, built for Windows and run under Wine; their number is compared with Linux.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;
use crate::windows;
use crate::workspace::Workspace;

/// The crates without a face, whose tests must run on every system.
const CRATES: [&str; 9] = [
    "livepc-durable",
    "livepc-format",
    "livepc-store",
    "livepc-transfer",
    "livepc-disk",
    "livepc-hypervisor",
    "livepc-publish",
    "livepc-protocol",
    "livepc-engine",
];

/// Tests that Windows would pass and Wine 8 cannot, with the reason. They count as not run.
const WINE_CANNOT: [(&str, &str); 1] = [(
    "a_file_that_was_lost_or_replaced_is_noticed_when_something_is_missing",
    "a removed file stays in its folder while another handle is open",
)];

/// How many percent of the tests that run on Linux must pass on Windows.
const DEMANDED_PERCENT: usize = 80;

/// Runs them and prints both numbers.
///
/// # Errors
/// When a test fails, or fewer than 80 % of Linux's tests ran.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    let here = count_here(workspace)?;
    let runner = prepare(workspace)?;
    let mut command = windows::cargo(workspace, "test")?;
    for name in CRATES {
        command.args(["--package", name]);
    }
    command
        .args(["--lib", "--tests", "--no-fail-fast", "--"])
        .env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", "wine")
        .envs(runner);
    for (name, why) in WINE_CANNOT {
        println!("Left out, as under Wine {why}: {name}");
        command.args(["--skip", name]);
    }
    let (tally, succeeded) = run_tests(&mut command)?;
    let percent = (tally.passed * 100).checked_div(here).unwrap_or(0);
    println!(
        "Tests of the engine crates: {here} on this system, under Wine {} passed and {} failed ({percent} %)",
        tally.passed, tally.failed
    );
    if !succeeded {
        bail!("tests failed under Wine");
    }
    if percent < DEMANDED_PERCENT {
        bail!("only {percent} % of the tests run under Wine, {DEMANDED_PERCENT} % are demanded");
    }
    Ok(())
}

/// Results of test programs, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    /// Adds a line of the form `test result: ok. 3 passed; 0 failed; …`; other lines say nothing.
    fn add(&mut self, line: &str) {
        let Some(result) = line.trim().strip_prefix("test result: ") else {
            return;
        };
        for part in result.split([';', '.']) {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse::<usize>().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse::<usize>().unwrap_or(0),
                _ => {}
            }
        }
    }
}

/// Runs tests, passing their output on, and adds up what they say; tells too whether all succeeded.
fn run_tests(command: &mut Command) -> Result<(Tally, bool)> {
    println!("$ {}", process::command_line(command));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("the tests' output is not readable")?;
    let mut tally = Tally::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.add(&line);
    }
    Ok((tally, child.wait()?.success()))
}

/// How many tests of the engine crates run on this system: those listed, less those ignored.
fn count_here(workspace: &Workspace) -> Result<usize> {
    // The same selection as the other stages, so that nothing is compiled anew.
    let built = process::output(workspace.cargo().args([
        "test",
        "--workspace",
        "--lib",
        "--tests",
        "--no-run",
        "--message-format",
        "json",
    ]))?;
    let mut count = 0;
    for line in built.lines() {
        let Some(program) = engine_test(line) else {
            continue;
        };
        let all = process::output(Command::new(&program).arg("--list"))?;
        let ignored = process::output(Command::new(&program).args(["--list", "--ignored"]))?;
        count += listed(&all) - listed(&ignored);
    }
    Ok(count)
}

/// The test program that one of cargo's JSON messages announces, if it is an engine crate's.
fn engine_test(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let package = message["package_id"].as_str()?;
    // `path+file:///…/format#livepc-format@0.1.0`
    let name = package.rsplit('#').next()?.split('@').next()?;
    let wanted = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    (wanted && CRATES.contains(&name)).then(|| message["executable"].as_str().map(PathBuf::from))?
}

/// How many tests a program lists.
fn listed(list: &str) -> usize {
    list.lines().filter(|line| line.ends_with(": test")).count()
}

/// Makes a Wine prefix of our own, and returns the environment that uses it.
fn prepare(workspace: &Workspace) -> Result<BTreeMap<&'static str, String>> {
    let prefix = workspace.cache.join("wine");
    let environment = BTreeMap::from([
        ("WINEPREFIX", prefix.display().to_string()),
        ("WINEDEBUG", "-all".to_owned()),
        // Neither .NET nor a browser is wanted, and Wine would ask to download them.
        ("WINEDLLOVERRIDES", "mscoree,mshtml=".to_owned()),
        // Snapshot tests look for the repository by asking cargo, which is not there.
        ("INSTA_WORKSPACE_ROOT", workspace.root.display().to_string()),
        // One that is not as it should be fails, and leaves nothing in the repository.
        ("INSTA_UPDATE", "no".to_owned()),
    ]);
    let system = prefix.join("drive_c/windows/system32");
    if !system.join("kernel32.dll").is_file() {
        fs::create_dir_all(&prefix)?;
        process::run(
            Command::new("wine")
                .args(["wineboot", "--init"])
                .envs(&environment),
        )?;
    }
    let random = system.join("bcryptprimitives.dll");
    if !random.is_file() {
        let source = workspace
            .root
            .join("src-tauri/crates/xtask/wine/bcryptprimitives.c");
        process::run(
            Command::new("x86_64-w64-mingw32-gcc")
                .args(["-O2", "-Wall", "-Werror", "-shared", "-o"])
                .arg(&random)
                .arg(source)
                .arg("-ladvapi32"),
        )?;
    }
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\r",
            "test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ] {
            tally.add(line);
        }
        let expected = Tally {
            passed: 10,
            failed: 2,
        };
        assert_eq!(
            tally, expected,
            "ignored tests are neither, and Windows ends lines with \\r\\n"
        );
    }

    #[test]
    fn only_engine_crates_test_programs_count() {
        let message = |package: &str, test: bool| {
            serde_json::json!({"reason": "compiler-artifact", "package_id": package,
                "profile": {"test": test}, "executable": "/t/debug/deps/x-1"})
            .to_string()
        };
        let engine = "path+file:///r/src-tauri/crates/format#livepc-format@0.1.0";
        assert_eq!(
            engine_test(&message(engine, true)),
            Some(PathBuf::from("/t/debug/deps/x-1")),
            "a test program of an engine crate"
        );
        assert_eq!(engine_test(&message(engine, false)), None, "a plain build of it");
        assert_eq!(
            engine_test(&message("path+file:///r/tests#livepc-tests@0.1.0", true)),
            None,
            "an end-to-end suite"
        );
    }

    #[test]
    fn a_list_is_counted_without_benchmarks() {
        let list = "a::b: test\nc: test\nd: benchmark\n\n2 tests, 1 benchmark\n";
        assert_eq!(listed(list), 2, "only tests count");
    }
}
