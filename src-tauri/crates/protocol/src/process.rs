//! What is asked of the system about processes: ending another one of the user's, and more files for this one.

/// Files that a process wants to have open at once: a store's, the connections of machines and clients, and some to spare.
#[cfg(unix)]
const FILES: u64 = 8192;

/// Has the system allow this process as many open files as it may have, up to a bound. Sessions begin with few, for programs
/// of long ago that cannot count further.
#[cfg(unix)]
pub fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(FILES, |most| most.min(FILES));
    if current.is_some_and(|current| current < wanted) {
        let more = Rlimit {
            current: Some(wanted),
            maximum,
        };
        // What it has suffices for most.
        let _ = setrlimit(Resource::Nofile, more);
    }
}

/// Has the system allow this process many open files, as it does by itself here.
#[cfg(windows)]
pub fn allow_many_files() {}

#[cfg(unix)]
pub(crate) fn end(process: u32) -> std::io::Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    let process = process.ok_or(std::io::ErrorKind::InvalidInput)?;
    Ok(kill_process(process, Signal::KILL)?)
}

#[cfg(windows)]
#[allow(unsafe_code)] // Other processes have no safe interface in the standard library.
pub(crate) fn end(process: u32) -> std::io::Result<()> {
    use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};

    use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_TERMINATE, TerminateProcess};
    // SAFETY: it takes numbers.
    let handle = unsafe { OpenProcess(PROCESS_TERMINATE, 0, process) };
    if handle.is_null() {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the handle is valid and nobody else's.
    let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
    // SAFETY: the handle is valid, and may be used for this.
    if unsafe { TerminateProcess(handle.as_raw_handle(), 1) } == 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}
