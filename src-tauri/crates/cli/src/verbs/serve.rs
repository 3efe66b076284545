//! `serve`: a release's disk without a machine.

use std::path::PathBuf;

use livepc_engine::serve::{MountedRelease, Release, Served};
use livepc_protocol::{Problem, Request, Until};

use crate::session::Session;

/// Where a disk is served.
pub(crate) enum Place {
    /// Over NBD, at this socket.
    Nbd(PathBuf),
    /// As files, in this folder.
    Mount(PathBuf),
}

impl Place {
    /// The one that the command line names: it lets nobody name both or none.
    pub(crate) fn of(nbd: Option<PathBuf>, mount: Option<PathBuf>) -> Option<Self> {
        nbd.map(Self::Nbd).or(mount.map(Self::Mount))
    }
}

/// What serves the disk.
enum Serving {
    Nbd(Served),
    Mount(MountedRelease),
}

pub(crate) async fn serve(
    session: &Session<'_>,
    id: &str,
    place: &Place,
    fill: bool,
    release: Option<u64>,
    disk: &str,
) -> Result<(), Problem> {
    let client = session.client().await?;
    let release = Release::open(&session.home, &session.launcher()?, id, release).await?;
    let sequence = release.opened.release;
    // Before anybody can know that it is ready, and end it.
    let stop = Stop::new();
    let mut serving = match place {
        Place::Nbd(socket) => Serving::Nbd(Served::at_socket(release, disk, socket).await?),
        Place::Mount(folder) => Serving::Mount(MountedRelease::at_folder(release, disk, folder).await?),
    };
    if fill {
        let request = Request::Download {
            id: id.to_owned(),
            until: Until::Complete,
            release: Some(sequence),
        };
        client.call(request).await?;
    }
    let (ready, use_it) = match (place, &serving) {
        (Place::Nbd(_), Serving::Nbd(served)) if !cfg!(unix) => (served.uri(), served.uri()),
        (Place::Nbd(socket), Serving::Nbd(served)) => (socket.display().to_string(), served.uri()),
        (Place::Nbd(folder) | Place::Mount(folder), _) => (
            folder.display().to_string(),
            folder.join("disk.vmdk").display().to_string(),
        ),
    };
    // Part of the contract, whatever the format of the rest: who waits for it reads this line.
    session.output.print(&format!("ready {ready}\n"));
    let heard = session.output.finish();
    session.output.detail(&format!("Attach it with {use_it}."));
    match &mut serving {
        // Nobody will ever know that it is ready.
        _ if heard.is_err() => {}
        Serving::Nbd(_) => stop.told().await,
        Serving::Mount(mounted) => tokio::select! {
            () = stop.told() => {}
            // Whoever unmounts it wants it to end too.
            () = mounted.ended() => {}
        },
    }
    match serving {
        Serving::Nbd(served) => served.shutdown().await,
        Serving::Mount(mounted) => mounted.unmount().await?,
    }
    heard
}

/// Notices from its making on that somebody ends this process.
struct Stop {
    #[cfg(unix)]
    signals: [Option<tokio::signal::unix::Signal>; 2],
}

#[cfg(unix)]
impl Stop {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self {
            signals: [SignalKind::terminate(), SignalKind::interrupt()].map(|kind| signal(kind).ok()),
        }
    }

    async fn told(self) {
        let [Some(mut terminate), Some(mut interrupt)] = self.signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

#[cfg(windows)]
impl Stop {
    fn new() -> Self {
        Self {}
    }

    async fn told(self) {
        let _ = livepc_engine::session_end::asked_to_end().await;
    }
}
