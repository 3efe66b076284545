//! System packages: which ones a task needs, and installing those that are missing on Debian.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::windows;
use crate::workspace::Workspace;

/// What system packages are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Compiling the workspace, the desktop shell included.
    Build,
    /// Starting machines.
    Machines,
    /// Making the sample guest: the list is the guest script's own.
    Guest,
    /// The end-to-end tests, with a browser, a display and NBD clients.
    Tests,
    /// The benchmarks: making the system that they start, and the peers.
    Bench,
    /// Type-checking for Windows.
    Windows,
    /// Running Windows programs.
    Wine,
}

impl Purpose {
    /// The Debian names of the packages.
    fn packages(self, workspace: &Workspace) -> Result<Vec<String>> {
        let names: &[&str] = match self {
            Self::Guest => return listed_by(workspace, "tests/guest/build.sh"),
            Self::Bench => {
                let mut names = listed_by(workspace, "tests/guest/system.sh")?;
                names.extend(["curl", "qemu-block-extra", "zstd"].map(str::to_owned));
                return Ok(names);
            }
            Self::Build => &[
                "build-essential",
                "file",
                "libayatana-appindicator3-dev",
                "librsvg2-dev",
                "libwebkit2gtk-4.1-dev",
                "libxdo-dev",
                "pkg-config",
            ],
            Self::Machines => &["ovmf", "qemu-system-gui", "qemu-system-x86", "qemu-utils"],
            Self::Tests => &[
                "at-spi2-core",
                "btrfs-progs",
                "chromium",
                "dbus",
                "exfat-fuse",
                "exfatprogs",
                "fio",
                "fonts-dejavu-core",
                "fonts-inter",
                "fuse3",
                "gnome-keyring",
                "imagemagick",
                "iproute2",
                "libfaketime",
                "libnbd-bin",
                "nbdkit",
                "nginx-light",
                "ntfs-3g",
                "webkit2gtk-driver",
                "xfsprogs",
                "xvfb",
            ],
            // With rustup's standard library for Windows only the C code needs a compiler.
            Self::Windows if windows::has_std()? => &["gcc-mingw-w64-x86-64"],
            Self::Windows => &["cargo-web", "gcc-mingw-w64-x86-64", "rust-web-src", "rustc-web"],
            Self::Wine => &["wine", "wine64"],
        };
        Ok(names.iter().map(ToString::to_string).collect())
    }
}

/// Whether packages may be installed without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Ask first, and take no terminal for a no.
    Ask,
    /// `--yes`, or CI=true.
    Given,
}

impl Consent {
    /// From the `--yes` flag and the environment.
    pub(crate) fn new(yes: bool) -> Self {
        if yes || env::var("CI").is_ok_and(|ci| ci == "true") {
            Self::Given
        } else {
            Self::Ask
        }
    }
}

/// Makes sure that the packages for `purposes` are there; says what it installs before it does.
///
/// On a system without dpkg it only prints the names and goes on: what is really missing then shows
/// itself where it is used.
///
/// # Errors
/// When the person says no, or when packages are still missing after apt-get.
pub(crate) fn ensure(workspace: &Workspace, purposes: &[Purpose], consent: Consent) -> Result<()> {
    let mut wanted = BTreeSet::new();
    for purpose in purposes {
        wanted.extend(purpose.packages(workspace)?);
    }
    if !process::is_on_path("dpkg-query") || !process::is_on_path("apt-get") {
        println!("This is not a Debian system, so nothing is installed. Debian's names of what is needed:");
        println!("  {}", join(&wanted));
        return Ok(());
    }
    let root = process::output(Command::new("id").arg("-u"))?.trim() == "0";
    let missing = missing(&wanted)?;
    if missing.is_empty() {
        println!("All {} system packages are installed.", wanted.len());
        return if purposes.contains(&Purpose::Guest) {
            know_packages(root)
        } else {
            Ok(())
        };
    }
    println!("Missing system packages ({}): {}", missing.len(), join(&missing));
    if !root {
        println!("They can be installed with:");
        println!(
            "  sudo apt-get install --no-install-recommends {}",
            join(&missing)
        );
        if consent == Consent::Ask && !agreed("Run this now?")? {
            bail!("system packages are missing: install them with the line above, or run again with --yes");
        }
    }
    install(&missing, root)?;
    let left = self::missing(&wanted)?;
    if !left.is_empty() {
        bail!(
            "apt-get ended, but these packages are still missing: {}",
            join(&left)
        );
    }
    Ok(())
}

/// What a guest's own script says it needs.
fn listed_by(workspace: &Workspace, script: &str) -> Result<Vec<String>> {
    let script = workspace.root.join(script);
    let listed = process::output(Command::new("bash").arg(script).arg("--requires"))
        .context("a guest's script does not tell which packages it needs")?;
    Ok(listed.split_whitespace().map(str::to_owned).collect())
}

/// Those of `wanted` that dpkg does not know as installed.
fn missing(wanted: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    // It exits 1 when it knows nothing of a name, which is an answer here, not a failure.
    let answer = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(wanted)
        .stderr(Stdio::null())
        .output()
        .context("`dpkg-query` could not be started")?;
    let installed = installed(&String::from_utf8_lossy(&answer.stdout));
    Ok(wanted.difference(&installed).cloned().collect())
}

/// The names on lines of the form `name installed`.
fn installed(answer: &str) -> BTreeSet<String> {
    answer
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .map(str::to_owned)
        .collect()
}

/// Asks a question on the terminal; without one the answer is no.
fn agreed(question: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    print!("{question} [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Installs `missing`, with a fresh package list.
fn install(missing: &BTreeSet<String>, root: bool) -> Result<()> {
    // Sources of other software may be out of reach, which must not keep Debian's packages away.
    if let Err(error) = process::run(apt_get(root).arg("update")) {
        println!("{error:#}: going on with the package lists that are there");
    }
    // --no-remove: apt would otherwise make room by removing what the last task installed.
    let plain = process::run(apt_get(root).args(["install", "--no-remove"]).args(missing));
    let Err(error) = plain else { return Ok(()) };
    if !missing.iter().any(|name| name.starts_with("qemu-")) {
        return Err(error);
    }
    // A qemu-utils from backports is newer than the stable qemu-system-x86 can stand beside it.
    let os_release = fs::read_to_string("/etc/os-release")?;
    let codename = codename(&os_release).context("/etc/os-release has no codename")?;
    println!("Trying again with the qemu-utils of {codename} instead of the one that is installed.");
    process::run(
        apt_get(root)
            .args(["install", "--allow-downgrades"])
            .args(missing.iter().filter(|name| *name != "qemu-utils"))
            .arg(format!("qemu-utils/{codename}")),
    )
}

/// Fetches the package lists where there are none: the guest is made of packages that apt finds by them.
fn know_packages(root: bool) -> Result<()> {
    let known =
        process::output(Command::new("apt-cache").args(["--names-only", "search", "^busybox-static$"]))?;
    if known.is_empty() {
        process::run(apt_get(root).arg("update"))?;
    }
    Ok(())
}

/// `apt-get` that asks nothing, and waits for another one to end.
fn apt_get(root: bool) -> Command {
    let mut command = if root {
        Command::new("apt-get")
    } else {
        let mut command = Command::new("sudo");
        command.args(["--preserve-env=DEBIAN_FRONTEND", "apt-get"]);
        command
    };
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["--yes", "--quiet", "--no-install-recommends"])
        .args([
            "-o",
            "DPkg::Lock::Timeout=600",
            "-o",
            "Acquire::Retries=3",
            "-o",
            "Dpkg::Use-Pty=0",
        ]);
    command
}

/// `VERSION_CODENAME` of an os-release file.
fn codename(os_release: &str) -> Option<&str> {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"'))
}

/// The names with spaces between them.
fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fully_installed_packages_count() {
        let answer = "xvfb installed\nwine config-files\nnginx-light not-installed\nlibc6 installed\n";
        assert_eq!(
            installed(answer).into_iter().collect::<Vec<_>>(),
            ["libc6", "xvfb"],
            "a removed package that left its configuration is missing"
        );
    }

    #[test]
    fn the_codename_is_read_with_and_without_quotes() {
        assert_eq!(
            codename("ID=debian\nVERSION_CODENAME=bookworm\n"),
            Some("bookworm")
        );
        assert_eq!(codename("VERSION_CODENAME=\"noble\"\n"), Some("noble"));
        assert_eq!(codename("ID=arch\n"), None, "a rolling distribution has none");
    }
}
