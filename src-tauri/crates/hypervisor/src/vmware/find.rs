//! Where VMware is, and which of its products.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::vmrun::{self, Failure};
use crate::programs::{self, called, file_name};
use crate::{HypervisorError, Result, os};

/// How long a program has to tell its version.
const VERSION_TIME: Duration = Duration::from_secs(10);

const HINT: &str = if cfg!(target_os = "macos") {
    "install VMware Fusion, choose its folder in the settings, or start the machine with QEMU"
} else {
    "install VMware Workstation or Player, choose its folder in the settings, or start the machine with QEMU"
};

/// Where to look for VMware.
#[derive(Clone, Debug, Default)]
pub struct VmwareSearch {
    /// A list of folders, as the environment's `PATH` has it.
    pub path: Option<OsString>,
    /// More folders, looked into afterwards.
    pub extra: Vec<PathBuf>,
    /// The program (`vmrun` or `vmplayer`) or the folder that the user chose: if it is set, no other is taken.
    pub program: Option<PathBuf>,
}

/// A product of VMware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Product {
    /// Workstation, on Linux and Windows.
    Workstation,
    /// Player, on Linux and Windows.
    Player,
    /// Fusion, on macOS.
    Fusion,
}

impl Product {
    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Workstation => "VMware Workstation",
            Self::Player => "VMware Player",
            Self::Fusion => "VMware Fusion",
        }
    }

    /// What `vmrun -T` calls it.
    pub(super) fn host_type(self) -> &'static str {
        match self {
            Self::Workstation => "ws",
            Self::Player => "player",
            Self::Fusion => "fusion",
        }
    }
}

/// A VMware that was found: what is there of it, and what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The product.
    pub product: Product,
    /// Its version: `17.5.0`; `None` if it does not tell.
    pub version: Option<String>,
    /// The program that starts, stops and suspends machines; `None` if it is missing.
    pub vmrun: Option<PathBuf>,
    /// The program that only shows machines in windows; `None` if it is missing.
    pub vmplayer: Option<PathBuf>,
}

impl Found {
    /// The program that runs machines: `vmrun` if it is there.
    #[must_use]
    pub fn program(&self) -> &Path {
        // One of both is always there.
        let program = self.vmrun.as_deref().or(self.vmplayer.as_deref());
        program.unwrap_or(Path::new("vmrun"))
    }
}

impl VmwareSearch {
    /// The environment's `PATH`, where the registry says that VMware is, and where it usually is on this system.
    #[must_use]
    pub fn of_system(program: Option<PathBuf>) -> Self {
        Self {
            path: std::env::var_os("PATH"),
            extra: registered_places().chain(usual_places()).collect(),
            program,
        }
    }

    fn folders(&self) -> Vec<PathBuf> {
        programs::folders(self.path.as_deref(), &self.extra)
    }
}

/// The products that bring programs which start machines, as their installers call them.
const PRODUCTS: [&str; 3] = ["VMware Workstation", "VMware Player", "VMware VIX"];

/// An installer offers a choice of folder, and notes it.
fn registered_places() -> impl Iterator<Item = PathBuf> {
    PRODUCTS.into_iter().filter_map(os::registered_folder)
}

fn usual_places() -> Vec<PathBuf> {
    if cfg!(windows) {
        let roots = ["ProgramFiles(x86)", "ProgramFiles", "ProgramW6432"];
        let roots = roots.iter().filter_map(std::env::var_os);
        roots
            .flat_map(|root| PRODUCTS.map(|product| PathBuf::from(&root).join("VMware").join(product)))
            .collect()
    } else if cfg!(target_os = "macos") {
        inside_of(Path::new("/Applications/VMware Fusion.app"))
    } else {
        ["/usr/bin", "/usr/local/bin"].map(PathBuf::from).into()
    }
}

/// Where programs are in a folder that a user may choose.
fn inside_of(dir: &Path) -> Vec<PathBuf> {
    let parts = [
        "",
        "bin",
        "Contents/Public",
        "Contents/Library",
        "Public",
        "Library",
    ];
    parts.iter().map(|part| dir.join(part)).collect()
}

/// The VMware that `search` finds.
pub(super) async fn find(search: &VmwareSearch) -> Result<Found> {
    let (vmrun, vmplayer) = find_programs(search)?;
    let Some(program) = vmrun.as_ref().or(vmplayer.as_ref()) else {
        return Err(HypervisorError::NotFound {
            program: "VMware".into(),
            hint: HINT,
        });
    };
    let workstation = program.with_file_name(file_name("vmware"));
    let product = if cfg!(target_os = "macos") || program.components().any(|part| is_fusion(part.as_os_str()))
    {
        Product::Fusion
    } else if vmrun.is_some() && workstation.is_file() {
        Product::Workstation
    } else {
        Product::Player
    };
    let version = version(product, &workstation, vmrun.as_deref(), vmplayer.as_deref()).await?;
    Ok(Found {
        product,
        version,
        vmrun,
        vmplayer,
    })
}

fn is_fusion(part: &OsStr) -> bool {
    part.to_str().is_some_and(|part| part.ends_with("Fusion.app"))
}

/// `vmrun` and `vmplayer`, rather of one installation.
fn find_programs(search: &VmwareSearch) -> Result<(Option<PathBuf>, Option<PathBuf>)> {
    let both = |folders: &[PathBuf]| {
        (
            called(folders, "vmrun").next(),
            called(folders, "vmplayer").next(),
        )
    };
    let Some(chosen) = &search.program else {
        return Ok(both(&search.folders()));
    };
    let chosen = std::path::absolute(chosen).map_err(HypervisorError::file("finding", chosen))?;
    if chosen.is_file() {
        let is_player = chosen
            .file_stem()
            .and_then(OsStr::to_str)
            .is_some_and(|name| name.eq_ignore_ascii_case("vmplayer"));
        // Who chooses the player does not want to be served by another program.
        return Ok(if is_player {
            (None, Some(chosen))
        } else {
            let vmplayer = chosen.with_file_name(file_name("vmplayer"));
            (Some(chosen), vmplayer.is_file().then_some(vmplayer))
        });
    }
    match both(&inside_of(&chosen)) {
        (None, None) => Err(HypervisorError::NotFound {
            program: chosen.display().to_string(),
            hint: HINT,
        }),
        found => Ok(found),
    }
}

/// What the product tells of its version. A program that is there and cannot be started is an error; one that tells nothing
/// is not.
async fn version(
    product: Product,
    workstation: &Path,
    vmrun: Option<&Path>,
    vmplayer: Option<&Path>,
) -> Result<Option<String>> {
    // On Windows it would open its window.
    if product == Product::Workstation
        && !cfg!(windows)
        && let Ok(said) = vmrun::ask(workstation, &["-v"], VERSION_TIME).await
        && let Some(version) = parse_version(&said)
    {
        return Ok(Some(version));
    }
    if let Some(vmrun) = vmrun {
        return match vmrun::ask(vmrun, &[], VERSION_TIME).await {
            // It ends with an error, since it was not told what to do.
            Ok(said) | Err(Failure::Said(said)) => Ok(parse_version(&said)),
            Err(failure) => Err(HypervisorError::Broken {
                program: vmrun.into(),
                why: match failure {
                    Failure::Io(error) => format!("it cannot be started ({error})"),
                    _ => format!("it said nothing within {} s", VERSION_TIME.as_secs()),
                },
                hint: HINT,
            }),
        };
    }
    match vmplayer {
        Some(vmplayer) if !cfg!(windows) => match vmrun::ask(vmplayer, &["-v"], VERSION_TIME).await {
            Ok(said) => Ok(parse_version(&said)),
            Err(_) => Ok(None),
        },
        _ => Ok(None),
    }
}

/// `17.5.0` of `VMware Workstation 17.5.0 build-22583795`, and `vmrun 1.17.0` of `vmrun version 1.17.0 build-22583795`.
fn parse_version(said: &str) -> Option<String> {
    said.lines().find_map(|line| {
        let (prefix, rest) = match line.trim().strip_prefix("vmrun version ") {
            Some(rest) => ("vmrun ", rest),
            None => {
                let words = line.trim().strip_prefix("VMware ")?;
                let product = ["Workstation Pro ", "Workstation ", "Player ", "Fusion "];
                (
                    "",
                    product.iter().find_map(|product| words.strip_prefix(product))?,
                )
            }
        };
        let number: String = rest
            .chars()
            .take_while(|&c| c.is_ascii_digit() || c == '.')
            .collect();
        number
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| format!("{prefix}{number}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_products_are_read() {
        for (said, version) in [
            ("VMware Workstation 17.5.0 build-22583795\n", Some("17.5.0")),
            ("VMware Player 16.2.3 build-19376536", Some("16.2.3")),
            (
                "\nvmrun version 1.17.0 build-22583795\n\nUsage: vmrun",
                Some("vmrun 1.17.0"),
            ),
            ("GNU bash, version 5.2", None),
            ("", None),
        ] {
            assert_eq!(parse_version(said).as_deref(), version, "{said}");
        }
    }

    fn search_in(dir: &Path) -> VmwareSearch {
        VmwareSearch {
            path: Some(dir.into()),
            ..VmwareSearch::default()
        }
    }

    #[test]
    fn a_folder_or_a_program_that_was_chosen_is_the_only_one() {
        let (other, chosen) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(other.path().join(file_name("vmrun")), "").unwrap();
        let search = |program: PathBuf| VmwareSearch {
            program: Some(program),
            ..search_in(other.path())
        };
        let missing = find_programs(&search(chosen.path().into())).unwrap_err();
        assert!(matches!(missing, HypervisorError::NotFound { .. }), "{missing}");
        let library = chosen.path().join("Contents/Library");
        std::fs::create_dir_all(&library).unwrap();
        let vmrun = library.join(file_name("vmrun"));
        std::fs::write(&vmrun, "").unwrap();
        assert_eq!(
            find_programs(&search(chosen.path().into())).unwrap(),
            (Some(vmrun), None)
        );
        let vmplayer = chosen.path().join(file_name("vmplayer"));
        std::fs::write(&vmplayer, "").unwrap();
        assert_eq!(
            find_programs(&search(vmplayer.clone())).unwrap(),
            (None, Some(vmplayer))
        );
    }

    #[tokio::test]
    async fn what_is_nowhere_is_told_with_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let error = find(&search_in(dir.path())).await.unwrap_err().to_string();
        assert!(error.contains("start the machine with QEMU"), "{error}");
        assert!(
            find_programs(&search_in(Path::new("."))).unwrap() == (None, None),
            "relative folders are not searched"
        );
    }
}
