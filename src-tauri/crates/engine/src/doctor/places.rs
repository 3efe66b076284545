//! The folders: whether they are there, can be written to, have room, and are private.

use std::io;
use std::path::Path;

use livepc_format::shown;
use livepc_protocol::Home;

use super::{Check, Finding};
use crate::store_move::settled_place;

pub(super) const HOME: Check = Check("home", "home");
const PRIVATE: Check = Check("private", "privacy");
const LOGS: Check = Check("logs", "logs");
const STORE: Check = Check("store", "store");
const SPACE: Check = Check("free-space", "free space");
const SOCKETS: Check = Check("sockets", "sockets");

/// Bytes that a disk must have free for the state to be written.
const LEAST: u64 = 32_000_000;
/// Bytes that are little for what a LivePC fetches.
const LITTLE: u64 = 1_000_000_000;

pub(super) fn look(home: &Home) -> Vec<Finding> {
    let mut findings = vec![
        folder(HOME, home.root()),
        Finding::good(LOGS, shown::path(&home.logs()).to_string()),
    ];
    findings.extend(private(home));
    let store = store(home);
    findings.push(store);
    findings.extend(space(home));
    findings.push(sockets(home));
    findings
}

/// Whether a folder can be written to: something is, and read back.
fn folder(check: Check, folder: &Path) -> Finding {
    match write_and_read(folder) {
        Ok(()) => Finding::good(check, shown::path(folder).to_string()),
        Err(error) => Finding::bad(
            check,
            format!("{} cannot be written to: {}.", shown::path(folder), said(&error)),
            advice(folder, &error),
        ),
    }
}

fn write_and_read(folder: &Path) -> io::Result<()> {
    use io::{Read, Seek, Write};
    let text = [0x5a_u8; 4096];
    let mut file = tempfile::Builder::new().prefix(".doctor-").tempfile_in(folder)?;
    file.write_all(&text)?;
    file.as_file().sync_all()?;
    file.rewind()?;
    let mut back = Vec::new();
    file.read_to_end(&mut back)?;
    file.close()?;
    if back == text {
        Ok(())
    } else {
        Err(io::Error::other("what was written came back as something else"))
    }
}

/// What the system says, as text in a sentence. What wraps an error with its path says the path twice.
fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "its file system is read-only".into(),
        io::ErrorKind::StorageFull => "there is no space left".into(),
        io::ErrorKind::QuotaExceeded => "your quota is used up".into(),
        io::ErrorKind::PermissionDenied => "it is not permitted".into(),
        io::ErrorKind::NotFound => "it is not there".into(),
        _ => error.to_string(),
    }
}

fn advice(folder: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            "Mount it to be written to. A disk with errors becomes read-only by itself: then have \
                                              it checked (the system's log says so)."
                .into()
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Free some space on its disk: “livepc prune” removes what no subscription needs.".into()
        }
        io::ErrorKind::PermissionDenied => format!(
            "Make it yours again, or choose another with --home: “ls -ld {}” shows whose it is.",
            shown::path(folder)
        ),
        _ => "Look at the disk that it is on.".into(),
    }
}

/// Where the store is, whether it is there, and whether it can be written to.
fn store(home: &Home) -> Finding {
    match settled_place(home) {
        Ok(store) if store.is_dir() => folder(STORE, &store),
        Ok(store) => Finding::good(
            STORE,
            format!("{}, which is made when it is needed", shown::path(&store)),
        ),
        Err(problem) => Finding::of_problem(STORE, problem),
    }
}

/// The room on the disks of the home and of the store.
fn space(home: &Home) -> Option<Finding> {
    let store = home.store();
    let places = if store.is_dir() && !store.starts_with(home.root()) {
        vec![home.root(), &store]
    } else {
        vec![home.root()]
    };
    let mut least: Option<(u64, &Path)> = None;
    for place in places {
        match fs4::available_space(place) {
            Ok(free) if least.is_none_or(|(known, _)| free < known) => least = Some((free, place)),
            Ok(_) => {}
            Err(error) => {
                return Some(Finding::bad(
                    SPACE,
                    format!("{}: {}.", shown::path(place), said(&error)),
                    "Look at the disk that it is on.",
                ));
            }
        }
    }
    let (free, place) = least?;
    let found = format!("{} on the disk of {}", shown::size(free), shown::path(place));
    let prune = "Free some space: “livepc prune” removes what no subscription needs, and “livepc store move” moves the rest \
                 to another disk.";
    Some(match free {
        ..LEAST => Finding::bad(SPACE, found, prune),
        LEAST..LITTLE => Finding::limited(SPACE, found, "Free some space: a LivePC needs a few gigabytes."),
        LITTLE.. => Finding::good(SPACE, found),
    })
}

/// What others could read that is nobody's business.
#[cfg(unix)]
fn private(home: &Home) -> Vec<Finding> {
    use std::os::unix::fs::MetadataExt;
    if !livepc_protocol::keeps_modes(home.root()) {
        let found = "The home's file system keeps no file from other users of this computer.";
        let fix = "Give your keys a password, or choose a home elsewhere; on a computer of your own it does no harm.";
        return vec![Finding::limited(PRIVATE, found, fix)];
    }
    let mut findings = Vec::new();
    let mut files = vec![home.root().to_owned(), home.keys(), home.passwords()];
    if let Ok(keys) = std::fs::read_dir(home.keys()) {
        let secret = |path: &std::path::PathBuf| path.extension().is_some_and(|ending| ending == "key");
        files.extend(keys.flatten().map(|key| key.path()).filter(secret));
    }
    for path in files {
        let Ok(found) = std::fs::metadata(&path) else {
            continue;
        };
        let open = found.mode() & 0o077 != 0;
        if !open {
            continue;
        }
        let mode = if found.is_dir() { "700" } else { "600" };
        let finding = format!("{} can be read by other users.", shown::path(&path));
        let fix = format!("Change that with “chmod {mode} {}”.", shown::path(&path));
        findings.push(if path == home.root() {
            Finding::limited(PRIVATE, finding, fix)
        } else {
            Finding::bad(PRIVATE, finding, fix)
        });
    }
    if findings.is_empty() {
        findings.push(Finding::good(
            PRIVATE,
            "keys and passwords can be read by you alone",
        ));
    }
    findings
}

/// What a user has is private by inheritance on Windows.
#[cfg(windows)]
fn private(_home: &Home) -> Vec<Finding> {
    let _ = PRIVATE;
    Vec::new()
}

/// Whether programs can find each other: there is a folder that sockets can be in.
fn sockets(home: &Home) -> Finding {
    match home.sockets() {
        Ok(folder) => Finding::good(SOCKETS, shown::path(&folder).to_string()),
        Err(problem) => Finding::of_problem(SOCKETS, problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Health;

    #[test]
    fn a_folder_that_can_be_written_to_is_good_and_one_that_cannot_is_named() {
        let at = tempfile::tempdir().unwrap();
        assert_eq!(folder(STORE, at.path()).health, Health::Good);
        assert_eq!(
            std::fs::read_dir(at.path()).unwrap().count(),
            0,
            "nothing is left"
        );
        let gone = at.path().join("gone");
        let found = folder(STORE, &gone);
        assert_eq!(found.health, Health::Bad);
        assert!(
            found.found.contains("gone") && found.found.contains("not there"),
            "{found:?}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn keys_that_others_can_read_are_named() {
        use std::os::unix::fs::PermissionsExt;
        let at = tempfile::tempdir().unwrap();
        let home = Home::open(at.path()).unwrap();
        std::fs::create_dir(home.keys()).unwrap();
        let key = home.keys().join("root.key");
        std::fs::write(&key, "secret").unwrap();
        let set = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        for folder in [home.root(), &home.keys()] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        set(0o600);
        assert_eq!(private(&home)[0].health, Health::Good);
        set(0o644);
        let found = private(&home);
        assert_eq!(found[0].health, Health::Bad);
        assert!(found[0].hint.contains("chmod 600"), "{found:?}");
    }
}
