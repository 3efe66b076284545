//! A folder with stand-ins that looks like an installation of VMware.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Which programs are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programs {
    /// Those of VMware Workstation.
    Workstation,
    /// Those of a VMware Player without `vmrun`.
    Player,
}

/// The stand-ins as they were built: only an integration test knows where.
#[derive(Clone, Debug)]
pub struct Built {
    /// `CARGO_BIN_EXE_standin-vmrun`.
    pub vmrun: PathBuf,
    /// `CARGO_BIN_EXE_standin-vmplayer`.
    pub vmplayer: PathBuf,
}

/// Makes `folder`, and a folder for the stand-ins' state beside it. `sick`: how they fail, if they shall.
pub fn install(folder: &Path, programs: Programs, built: &Built, sick: &str) {
    let state = folder.with_extension("state");
    for dir in [folder, &state] {
        std::fs::create_dir_all(dir).expect("a folder");
    }
    let program = |name: &str, does: &str| {
        // Written by a process of its own: while this one has it open, another test's new process does too, and what is
        // open for writing cannot be executed.
        let script = format!(
            "#!/bin/sh\nexport LIVEPC_STANDIN_DIR='{}' LIVEPC_STANDIN_SICK='{sick}'\nexec {does} \"$@\"\n",
            state.display()
        );
        let written = Command::new("sh")
            .args(["-c", "printf %s \"$1\" >\"$2\" && chmod +x \"$2\"", "sh", &script])
            .arg(folder.join(name))
            .status();
        assert!(written.expect("a shell").success(), "the script is written");
    };
    match programs {
        Programs::Workstation => {
            program("vmrun", &built.vmrun.display().to_string());
            program("vmware", "echo VMware Workstation 17.5.0 build-22583795");
        }
        Programs::Player => program("vmplayer", &built.vmplayer.display().to_string()),
    }
}

/// The configurations of the machines that the stand-ins of `folder` run.
#[must_use]
pub fn running(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.with_extension("state"));
    let entries = entries.into_iter().flatten().flatten();
    let listed = entries.filter_map(|entry| super::machine::listed(&entry.path()));
    listed.map(PathBuf::from).collect()
}
