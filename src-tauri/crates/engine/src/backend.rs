//! How a process that serves a release's disks gets what is missing: it asks the agent, and starts a new one if that died.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use livepc_disk::release::{Backend, BoxFuture, FetchError};
use livepc_format::PackId;
use livepc_format::index::ObjectRef;
use livepc_protocol::{Answer, Client, Code, Home, IndexObject, Launcher, OpenedRelease, Problem, Request};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::locked::lock;

/// How long a read waits for the network before the machine is paused instead.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause before an agent that refused is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The pause before a read that failed is tried again.
const AFTER_A_FAILURE: Duration = Duration::from_secs(5);

/// A connection to the home's agent that comes back.
#[derive(Clone, Debug)]
pub(crate) struct AgentLink {
    home: Home,
    launcher: Launcher,
    name: String,
    client: Arc<tokio::sync::Mutex<Option<Client>>>,
}

impl AgentLink {
    pub(crate) fn new(home: Home, launcher: Launcher, name: String) -> Self {
        Self {
            home,
            launcher,
            name,
            client: Arc::default(),
        }
    }

    /// The connection, made anew if there is none.
    pub(crate) async fn client(&self) -> Result<Client, Problem> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let new = Client::connect_or_start(&self.home, &self.launcher, &self.name).await?;
        *client = Some(new.clone());
        Ok(new)
    }

    /// Asks; an agent that died before it answered is replaced, and the new one asked.
    pub(crate) async fn call(&self, request: Request) -> Result<Answer, Problem> {
        loop {
            match self.client().await?.call(request.clone()).await {
                Err(problem) if problem.code == Code::AgentGone => *self.client.lock().await = None,
                answer => return answer,
            }
        }
    }
}

/// Who reads, and so how often what was refused is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadBy {
    /// A guest: its machine is paused until the data is here, whatever keeps it, since an error would reach its file system.
    Guest,
    /// A program that can be told: what will not change by waiting is an error at once.
    Program,
}

impl ReadBy {
    /// True if asking again will not help.
    fn gives_up_on(self, code: Code) -> bool {
        match self {
            Self::Guest => matches!(code, Code::Usage | Code::UpdateLivepc),
            Self::Program => !matches!(code, Code::Network | Code::Busy | Code::AgentGone),
        }
    }
}

/// What a release's disks read through.
#[derive(Debug)]
pub(crate) struct AgentBackend {
    link: AgentLink,
    key: String,
    read_by: ReadBy,
    /// What nobody waits for any more, but a paused machine will read again.
    overdue: Mutex<Vec<AbortOnDropHandle<()>>>,
    /// When something that was asked for came last.
    arrived: Mutex<Option<Instant>>,
    /// Why data does not come, while it does not.
    trouble: watch::Sender<Option<Problem>>,
}

impl AgentBackend {
    pub(crate) fn new(link: AgentLink, release: &OpenedRelease, read_by: ReadBy) -> Arc<Self> {
        let (trouble, _) = watch::channel(None);
        Arc::new(Self {
            link,
            key: release.key.clone(),
            read_by,
            overdue: Mutex::default(),
            arrived: Mutex::default(),
            trouble,
        })
    }

    /// Why data does not come, while it does not.
    pub(crate) fn trouble(&self) -> Option<Problem> {
        self.trouble.borrow().clone()
    }

    /// Waits until everything is here that a read has given up waiting for. A read that failed for another reason left
    /// nothing to wait for; it may be tried again after a pause.
    pub(crate) async fn caught_up(&self) {
        let mut waited = false;
        loop {
            let overdue = std::mem::take(&mut *lock(&self.overdue));
            if overdue.is_empty() {
                if !waited {
                    tokio::time::sleep(AFTER_A_FAILURE).await;
                }
                return;
            }
            waited = true;
            for task in overdue {
                // A task only ends when its data is here.
                let _ = task.await;
            }
        }
    }

    /// Asks until the answer is yes, or a refusal that whoever reads cannot wait out.
    async fn ask(
        link: AgentLink,
        read_by: ReadBy,
        trouble: watch::Sender<Option<Problem>>,
        request: Request,
    ) -> Result<(), Problem> {
        loop {
            match link.call(request.clone()).await {
                Ok(_) => {
                    trouble.send_if_modified(|trouble| trouble.take().is_some());
                    return Ok(());
                }
                Err(problem) if read_by.gives_up_on(problem.code) => return Err(problem),
                Err(problem) => {
                    tracing::warn!(code = ?problem.code, "waiting for data: {}", problem.message);
                    trouble.send_replace(Some(problem));
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn ask_with_patience(&self, request: Request) -> Result<(), FetchError> {
        let asking = Self::ask(self.link.clone(), self.read_by, self.trouble.clone(), request);
        let (done, mut answer) = tokio::sync::oneshot::channel();
        // A task of its own: it goes on when a guest's read has given up, so that the paused machine can go on later. Who
        // drops the read drops the task.
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = done.send(asking.await);
        }));
        let begun = Instant::now();
        loop {
            let limit = self.waits_since(begun) + PATIENCE;
            match tokio::time::timeout_at(limit, &mut answer).await {
                Ok(Ok(Ok(()))) => {
                    *lock(&self.arrived) = Some(Instant::now());
                    return Ok(());
                }
                Ok(Ok(Err(problem))) => return Err(FetchError::Io(std::io::Error::other(problem))),
                Ok(Err(_)) => return Err(FetchError::Io(std::io::Error::other("the request was dropped"))),
                Err(_) if self.waits_since(begun) + PATIENCE > Instant::now() => {}
                Err(_) => {
                    if self.read_by == ReadBy::Guest {
                        lock(&self.overdue).push(task);
                    }
                    return Err(FetchError::Waited { limit: PATIENCE });
                }
            }
        }
    }

    /// Since when a read that began then has waited in vain. A program may ask for more than a line brings in time, and is
    /// patient while other data arrives; a guest's own drivers are not.
    fn waits_since(&self, begun: Instant) -> Instant {
        match (self.read_by, *lock(&self.arrived)) {
            (ReadBy::Program, Some(arrived)) => begun.max(arrived),
            _ => begun,
        }
    }

    fn fetch_request(&self, pack: PackId, first_page: u32, pages: u32, ahead: bool) -> Request {
        Request::Fetch {
            key: self.key.clone(),
            pack: pack.to_string(),
            first_page,
            pages,
            ahead,
        }
    }
}

impl Backend for AgentBackend {
    fn fetch(&self, pack: PackId, first_page: u32, pages: u32) -> BoxFuture<'_, Result<(), FetchError>> {
        Box::pin(self.ask_with_patience(self.fetch_request(pack, first_page, pages, false)))
    }

    fn object(&self, object: ObjectRef) -> BoxFuture<'_, Result<(), FetchError>> {
        let object = IndexObject {
            digest: object.digest.to_string(),
            stored: object.stored,
            size: object.size,
        };
        Box::pin(self.ask_with_patience(Request::Object {
            key: self.key.clone(),
            object,
        }))
    }

    fn read_ahead(&self, pack: PackId, first_page: u32, pages: u32) {
        let (link, request) = (
            self.link.clone(),
            self.fetch_request(pack, first_page, pages, true),
        );
        tokio::spawn(async move {
            if let Err(problem) = link.call(request).await {
                tracing::debug!("read-ahead: {}", problem.message);
            }
        });
    }
}
