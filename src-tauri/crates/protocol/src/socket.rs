//! Local sockets: files in a private folder on Unix, named pipes on Windows. Whoever is on the other side is the same user,
//! or the connection is refused.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use interprocess::local_socket::tokio::{Listener as Inner, Stream as InnerStream, prelude::*};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::whereabouts::Whereabouts;
use crate::{Home, Problem, ProcessLock};

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
    lock: Weak<ProcessLock>,
    look: Interval,
    /// A file that is open for no other reason than that there be room for a connection when it is closed.
    room: Option<File>,
}

impl Listener {
    /// Listens for who asks the home's agent, as the holder of the agent's lock: a socket that a dead process left is
    /// replaced. Nothing is made anew once the lock is let go, or is not in its place.
    ///
    /// # Errors
    /// If nothing can be listened on, or the home cannot be told where.
    pub fn of_agent(home: &Home, lock: &Arc<ProcessLock>) -> Result<Self, Problem> {
        Self::bind(home.agent_whereabouts(), lock)
    }

    /// As [`of_agent`](Self::of_agent), for the runner of a machine, which holds the machine's lock.
    ///
    /// # Errors
    /// As there.
    pub fn of_runner(home: &Home, id: &str, lock: &Arc<ProcessLock>) -> Result<Self, Problem> {
        Self::bind(home.runner_whereabouts(id), lock)
    }

    fn bind(whereabouts: Whereabouts, lock: &Arc<ProcessLock>) -> Result<Self, Problem> {
        let (inner, socket) = listen(&whereabouts)?;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self(tokio::sync::Mutex::new(Listening {
            inner,
            socket,
            whereabouts,
            lock: Arc::downgrade(lock),
            look,
            room: room(),
        })))
    }

    /// True if there are too many open files, in this process or in the system, for another connection.
    #[must_use]
    pub fn is_full(error: &io::Error) -> bool {
        os::is_full(error)
    }

    /// Makes room for one connection where there is none; false if there is nothing to be done about it. Until
    /// [`keep_room`](Self::keep_room) is called it is lost to who is next.
    pub async fn make_room(&self) -> bool {
        self.0.lock().await.room.take().is_some()
    }

    /// Sees to it that there is room for one connection, whatever else is opened.
    pub async fn keep_room(&self) {
        let mut listening = self.0.lock().await;
        if listening.room.is_none() {
            listening.room = room();
        }
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
        if !self.lock.upgrade().is_some_and(|lock| lock.is_in_place()) {
            return;
        }
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

fn room() -> Option<File> {
    File::open(std::env::current_exe().ok()?).ok()
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.socket.remove();
        self.whereabouts.forget(self.socket.address());
    }
}

fn listen(whereabouts: &Whereabouts) -> Result<(Inner, os::Socket), Problem> {
    let address = whereabouts.new_address()?;
    let (inner, socket) = os::listen(&address)
        .map_err(|e| Problem::io(&format!("The socket {} cannot be opened", address.display()), &e))?;
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

    fn lock_of(home: &Home) -> Arc<ProcessLock> {
        let lock = ProcessLock::try_take(&home.agent_lock()).expect("its file");
        Arc::new(lock.expect("it is free"))
    }

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
        let lock = lock_of(&home);
        let listener = Listener::of_agent(&home, &lock).unwrap();
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
        let lock = lock_of(&home);
        let _listener = Listener::of_agent(&home, &lock).unwrap();
        std::fs::rename(home.root(), folder.path().join("elsewhere")).unwrap();
        let same = Home::open(&folder.path().join("elsewhere")).unwrap();
        same.agent_whereabouts()
            .connect()
            .await
            .expect("as from inside of a container");
    }

    /// What it would make again is a part of a home that no client takes for one.
    #[tokio::test(start_paused = true)]
    async fn in_a_home_that_was_moved_away_nothing_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home")).unwrap();
        let lock = lock_of(&home);
        let listener = Listener::of_agent(&home, &lock).unwrap();
        std::fs::rename(home.root(), folder.path().join("elsewhere")).unwrap();
        let looked = timeout(10 * LOOK, listener.accept()).await;
        assert!(looked.is_err(), "nobody has come");
        assert!(!home.root().exists());
        // Nor where there is another home by now.
        let other = Home::open(home.root()).unwrap();
        let looked = timeout(10 * LOOK, listener.accept()).await;
        assert!(looked.is_err(), "nobody has come");
        let at = other.agent_lock().with_extension("at");
        assert!(!at.exists() && !other.root().join("run").exists());
    }
}
