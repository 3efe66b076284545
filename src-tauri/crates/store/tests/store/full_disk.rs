//! A file system without room, for real: a process limit everywhere, a tiny file system where one can be mounted.

use std::path::Path;
use std::process::Command;

use livepc_store::{Store, StoreError};

use crate::support::{Pack, child_arguments, child_folder, name_child_folder};

const CHILD: &str = "full_disk::child_fills_the_disk";
const DONE: &str = "the disk was full, and every claim was true";

/// Runs the child under a shell that first does `prepare`; `None` if that was not allowed.
fn run_child(shell: &[&str], prepare: &str, folder: &Path) -> Option<String> {
    let script = format!("{prepare} || exit 77; exec \"$0\" \"$@\"");
    let mut command = Command::new(shell[0]);
    command
        .args(&shell[1..])
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap());
    let output = name_child_folder(command.args(child_arguments(CHILD)), folder)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() && !text.contains("running") {
        return None;
    }
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(text)
}

#[test]
fn a_file_that_may_not_grow_is_reported_as_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let output = run_child(&["sh"], "trap '' XFSZ && ulimit -f 4000", folder.path()).unwrap();
    assert!(output.contains(DONE), "{output}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_file_system_is_reported_and_nothing_false_is_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let mount = format!(
        "mount -t tmpfs -o size=4m livepc-test {}",
        folder.path().display()
    );
    match run_child(
        &["unshare", "--map-root-user", "--mount", "sh"],
        &mount,
        folder.path(),
    ) {
        Some(output) => assert!(output.contains(DONE), "{output}"),
        None => eprintln!("not tested: this user may not mount a file system of its own"),
    }
}

#[test]
#[ignore = "run as a child by the tests above"]
fn child_fills_the_disk() {
    let Some(folder) = child_folder() else { return };
    let store = Store::open(&folder).unwrap();
    let packs: Vec<Pack> = (0..24).map(|seed| Pack::new(seed, &[64; 3])).collect();
    let mut failed = None;
    for pack in &packs {
        if let Err(error) = store.write_chunks(pack.chunks()) {
            assert!(
                matches!(error, StoreError::DiskFull { .. }),
                "not told that the disk is full: {error}"
            );
            assert_eq!(
                store.reader().count(pack.id),
                0,
                "a batch that failed is taken back"
            );
            failed = Some(pack);
            break;
        }
        let report = store.verify(&pack.table, false).unwrap();
        assert_eq!(
            (report.chunks, report.damaged.len()),
            (3, 0),
            "what was written is here"
        );
    }
    // With a limit for each file, one pack must be too much.
    let failed = failed.map_or_else(
        || {
            let large = Pack::new(99, &[64; 20]);
            let error = store.write_chunks(large.chunks()).unwrap_err();
            assert!(error.is_disk_full(), "not told that the disk is full: {error}");
            large.id
        },
        |pack| pack.id,
    );
    assert_eq!(store.reader().count(failed), 0);
    drop(store);
    let store = Store::open(&folder).unwrap();
    for pack in packs.iter().filter(|pack| store.reader().count(pack.id) > 0) {
        let report = store.verify(&pack.table, false).unwrap();
        assert_eq!(
            (report.chunks, report.damaged.len()),
            (3, 0),
            "what was claimed before is still here"
        );
    }
    println!("{DONE}");
}
