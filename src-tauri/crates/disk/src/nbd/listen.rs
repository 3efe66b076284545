//! Where a server listens and how clients find it: a socket file on Unix, or a loopback port anywhere.

#[cfg(unix)]
use std::path::PathBuf;
use std::{
    fmt::Write as _,
    io,
    net::{Ipv4Addr, SocketAddr},
};

#[cfg(unix)]
use livepc_format::shown;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpListener, TcpStream};

#[cfg(unix)]
use super::unix_socket::SocketFile;

/// Where a server is to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A socket file, for its owner only; its directory is created if it is not there. A socket that a server left behind
    /// is replaced.
    #[cfg(unix)]
    Unix(PathBuf),
    /// A free port of 127.0.0.1. Every user of the computer can reach it, so what they may not read needs an unguessable
    /// name and [`Visibility::Hidden`](super::Visibility::Hidden).
    Loopback,
}

/// Where a server listens: what its clients need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket file.
    #[cfg(unix)]
    Unix(PathBuf),
    /// A port of this computer.
    Tcp(SocketAddr),
}

impl Address {
    /// The URI of an export here, as libnbd's tools and QEMU take it.
    #[must_use]
    pub fn uri(&self, export: &str) -> String {
        let export = percent_encoded(export.as_bytes());
        match self {
            #[cfg(unix)]
            Self::Unix(path) => {
                use std::os::unix::ffi::OsStrExt;
                format!(
                    "nbd+unix:///{export}?socket={}",
                    percent_encoded(path.as_os_str().as_bytes())
                )
            }
            Self::Tcp(address) => format!("nbd://{address}/{export}"),
        }
    }
}

/// Escapes what has a meaning of its own in a URI.
fn percent_encoded(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The loopback port could not be opened.
    #[error(
        "no port on 127.0.0.1 could be opened ({0}); check that a local firewall allows LivePC to listen"
    )]
    Loopback(#[source] io::Error),
    /// The socket file could not be made.
    #[cfg(unix)]
    #[error("the socket {} could not be made ({source}); check that its directory can be written", shown::path(.path))]
    Socket {
        /// The socket file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Another server listens there.
    #[cfg(unix)]
    #[error("another server listens at {}; stop it, or choose another socket", shown::path(.path))]
    InUse {
        /// The socket file.
        path: PathBuf,
    },
    /// Something that is no socket has the socket's name.
    #[cfg(unix)]
    #[error("{} exists and is not a socket; move it away, or choose another name", shown::path(.path))]
    NotASocket {
        /// What was found.
        path: PathBuf,
    },
}

/// A place where clients are accepted.
pub(super) enum Listener {
    #[cfg(unix)]
    Unix(SocketFile),
    Tcp(TcpListener),
    /// One that fails as a test wants it.
    #[cfg(test)]
    Sick(TcpListener, Box<dyn Fn() -> io::Result<()> + Send + Sync>),
}

/// A client.
pub(super) enum Stream {
    #[cfg(unix)]
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Listener {
    pub(super) async fn open(place: &Listen) -> Result<(Self, Address), ListenError> {
        match place {
            #[cfg(unix)]
            Listen::Unix(path) => {
                let socket = SocketFile::open(path).await?;
                Ok((Self::Unix(socket), Address::Unix(path.clone())))
            }
            Listen::Loopback => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                    .await
                    .map_err(ListenError::Loopback)?;
                let address = listener.local_addr().map_err(ListenError::Loopback)?;
                Ok((Self::Tcp(listener), Address::Tcp(address)))
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            #[cfg(unix)]
            Self::Unix(socket) => Ok(Stream::Unix(socket.accept().await?)),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            #[cfg(test)]
            Self::Sick(listener, fail) => {
                fail()?;
                Ok(Stream::Tcp(listener.accept().await?.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_escapes_what_would_change_its_meaning() {
        let address = Address::Tcp(([127, 0, 0, 1], 10809).into());
        assert_eq!(address.uri("a?b c/ü"), "nbd://127.0.0.1:10809/a%3Fb%20c/%C3%BC");
        #[cfg(unix)]
        assert_eq!(
            Address::Unix("/tmp/a&b".into()).uri(""),
            "nbd+unix:///?socket=/tmp/a%26b"
        );
    }
}
