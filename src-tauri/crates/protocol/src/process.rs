//! Ending another process of the user's.

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
