//! A throw-away home and the real `livepc` program on it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use livepc_protocol::{Home, ProcessLock};
use serde_json::Value;
use tempfile::TempDir;

/// The `livepc` program that is tested: `LIVEPC_BIN`, or the one beside the test's own target folder.
#[must_use]
pub fn program() -> PathBuf {
    built("LIVEPC_BIN", "livepc")
}

/// A program that the `build` stage made.
#[must_use]
pub fn built(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test has a file");
    let folder = test.ancestors().nth(2).expect("…/debug/deps/<test>");
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is missing: build it first, or set {variable}",
        program.display()
    );
    program
}

/// A home in a folder of its own. Its agent is ended when it is dropped.
#[derive(Debug)]
pub struct TestHome {
    folder: TempDir,
    /// How its processes are started, if not as any other.
    within: Within,
    program: PathBuf,
    environment: Vec<(String, String)>,
}

/// What surrounds the processes of a home.
#[derive(Debug, Default)]
enum Within {
    /// This computer.
    #[default]
    Here,
    /// A computer that lacks these files: there is a device without content in the place of each.
    Without(Vec<PathBuf>),
    /// This computer, as a user who is nobody in particular.
    AnotherUser,
}

/// The user `nobody`, and the group of that user.
#[cfg(target_os = "linux")]
const NOBODY: u32 = 65534;

/// What a run of the program gave.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// The object on standard output.
    pub json: Value,
    /// The objects on standard error, one a line.
    pub said: Vec<Value>,
    /// All of both, for messages.
    pub text: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        Self {
            code: output.status.code().unwrap_or(-1),
            json: serde_json::from_str(&out).unwrap_or(Value::Null),
            said: err
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect(),
            text: format!("{out}{err}"),
        }
    }

    /// The `code` of the error on standard error.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.said
            .iter()
            .find(|line| line["type"] == "error")
            .and_then(|line| line["code"].as_str())
    }

    /// What the error on standard error says, its hint included.
    #[must_use]
    pub fn why(&self) -> String {
        let error = self.said.iter().find(|line| line["type"] == "error");
        let field = |name: &str| error.and_then(|error| error[name].as_str()).unwrap_or_default();
        format!("{} {}", field("message"), field("hint"))
    }

    /// The run must have succeeded; gives its object.
    #[track_caller]
    #[must_use]
    pub fn done(self) -> Value {
        assert_eq!(self.code, 0, "it must succeed, but said: {}", self.text);
        self.json
    }

    /// The run must have failed with this exit code and JSON code, a message and a hint.
    #[track_caller]
    pub fn refused(&self, exit: i32, code: &str) {
        assert_eq!(
            (self.code, self.error()),
            (exit, Some(code)),
            "it must be refused so, but said: {}",
            self.text
        );
        let error = self
            .said
            .iter()
            .find(|line| line["type"] == "error")
            .expect("there is one");
        for field in ["message", "hint"] {
            assert!(
                error[field].as_str().is_some_and(|text| !text.is_empty()),
                "no {field}: {}",
                self.text
            );
        }
    }
}

impl Default for TestHome {
    fn default() -> Self {
        Self::new()
    }
}

impl TestHome {
    /// An empty home.
    #[must_use]
    pub fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    /// An empty home on a computer that lacks these files of this one: its processes see a device without content in the
    /// place of each. Needs root.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn without(files: &[&Path]) -> Self {
        let mut home = Self::new();
        home.within = Within::Without(files.iter().map(|file| (*file).to_owned()).collect());
        home
    }

    /// An empty home of a user who is not root, and may let others read what is mounted. Needs root.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn of_another_user() -> Self {
        let mut home = Self::new();
        home.within = Within::AnotherUser;
        // What is a user's own may lie where no other user gets: the program is copied.
        home.program = home.install(&program());
        std::fs::write(home.path().join("fuse.conf"), "user_allow_other\n").expect("a file");
        std::fs::create_dir(home.path().join("dev")).expect("a folder");
        home.hand_over();
        home
    }

    /// Gives all of its folder to the user whose home it is, if that is another one.
    #[cfg(target_os = "linux")]
    pub fn hand_over(&self) {
        if matches!(self.within, Within::AnotherUser) {
            let owner = format!("{NOBODY}:{NOBODY}");
            let given = Command::new("chown")
                .args(["-R", &owner])
                .arg(self.path())
                .status();
            assert!(given.expect("chown runs").success(), "it is given away");
        }
    }

    /// Copies a program into the home; gives the copy.
    #[must_use]
    pub fn install(&self, program: &Path) -> PathBuf {
        let folder = self.path().join("installed");
        std::fs::create_dir_all(&folder).expect("a folder");
        let copy = folder.join(program.file_name().expect("a program has a name"));
        std::fs::copy(program, &copy).expect("the program is copied");
        copy
    }

    /// From now on another version of the program is used, which differs from the one before in its last byte.
    pub fn update_program(&mut self) {
        let mut newer = std::fs::read(&self.program).expect("the program");
        newer.push(0);
        let program = self.install(&self.program);
        let unfinished = program.with_extension("new");
        // The permissions come with the copy.
        std::fs::copy(&program, &unfinished)
            .and_then(|_| std::fs::write(&unfinished, newer))
            .and_then(|()| std::fs::rename(&unfinished, &program))
            .expect("a newer program");
        self.program = program;
    }

    /// An empty home on the file system of `folder`.
    #[must_use]
    pub fn new_in(folder: &Path) -> Self {
        let folder = tempfile::tempdir_in(folder).expect("a folder for the home");
        // Tests put files of their own into it: it has to be known for a home before.
        Home::open(folder.path()).expect("the home is made");
        Self {
            folder,
            within: Within::Here,
            program: program(),
            environment: Vec::new(),
        }
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The home as the protocol knows it.
    #[must_use]
    pub fn home(&self) -> Home {
        Home::open(self.path()).expect("the home opens")
    }

    /// A command that runs the program on this home with `--json`.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.within {
            Within::Here => Command::new(&self.program),
            Within::Without(files) => {
                let hide = "while [ \"$1\" != -- ]; do mount --bind /dev/null \"$1\" || exit 99; shift; done; shift; exec \"$@\"";
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", hide, "sh"]);
                command.args(files).arg("--").arg(&self.program);
                command
            }
            Within::AnotherUser => {
                // As it is where udev runs: everybody may let others in, and use /dev/fuse.
                let allow = "mount --bind \"$1\" /etc/fuse.conf && mount -t tmpfs -o mode=755 tmpfs \"$2\" \
                    && mknod -m 666 \"$2/fuse\" c 10 229 && mount --bind \"$2/fuse\" /dev/fuse || exit 99; \
                    shift 2; exec \"$@\"";
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", allow, "sh"]);
                command
                    .arg(self.path().join("fuse.conf"))
                    .arg(self.path().join("dev"));
                command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
                command.arg(&self.program);
                command.env_remove("XDG_RUNTIME_DIR");
                command
            }
        };
        command
            .env("LIVEPC_HOME", self.path())
            .env("NO_PROXY", "*")
            // No test touches the keyring of who runs it.
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
            .arg("--json")
            .args(args);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Gives the processes that are started from now on a variable of the environment.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Runs the program.
    #[track_caller]
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).output().expect("the program runs"))
    }

    /// Runs the program; it must succeed. Gives its object.
    #[track_caller]
    pub fn done(&self, args: &[&str]) -> Value {
        self.run(args).done()
    }

    /// Runs the program with this on its standard input.
    #[track_caller]
    #[must_use]
    pub fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("its input is a pipe");
        // A program that does not read has nothing to do with it.
        let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
        drop(stdin);
        Ran::of(&child.wait_with_output().expect("the program runs"))
    }

    /// Starts the program and goes on; its output is read with [`Child::wait_with_output`].
    #[must_use]
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts")
    }

    /// The only subscription, as `list` tells it.
    #[track_caller]
    #[must_use]
    pub fn listed(&self) -> Value {
        let list = self.done(&["list"]);
        let livepcs = list["livepcs"].as_array().expect("a list").clone();
        assert_eq!(livepcs.len(), 1, "one subscription: {list}");
        livepcs.into_iter().next().expect("there is one")
    }

    /// Waits until `is` is true of the only subscription, as `list` tells it, at most a minute.
    #[track_caller]
    pub fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Value::Null;
        self.until_asked(what, &["list"], |list| {
            seen = list["livepcs"][0].clone();
            is(&seen)
        });
        seen
    }

    /// Waits until `is` is true of what a verb answers, at most a minute.
    #[track_caller]
    pub fn until_asked(&self, what: &str, verb: &[&str], mut is: impl FnMut(&Value) -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.done(verb);
            if is(&answer) {
                return;
            }
            assert!(Instant::now() < until, "not {what} within a minute: {answer}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// True while an agent serves the home.
    #[must_use]
    pub fn has_agent(&self) -> bool {
        ProcessLock::is_held(&self.home().agent_lock()).expect("the lock can be read")
    }

    /// Kills every process that works for this home: its agent, its runners and their hypervisors, with SIGKILL.
    pub fn kill_all(&self) {
        let mut all = self.processes("");
        if !matches!(self.within, Within::AnotherUser) {
            all.extend(self.hypervisors());
        }
        kill_at_once(&all);
    }

    /// The processes that run a copy of the program from this home and have `role` among their arguments.
    #[must_use]
    pub fn processes(&self, role: &str) -> Vec<u32> {
        // Where `Home` has them; it opens only homes of this user.
        let programs = self.path().join("bin");
        processes_that(|pid| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let args: Vec<_> = command.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
            args.first()
                .is_some_and(|program| Path::new(&**program).starts_with(&programs))
                && (role.is_empty() || args.iter().any(|arg| arg == role))
        })
    }

    /// The desktop apps that work on this home.
    #[must_use]
    pub fn apps(&self) -> Vec<u32> {
        let wanted = format!("LIVEPC_HOME={}", self.path().display());
        processes_that(|pid| {
            let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            program.ends_with("livepc-desktop")
                && environment
                    .split(|b| *b == 0)
                    .any(|entry| entry == wanted.as_bytes())
        })
    }

    /// The hypervisors of this home's machines: each runs inside a folder beside its runner's socket.
    #[must_use]
    pub fn hypervisors(&self) -> Vec<u32> {
        let Ok(sockets) = self.home().sockets() else {
            return Vec::new();
        };
        processes_in(&sockets)
    }
}

/// The processes that work inside a folder.
#[must_use]
pub fn processes_in(folder: &Path) -> Vec<u32> {
    processes_that(|pid| {
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at.starts_with(folder))
    })
}

/// The processes that work inside a folder, or are named something in it by their arguments.
#[must_use]
pub fn processes_about(folder: &Path) -> Vec<u32> {
    let name = folder.as_os_str().as_encoded_bytes();
    let mut all = processes_that(|pid| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        pid != std::process::id() && arguments.windows(name.len()).any(|part| part == name)
    });
    all.extend(processes_in(folder));
    all
}

/// The processes of the system for which `which` is true.
fn processes_that(which: impl Fn(u32) -> bool) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| which(*pid))
        .collect()
}

impl Drop for TestHome {
    fn drop(&mut self) {
        self.kill_all();
        if std::thread::panicking() {
            for log in std::fs::read_dir(self.path().join("logs"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let text = std::fs::read_to_string(log.path()).unwrap_or_default();
                eprintln!("--- {}\n{text}", log.path().display());
            }
        }
    }
}

/// Ends a process with SIGKILL.
pub fn kill(pid: u32) {
    kill_at_once(&[pid]);
}

/// Ends processes with SIGKILL, none of which sees another one end: all are stopped first.
#[cfg(unix)]
pub fn kill_at_once(pids: &[u32]) {
    for signal in ["-STOP", "-KILL"] {
        // They may have ended by themselves meanwhile.
        let _ = Command::new("kill")
            .arg(signal)
            .args(pids.iter().map(u32::to_string))
            .stderr(Stdio::null())
            .status();
    }
}

/// Ends processes at once.
#[cfg(windows)]
pub fn kill_at_once(pids: &[u32]) {
    let named = pids.iter().flat_map(|pid| ["/PID".to_owned(), pid.to_string()]);
    let _ = Command::new("taskkill")
        .arg("/F")
        .args(named)
        .stderr(Stdio::null())
        .status();
}
