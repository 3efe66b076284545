//! What a program says on standard error: kept in a log of bounded size, the last lines in memory.

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;

use crate::HypervisorError;

/// Bytes of a log at the most: what a guest makes QEMU say must not fill the disk.
const LOG: usize = 1 << 20;
/// Lines that are kept in memory.
const LINES: usize = 20;
/// Bytes of a line that are kept in memory.
const LINE: usize = 500;

/// What was said. It is read to its end, whatever becomes of the log: a program whose messages nobody takes stops.
#[derive(Debug)]
pub(crate) struct Messages {
    last: Arc<Mutex<Last>>,
    reading: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Last {
    lines: VecDeque<Vec<u8>>,
    in_line: bool,
}

impl Messages {
    /// Reads `source` until it ends, into a new file at `log` if there is one.
    pub(crate) fn read(
        mut source: impl AsyncRead + Send + Unpin + 'static,
        log: Option<&Path>,
    ) -> Result<Self, HypervisorError> {
        let mut log = match log {
            Some(path) => Some(std::fs::File::create(path).map_err(HypervisorError::file("creating", path))?),
            None => None,
        };
        let last = Arc::new(Mutex::new(Last::default()));
        let kept = Arc::clone(&last);
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            let mut room = LOG;
            while let Ok(length @ 1..) = source.read(&mut buffer).await {
                let said = &buffer[..length];
                kept.lock().unwrap_or_else(PoisonError::into_inner).add(said);
                if let Some(file) = &mut log {
                    let fits = &said[..length.min(room)];
                    room -= fits.len();
                    // A few bytes into the page cache: no reason for a thread of their own.
                    let written = file.write_all(fits);
                    if room == 0 {
                        let _ = file.write_all(b"\n(The rest is not kept.)\n");
                    }
                    if room == 0 || written.is_err() {
                        log = None;
                    }
                }
            }
        });
        Ok(Self { last, reading })
    }

    /// The last lines so far, without control characters.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).lines()
    }

    /// The last lines of a program that has ended. Something that it started may still hold the other end: that is not
    /// waited for.
    pub(crate) async fn at_end(mut self) -> Vec<String> {
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), &mut self.reading).await;
        self.last_lines()
    }
}

impl Last {
    fn add(&mut self, said: &[u8]) {
        for part in said.split_inclusive(|&byte| byte == b'\n') {
            if !std::mem::replace(&mut self.in_line, part.last() != Some(&b'\n')) {
                if self.lines.len() == LINES {
                    self.lines.pop_front();
                }
                self.lines.push_back(Vec::new());
            }
            if let Some(line) = self.lines.back_mut() {
                let room = LINE.saturating_sub(line.len());
                line.extend_from_slice(&part[..part.len().min(room)]);
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        let plain = |line: &Vec<u8>| {
            let text = String::from_utf8_lossy(line);
            text.trim()
                .chars()
                .filter(|c| !c.is_control())
                .collect::<String>()
        };
        self.lines
            .iter()
            .map(plain)
            .filter(|line| !line.is_empty())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_log_and_the_memory_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut said = vec![b'x'; 3 * LOG];
        said.extend_from_slice(b"\nlast\x1b[31m line\n");
        let messages = Messages::read(std::io::Cursor::new(said), Some(&path)).unwrap();
        let lines = messages.at_end().await;
        assert_eq!(
            lines.last().map(String::as_str),
            Some("last[31m line"),
            "without its escape character"
        );
        assert_eq!(lines[0].len(), LINE, "a long line is cut");
        let size = path.metadata().unwrap().len();
        assert!(
            (1 << 20..(1 << 20) + 100).contains(&size),
            "the log has {size} bytes"
        );
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let mut last = Last::default();
        for part in ["a", "b\nc\n\n", "d", "", "e\n"] {
            last.add(part.as_bytes());
        }
        assert_eq!(last.lines(), ["ab", "c", "de"]);
        for n in 0..100 {
            last.add(format!("line {n}\n").as_bytes());
        }
        assert_eq!(last.lines().len(), LINES);
        assert_eq!(last.lines()[LINES - 1], "line 99");
    }
}
