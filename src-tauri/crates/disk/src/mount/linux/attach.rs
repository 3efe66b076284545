//! Putting a FUSE file system at a folder and taking it away: root asks the kernel, others `fusermount3`.
//!
//! fuser could do it too, but unmounts a second time when its session is over, which would hit what somebody has mounted
//! at the folder since; and it cannot detach what is still in use.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    process::{Command, Stdio},
};

use rustix::{
    io::Errno,
    mount::{MountFlags, UnmountFlags, mount, unmount},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::{getegid, geteuid},
};

use crate::mount::{AllowOther, MountError};

/// The kernel's device.
const FUSE: &str = "/dev/fuse";
/// The program that may mount for every user.
const HELPER: &str = "fusermount3";
/// Where the administrator says what it allows.
const SETTINGS: &str = "/etc/fuse.conf";
/// Whom a mount is of, as lists of mounts show it.
const NAME: &str = "livepc";

pub(in crate::mount) fn allow_other() -> AllowOther {
    if geteuid().is_root() {
        AllowOther::Root
    } else if fs::read_to_string(SETTINGS).is_ok_and(|text| allows_other(&text)) {
        AllowOther::Allowed
    } else {
        AllowOther::Denied
    }
}

/// Whether a `fuse.conf` has the line that lets others in.
fn allows_other(settings: &str) -> bool {
    let lines = settings
        .lines()
        .map(|line| line.split('#').next().unwrap_or(line));
    lines.map(str::trim).any(|line| line == "user_allow_other")
}

pub(in crate::mount) fn check() -> Result<(), MountError> {
    open()?;
    if geteuid().is_root() {
        return Ok(());
    }
    let asked = helper().arg("-V").stdout(Stdio::null()).status();
    asked.map(drop).map_err(|source| MountError::NoHelper { source })
}

/// Opens the kernel's device; a user must be able to as well, because the helper does it with the user's rights.
fn open() -> Result<File, MountError> {
    let opened = File::options().read(true).write(true).open(FUSE);
    opened.map_err(|source| MountError::NoFuse { source })
}

/// Mounts at `folder`. Gives the kernel's end, and whether others than this user may read.
pub(super) fn attach(folder: &Path) -> Result<(OwnedFd, bool), MountError> {
    let others = allow_other() != AllowOther::Denied;
    if geteuid().is_root() {
        match attach_as_root(folder, others) {
            // Root of a container only, perhaps: the helper says more.
            Err(MountError::Refused { .. }) => {}
            attached => return Ok((attached?, others)),
        }
    }
    open()?;
    match attach_by_helper(folder, others) {
        Err(MountError::Refused { .. }) if others => Ok((attach_by_helper(folder, false)?, false)),
        attached => Ok((attached?, others)),
    }
}

fn attach_as_root(folder: &Path, others: bool) -> Result<OwnedFd, MountError> {
    let device = open()?;
    let data = format!(
        "fd={},rootmode=40755,user_id={},group_id={},default_permissions{}",
        device.as_raw_fd(),
        geteuid().as_raw(),
        getegid().as_raw(),
        if others { ",allow_other" } else { "" }
    );
    let refused = |why: String| MountError::Refused {
        folder: folder.to_owned(),
        why,
    };
    let data = CString::new(data).map_err(|e| refused(e.to_string()))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(NAME, folder, format!("fuse.{NAME}"), flags, data.as_c_str())
        .map_err(|e| refused(io::Error::from(e).to_string()))?;
    Ok(device.into())
}

/// Mounts by the helper, which hands the kernel's end over on a socket that is its standard input.
fn attach_by_helper(folder: &Path, others: bool) -> Result<OwnedFd, MountError> {
    let refused = |why: String| MountError::Refused {
        folder: folder.to_owned(),
        why,
    };
    let no_socket = |source| MountError::Session { source };
    let (ours, theirs) = UnixStream::pair().map_err(no_socket)?;
    let options = format!(
        "nosuid,nodev,noexec,fsname={NAME},subtype={NAME},default_permissions{}",
        if others { ",allow_other" } else { "" }
    );
    let child = helper()
        .args(["-o", &options, "--"])
        .arg(folder)
        .env("_FUSE_COMMFD", "0")
        .stdin(OwnedFd::from(theirs))
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| MountError::NoHelper { source })?;
    let received = receive(&ours);
    let ended = child.wait_with_output().map_err(no_socket)?;
    match received {
        Ok(Some(device)) if ended.status.success() => Ok(device),
        Err(error) if ended.status.success() => Err(refused(error.to_string())),
        _ => Err(refused(String::from_utf8_lossy(&ended.stderr).trim().to_owned())),
    }
}

/// Waits for a file descriptor on a socket; `None` if the other side closes it without one.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::io::retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(&mut byte)];
        recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut messages = control.drain();
    Ok(messages.find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

/// Takes away what is mounted at `folder`, also while it is in use: who has a file open keeps that one.
pub(super) fn detach(folder: &Path) -> Result<(), MountError> {
    match unmount(folder, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) => return Ok(()),
        Err(Errno::PERM) => {}
        // Nothing is mounted there.
        Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
        Err(error) => {
            return Err(MountError::Unmount {
                folder: folder.to_owned(),
                why: io::Error::from(error).to_string(),
            });
        }
    }
    let ended = helper()
        .args(["-u", "-z", "--"])
        .arg(folder)
        .output()
        .map_err(|source| MountError::NoHelper { source })?;
    if ended.status.success() {
        return Ok(());
    }
    Err(MountError::Unmount {
        folder: folder.to_owned(),
        why: String::from_utf8_lossy(&ended.stderr).trim().to_owned(),
    })
}

fn helper() -> Command {
    let mut helper = Command::new(HELPER);
    helper.stdin(Stdio::null());
    helper
}

#[cfg(test)]
mod tests {
    use super::allows_other;

    #[test]
    fn only_an_active_line_lets_others_in() {
        assert!(allows_other("mount_max = 10\n user_allow_other  # yes\n"));
        for without in [
            "",
            "#user_allow_other",
            "# user_allow_other must be",
            "user_allow_others",
        ] {
            assert!(!allows_other(without), "{without}");
        }
    }
}
