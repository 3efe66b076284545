//! The sample guest, which `tests/guest/build.sh` makes, and talking to it over its serial port.

#[cfg(unix)]
use std::io::{self, BufRead, BufReader, Write};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

#[cfg(unix)]
use crate::home::TestHome;

/// How long a guest has to start.
pub const BOOT: Duration = Duration::from_secs(120);

/// The folder with the guest's releases: `LIVEPC_TEST_GUEST`, or made now.
#[must_use]
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("LIVEPC_TEST_GUEST") {
        return folder.into();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/build.sh");
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache =
        cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache"));
    let folder = cache.join("livepc/guest/images");
    let made = Command::new("bash")
        .arg(script)
        .arg(&folder)
        .status()
        .expect("bash runs");
    assert!(made.success(), "the sample guest could not be made");
    folder
}

/// The raw disk of a release, 1 or 2.
#[must_use]
pub fn disk(release: u32) -> PathBuf {
    folder().join(format!("guest-{release}.raw"))
}

/// What is on the disk: label, files with size and SHA-256, the line that says READY.
#[must_use]
pub fn facts(release: u32) -> Value {
    let text =
        std::fs::read_to_string(folder().join(format!("guest-{release}.json"))).expect("the guest's facts");
    serde_json::from_str(&text).expect("JSON")
}

/// The files that a start does not read, the smallest first.
#[must_use]
pub fn unread_files(release: u32) -> Vec<Value> {
    let facts = facts(release);
    let files = facts["files"].as_array().expect("files").iter();
    let mut unread: Vec<Value> = files
        .filter(|file| file["read_at_boot"] == false)
        .cloned()
        .collect();
    unread.sort_by_key(|file| file["size"].as_u64());
    unread
}

/// Waits until `file` has `text`, at most `limit`; gives the file's content.
#[track_caller]
#[must_use]
pub fn wait_for(file: &Path, text: &str, limit: Duration) -> String {
    let until = Instant::now() + limit;
    loop {
        // The file grows without telling anybody.
        let content = String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned();
        if content.contains(text) {
            return content;
        }
        assert!(
            Instant::now() < until,
            "“{text}” did not appear within {limit:?}; there was: {content}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Starts a home's machine without a window, with `more` arguments, and waits until its guest is READY; gives the file
/// with all that the guest says, and its console.
#[cfg(unix)]
#[track_caller]
#[must_use]
pub fn start(home: &TestHome, id: &str, serial: &str, more: &[&str]) -> (PathBuf, Console) {
    let serial = home.path().join(serial);
    let file = serial.to_str().expect("UTF-8");
    let mut args = vec!["start", id, "--display", "none", "--serial", file];
    args.extend(more);
    let started = home.done(&args);
    assert_eq!(started["state"], "running", "{started}");
    let _ = wait_for(&serial, "LIVEPC READY", BOOT);
    let sockets = home.home().machine_sockets(id).expect("the folder");
    (serial, Console::open(&sockets.join("console")))
}

/// The guest's serial port.
#[cfg(unix)]
#[derive(Debug)]
pub struct Console {
    read: BufReader<UnixStream>,
    write: UnixStream,
}

#[cfg(unix)]
impl Console {
    /// Opens the console socket of a machine.
    #[must_use]
    pub fn open(socket: &Path) -> Self {
        Self::try_open(socket, Duration::from_secs(120)).expect("the machine's console")
    }

    /// Opens the console socket of a machine that may have ended; its guest may take as long as `patience` to answer.
    ///
    /// # Errors
    /// If there is none.
    pub fn try_open(socket: &Path, patience: Duration) -> io::Result<Self> {
        let write = UnixStream::connect(socket)?;
        write.set_read_timeout(Some(patience))?;
        Ok(Self {
            read: BufReader::new(write.try_clone()?),
            write,
        })
    }

    /// Sends a command; its answer is heard later.
    pub fn tell(&mut self, command: &str) {
        writeln!(self.write, "{command}").expect("the console takes it");
    }

    /// Sends a command, and gives the first line that begins with `answer`.
    #[track_caller]
    #[must_use]
    pub fn ask(&mut self, command: &str, answer: &str) -> String {
        self.tell(command);
        self.hear(answer)
    }

    /// As [`ask`](Self::ask), for a machine that may end before it answers.
    ///
    /// # Errors
    /// If the machine ended, or the guest said an error or nothing.
    pub fn try_ask(&mut self, command: &str, answer: &str) -> io::Result<String> {
        writeln!(self.write, "{command}")?;
        self.try_hear(answer)
    }

    /// Has the guest read one of its files, which must be what was published.
    #[track_caller]
    pub fn reads(&mut self, file: &Value) {
        let path = file["path"].as_str().expect("a path");
        self.tell(&format!("sha256 {path}"));
        self.has_read(file);
    }

    /// Hears what the guest has read of one of its files, which must be what was published.
    #[track_caller]
    pub fn has_read(&mut self, file: &Value) {
        let answer = self.hear("SHA256");
        assert!(
            answer.contains(file["sha256"].as_str().expect("a digest")),
            "the guest reads what was published: {answer}"
        );
    }

    /// Gives the next line that begins with `start`.
    #[track_caller]
    #[must_use]
    pub fn hear(&mut self, start: &str) -> String {
        self.try_hear(start).expect("the guest answers")
    }

    fn try_hear(&mut self, start: &str) -> io::Result<String> {
        loop {
            let mut line = Vec::new();
            if self.read.read_until(b'\n', &mut line)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the console ended"));
            }
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            if line.starts_with("ERROR") {
                return Err(io::Error::other(format!("the guest said {line}")));
            }
            if line.starts_with(start) {
                return Ok(line);
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_machine_that_ends_before_it_answers_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("console");
        let patience = Duration::from_secs(120);
        assert!(
            Console::try_open(&socket, patience).is_err(),
            "there is no machine yet"
        );
        let listener = UnixListener::bind(&socket).expect("a socket");
        let mut console = Console::try_open(&socket, patience).expect("a console");
        // The machine gets the question, and ends.
        let (machine, _) = listener.accept().expect("a connection");
        drop(machine);
        assert!(console.try_ask("label", "LABEL").is_err());
    }
}
