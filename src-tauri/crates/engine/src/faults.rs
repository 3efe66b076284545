//! Panics of all processes of a home, written down so that `doctor` can tell of them when their process is long gone.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use livepc_protocol::Home;
use serde::{Deserialize, Serialize};

use crate::logs::redact;

/// Bytes of the file before a new one is begun; one old one is kept.
const SIZE: u64 = 128 << 10;
/// How long a panic is told of.
const LATELY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A panic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// When it was.
    pub(crate) at: Timestamp,
    /// Of which process: `agent`, `runner-lab`, `desktop`.
    pub(crate) process: String,
    /// Where in the source.
    pub(crate) place: String,
    /// What it said.
    pub(crate) said: String,
}

fn file(home: &Home) -> PathBuf {
    home.logs().join("panics.jsonl")
}

/// Has every panic of this process written down from now on, here and in its log.
pub(crate) fn watch(home: &Home, process: &str) {
    let (home, process) = (home.clone(), process.to_owned());
    livepc_panics::watch(true, move |said, place| {
        tracing::error!("panic at {place}: {said}");
        let fault = Fault {
            at: Timestamp::now(),
            process: process.clone(),
            place: place.to_owned(),
            said: redact(said),
        };
        // It is in the log, and who waited is told.
        let _ = note(&home, &fault);
    });
}

pub(crate) fn note(home: &Home, fault: &Fault) -> std::io::Result<()> {
    let path = file(home);
    std::fs::create_dir_all(home.logs())?;
    if path.metadata().is_ok_and(|found| found.len() > SIZE) {
        std::fs::rename(&path, path.with_extension("1.jsonl"))?;
    }
    let mut line = serde_json::to_vec(fault)?;
    line.push(b'\n');
    // In one piece: several processes write here.
    File::options()
        .create(true)
        .append(true)
        .open(path)?
        .write_all(&line)
}

/// The panics of the last thirty days, oldest first.
pub(crate) fn lately(home: &Home, now: Timestamp) -> Vec<Fault> {
    let path = file(home);
    let files = [path.with_extension("1.jsonl"), path];
    let lines = files.iter().filter_map(|path| livepc_durable::open(path).ok());
    lines
        .flat_map(|file| BufReader::new(file).lines().map_while(Result::ok))
        .filter_map(|line| serde_json::from_str::<Fault>(&line).ok())
        .filter(|fault| now.duration_since(fault.at) < LATELY)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_told_of_for_a_month() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        assert_eq!(lately(&home, now), []);
        let fault = |days: i64| Fault {
            at: now - SignedDuration::from_hours(24 * days),
            process: "agent".into(),
            place: "a.rs:1:2".into(),
            said: "a mistake".into(),
        };
        for days in [40, 3, 1] {
            note(&home, &fault(days)).unwrap();
        }
        File::options()
            .append(true)
            .open(file(&home))
            .unwrap()
            .write_all(b"half a li")
            .unwrap();
        assert_eq!(lately(&home, now), [fault(3), fault(1)]);
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let fault = Fault {
            at: Timestamp::now(),
            process: "agent".into(),
            place: "a.rs:1:2".into(),
            said: "x".repeat(10_000),
        };
        for _ in 0..60 {
            note(&home, &fault).unwrap();
        }
        let bytes: u64 = std::fs::read_dir(home.logs())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes < 3 * SIZE, "{bytes}");
    }
}
