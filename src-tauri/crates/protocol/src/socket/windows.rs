//! Named pipes. Their names are everybody's to see and to take, so each has a name that nobody guesses, belongs to the user
//! and lets nobody else in; and who connects looks whose it is.
#![allow(unsafe_code)] // Security descriptors and tokens have no safe interface in the standard library.

use std::ffi::c_void;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::{Path, PathBuf};
use std::ptr;

use interprocess::local_socket::tokio::prelude::*;
use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::{GenericNamespaced, ListenerOptions, Name};
use interprocess::os::windows::local_socket::ListenerOptionsExt as _;
use interprocess::os::windows::security_descriptor::SecurityDescriptor;
use widestring::U16CString;
use windows_sys::Win32::Foundation::{ERROR_SUCCESS, ERROR_TOO_MANY_OPEN_FILES, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, GetSecurityInfo, SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    EqualSid, GetTokenInformation, OWNER_SECURITY_INFORMATION, PSID, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// A pipe, which is there as long as who listens.
#[derive(Debug)]
pub(super) struct Socket {
    name: PathBuf,
}

impl Socket {
    pub(super) fn address(&self) -> &Path {
        &self.name
    }

    #[allow(clippy::unused_self)] // Its twin may be removed.
    pub(super) fn is_there(&self) -> bool {
        true
    }

    #[allow(clippy::unused_self)] // Its twin has a file.
    pub(super) fn remove(&self) {}
}

pub(super) fn listen(name: &Path) -> io::Result<(Listener, Socket)> {
    let user = User::of_this_process()?.text()?;
    // Owned by the user, who alone may do anything; nothing is inherited.
    let rules = U16CString::from_str(format!("O:{user}D:P(A;;GA;;;{user})")).map_err(io::Error::other)?;
    let options = ListenerOptions::new()
        .name(self::name(name)?)
        .security_descriptor(SecurityDescriptor::deserialize(&rules)?);
    let socket = Socket {
        name: name.to_owned(),
    };
    Ok((options.create_tokio()?, socket))
}

pub(super) fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_TOO_MANY_OPEN_FILES.cast_signed())
}

pub(super) fn name(address: &Path) -> io::Result<Name<'static>> {
    // The address is read as a path in the home; the pipe's name is the last of it.
    let name = address.file_name().unwrap_or_default();
    name.to_string_lossy()
        .into_owned()
        .to_ns_name::<GenericNamespaced>()
}

#[allow(clippy::unnecessary_wraps, clippy::needless_pass_by_value)] // Its twin uses the path.
pub(super) fn address(_wanted: PathBuf) -> io::Result<PathBuf> {
    // The standard library's keys, which are random.
    let random = || RandomState::new().hash_one(std::process::id());
    Ok(format!("livepc-{:016x}{:016x}", random(), random()).into())
}

/// Refuses a pipe that another user has made.
/// The process that listens on the other side; nothing here sees another's numbers.
#[allow(clippy::unnecessary_wraps)] // Its twin can fail.
pub(super) fn process_of(_: &Stream) -> io::Result<Option<u32>> {
    Ok(None)
}

pub(super) fn check_server(stream: &Stream) -> io::Result<()> {
    let Stream::NamedPipe(pipe) = stream;
    let mut owner: PSID = ptr::null_mut();
    let mut descriptor = ptr::null_mut();
    // SAFETY: the handle is valid as long as `stream`; the pointers are to variables of the types that the call wants, and
    // what is not asked for may be null.
    let done = unsafe {
        GetSecurityInfo(
            pipe.as_handle().as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            ptr::from_mut(&mut owner),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::from_mut(&mut descriptor),
        )
    };
    if done != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(done.cast_signed()));
    }
    let is_ours = User::of_this_process().map(|user| user.is(owner));
    // SAFETY: the call above has allocated it, and `owner`, which points into it, is not used any more.
    unsafe { LocalFree(descriptor.cast()) };
    if is_ours? {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "another user listens there",
    ))
}

/// The pipe lets nobody else in.
#[allow(clippy::unnecessary_wraps)] // Its twin looks.
pub(super) fn check_client(_stream: &Stream) -> io::Result<()> {
    Ok(())
}

/// Who runs this process, as the system tells it: a `TOKEN_USER` with what it points to behind it.
struct User(Vec<u64>);

impl User {
    fn of_this_process() -> io::Result<Self> {
        let mut token = ptr::null_mut();
        // SAFETY: the pseudo handle of this process needs no closing; the pointer is to a variable for a handle.
        if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, ptr::from_mut(&mut token)) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle is valid and nobody else's.
        let token = unsafe { OwnedHandle::from_raw_handle(token) };
        // Larger than any user's identifier, and aligned for the structure.
        let mut user = Self(vec![0; 32]);
        let mut len = 0;
        let room = size_of_val(user.0.as_slice()) as u32;
        // SAFETY: the buffer has `room` bytes.
        let told = unsafe {
            GetTokenInformation(
                token.as_raw_handle(),
                TokenUser,
                user.0.as_mut_ptr().cast::<c_void>(),
                room,
                ptr::from_mut(&mut len),
            )
        };
        if told == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(user)
    }

    fn sid(&self) -> PSID {
        // SAFETY: the system has filled the buffer, which is aligned and large enough, with this structure.
        unsafe { (*self.0.as_ptr().cast::<TOKEN_USER>()).User.Sid }
    }

    fn is(&self, other: PSID) -> bool {
        // SAFETY: both are valid identifiers; a null pointer is not asked about.
        !other.is_null() && unsafe { EqualSid(self.sid(), other) } != 0
    }

    /// As text: `S-1-5-…`.
    fn text(&self) -> io::Result<String> {
        let mut text = ptr::null_mut();
        // SAFETY: the identifier is valid; the pointer is to a variable for the text's.
        if unsafe { ConvertSidToStringSidW(self.sid(), ptr::from_mut(&mut text)) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has made a text that ends with a null; it is copied, and then freed once.
        let copied = unsafe { widestring::U16CStr::from_ptr_str(text) }.to_string_lossy();
        // SAFETY: as above.
        unsafe { LocalFree(text.cast()) };
        Ok(copied)
    }
}
