//! Moving the store of a home to another folder or drive, and ending a move that was killed.
//!
//! Whoever moves holds the agent's lock, so nobody else writes, and a machine, which has a lease, keeps the store where it
//! is. [`livepc_protocol::StorePlace`] tells all others which of the two places counts.

use std::path::{Path, PathBuf};

use livepc_format::shown;
use livepc_protocol::{Code, Home, Problem, ProcessLock, StorePlace, private_folder};
use livepc_store::{Store, remove_store};

use crate::problems::{not_found, of_store};

/// A store that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where it is.
    pub store: PathBuf,
    /// Bytes on disk.
    pub bytes: u64,
    /// True if its folder only has another name now.
    pub renamed: bool,
}

/// Moves the store of a home that has no agent to `to`, a folder that is empty or not there. `progress` is told how many
/// bytes of how many were copied.
///
/// # Errors
/// [`Code::Busy`] if somebody uses the store, [`Code::Usage`] if it cannot be moved there, [`Code::DiskFull`] if it does not
/// fit; then it is where it was.
pub fn move_store(home: &Home, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Moved, Problem> {
    let lock = ProcessLock::try_take(&home.agent_lock())
        .map_err(|e| Problem::io("The agent's lock cannot be taken", &e))?;
    let Some(_lock) = lock else {
        return Err(Problem::new(
            Code::Busy,
            "LivePC's agent is at work.",
            "Close the app and end what else of LivePC runs, then try again.",
        ));
    };
    settle(home)?;
    let from = home.store();
    private_folder(&from)?;
    let store = Store::open(&from).map_err(|e| of_store(&e))?;
    let from = std::fs::canonicalize(&from).map_err(|e| Problem::io("The store cannot be found", &e))?;
    let is_new = !to.exists();
    let to = check_place(&from, to)?;
    let moved = store.usage().map_err(|e| of_store(&e)).and_then(|bytes| {
        check_room(&from, &to, bytes)?;
        let begun = StorePlace {
            store: to.clone(),
            moving_from: Some(from.clone()),
        };
        home.set_store_place(&begun)?;
        let renamed = store.move_to(&to, progress).map_err(|e| of_store(&e))?;
        Ok(Moved {
            store: to.clone(),
            bytes,
            renamed,
        })
    });
    // Also if it failed: then what was copied is removed.
    settle(home)?;
    if moved.is_err() && is_new {
        // It may not have been empty after all.
        let _ = std::fs::remove_dir(&to);
    }
    moved
}

/// Where the store is.
///
/// # Errors
/// That there is none where it was moved to.
pub(crate) fn settled_place(home: &Home) -> Result<PathBuf, Problem> {
    let Some(place) = home.store_place()? else {
        return Ok(home.own_store());
    };
    let now = place.now().to_owned();
    if StorePlace::is_whole(&now) {
        return Ok(now);
    }
    Err(not_found(
        format!(
            "The store is not in {}, where it was moved to.",
            place.store.display()
        ),
        format!(
            "Connect the drive that it is on. If it is lost, remove {}: what is missing is fetched again.",
            home.root().join(StorePlace::FILE).display()
        ),
    ))
}

/// Ends a move that was begun: forward if the store is whole at the new place, else back. Says so if there is no store where
/// one should be. Only who holds the agent's lock may do this.
pub(crate) fn settle(home: &Home) -> Result<(), Problem> {
    let now = settled_place(home)?;
    let Some(place) = home.store_place()? else {
        return Ok(());
    };
    let Some(from) = place.moving_from else {
        return Ok(());
    };
    let left = if now == from { &place.store } else { &from };
    tracing::info!(now = %now.display(), left = %left.display(), "the store's move ends");
    if let Err(error) = remove_store(left) {
        // The store itself can be used; what is left is removed another time.
        tracing::warn!(%error, "what is left of the store at its other place stays");
        return Ok(());
    }
    home.set_store_place(&StorePlace {
        store: now,
        moving_from: None,
    })
}

/// The folder to move to, made if it is not there.
fn check_place(from: &Path, to: &Path) -> Result<PathBuf, Problem> {
    let usage = |what: &str| {
        Problem::new(
            Code::Usage,
            format!("{} {what}.", to.display()),
            "Choose a folder that is empty, or one that is not there yet.",
        )
    };
    if !to.is_absolute() {
        return Err(usage("is not an absolute path"));
    }
    if to.starts_with(from) {
        return Err(usage("is where the store is"));
    }
    let failed = |e| Problem::io(&format!("{} cannot be read", to.display()), &e);
    let mut found = match std::fs::read_dir(to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(usage("is a file, not a folder"));
        }
        found => Some(found.map_err(failed)?),
    };
    if found.as_mut().is_some_and(|found| found.next().is_some()) {
        return Err(usage("is not empty"));
    }
    livepc_durable::create_private_folder(livepc_durable::folder_of(to)).map_err(failed)?;
    private_folder(to)?;
    // It may lead to the store under another name.
    let to = std::fs::canonicalize(to).map_err(failed)?;
    if to.starts_with(from) {
        return Err(usage("is where the store is"));
    }
    Ok(to)
}

/// Refuses to copy what does not fit.
fn check_room(from: &Path, to: &Path, bytes: u64) -> Result<(), Problem> {
    let free = fs4::available_space(to).unwrap_or(u64::MAX);
    if bytes <= free || same_drive(from, to) {
        return Ok(());
    }
    Err(Problem::new(
        Code::DiskFull,
        format!(
            "The store takes {}, and only {} are free in {}.",
            shown::size(bytes),
            shown::size(free),
            shown::path(to)
        ),
        "Free some space there, or choose another folder.",
    ))
}

#[cfg(unix)]
fn same_drive(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| std::fs::metadata(path).map(|data| data.dev()).ok();
    device(a).is_some() && device(a) == device(b)
}

/// Nothing is renamed there while its files are open.
#[cfg(windows)]
fn same_drive(_a: &Path, _b: &Path) -> bool {
    false
}
