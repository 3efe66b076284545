//! Starting the agent and runners: the `livepc` program, from a copy that outlives updates, detached from its parent.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::program::Copy;
use crate::{Code, Desktop, Home, Problem};

/// How often a program is tried to be started that somebody still writes, and the pause before.
const BUSY_TRIES: u32 = 100;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Knows where the `livepc` program is.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
}

impl Launcher {
    /// What an agent or a runner prints when it is ready.
    pub const READY: &str = "ready";

    /// For the `livepc` program itself, and for programs that `livepc` lies beside.
    pub fn for_this_program() -> Result<Self, Problem> {
        let this = std::env::current_exe()
            .map_err(|e| Problem::io("This program's own file cannot be found", &e))?;
        let name = format!("livepc{}", std::env::consts::EXE_SUFFIX);
        let program = if this.file_name().is_some_and(|n| n == name.as_str()) {
            this
        } else {
            this.with_file_name(name)
        };
        Self::new(program)
    }

    /// For the `livepc` program at this place.
    pub fn new(program: PathBuf) -> Result<Self, Problem> {
        if program.is_file() {
            return Ok(Self { program });
        }
        Err(Problem::new(
            Code::Failed,
            format!("The program {} is missing.", program.display()),
            "Install LivePC again: the app and “livepc” belong side by side.",
        ))
    }

    /// Starts `livepc ROLE ARGS…` detached, and waits until its first line of output says [`READY`](Self::READY), or, as
    /// the JSON of a [`Problem`], why it is not.
    ///
    /// `desktop` is where its windows are shown, if not where this process has them.
    pub fn start(&self, home: &Home, args: &[&str], desktop: Option<&Desktop>) -> Result<(), Problem> {
        let doing = "The background process of LivePC cannot be started";
        let spawn = |program: &Path| {
            let mut command = Command::new(program);
            command.arg("--home").arg(home.root()).args(args);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            // It outlives the terminal, the job or the session that it is started from. What those had for themselves goes
            // with them: their working folder, and a folder for temporary files of their own.
            command.current_dir(home.root()).env_remove("TMPDIR");
            if let Some(desktop) = desktop {
                desktop.enter(&mut command);
            }
            detached(&mut command);
            spawn(&mut command)
        };
        let copy = self.copy_in(home);
        let copied = copy.as_ref().map(|copy| spawn(copy.path()));
        let mut child = match copied {
            Some(Ok(child)) => child,
            // It can be a file system that nothing is executed on. The original is known to run; it only must not be
            // replaced meanwhile on some systems.
            refused => {
                if let Some(Err(error)) = refused {
                    tracing::warn!(%error, "the copy of the program cannot be started: the original is");
                }
                spawn(&self.program).map_err(|e| Problem::io(doing, &e))?
            }
        };
        let line = first_line(&mut child);
        // The child goes on by itself; somebody must take note of its end while this process lives.
        std::thread::spawn(move || child.wait());
        if line == Self::READY {
            return Ok(());
        }
        Err(serde_json::from_str(&line).unwrap_or_else(|_| {
            Problem::new(
                Code::Failed,
                format!("{doing}: it ended before it was ready."),
                format!("Its log is in {}.", home.logs().display()),
            )
        }))
    }

    /// The copy of the program in the home, which an update does not replace; `None` if there can be none.
    fn copy_in(&self, home: &Home) -> Option<Copy> {
        if self.program.starts_with(home.programs()) {
            return None;
        }
        Copy::of(&self.program, home)
            .inspect_err(
                |error| tracing::warn!(%error, "the program cannot be copied: the original is started"),
            )
            .ok()
    }
}

/// Starts a program. One that was written just now may still be open for writing, in a child that another thread has begun
/// to start: for a moment only.
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    for _ in 0..BUSY_TRIES {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(BUSY_PAUSE);
            }
            spawned => return spawned,
        }
    }
    command.spawn()
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        // An unreadable line is as bad as none.
        let _ = BufReader::new(output.take(4096)).read_line(&mut line);
    }
    line.trim_end().to_owned()
}

#[cfg(unix)]
fn detached(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // A group of its own at once, so that Ctrl-C in the terminal does not reach it; `detach` then leaves the session.
    command.process_group(0);
}

#[cfg(windows)]
fn detached(command: &mut Command) {
    use std::os::windows::process::CommandExt;
    const DETACHED_PROCESS: u32 = 0x8;
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
    command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
}

/// Called by the agent and by runners when they begin: leaves the terminal's session, so that closing it ends nothing.
#[cfg(unix)]
pub fn detach() {
    // A process group leader cannot make a new session. It keeps its own group then, which suffices for Ctrl-C, and
    // ignores the hang-up that the end of the session would send.
    let _ = rustix::process::setsid();
}

/// Called by the agent and by runners when they begin; on Windows they were started detached already.
#[cfg(windows)]
pub fn detach() {}
