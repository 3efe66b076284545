//! Windows.
#![allow(unsafe_code)] // Job objects have no safe interface in the standard library.

use std::ffi::c_void;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::ptr;
use std::time::Duration;

use tokio::net::windows::named_pipe::ClientOptions;
use tokio::process::{Child, Command};
use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW};

use super::{Connection, LOCK_FILE, PLAYER_LOCK_FILE, escape_commas};
use crate::HypervisorError;

/// Folders inside the user's profile are private from the start.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)
}

/// A console's Ctrl-C is for the runner, and QEMU shall open no console of its own.
pub(crate) fn detach(command: &mut Command) {
    command.creation_flags(CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW);
}

/// A process without a window and a console is told nothing when the session ends, and ends last.
pub(crate) fn outlast(_: &mut Command) {}

/// Nothing is ended by signals here.
pub(crate) fn signal_of(_: &std::process::ExitStatus) -> Option<i32> {
    None
}

/// There is no signal.
pub(crate) fn is_from_outside(_: i32) -> bool {
    false
}

/// There is no signal.
pub(crate) fn name_of_signal(signal: i32) -> String {
    format!("the signal {signal}")
}

/// There is no signal.
pub(crate) fn is_of_sandbox(_: i32) -> bool {
    false
}

/// What the installer of a product of VMware has left in the registry; it is a program of 32 bits.
pub(crate) fn registered_folder(product: &str) -> Option<PathBuf> {
    let keys = [r"SOFTWARE\WOW6432Node\VMware, Inc.", r"SOFTWARE\VMware, Inc."];
    keys.iter().find_map(|key| {
        let key = windows_registry::LOCAL_MACHINE.open(format!(r"{key}\{product}"));
        let folder = PathBuf::from(key.ok()?.get_string("InstallPath").ok()?);
        folder.is_absolute().then_some(folder)
    })
}

/// A job that ends with its last handle, and so with this process, however that ends.
#[derive(Debug)]
pub(crate) struct Leash {
    _job: OwnedHandle,
}

impl Leash {
    pub(crate) fn on(child: &Child) -> io::Result<Self> {
        let Some(process) = child.raw_handle() else {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        };
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        // SAFETY: null means no name and the default security; the result is checked before it is owned.
        let job = unsafe { CreateJobObjectW(ptr::null(), ptr::null()) };
        if job.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle is valid and nobody else's.
        let job = unsafe { OwnedHandle::from_raw_handle(job) };
        // SAFETY: the pointer and the length are those of `limits`, which has the type that this class wants.
        let limited = unsafe {
            SetInformationJobObject(
                job.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                ptr::from_ref(&limits).cast::<c_void>(),
                size_of_val(&limits) as u32,
            )
        };
        if limited == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: both handles are valid: `child` keeps its process's.
        if unsafe { AssignProcessToJobObject(job.as_raw_handle(), process) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { _job: job })
    }
}

/// The system ends a hypervisor with the process that started it.
pub(crate) fn left_running(_run_dir: &Path) -> Option<u32> {
    None
}

/// A [`Leash`] leaves nothing to reap but its file.
#[allow(clippy::unused_async)] // Its twin waits.
pub(crate) async fn reap(folder: &Path, _grace: Duration) -> Result<bool, HypervisorError> {
    let path = folder.join(LOCK_FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(HypervisorError::file("removing", &path)(error))
        }
        _ => Ok(false),
    }
}

/// A named pipe that QEMU makes: it waits for one client, who is us, and takes no second one.
#[derive(Debug)]
pub(crate) struct Monitor {
    name: String,
}

impl Monitor {
    #[allow(clippy::unnecessary_wraps)] // Its twin can fail.
    pub(crate) fn listen(_run_dir: &Path) -> Result<Self, HypervisorError> {
        // The standard library's random keys, so that nobody can have made a pipe of this name before.
        let random = || RandomState::new().hash_one(std::process::id());
        Ok(Self {
            name: format!("livepc-{:016x}{:016x}", random(), random()),
        })
    }

    /// The value of QEMU's `-chardev`, without its id.
    pub(crate) fn backend(&self) -> String {
        format!("pipe,path={}", self.name)
    }

    pub(crate) async fn accept(self) -> io::Result<Box<dyn Connection>> {
        let path = format!(r"\\.\pipe\{}", self.name);
        loop {
            match ClientOptions::new().open(&path) {
                Ok(pipe) => return Ok(Box::new(pipe)),
                Err(error) if is_not_yet(&error) => {}
                Err(error) => return Err(error),
            }
            // Windows tells nobody that a pipe has come into being. The caller bounds the time.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ERROR_PIPE_BUSY as i32)
}

/// A file that QEMU itself writes a machine's state to, or reads: versions for Windows from 8.2 on know files.
#[derive(Debug)]
pub(crate) struct StateChannel {
    uri: String,
}

impl StateChannel {
    pub(crate) fn to_file(run_dir: &Path, path: &Path) -> Result<Self, HypervisorError> {
        Self::from_file(run_dir, path)
    }

    #[allow(clippy::unnecessary_wraps)] // Its twin can fail.
    pub(crate) fn from_file(_run_dir: &Path, path: &Path) -> Result<Self, HypervisorError> {
        Ok(Self {
            uri: format!("file:{}", path.display()),
        })
    }

    /// The `uri` of QEMU's migration commands.
    pub(crate) fn uri(&self) -> String {
        self.uri.clone()
    }

    /// Nothing is to be carried: the caller waits for QEMU's word.
    #[allow(clippy::unused_async)] // Its twin waits.
    pub(crate) async fn transfer(self) -> io::Result<()> {
        Ok(())
    }
}

/// Nothing here asks a program with a window to end: the caller ends it, and a [`Leash`] what it has started.
pub(crate) fn end_group(child: &mut Child, _force: bool) {
    // It fails if the process has just ended by itself.
    let _ = child.start_kill();
}

/// A [`Leash`] leaves no player.
#[derive(Debug)]
pub(crate) struct PlayerLock;

impl PlayerLock {
    #[allow(clippy::unnecessary_wraps)] // Its twin can fail.
    pub(crate) fn take(_folder: &Path) -> Result<Self, HypervisorError> {
        Ok(Self)
    }

    pub(crate) fn into_stdin(self) -> Stdio {
        Stdio::null()
    }

    pub(crate) fn clear(folder: &Path) {
        let _ = std::fs::remove_file(folder.join(PLAYER_LOCK_FILE));
    }

    #[allow(clippy::unused_async)] // Its twin waits.
    pub(crate) async fn reap(_folder: &Path, _pid: u32, _grace: Duration) -> Result<bool, HypervisorError> {
        Ok(false)
    }
}

pub(crate) fn serial_backend(console: &str) -> String {
    let name = console.strip_prefix(r"\\.\pipe\").unwrap_or(console);
    format!("pipe,path={}", escape_commas(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_ends_with_its_leash() {
        let mut command = Command::new("cmd");
        command.args(["/c", "pause"]).stdin(std::process::Stdio::piped());
        detach(&mut command);
        let mut child = command.spawn().unwrap();
        let leash = Leash::on(&child).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "it waits for a key");
        drop(leash);
        let ended = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
        ended
            .expect("the leash was dropped, and the child lives")
            .unwrap();
    }

    #[tokio::test]
    async fn a_pipe_is_waited_for_until_it_is_there() {
        use tokio::net::windows::named_pipe::ServerOptions;
        let monitor = Monitor::listen(Path::new("unused")).unwrap();
        let path = format!(r"\\.\pipe\{}", monitor.name);
        let client = tokio::spawn(monitor.accept());
        tokio::task::yield_now().await;
        let server = ServerOptions::new().create(&path).unwrap();
        server.connect().await.unwrap();
        client.await.unwrap().expect("the pipe is there");
    }
}
