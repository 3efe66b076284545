//! A machine that runs: what it tells, and what it can be asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::{BoxFuture, HypervisorError, Result, os};

/// How long a guest has to react to its power button before it is pressed again: one that is still starting has not seen
/// it, and one that is about to shut down takes no notice.
const PRESS: Duration = Duration::from_secs(5);

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
    /// The number of the signal that ended the hypervisor's process; `None` where there was none.
    pub signal: Option<i32>,
    /// The last lines that the hypervisor said, without control characters.
    pub last_lines: Vec<String>,
}

impl Ended {
    /// True if the guest shut itself down, so that all it had written is on its disks.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.end == End::Guest
    }

    /// True if somebody else ended the hypervisor's process, as a system does that is out of memory: neither the guest nor
    /// the hypervisor is the cause.
    #[must_use]
    pub fn killed(&self) -> bool {
        self.end == End::Crashed && self.signal.is_some_and(os::is_from_outside)
    }

    /// True if the hypervisor's process did what its sandbox forbids.
    #[must_use]
    pub fn broke_sandbox(&self) -> bool {
        self.end == End::Crashed && self.signal.is_some_and(os::is_of_sandbox)
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

    /// Presses the power button once.
    ///
    /// # Errors
    /// When the hypervisor does not take it; what the guest makes of it is told by events.
    pub async fn powerdown(&self) -> Result<()> {
        self.driver.powerdown().await
    }

    /// Presses the power button again and again until the guest has shut down, for `limit` at the most; gives how the
    /// machine ended, or `None` if it still runs then. A guest that its user has paused goes on first: it would not see the
    /// button.
    ///
    /// # Errors
    /// When the hypervisor cannot press it at all, or has refused until the end: VMware does so while a guest starts.
    pub async fn shut_down(&self, limit: Duration) -> Result<Option<Ended>> {
        let until = Instant::now() + limit;
        loop {
            let refused = match timeout_at(until, self.press()).await {
                Ok(Ok(())) | Ok(Err(HypervisorError::Ended)) | Err(_) => None,
                Ok(Err(error @ HypervisorError::Refused { .. })) => Some(error),
                Ok(Err(error)) => return Err(error),
            };
            let again = until.min(Instant::now() + PRESS);
            if let Ok(ended) = timeout_at(again, self.ended()).await {
                return Ok(Some(ended));
            }
            if again >= until {
                return refused.map_or(Ok(None), Err);
            }
        }
    }

    async fn press(&self) -> Result<()> {
        if self.status() == Status::Paused {
            self.resume().await?;
        }
        self.powerdown().await
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

    /// [Shuts the guest down](Self::shut_down), and switches the machine off if that has not happened after `grace`. A
    /// stalled machine is resumed first: it cannot see the button otherwise.
    ///
    /// # Errors
    /// As [`quit`](Self::quit).
    pub async fn stop(&self, grace: Duration) -> Result<Ended> {
        if matches!(self.status(), Status::Stalled(_)) {
            // If it cannot go on, it cannot shut down either, and is switched off.
            let _ = tokio::time::timeout(grace, self.resume()).await;
        }
        match self.shut_down(grace).await {
            Ok(Some(ended)) => Ok(ended),
            Ok(None) | Err(_) => self.quit().await,
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
                signal: None,
                last_lines: Vec::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A machine whose guest takes no notice of the first presses.
    #[derive(Debug)]
    struct Deaf {
        /// Presses that it ignores, and that the hypervisor refuses.
        ignores: usize,
        refuses: usize,
        pressed: Mutex<Vec<Instant>>,
        status: watch::Sender<Status>,
    }

    fn deaf(ignores: usize, refuses: usize, status: Status) -> (Arc<Deaf>, Control) {
        let (status, watched) = watch::channel(status);
        let driver = Arc::new(Deaf {
            ignores,
            refuses,
            pressed: Mutex::default(),
            status,
        });
        let control = Control {
            driver: driver.clone(),
            status: watched,
        };
        (driver, control)
    }

    fn ended(end: End) -> Ended {
        Ended {
            end,
            exit_code: Some(0),
            signal: None,
            last_lines: Vec::new(),
        }
    }

    impl Driver for Deaf {
        fn powerdown(&self) -> BoxFuture<'_, Result<()>> {
            Box::pin(async {
                let mut pressed = self.pressed.lock().unwrap();
                pressed.push(Instant::now());
                if pressed.len() <= self.refuses {
                    let why = "the tools do not run".into();
                    return Err(HypervisorError::Refused {
                        asked: "shut down",
                        why,
                    });
                }
                if pressed.len() > self.ignores && *self.status.borrow() == Status::Running {
                    self.status.send_replace(Status::Ended(ended(End::Guest)));
                }
                Ok(())
            })
        }

        fn resume(&self) -> BoxFuture<'_, Result<()>> {
            Box::pin(async {
                self.status.send_replace(Status::Running);
                Ok(())
            })
        }

        fn suspend(&self) -> BoxFuture<'_, Result<()>> {
            Box::pin(async { Ok(()) })
        }

        fn quit(&self) -> BoxFuture<'_, Result<()>> {
            Box::pin(async {
                self.status.send_replace(Status::Ended(ended(End::Quit)));
                Ok(())
            })
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_misses_the_first_presses_shuts_down_all_the_same() {
        let (driver, control) = deaf(4, 0, Status::Running);
        let done = control.shut_down(MINUTE).await.unwrap();
        assert_eq!(done, Some(ended(End::Guest)));
        let pressed = driver.pressed.lock().unwrap();
        assert_eq!(pressed.len(), 5, "and is left alone then");
        assert!(
            pressed.windows(2).all(|two| two[1] - two[0] == PRESS),
            "{pressed:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_reacts_is_given_up_at_the_limit_and_not_before() {
        let (driver, control) = deaf(usize::MAX, 0, Status::Running);
        let begun = Instant::now();
        assert_eq!(control.shut_down(MINUTE).await.unwrap(), None);
        assert_eq!(begun.elapsed(), MINUTE);
        assert_eq!(driver.pressed.lock().unwrap().len(), 12);
        assert_eq!(control.stop(MINUTE).await.unwrap().end, End::Quit);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hypervisor_that_cannot_tell_the_guest_yet_is_asked_again() {
        let (_, control) = deaf(0, 3, Status::Running);
        assert_eq!(control.shut_down(MINUTE).await.unwrap(), Some(ended(End::Guest)));
        let (_, control) = deaf(0, usize::MAX, Status::Running);
        let refused = control.shut_down(MINUTE).await.unwrap_err();
        assert!(refused.to_string().contains("the tools do not run"), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_guest_goes_on_to_see_its_button() {
        let (_, control) = deaf(0, 0, Status::Paused);
        assert_eq!(control.shut_down(MINUTE).await.unwrap(), Some(ended(End::Guest)));
    }
}
