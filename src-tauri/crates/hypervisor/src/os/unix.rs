//! Linux, macOS and their kin.
#![allow(unsafe_code)] // What a child does between fork and exec has no safe interface in the standard library.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, FlockOperation, flock};
use rustix::process::{Flock, FlockType, Pid, Signal, fcntl_getlk, kill_process, kill_process_group};
use tokio::net::UnixListener;
use tokio::process::{Child, Command};

use super::{Connection, LOCK_FILE, PLAYER_LOCK_FILE, escape_commas};
use crate::HypervisorError;

/// The monitor's socket in the run-time folder. QEMU is started inside that folder, so that it never sees its path.
const SOCKET: &str = "monitor.sock";

pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // One that was there is not ours to change.
    if dir.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others can enter it; “chmod go-rwx” ends that",
        ));
    }
    Ok(())
}

/// There is no registry.
pub(crate) fn registered_folder(_: &str) -> Option<PathBuf> {
    None
}

/// A terminal's Ctrl-C is for the runner, which shuts the guest down in order.
pub(crate) fn detach(command: &mut Command) {
    command.process_group(0);
}

/// A system that shuts down, a log-out and an init system that ends a service tell every process of the session at once. QEMU
/// would switch its guest off at that; its runner, which hears of it too, has it shut down in order.
///
/// QEMU installs handlers of its own, so to ignore the signals would last for milliseconds; but nobody unblocks in it what was
/// blocked when it was started. The interrupt stays, by which [`reap`] ends it.
pub(crate) fn outlast(command: &mut Command) {
    // SAFETY: between fork and exec only calls that are safe in a signal handler are made, and they touch nothing but the
    // set on this stack.
    unsafe {
        command.pre_exec(|| {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            libc::sigaddset(&raw mut set, libc::SIGHUP);
            match libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) {
                0 => Ok(()),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        });
    }
}

/// The signal that ended a process.
pub(crate) fn signal_of(status: &std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(status)
}

/// True if somebody else ended the process: a person, or a system that is out of memory or shuts down.
pub(crate) fn is_from_outside(signal: i32) -> bool {
    [libc::SIGKILL, libc::SIGTERM, libc::SIGHUP, libc::SIGINT].contains(&signal)
}

/// What a signal is called.
pub(crate) fn name_of_signal(signal: i32) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    // `signal: 11 (SIGSEGV)`
    let told = std::process::ExitStatus::from_raw(signal).to_string();
    match told.split(['(', ')']).nth(1) {
        Some(name) if name.starts_with("SIG") => format!("the signal {name}"),
        _ => format!("the signal {signal}"),
    }
}

/// True if the process did what it had given up the right to.
pub(crate) fn is_of_sandbox(signal: i32) -> bool {
    signal == libc::SIGSYS
}

/// Nothing here ends a child with its parent on every system and for every way to die: [`reap`] does it afterwards.
#[derive(Debug)]
pub(crate) struct Leash;

impl Leash {
    #[allow(clippy::unnecessary_wraps)] // Its twin can fail.
    pub(crate) fn on(_child: &Child) -> io::Result<Self> {
        Ok(Self)
    }
}

/// Ends the QEMU that holds the lock in `folder`, if there is one: politely first, and by force after `grace`.
///
/// A process id in a file may belong to anybody by now. The holder of a lock on a file in a private folder is who made
/// the lock.
pub(crate) async fn reap(folder: &Path, grace: Duration) -> Result<bool, HypervisorError> {
    let path = folder.join(LOCK_FILE);
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(HypervisorError::file("opening", &path)(error)),
    };
    let looking = |error: rustix::io::Errno| HypervisorError::file("looking who uses", &path)(error.into());
    let Some(pid) = holder(&file).map_err(looking)? else {
        clear(folder);
        return Ok(false);
    };
    tracing::warn!(pid = pid.as_raw_nonzero(), dir = %folder.display(), "ending a QEMU that was left running");
    // Not by what ends a session, which it outlasts.
    for signal in [Signal::INT, Signal::KILL] {
        // It fails if the process has just ended by itself.
        let _ = kill_process(pid, signal);
        let deadline = Instant::now() + grace;
        while holder(&file).map_err(looking)? == Some(pid) {
            if Instant::now() > deadline {
                break;
            }
            // The end of a process that is not our child makes no event that every Unix has.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if holder(&file).map_err(looking)? != Some(pid) {
            clear(folder);
            return Ok(true);
        }
    }
    Err(HypervisorError::Stray {
        pid: pid.as_raw_nonzero().get().unsigned_abs(),
    })
}

/// The process that [`reap`] would end.
pub(crate) fn left_running(run_dir: &Path) -> Option<u32> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(run_dir.join(LOCK_FILE))
        .ok()?;
    Some(holder(&file).ok()??.as_raw_nonzero().get().unsigned_abs())
}

fn holder(file: &File) -> rustix::io::Result<Option<Pid>> {
    let whole_file = Flock::from(FlockType::WriteLock);
    Ok(fcntl_getlk(file, &whole_file)?.and_then(|lock| lock.pid))
}

/// Removes what a QEMU that was killed could not.
fn clear(folder: &Path) {
    let _ = std::fs::remove_file(folder.join(LOCK_FILE));
}

/// A socket that QEMU connects to. It is gone once QEMU has: nobody else finds the monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    listener: UnixListener,
    path: PathBuf,
}

impl Monitor {
    pub(crate) fn listen(run_dir: &Path) -> Result<Self, HypervisorError> {
        let path = run_dir.join(SOCKET);
        if std::fs::symlink_metadata(&path)
            .is_ok_and(|found| FileType::from_raw_mode(mode(&found)) == FileType::Socket)
        {
            std::fs::remove_file(&path).map_err(HypervisorError::file("removing", &path))?;
        }
        let listener = UnixListener::bind(&path).map_err(HypervisorError::file("creating", &path))?;
        Ok(Self { listener, path })
    }

    /// The value of QEMU's `-chardev`, without its id.
    pub(crate) fn backend(&self) -> String {
        format!("socket,path={SOCKET},server=off")
    }

    pub(crate) async fn accept(self) -> io::Result<Box<dyn Connection>> {
        let (stream, _) = self.listener.accept().await?;
        Ok(Box::new(stream))
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A connection by which QEMU writes a machine's state to a file, or reads it: older versions know no files.
#[derive(Debug)]
pub(crate) enum StateChannel {
    /// QEMU connects, and writes.
    Save {
        listener: UnixListener,
        socket: PathBuf,
        file: File,
    },
    /// QEMU listens, and reads.
    Load { socket: PathBuf, file: File },
}

/// The socket of it in the run-time folder, which QEMU runs in.
const STATE_SOCKET: &str = "state.sock";

impl StateChannel {
    pub(crate) fn to_file(run_dir: &Path, path: &Path) -> Result<Self, HypervisorError> {
        let socket = run_dir.join(STATE_SOCKET);
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).map_err(HypervisorError::file("creating", &socket))?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path);
        let file = file.map_err(HypervisorError::file("creating", path))?;
        Ok(Self::Save {
            listener,
            socket,
            file,
        })
    }

    pub(crate) fn from_file(run_dir: &Path, path: &Path) -> Result<Self, HypervisorError> {
        let socket = run_dir.join(STATE_SOCKET);
        let _ = std::fs::remove_file(&socket);
        let file = File::open(path).map_err(HypervisorError::file("opening", path))?;
        Ok(Self::Load { socket, file })
    }

    /// The `uri` of QEMU's migration commands.
    pub(crate) fn uri(&self) -> String {
        format!("unix:{STATE_SOCKET}")
    }

    /// Carries the state over. To be called when QEMU knows the address.
    pub(crate) async fn transfer(self) -> io::Result<()> {
        match self {
            Self::Save {
                listener,
                socket,
                file,
            } => {
                let (mut stream, _) = listener.accept().await?;
                let _ = std::fs::remove_file(socket);
                let mut file = tokio::fs::File::from_std(file);
                tokio::io::copy(&mut stream, &mut file).await?;
                tokio::io::AsyncWriteExt::flush(&mut file).await
            }
            Self::Load { socket, file } => {
                let mut stream = tokio::net::UnixStream::connect(&socket).await?;
                let mut file = tokio::fs::File::from_std(file);
                tokio::io::copy(&mut file, &mut stream).await?;
                tokio::io::AsyncWriteExt::shutdown(&mut stream).await?;
                let _ = std::fs::remove_file(socket);
                Ok(())
            }
        }
    }
}

/// Ends a [`detach`]ed child and all of its process group.
pub(crate) fn end_group(child: &mut Child, force: bool) {
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        let signal = if force { Signal::KILL } else { Signal::TERM };
        // It fails if the process has just ended by itself.
        let _ = kill_process_group(pid, signal);
    }
}

/// A lock that a child and its own children hold as their standard input: it lasts as long as any of them, and what a
/// process id in a file is worth is known by it.
#[derive(Debug)]
pub(crate) struct PlayerLock(File);

impl PlayerLock {
    pub(crate) fn take(folder: &Path) -> Result<Self, HypervisorError> {
        let path = folder.join(PLAYER_LOCK_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = file.map_err(HypervisorError::file("creating", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(error) => Err(HypervisorError::InUse {
                why: format!("VMware Player has it ({error})"),
            }),
        }
    }

    pub(crate) fn into_stdin(self) -> Stdio {
        self.0.into()
    }

    pub(crate) fn clear(folder: &Path) {
        let _ = std::fs::remove_file(folder.join(PLAYER_LOCK_FILE));
    }

    /// Ends the process group `pid`, if it holds the lock. Returns whether somebody did.
    pub(crate) async fn reap(folder: &Path, pid: u32, grace: Duration) -> Result<bool, HypervisorError> {
        let is_free = || !matches!(Self::take(folder), Err(HypervisorError::InUse { .. }));
        if is_free() {
            return Ok(false);
        }
        let stray = Err(HypervisorError::Stray { pid });
        let Some(group) = Pid::from_raw(pid.cast_signed()).filter(|_| pid > 1) else {
            return stray;
        };
        tracing::warn!(pid, dir = %folder.display(), "ending a VMware Player that was left running");
        for signal in [Signal::TERM, Signal::KILL] {
            let _ = kill_process_group(group, signal);
            let deadline = Instant::now() + grace;
            while Instant::now() < deadline {
                if is_free() {
                    return Ok(true);
                }
                // The end of a process that is not our child makes no event that every Unix has.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        stray
    }
}

fn mode(found: &std::fs::Metadata) -> rustix::fs::RawMode {
    use std::os::unix::fs::MetadataExt;
    // Narrower on macOS, where the type's bits are the same.
    found.mode() as rustix::fs::RawMode
}

pub(crate) fn serial_backend(console: &str) -> String {
    format!("socket,path={},server=on,wait=off", escape_commas(console))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_folder_that_was_there_is_refused_and_left_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/b");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        let mode = |dir: &Path| dir.metadata().unwrap().permissions().mode() & 0o777;
        assert!(make_private(&dir).is_err());
        assert_eq!(mode(&dir), 0o755);
        let new = home.path().join("a/c");
        make_private(&new).unwrap();
        make_private(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
    }

    #[tokio::test]
    async fn nothing_is_reaped_where_nobody_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let grace = Duration::from_secs(1);
        assert!(!reap(dir.path(), grace).await.unwrap(), "an empty folder");
        // This process's own id: it must not be believed.
        std::fs::write(dir.path().join(LOCK_FILE), std::process::id().to_string()).unwrap();
        assert!(
            !reap(dir.path(), grace).await.unwrap(),
            "a file that nobody has locked"
        );
        assert!(
            !dir.path().join(LOCK_FILE).exists(),
            "what is left over is removed"
        );
    }

    #[tokio::test]
    async fn a_socket_is_made_anew_and_a_path_that_is_too_long_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::mem::forget(Monitor::listen(dir.path()).unwrap());
        let monitor = Monitor::listen(dir.path()).expect("the socket of a dead runner is in the way");
        drop(monitor);
        assert!(
            !dir.path().join(SOCKET).exists(),
            "it is removed with the monitor"
        );

        let deep = dir.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let error = Monitor::listen(&deep).unwrap_err().to_string();
        assert!(error.contains("monitor.sock"), "{error}");
    }
}
