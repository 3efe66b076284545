//! Logs: rotating files without secrets.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use livepc_protocol::{Home, private_folder};
use regex::Regex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of a log file before a new one is begun.
const SIZE: u64 = 5 << 20;
/// Files that are kept.
const FILES: usize = 5;

/// Logs to `<home>/logs/<name>.log` from now on, panics included. `LIVEPC_LOG` chooses what is logged, in the syntax of
/// `tracing-subscriber`'s `EnvFilter`.
pub fn to_file(home: &Home, name: &str) {
    crate::faults::watch(home, name);
    let folder = home.logs();
    if private_folder(&folder).is_err() {
        return;
    }
    let filter = EnvFilter::try_from_env("LIVEPC_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let file = Rotating {
        path: folder.join(format!("{name}.log")),
        file: Mutex::new(None),
    };
    // Fails only if the process logs already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(file)
        .try_init();
}

/// The log files of a home, the newest first.
#[must_use]
pub fn files(home: &Home) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(home.logs()) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.0));
    files.into_iter().map(|(_, path)| path).collect()
}

/// What may be a secret: the user part of URLs, and what follows words that announce one.
static SECRETS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(://)[^/\s@]+@|((?:password|passwd|token|secret|authorization|cookie)\b[=: ]+)\S+").ok()
});

/// `text` without secrets.
#[must_use]
pub fn redact(text: &str) -> String {
    match &*SECRETS {
        Some(secrets) => secrets.replace_all(text, "$1$2…").into_owned(),
        None => String::from("(not logged)\n"),
    }
}

/// A file that is replaced by a new one when it is full.
struct Rotating {
    path: PathBuf,
    file: Mutex<Option<(File, u64)>>,
}

impl Rotating {
    fn open(&self) -> std::io::Result<(File, u64)> {
        let file = File::options().create(true).append(true).open(&self.path)?;
        let len = file.metadata()?.len();
        Ok((file, len))
    }

    fn turn(&self) {
        let numbered = |n: usize| self.path.with_extension(format!("{n}.log"));
        // A file that is not there yet has nothing to be moved.
        for n in (1..FILES - 1).rev() {
            let _ = std::fs::rename(numbered(n), numbered(n + 1));
        }
        let _ = std::fs::rename(&self.path, numbered(1));
    }
}

impl<'a> MakeWriter<'a> for Rotating {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

struct Line<'a>(&'a Rotating);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = redact(&String::from_utf8_lossy(bytes));
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.as_ref().is_none_or(|(_, len)| *len > SIZE) {
            if file.take().is_some() {
                self.0.turn();
            }
            *file = Some(self.0.open()?);
        }
        if let Some((file, len)) = &mut *file {
            file.write_all(text.as_bytes())?;
            *len += text.len() as u64;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The last `lines` lines of a file; nothing if it cannot be read.
#[must_use]
pub fn tail(file: &Path, lines: usize) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|line| redact(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out() {
        assert_eq!(
            redact("get https://joe:pw@a.example/feed.xml"),
            "get https://…a.example/feed.xml"
        );
        assert_eq!(redact("Authorization: abc rest"), "Authorization: … rest");
        assert_eq!(redact("password=hunter2"), "password=…");
        assert_eq!(
            redact("nothing to hide at https://a.example/x"),
            "nothing to hide at https://a.example/x"
        );
    }

    #[test]
    fn a_full_file_makes_room_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let log = Rotating {
            path: folder.path().join("agent.log"),
            file: Mutex::new(None),
        };
        let text = vec![b'x'; 3 << 20];
        for _ in 0..20 {
            log.make_writer().write_all(&text).unwrap();
        }
        let count = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(count, FILES, "five files, whatever was written");
    }
}
