//! Fuzzing with cargo-fuzz: every target of every crate that has some, for a short time.
//!
//! No sanitizer is used, since the code has no `unsafe` that input reaches: what is looked for are panics, and those need only
//! the coverage that a stable compiler gives.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{process, tools};

/// The version of cargo-fuzz.
const VERSION: &str = "0.13.1";
/// How long each target runs.
const SECONDS: u32 = 60;
/// Bytes of an input at the most.
const INPUT: u32 = 16 << 10;

/// A fuzz target, and inputs that it may begin with.
struct Target {
    folder: &'static str,
    name: &'static str,
    seeds: &'static str,
}

const TARGETS: [Target; 4] = [
    Target {
        folder: "src-tauri/crates/format/fuzz",
        name: "documents",
        seeds: "src-tauri/crates/format/tests/golden/manifests",
    },
    Target {
        folder: "src-tauri/crates/format/fuzz",
        name: "feed",
        seeds: "src-tauri/crates/format/tests/golden",
    },
    Target {
        folder: "src-tauri/crates/format/fuzz",
        name: "index",
        seeds: "src-tauri/crates/format/tests/golden/index",
    },
    Target {
        folder: "src-tauri/crates/hypervisor/fuzz",
        name: "manifest",
        seeds: "src-tauri/crates/format/tests/golden/manifests",
    },
];

/// Runs all targets. What they find interesting stays in the cache and is what the next run begins with.
///
/// # Errors
/// When one finds an input that it must not.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let tool = tools::ensure(workspace, "cargo-fuzz", VERSION)?;
    for target in TARGETS {
        let corpus = workspace.cache.join("fuzz").join(target.name);
        std::fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
        fuzz(workspace, &tool, &target, &corpus)?;
    }
    Ok(())
}

fn fuzz(workspace: &Workspace, tool: &Path, target: &Target, corpus: &Path) -> Result<()> {
    println!("Fuzzing {} for {SECONDS} s", target.name);
    let mut command = Command::new(tool);
    command
        .current_dir(&workspace.root)
        .args(["run", "--sanitizer", "none", "--fuzz-dir", target.folder])
        .arg("--target-dir")
        .arg(workspace.cache.join("fuzz-target"))
        .arg(target.name)
        .arg(corpus)
        .arg(target.seeds)
        .arg("--")
        .arg(format!("-max_total_time={SECONDS}"))
        .arg(format!("-max_len={INPUT}"))
        // What it prints every second is for those who watch.
        .arg("-verbosity=0")
        // cargo-fuzz passes options that a stable compiler takes only so.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("CARGO_TARGET_DIR");
    process::run(&mut command)
}
