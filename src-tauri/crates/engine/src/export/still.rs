//! A machine that is held still, so that its disks can be read.

use std::path::{Path, PathBuf};

use livepc_protocol::{Code, Home, Problem, ProcessLock};

use crate::machine_folder::MachineFolder;
use crate::problems::not_found;
use crate::runner::reap;

/// A machine that neither runs nor is suspended, and cannot be started while this lives.
#[derive(Debug)]
pub(crate) struct StillMachine {
    id: String,
    folder: PathBuf,
    _lock: ProcessLock,
}

impl StillMachine {
    /// Holds the machine of the LivePC `id` still; `None` if it has never been started.
    ///
    /// # Errors
    /// [`Code::Busy`] if it runs, is suspended or is held already.
    pub(crate) async fn hold(home: &Home, id: &str) -> Result<Option<Self>, Problem> {
        let folder = home.machine(id);
        // Without it there is no lock, and nobody has started the machine.
        if !folder.is_dir() {
            return Ok(None);
        }
        let lock = ProcessLock::try_take(&home.runner_lock(id))
            .map_err(|e| Problem::io("The machine's lock cannot be taken", &e))?;
        let Some(lock) = lock else {
            return Err(Problem::new(
                Code::Busy,
                format!("“{id}” is running, or it is being exported already."),
                format!("Stop it first: “livepc stop {id}”."),
            ));
        };
        // What a runner that died has left may still write.
        reap(home, id).await?;
        if MachineFolder::new(folder.clone()).records().is_suspended() {
            return Err(Problem::new(
                Code::Busy,
                format!("“{id}” is suspended: what it has in memory is not on its disks."),
                format!("Resume it and shut it down, or revert it: “livepc revert {id}”. Then try again."),
            ));
        }
        Ok(Some(Self {
            id: id.to_owned(),
            folder,
            _lock: lock,
        }))
    }

    /// Holds the machine of the LivePC `id` still, which has changes on its published disks.
    ///
    /// # Errors
    /// As [`hold`](Self::hold), and [`Code::NotFound`] if there are no changes.
    pub(crate) async fn hold_changed(home: &Home, id: &str) -> Result<Self, Problem> {
        let still = Self::hold(home, id).await?.ok_or_else(|| no_changes(id))?;
        still.release()?;
        Ok(still)
    }

    /// The release that the changes belong to.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there are none.
    pub(crate) fn release(&self) -> Result<u64, Problem> {
        let record = MachineFolder::new(self.folder.clone()).overlay_record()?;
        record
            .map(|record| record.release)
            .ok_or_else(|| no_changes(&self.id))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// A machine without changes.
pub(super) fn no_changes(id: &str) -> Problem {
    not_found(
        format!("Nothing was changed on the system disk of “{id}” since it was clean."),
        "Leave --changes out to export the release as it was published.",
    )
}
