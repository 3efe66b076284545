//! Starting the agent and runners: the `livepc` program, from a copy that outlives updates, detached from its parent.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::{Code, Desktop, Home, Problem};

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
        let program = self.copy_into(home).map_err(|e| Problem::io(doing, &e))?;
        let mut command = Command::new(program);
        command.arg("--home").arg(home.root()).args(args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // It outlives the terminal, the job or the session that it is started from. What those had for themselves goes with
        // them: their working folder, and a folder for temporary files of their own.
        command.current_dir(home.root()).env_remove("TMPDIR");
        if let Some(desktop) = desktop {
            desktop.enter(&mut command);
        }
        detached(&mut command);
        let mut child = command.spawn().map_err(|e| Problem::io(doing, &e))?;
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

    /// Copies the program to `<home>/bin/<digest>/`, so that an update can replace the original while it runs.
    fn copy_into(&self, home: &Home) -> std::io::Result<PathBuf> {
        if self.program.starts_with(home.programs()) {
            return Ok(self.program.clone());
        }
        let folder = home.programs().join(digest(&self.program)?);
        let copy = folder.join(format!("livepc{}", std::env::consts::EXE_SUFFIX));
        if !copy.exists() {
            std::fs::create_dir_all(&folder)?;
            let unfinished = folder.join(format!("livepc.{}.new", std::process::id()));
            std::fs::copy(&self.program, &unfinished)?;
            std::fs::rename(&unfinished, &copy)?;
        }
        Ok(copy)
    }
}

fn digest(file: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(HEXLOWER.encode(&hash.finalize()[..8])),
            n => hash.update(&buffer[..n]),
        }
    }
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
