//! Files that were never finished, since their writer was killed or the power went. They have no part in anything, and go when
//! the agent starts.

use std::path::Path;

use livepc_durable::UNFINISHED;
use livepc_protocol::{Home, ProcessLock};

/// Removes them from a home whose agent's lock this process holds. A machine's folder is left alone while somebody works in it.
pub(crate) fn remove(home: &Home) {
    remove_in(home.root());
    remove_in(&crate::pins::folder(&home.database()));
    let machines = home.machine("");
    for folder in std::fs::read_dir(&machines).into_iter().flatten().flatten() {
        let name = folder.file_name();
        let Some(id) = name.to_str().filter(|_| folder.path().is_dir()) else {
            continue;
        };
        // Not made by looking for it, which would be noticed.
        if let Ok(false) = ProcessLock::is_held(&home.runner_lock(id)) {
            remove_in(&folder.path());
        }
    }
}

fn remove_in(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            continue;
        }
        match std::fs::remove_file(entry.path()) {
            Ok(()) => tracing::info!(file = %entry.path().display(), "an unfinished file goes"),
            Err(error) => tracing::warn!(file = %entry.path().display(), %error, "an unfinished file stays"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_is_writing_goes() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let (running, still) = (home.machine("running"), home.machine("still"));
        let files = [home.root(), &running, &still].map(|folder| {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join("mine"), "").unwrap();
            let file = folder.join(format!("{UNFINISHED}x"));
            std::fs::write(&file, "").unwrap();
            file
        });
        let lock = ProcessLock::try_take(&home.runner_lock("running"))
            .unwrap()
            .unwrap();
        remove(&home);
        assert_eq!(files.each_ref().map(|file| file.exists()), [false, true, false]);
        drop(lock);
        remove(&home);
        assert!(files.iter().all(|file| !file.exists()));
        assert!(still.join("mine").exists());
    }
}
