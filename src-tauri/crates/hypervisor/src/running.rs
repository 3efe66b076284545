//! A machine that runs: what it tells, and what it can be asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::{BoxFuture, HypervisorError, Result};

/// A machine that runs.
///
/// It runs until its guest shuts down, it is asked to end, or the tokio runtime that started it ends: dropping this value
/// only means that nobody hears of its events.
#[derive(Debug)]
pub struct Running {
    events: mpsc::UnboundedReceiver<MachineEvent>,
    control: Control,
}

/// What a running machine can be asked: cheap to clone, to be used from anywhere.
#[derive(Clone, Debug)]
pub struct Control {
    driver: Arc<dyn Driver>,
    status: watch::Receiver<Status>,
}

/// What happened to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineEvent {
    /// Its guest executes: always the first event.
    Started,
    /// It was stopped in place of an I/O error. Its guest knows nothing; [`Control::resume`] tries the same again.
    Stalled(Stall),
    /// The user paused it in the hypervisor's window.
    Paused,
    /// It goes on.
    Resumed,
    /// Its power button was pressed; its guest may take its time, or do nothing.
    PowerdownRequested,
    /// It is no more: always the last event.
    Ended(Ended),
}

/// Why a machine was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The disk's role.
    pub role: String,
    /// What failed.
    pub cause: StallCause,
    /// What the hypervisor said of it.
    pub message: String,
}

/// What failed when a machine was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallCause {
    /// The base had no answer in time, or a local file could not be read.
    Read,
    /// The overlay or the user disk could not be written.
    Write,
    /// There is no room for the overlay or the user disk.
    NoSpace,
}

/// What a machine does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its guest executes.
    Running,
    /// It was stopped in place of an I/O error.
    Stalled(Stall),
    /// The user paused it.
    Paused,
    /// It is no more.
    Ended(Ended),
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What ended it.
    pub end: End,
    /// What the hypervisor's process returned; `None` if a signal ended it.
    pub exit_code: Option<i32>,
    /// The last lines that the hypervisor said, without control characters.
    pub last_lines: Vec<String>,
}

impl Ended {
    /// True if the guest shut itself down, so that all it had written is on its disks.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.end == End::Guest
    }
}

/// What ended a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its guest shut down.
    Guest,
    /// It was switched off: by [`Control::quit`], or because the session of the user ended.
    Quit,
    /// Its state is saved, by [`Control::suspend`]: a start can go on from it.
    Suspended,
    /// The hypervisor failed.
    Crashed,
}

/// How a driver does what [`Control`] is asked.
pub(crate) trait Driver: Send + Sync + std::fmt::Debug {
    fn powerdown(&self) -> BoxFuture<'_, Result<()>>;
    fn resume(&self) -> BoxFuture<'_, Result<()>>;
    /// Saves the machine's state in its folder and ends it. Returns when it has ended; an error means that it goes on as
    /// before.
    fn suspend(&self) -> BoxFuture<'_, Result<()>>;
    /// Returns when the end is certain; [`Control`] waits for it.
    fn quit(&self) -> BoxFuture<'_, Result<()>>;
}

impl Running {
    /// `events` must begin with [`MachineEvent::Started`], and both must tell the end last.
    pub(crate) fn new(
        driver: Arc<dyn Driver>,
        events: mpsc::UnboundedReceiver<MachineEvent>,
        status: watch::Receiver<Status>,
    ) -> Self {
        let control = Control { driver, status };
        Self { events, control }
    }

    /// The next event; `None` after [`MachineEvent::Ended`]. Cancel-safe.
    pub async fn next_event(&mut self) -> Option<MachineEvent> {
        self.events.recv().await
    }

    /// What it can be asked.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }
}

impl Control {
    /// What the machine does. Never waits.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Presses the power button.
    ///
    /// # Errors
    /// When the hypervisor does not take it; what the guest makes of it is told by events.
    pub async fn powerdown(&self) -> Result<()> {
        self.driver.powerdown().await
    }

    /// Lets a machine go on that was stopped. What failed is tried again first. Does nothing if it runs.
    ///
    /// # Errors
    /// When the hypervisor does not take it.
    pub async fn resume(&self) -> Result<()> {
        self.driver.resume().await
    }

    /// Saves the machine's state in its folder and ends it; a start with [`resume`](crate::MachineSpec::resume) goes on from
    /// there.
    ///
    /// # Errors
    /// When the state cannot be saved: the machine goes on as before, and nothing of the state is left.
    pub async fn suspend(&self) -> Result<Ended> {
        self.driver.suspend().await?;
        Ok(self.ended().await)
    }

    /// Switches the machine off, as pulling the plug does, and waits until its files are closed.
    ///
    /// # Errors
    /// None is known: a hypervisor that does not answer is killed.
    pub async fn quit(&self) -> Result<Ended> {
        match self.driver.quit().await {
            Ok(()) | Err(HypervisorError::Ended) => Ok(self.ended().await),
            Err(error) => Err(error),
        }
    }

    /// Presses the power button, and switches the machine off if its guest has not shut down after `grace`. A stalled
    /// machine is resumed first: it cannot see the button otherwise.
    ///
    /// # Errors
    /// As [`quit`](Self::quit).
    pub async fn stop(&self, grace: Duration) -> Result<Ended> {
        let in_order = async {
            if !matches!(self.status(), Status::Running | Status::Ended(_)) {
                self.resume().await?;
            }
            self.powerdown().await?;
            Ok::<_, HypervisorError>(self.ended().await)
        };
        match tokio::time::timeout(grace, in_order).await {
            Ok(Ok(ended)) => Ok(ended),
            Ok(Err(_)) | Err(_) => self.quit().await,
        }
    }

    /// Waits for the end.
    pub async fn ended(&self) -> Ended {
        let mut status = self.status.clone();
        match status
            .wait_for(|status| matches!(status, Status::Ended(_)))
            .await
            .as_deref()
        {
            Ok(Status::Ended(ended)) => ended.clone(),
            // The task that watches the machine is gone, and the machine with it.
            _ => Ended {
                end: End::Crashed,
                exit_code: None,
                last_lines: Vec::new(),
            },
        }
    }
}
