//! Where things lie: the repository, the cache that outlives it, and the binaries built from it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// The folders that tasks work in.
pub(crate) struct Workspace {
    /// The repository's top level.
    pub(crate) root: PathBuf,
    /// What may be deleted at any time, and saves time while it is there: `<user cache dir>/livepc`.
    pub(crate) cache: PathBuf,
    /// Cargo's output for this computer.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the repository that holds the current folder.
    ///
    /// Build output goes to `CARGO_TARGET_DIR` where that is set, and otherwise into the cache, so
    /// that a second clone on the same computer does not compile everything again.
    ///
    /// # Errors
    /// When the current folder is in no cargo workspace, or no cache folder can be named.
    pub(crate) fn locate() -> Result<Self> {
        let manifest = process::output(Command::new("cargo").args([
            "locate-project",
            "--workspace",
            "--message-format",
            "plain",
        ]))?;
        let root = Path::new(manifest.trim())
            .parent()
            .context("`cargo locate-project` named no Cargo.toml")?
            .to_path_buf();
        let cache = user_cache_dir()?.join("livepc");
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => env::current_dir()?.join(dir),
            None => cache.join("target"),
        };
        Ok(Self { root, cache, target })
    }

    /// `cargo`, run at the top level with the shared build output.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        command
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// A binary of the development profile, by its name without an extension.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.target
            .join("debug")
            .join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// Where the sample guest's disk images are kept.
    pub(crate) fn guest(&self) -> PathBuf {
        self.cache.join("sample-guest")
    }
}

/// The folder for caches that the operating system gives each user.
fn user_cache_dir() -> Result<PathBuf> {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let found = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Caches"))
    } else {
        set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
    };
    found.context("no cache folder: set HOME (or LOCALAPPDATA on Windows)")
}
