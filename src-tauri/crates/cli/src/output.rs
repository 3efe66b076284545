//! How anything is said: for people, or as JSON for programs.
//!
//! With `--json` stdout has one object, and stderr one object a line: `{"type":"progress",…}` and
//! `{"type":"error","code","message","hint"}`. Sizes are bytes, times RFC 3339.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use livepc_format::shown;
use livepc_protocol::{Code, Problem};
use serde_json::{Value, json};

/// Where and how a verb speaks.
pub(crate) struct Output {
    json: bool,
    verbose: bool,
    bar: RefCell<Option<ProgressBar>>,
    /// Why something that was printed did not get to where it should.
    lost: RefCell<Option<std::io::Error>>,
}

impl Output {
    pub(crate) fn new(json: bool, verbose: bool) -> Self {
        Self {
            json,
            verbose,
            bar: RefCell::new(None),
            lost: RefCell::new(None),
        }
    }

    /// True if what is said is for people, and not for programs.
    pub(crate) fn is_for_people(&self) -> bool {
        !self.json
    }

    /// True if somebody could answer a question.
    pub(crate) fn can_ask(&self) -> bool {
        !self.json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// A verb's result: `object` for programs, or what `human` prints for people.
    pub(crate) fn result(&self, object: &Value, human: impl FnOnce() -> String) {
        self.end_progress();
        let text = if self.json { object.to_string() } else { human() };
        if !text.is_empty() {
            self.print(&format!("{}\n", text.trim_end()));
        }
    }

    /// Prints to the standard output: nothing else does. [`Self::finish`] tells if it failed.
    pub(crate) fn print(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Whoever reads may have gone, as `head` does: that is no failure.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                self.lost.borrow_mut().get_or_insert(error);
            }
            _ => {}
        }
    }

    /// To be called when a verb is done: says so if what it printed is lost.
    pub(crate) fn finish(&self) -> Result<(), Problem> {
        let Some(error) = self.lost.borrow_mut().take() else {
            return Ok(());
        };
        let what = Problem::io("What it prints could not be written", &error);
        Err(match what.code {
            // The advice of a full disk is about what LivePC keeps.
            Code::DiskFull => Problem::new(
                Code::DiskFull,
                "What it prints could not be written: there is no space left.",
                "Print it to another place. What the command does was done.",
            ),
            _ => Problem {
                hint: "Print it to another place. What the command does was done.".into(),
                ..what
            },
        })
    }

    /// Something on the way that is worth a line for people.
    pub(crate) fn note(&self, text: &str) {
        if self.json {
            return;
        }
        match &*self.bar.borrow() {
            Some(bar) => bar.println(text),
            None => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    /// Something that only `--verbose` tells.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// How far something is, in bytes.
    pub(crate) fn progress(&self, phase: &str, done: u64, total: u64, more: Value) {
        if self.json {
            let mut line =
                json!({"type": "progress", "phase": phase, "bytes_done": done, "bytes_total": total});
            if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
                line.extend(more);
            }
            drop(writeln!(std::io::stderr(), "{line}"));
            return;
        }
        let mut bar = self.bar.borrow_mut();
        let bar = bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(total);
            if let Ok(style) = ProgressStyle::with_template("{msg:12} {wide_bar} {done}/{all} {speed} {eta}")
            {
                bar.set_style(
                    style
                        .with_key("done", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                            let _ = text.write_str(&bytes(state.pos()));
                        })
                        .with_key("all", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                            let _ = text.write_str(&bytes(state.len().unwrap_or_default()));
                        })
                        .with_key(
                            "speed",
                            |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                                let _ = write!(text, "{}/s", bytes(state.per_sec() as u64));
                            },
                        ),
                );
            }
            bar
        });
        if bar.message() != phase {
            bar.set_message(phase.to_owned());
        }
        bar.set_length(total);
        bar.set_position(done);
    }

    fn end_progress(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }

    /// Why a verb failed.
    pub(crate) fn problem(&self, problem: &Problem) {
        self.end_progress();
        let mut err = std::io::stderr();
        if self.json {
            let Problem {
                code, message, hint, ..
            } = problem;
            let line = json!({"type": "error", "code": code, "message": message, "hint": hint});
            drop(writeln!(err, "{line}"));
            return;
        }
        drop(writeln!(err, "livepc: {}", problem.message));
        if !problem.hint.is_empty() {
            drop(writeln!(err, "{}", problem.hint));
        }
    }

    /// Asks a question that is answered with yes or no.
    pub(crate) async fn ask(&self, question: &str) -> bool {
        drop(write!(std::io::stderr(), "{question} [y/N] "));
        matches!(typed(line).await, Ok(answer) if matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

/// What somebody types, read where it may block, so that Ctrl-C is still noticed.
pub(crate) async fn typed(
    read: impl FnOnce() -> std::io::Result<String> + Send + 'static,
) -> std::io::Result<String> {
    livepc_panics::blocking("Reading what is typed", read).await?
}

/// A line of the standard input, without its end.
pub(crate) fn line() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Bytes for people: `41 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    shown::size(bytes)
}

/// A time for people: where this computer is, to the second, and how far from UTC that is.
pub(crate) fn time(time: jiff::Timestamp) -> impl std::fmt::Display {
    time.to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S %:z")
        .to_string()
}

/// The day of a time, where this computer is.
pub(crate) fn day(time: jiff::Timestamp) -> impl std::fmt::Display {
    time.to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d")
        .to_string()
}

/// The beginning of a fingerprint: enough to tell LivePCs apart that look the same.
pub(crate) fn short(fingerprint: &str) -> String {
    let groups: Vec<&str> = fingerprint.split_whitespace().take(4).collect();
    format!("{} …", groups.join(" "))
}
