//! Local sockets: files in a private folder on Unix, named pipes on Windows. Whoever is on the other side is the same user,
//! or the connection is refused.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use interprocess::local_socket::tokio::{Listener as Inner, Stream as InnerStream, prelude::*};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::whereabouts::Whereabouts;
use crate::{Home, Problem};

#[cfg_attr(unix, path = "socket/unix.rs")]
#[cfg_attr(windows, path = "socket/windows.rs")]
mod os;

/// A connection; split it with [`tokio::io::split`].
pub type Stream = InnerStream;

/// How often one that listens looks whether it can still be found. Who comes meanwhile waits for longer than that.
const LOOK: Duration = Duration::from_secs(2);

/// Waits for connections, where its [`Whereabouts`] say. What is removed under it is made anew: a log-out and services that
/// tidy up remove folders and sockets of programs that still run.
#[derive(Debug)]
pub struct Listener(tokio::sync::Mutex<Listening>);

#[derive(Debug)]
struct Listening {
    inner: Inner,
    socket: os::Socket,
    whereabouts: Whereabouts,
    look: Interval,
}

impl Listener {
    /// Listens for who asks the home's agent. Only the holder of the agent's lock may call this: a socket that a dead
    /// process left is replaced.
    ///
    /// # Errors
    /// If nothing can be listened on, or the home cannot be told where.
    pub fn of_agent(home: &Home) -> Result<Self, Problem> {
        Self::bind(home.agent_whereabouts())
    }

    /// As [`of_agent`](Self::of_agent), for the runner of a machine, which holds the machine's lock.
    ///
    /// # Errors
    /// As there.
    pub fn of_runner(home: &Home, id: &str) -> Result<Self, Problem> {
        Self::bind(home.runner_whereabouts(id))
    }

    fn bind(whereabouts: Whereabouts) -> Result<Self, Problem> {
        let (inner, socket) = listen(&whereabouts)?;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self(tokio::sync::Mutex::new(Listening {
            inner,
            socket,
            whereabouts,
            look,
        })))
    }

    /// The next connection.
    ///
    /// # Errors
    /// What the system says.
    pub async fn accept(&self) -> io::Result<Stream> {
        self.0.lock().await.accept().await
    }
}

impl Listening {
    async fn accept(&mut self) -> io::Result<Stream> {
        loop {
            tokio::select! {
                stream = self.inner.accept() => {
                    let stream = stream?;
                    match os::check_client(&stream) {
                        Ok(()) => return Ok(stream),
                        Err(error) => tracing::warn!(%error, "a connection of another user is refused"),
                    }
                }
                // The end of a name makes no event that every file system has.
                _ = self.look.tick() => self.stay_findable(),
            }
        }
    }

    fn stay_findable(&mut self) {
        if self.socket.is_there() {
            if !self.whereabouts.say(self.socket.address()) {
                tracing::debug!("where the socket is cannot be written down now");
            }
            return;
        }
        match listen(&self.whereabouts) {
            Ok((inner, socket)) => {
                tracing::info!(address = %socket.address().display(), "the socket was gone; there is another one");
                (self.inner, self.socket) = (inner, socket);
            }
            Err(problem) => tracing::warn!("the socket is gone, and there can be no other: {problem}"),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.socket.remove();
        self.whereabouts.forget(self.socket.address());
    }
}

fn listen(whereabouts: &Whereabouts) -> Result<(Inner, os::Socket), Problem> {
    let (inner, socket) = os::listen(&whereabouts.new_address()?)
        .map_err(|e| Problem::io("The socket cannot be opened", &e))?;
    if let Err(problem) = whereabouts.write(socket.address()) {
        socket.remove();
        return Err(problem);
    }
    Ok((inner, socket))
}

/// Connects to who listens at an address, if it is a process of the same user.
pub(crate) async fn connect(address: &Path) -> io::Result<Stream> {
    let stream = InnerStream::connect(os::name(address)?).await?;
    os::check_server(&stream)?;
    Ok(stream)
}

/// The process that listens on the other side, by the number that it has here; `None` where the system does not say.
pub(crate) fn process_of(stream: &Stream) -> io::Result<Option<u32>> {
    os::process_of(stream)
}

/// An address that nobody else has, for the socket `wanted`.
pub(crate) fn address(wanted: PathBuf) -> io::Result<PathBuf> {
    os::address(wanted)
}

#[cfg(all(test, unix))]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Longer than anybody may be lost for.
    const SOON: Duration = Duration::from_secs(10);

    async fn until_found(home: &Home) -> Stream {
        let find = async {
            loop {
                match home.agent_whereabouts().connect().await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        timeout(SOON, find).await.expect("it is found again")
    }

    #[tokio::test]
    async fn who_listens_is_found_again_whatever_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home")).unwrap();
        let listener = Listener::of_agent(&home).unwrap();
        let socket = listener.0.lock().await.socket.address().to_owned();
        let file = home.agent_lock().with_extension("at");
        let serving = tokio::spawn(async move {
            loop {
                drop(listener.accept().await);
            }
        });
        until_found(&home).await;
        let sockets = home.sockets().unwrap();
        std::fs::remove_file(&socket).unwrap();
        until_found(&home).await;
        std::fs::remove_dir_all(&sockets).unwrap();
        until_found(&home).await;
        std::fs::remove_file(&file).unwrap();
        until_found(&home).await;
        std::fs::write(&file, "{").unwrap();
        until_found(&home).await;
        serving.abort();
        let _ = serving.await;
        assert!(!socket.exists() && !file.exists(), "nothing is left of it");
        assert!(home.agent_whereabouts().connect().await.is_err());
    }

    #[tokio::test]
    async fn a_home_seen_under_another_name_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home")).unwrap();
        let _listener = Listener::of_agent(&home).unwrap();
        std::fs::rename(home.root(), folder.path().join("elsewhere")).unwrap();
        let same = Home::open(&folder.path().join("elsewhere")).unwrap();
        same.agent_whereabouts()
            .connect()
            .await
            .expect("as from inside of a container");
    }
}
