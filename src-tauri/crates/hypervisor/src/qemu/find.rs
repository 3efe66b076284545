//! Where QEMU is, and whether it works.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use livepc_format::machine::Architecture;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::{HypervisorError, Result, os, programs};

/// How long a program has to tell its version.
const VERSION_TIME: Duration = Duration::from_secs(10);
/// The oldest QEMU that takes devices as JSON, the only form in which nothing has to be escaped.
const LEAST: (&str, [u32; 2]) = ("6.2", [6, 2]);

/// The program for disk images.
const IMAGE_TOOL: &str = "qemu-img";

const HINT: &str = if cfg!(target_os = "macos") {
    "install QEMU with “brew install qemu”, or choose its program in the settings"
} else if cfg!(windows) {
    "install QEMU for Windows from qemu.org, or choose its program in the settings"
} else {
    "install QEMU (Debian and Ubuntu: qemu-system-x86 and qemu-utils, Fedora: qemu-system-x86 and qemu-img), or choose \
     its program in the settings"
};

const IMAGE_HINT: &str = if cfg!(any(target_os = "macos", windows)) {
    "install QEMU again, with all of its programs"
} else {
    "install it (Debian and Ubuntu: qemu-utils, Fedora, openSUSE, Arch and Alpine: qemu-img)"
};

/// Where to look for QEMU.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// A list of folders, as the environment's `PATH` has it.
    pub path: Option<OsString>,
    /// More folders, looked into afterwards.
    pub extra: Vec<PathBuf>,
    /// The program that the user chose: if it is set, no other is taken.
    pub program: Option<PathBuf>,
    /// A private folder with a short path, for what trying QEMU out needs for a moment. Without one, or when it is gone, the
    /// system's folder for temporary files is used.
    pub scratch: Option<PathBuf>,
}

impl Search {
    /// The environment's `PATH` and the places where QEMU usually is on this system.
    #[must_use]
    pub fn of_system(program: Option<PathBuf>) -> Self {
        Self {
            path: std::env::var_os("PATH"),
            extra: usual_places(),
            program,
            scratch: None,
        }
    }

    /// The files called `name` that may be it, in the order of preference.
    fn candidates(&self, name: &str) -> Vec<PathBuf> {
        let folders = programs::folders(self.path.as_deref(), &self.extra);
        programs::called(&folders, name).collect()
    }
}

fn usual_places() -> Vec<PathBuf> {
    if cfg!(windows) {
        let inside = |(root, folder)| Some(PathBuf::from(std::env::var_os(root)?).join(folder));
        [
            ("ProgramFiles", "qemu"),
            ("ProgramW6432", "qemu"),
            ("LOCALAPPDATA", "qemu"),
            ("LOCALAPPDATA", r"Programs\qemu"),
            ("USERPROFILE", r"scoop\apps\qemu\current"),
            ("SystemDrive", r"\msys64\ucrt64\bin"),
            ("SystemDrive", r"\msys64\mingw64\bin"),
        ]
        .into_iter()
        .filter_map(inside)
        .collect()
    } else {
        // An app that was not started from a terminal has a PATH without Homebrew, MacPorts and Nix.
        let places = [
            "/usr/bin",
            "/usr/local/bin",
            "/opt/homebrew/bin",
            "/opt/local/bin",
            "/home/linuxbrew/.linuxbrew/bin",
            "/run/current-system/sw/bin",
            "/nix/var/nix/profiles/default/bin",
            "/usr/pkg/bin",
            "/usr/libexec",
            "/usr/local/libexec",
        ];
        let of_user = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".nix-profile/bin"));
        places.iter().map(PathBuf::from).chain(of_user).collect()
    }
}

/// QEMU's programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Programs {
    pub(super) system: PathBuf,
    pub(super) img: PathBuf,
    pub(super) version: String,
}

/// The first QEMU for `architecture` that works.
pub(super) async fn find(search: &Search, architecture: Architecture) -> Result<Programs> {
    let name = match architecture {
        Architecture::X86_64 => "qemu-system-x86_64",
        Architecture::Aarch64 => "qemu-system-aarch64",
    };
    // What Red Hat's systems have, with the processor's help only: for the computer's own architecture.
    let of_this_computer = match architecture {
        Architecture::X86_64 => cfg!(target_arch = "x86_64"),
        Architecture::Aarch64 => cfg!(target_arch = "aarch64"),
    };
    let own = of_this_computer.then_some("qemu-kvm");
    let candidates = match &search.program {
        Some(program) if program.is_file() => {
            vec![std::path::absolute(program).map_err(HypervisorError::file("finding", program))?]
        }
        Some(program) => {
            let program = program.display().to_string();
            return Err(HypervisorError::NotFound { program, hint: HINT });
        }
        None => std::iter::once(name)
            .chain(own)
            .flat_map(|name| search.candidates(name))
            .collect(),
    };
    let mut first_error = HypervisorError::NotFound {
        program: name.into(),
        hint: HINT,
    };
    for (number, system) in candidates.into_iter().enumerate() {
        match version(&system).await {
            Ok(version) => {
                return Ok(Programs {
                    img: find_img(search, &system)?,
                    system,
                    version,
                });
            }
            Err(error) if number == 0 => first_error = error,
            Err(error) => tracing::warn!(%error, "another QEMU that does not work"),
        }
    }
    Err(first_error)
}

/// `qemu-img`, when nothing else of QEMU is needed.
pub(super) fn image_tool(search: &Search) -> Result<PathBuf> {
    match &search.program {
        Some(program) => {
            let program = std::path::absolute(program).map_err(HypervisorError::file("finding", program))?;
            find_img(search, &program)
        }
        None => search
            .candidates(IMAGE_TOOL)
            .into_iter()
            .next()
            .ok_or_else(|| HypervisorError::NotFound {
                program: IMAGE_TOOL.into(),
                hint: IMAGE_HINT,
            }),
    }
}

/// `qemu-img`, rather the one of the same installation.
fn find_img(search: &Search, system: &Path) -> Result<PathBuf> {
    let beside = system.with_file_name(format!("{IMAGE_TOOL}{}", std::env::consts::EXE_SUFFIX));
    if beside.is_file() {
        return Ok(beside);
    }
    search
        .candidates(IMAGE_TOOL)
        .into_iter()
        .next()
        .ok_or_else(|| HypervisorError::Incomplete {
            program: system.into(),
            missing: format!("its program {IMAGE_TOOL}"),
            hint: IMAGE_HINT,
        })
}

/// What `--version` says, if it says it in time.
async fn version(program: &Path) -> Result<String> {
    let broken = |why: String| HypervisorError::Broken {
        program: program.into(),
        why,
        hint: HINT,
    };
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.kill_on_drop(true);
    os::detach(&mut command);
    let mut child = command
        .spawn()
        .map_err(|error| broken(format!("it cannot be started ({error})")))?;
    let output = child.stdout.take();
    let asked = async {
        let mut said = Vec::new();
        if let Some(output) = output {
            output.take(4096).read_to_end(&mut said).await?;
        }
        Ok::<_, std::io::Error>((said, child.wait().await?))
    };
    let (said, status) = match tokio::time::timeout(VERSION_TIME, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(broken(format!("its version cannot be read ({error})"))),
        Err(_) => {
            let why = format!("it did not tell its version within {} s", VERSION_TIME.as_secs());
            return Err(broken(why));
        }
    };
    if !status.success() {
        return Err(broken(format!(
            "it ended with {status} when asked for its version"
        )));
    }
    let version = parse_version(&String::from_utf8_lossy(&said))
        .ok_or_else(|| broken("it tells no version, so it is not QEMU".into()))?;
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0_u32));
    let numbers = [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)];
    if numbers < LEAST.1 {
        return Err(HypervisorError::TooOld {
            program: program.into(),
            version,
            least: LEAST.0,
        });
    }
    Ok(version)
}

/// `7.2.22` of `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`.
fn parse_version(said: &str) -> Option<String> {
    let rest = said.strip_prefix("QEMU emulator version ")?;
    let version: String = rest
        .chars()
        .take_while(|&c| c.is_ascii_digit() || c == '.')
        .collect();
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_builds_are_read() {
        for (said, version) in [
            (
                "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright",
                Some("7.2.22"),
            ),
            (
                "QEMU emulator version 10.0.0 (v10.0.0-12083-g7c949c53e9-dirty)",
                Some("10.0.0"),
            ),
            ("QEMU emulator version 9.1.0-rc1", Some("9.1.0")),
            ("GNU bash, version 5.2", None),
            ("QEMU emulator version ?", None),
            ("", None),
        ] {
            assert_eq!(parse_version(said).as_deref(), version, "{said}");
        }
    }

    #[test]
    fn relative_folders_of_the_path_are_not_searched() {
        let dir = tempfile::tempdir_in(".").unwrap();
        let name = format!("found-me{}", std::env::consts::EXE_SUFFIX);
        std::fs::write(dir.path().join(&name), "").unwrap();
        let absolute = std::path::absolute(dir.path()).unwrap();
        let relative = PathBuf::from(dir.path().file_name().unwrap());
        let path = |dir: &Path| Search {
            path: Some(dir.into()),
            ..Search::default()
        };
        assert_eq!(
            path(&absolute).candidates("found-me").len(),
            1,
            "the file is there"
        );
        assert!(relative.join(&name).is_file(), "and reachable by this name");
        assert!(path(&relative).candidates("found-me").is_empty());
    }
}
