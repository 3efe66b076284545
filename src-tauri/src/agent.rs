//! The shell's connection to the agent: it comes back when the agent ended, and snapshots go to the window and the tray.

use std::sync::Arc;
use std::time::Duration;

use livepc_panics::kept_up;
use livepc_protocol::{Answer, Client, Code, Home, Launcher, Problem, Request};
use tauri::{AppHandle, Emitter};
use tokio::sync::Mutex;

use crate::border::begun;
use crate::message::Message;
use crate::{notes, tray};

/// The pause before a connection that failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// The shell's connection to the agent.
#[derive(Clone)]
pub(crate) struct Agent {
    client: Arc<Mutex<Option<Client>>>,
}

impl Agent {
    /// Connects in the background, and stays connected.
    pub(crate) fn start(app: &AppHandle) -> Self {
        let agent = Self {
            client: Arc::default(),
        };
        let (following, app) = (agent.clone(), app.clone());
        // A window that hears nothing any more would look alive.
        begun(&app.clone(), Message::default(), async move {
            kept_up("Following the agent", || following.clone().follow(app.clone())).await;
            Ok(())
        });
        agent
    }

    /// Asks the agent; one that ended is started again.
    pub(crate) async fn call(&self, request: Request) -> Result<Answer, Problem> {
        match self.client().await?.call(request.clone()).await {
            Err(problem) if problem.code == Code::AgentGone => {
                *self.client.lock().await = None;
                self.client().await?.call(request).await
            }
            answer => answer,
        }
    }

    async fn client(&self) -> Result<Client, Problem> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let (home, launcher) = (Home::default_for_user()?, Launcher::for_this_program()?);
        let name = concat!("app ", env!("CARGO_PKG_VERSION"));
        let mut new = Client::connect_or_start(&home, &launcher, name).await?;
        if new.peer().is_older() {
            // It ends with what still needs it, which the app does not; a newer one is then started in its place.
            new = Client::connect(&home.agent_whereabouts(), name, false).await?;
        }
        *client = Some(new.clone());
        Ok(new)
    }

    /// Sends each snapshot to the window and the tray, for ever.
    async fn follow(self, app: AppHandle) {
        loop {
            if let Err(problem) = self.follow_once(&app).await {
                tracing::warn!("the agent is away: {problem}");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    async fn follow_once(&self, app: &AppHandle) -> Result<(), Problem> {
        let client = self.client().await?;
        let watched = client.watch().await;
        let mut snapshots = match watched {
            Ok(snapshots) => snapshots,
            Err(problem) => {
                *self.client.lock().await = None;
                return Err(problem);
            }
        };
        loop {
            let snapshot = snapshots.borrow_and_update().clone();
            if let Some(snapshot) = snapshot {
                // A window that is not there needs no snapshot.
                let _ = app.emit("snapshot", &snapshot);
                tray::update(app, &snapshot);
                notes::look(app, client.peer()).await?;
            }
            if snapshots.changed().await.is_err() {
                *self.client.lock().await = None;
                return Ok(());
            }
        }
    }
}
