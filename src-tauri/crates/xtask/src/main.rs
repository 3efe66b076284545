//! The project's own tasks: `cargo xtask <task>`.
//!
//! Everything that a person or a CI machine does with this repository beyond plain `cargo` and
//! `npm` stands here, so that both run the very same commands.

mod bench;
mod bindings;
mod demo;
mod deny;
mod fuzz;
mod node;
mod packages;
mod process;
mod stages;
mod targets;
mod test;
mod tools;
mod windows;
mod wine;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bench::Suite;
use crate::packages::Consent;
use crate::stages::Stage;
use crate::workspace::Workspace;

/// Tasks of the LivePC repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the app, publish and serve a sample LivePC on this computer, and open it.
    Demo {
        /// Install missing system packages without asking.
        #[arg(long)]
        yes: bool,
        /// Do the whole job through the CLI, without a window.
        #[arg(long)]
        headless: bool,
    },
    /// Run every check and test, installing the system packages they need.
    Test {
        /// Also run what takes long: the engine crates' tests under Wine, and fuzzing.
        #[arg(long)]
        long: bool,
        /// Run these stages only, in their usual order.
        #[arg(long, value_name = "STAGE", num_args = 1.., value_delimiter = ',')]
        only: Vec<Stage>,
        /// Print the stages and what each does, and run none.
        #[arg(long)]
        list: bool,
        /// Install missing system packages without asking (CI=true implies it).
        #[arg(long)]
        yes: bool,
    },
    /// Type-check the whole workspace for Windows (x86_64-pc-windows-gnu).
    CheckWindows {
        /// Then run the engine crates' tests under Wine and compare their number with Linux.
        #[arg(long)]
        long: bool,
        /// Install missing system packages without asking (CI=true implies it).
        #[arg(long)]
        yes: bool,
    },
    /// Measure LivePC beside what else could do the job, as ratios.
    Bench {
        /// What is measured.
        suite: Suite,
        /// Install missing system packages without asking.
        #[arg(long)]
        yes: bool,
        /// What the suite itself takes, as in: -- --mbit 100 --runs 3
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Write the TypeScript types of the protocol into the UI.
    Bindings {
        /// Only tell whether the ones there are up to date.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The causes on one line; a backtrace would only bury the failed command's own words.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    let workspace = Workspace::locate()?;
    match task {
        Task::Demo { yes, headless } => demo::run(&workspace, Consent::new(yes), headless),
        Task::Test { list: true, .. } => {
            stages::print_list();
            Ok(())
        }
        Task::Test { long, only, yes, .. } => stages::run(&workspace, Consent::new(yes), long, &only),
        Task::CheckWindows { long, yes } => windows::run(&workspace, Consent::new(yes), long),
        Task::Bench { suite, yes, args } => bench::run(&workspace, Consent::new(yes), suite, &args),
        Task::Bindings { check: true } => bindings::check(&workspace),
        Task::Bindings { check: false } => bindings::write(&workspace),
    }
}
