//! Talking to QEMU's monitor.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Failure;

/// A connection to a monitor.
#[derive(Debug)]
pub(super) struct Qmp {
    read: BufReader<UnixStream>,
    write: UnixStream,
}

impl Qmp {
    /// Connects, as soon as the socket is there.
    pub(super) fn connect(socket: &Path, limit: Duration) -> Result<Self, Failure> {
        let until = Instant::now() + limit;
        let write = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > until => return Err(error.to_string()),
                // A socket that comes into being tells nobody.
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let read = BufReader::new(write.try_clone().map_err(|error| error.to_string())?);
        let mut qmp = Self { read, write };
        qmp.next().ok_or("the monitor says nothing")?;
        qmp.ask("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// The next line; `None` when QEMU has ended.
    pub(super) fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.read.read_line(&mut line) {
            Ok(1..) => serde_json::from_str(&line).ok(),
            _ => None,
        }
    }

    /// The next event; `None` when QEMU has ended.
    pub(super) fn next_event(&mut self) -> Option<Value> {
        loop {
            let line = self.next()?;
            if line["event"].is_string() {
                return Some(line);
            }
        }
    }

    pub(super) fn tell(&mut self, command: &str, arguments: &Value) -> Result<(), Failure> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        // At once: QEMU does not wait for the end of the line, and with "quit" it is gone before that.
        self.write
            .write_all(line.as_bytes())
            .map_err(|error| error.to_string())
    }

    pub(super) fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value, Failure> {
        self.tell(command, arguments)?;
        loop {
            let line = self.next().ok_or("The virtual machine is not powered on")?;
            if let Some(answer) = line.get("return") {
                return Ok(answer.clone());
            }
            if let Some(error) = line.get("error") {
                return Err(error["desc"].as_str().unwrap_or("error").to_owned());
            }
        }
    }

    /// Waits until a migration in any direction is over.
    pub(super) fn migrated(&mut self, limit: Duration) -> Result<(), Failure> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            let answer = self.ask("query-migrate", &json!({}))?;
            match answer["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => {
                    return Err(format!("The state could not be transferred: {answer}"));
                }
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        Err("The state was not transferred in time".into())
    }
}
